import { HELD_SWEEP_INTERVAL_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { Log } from '../log.ts';
import type { Expired, MailStore, OutboxEntry, RefusedAll, Settled } from '../store/mail-store.ts';

/** After a failure of the store, what cannot be delivered any more is ended later. */
const AGAIN_MS = 5_000;

/**
 * Ends what waits in the outbox in vain: for a machine that is out of the namespace, and for one that has not answered
 * in time. Senders find it refused or expired and get a notice.
 */
export class OutboxEnds {
  readonly #mail: MailStore;
  readonly #directory: Directory;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #self: string;
  readonly #neverLeft: (machine: string, entry: OutboxEntry) => boolean;
  readonly #withdraw: (machine: string, entry: OutboxEntry) => void;
  readonly #onEnded: (machine: string, number: number, settled: Settled) => void;
  readonly #retentionMs: number;
  #givingUp = false;
  #giveUpAgain = false;
  #expiry: Timer | undefined;

  constructor(parts: {
    mail: MailStore;
    directory: Directory;
    clock: Clock;
    log: Log;
    self: string;
    /** How long mail waits for its machine before it expires. */
    retentionMs: number;
    /** Whether it is certain that no other machine has seen an entry. */
    neverLeft: (machine: string, entry: OutboxEntry) => boolean;
    /** Takes back the copies that mailboxes hold of an entry. */
    withdraw: (machine: string, entry: OutboxEntry) => void;
    /** An entry is out of the outbox. */
    onEnded: (machine: string, number: number, settled: Settled) => void;
  }) {
    this.#mail = parts.mail;
    this.#directory = parts.directory;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#self = parts.self;
    this.#retentionMs = parts.retentionMs;
    this.#neverLeft = parts.neverLeft;
    this.#withdraw = parts.withdraw;
    this.#onEnded = parts.onEnded;
  }

  start(): void {
    this.giveUp();
    void this.#expire();
  }

  stop(): void {
    this.#expiry?.cancel();
  }

  /**
   * Ends what waits for machines with which this one does not share the namespace any more. Goes on until it is done,
   * also when the store fails meanwhile.
   */
  giveUp(): void {
    this.#giveUpAgain = true;
    if (!this.#givingUp) void this.#giveUpAll();
  }

  async #giveUpAll(): Promise<void> {
    this.#givingUp = true;
    try {
      while (this.#giveUpAgain) {
        this.#giveUpAgain = false;
        for (const machine of await this.#mail.outboxMachines()) {
          if (machine === this.#self) continue;
          for (const ns of this.#directory.logs.keys()) {
            if (!this.#directory.shares(ns, machine)) await this.#refuseAll(machine, ns);
          }
        }
      }
    } catch (error) {
      this.#log.error({ error }, 'what waits for removed machines could not be ended; trying again');
      this.#clock.after(AGAIN_MS, () => this.giveUp());
    } finally {
      this.#givingUp = false;
    }
  }

  async #refuseAll(machine: string, ns: string): Promise<void> {
    const neverLeft = (entry: OutboxEntry) => this.#neverLeft(machine, entry);
    for (let after: number | undefined = 0; after !== undefined;) {
      const refused: RefusedAll = await this.#mail.refuseAll(machine, ns, 'not_member', after, neverLeft);
      refused.numbers.forEach((number, at) => this.#onEnded(machine, number, refused.settled[at]!));
      after = refused.next;
    }
  }

  /** Ends what nobody has answered for in time, and looks again later. */
  async #expire(): Promise<void> {
    try {
      const beforeMs = this.#clock.now() - this.#retentionMs;
      for (const machine of await this.#mail.outboxMachines()) {
        const neverLeft = (entry: OutboxEntry) => this.#neverLeft(machine, entry);
        for (let after: number | undefined = 0; after !== undefined;) {
          const expired: Expired = await this.#mail.expire(machine, beforeMs, after, neverLeft);
          for (const { entry, ...settled } of expired.settled) {
            this.#onEnded(machine, entry.number, settled);
            this.#withdraw(machine, entry);
          }
          after = expired.next;
        }
      }
    } catch (error) {
      this.#log.error({ error }, 'the outbox could not be swept');
    }
    this.#expiry = this.#clock.after(HELD_SWEEP_INTERVAL_MS, () => void this.#expire());
  }
}
