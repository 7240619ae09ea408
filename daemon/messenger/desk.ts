import type { Unseen, Urgency } from '../../protocol/delivery/wakes.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { INBOX_SHOWN_MAX, LEASE_MS, SESSION_IDLE_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { MailRecord, MailStore } from '../store/mail-store.ts';

/** What a desk needs to know of a session. */
export interface Consumer {
  readonly client: string;
  readonly lastCallAtMs: number;
  /** It will make no further call. */
  readonly ended: boolean;
}

interface Waiter {
  consumer: Consumer;
  takes(urgency: Urgency): boolean;
  /** The message that is being stored and goes to it. */
  claimed?: number;
  wake(handed?: MailRecord): void;
}

/** What a session was shown: numbers of messages, and the urgency of those that are not normal. */
interface Leased {
  numbers: Set<number>;
  urgent: Map<number, 'info' | 'steer'>;
}

/**
 * One agent's inbox as its sessions see it. It decides who consumes, leases what is shown, and wakes who waits.
 *
 *     pending --look--> leased --next call or 2 min--> read
 *                          \--session ends first--> pending, marked as shown before
 *
 * A session that waits is handed the next message by the batch that stores it, and needs no look of its own.
 */
export class Desk {
  readonly #agent: string;
  readonly #mail: MailStore;
  readonly #onOwed: () => void;
  readonly #clock: Clock;
  #owner: Consumer | undefined;
  /** What no look shows now: leased, being confirmed, or on its way to who waits. */
  readonly #kept = new Set<number>();
  #leases: (Leased & { timer: Timer }) | undefined;
  #waiter: Waiter | undefined;
  /** Counts wakes, so that one between a look and a wait is not missed. */
  #arrivals = 0;
  /** Looks run one after another, so that no two lease the same message. */
  #showing: Promise<unknown> = Promise.resolve();

  constructor(parts: {
    agent: string;
    mail: MailStore;
    /** Senders are to be told that something was read. */
    onOwed: () => void;
    clock: Clock;
  }) {
    this.#agent = parts.agent;
    this.#mail = parts.mail;
    this.#onOwed = parts.onOwed;
    this.#clock = parts.clock;
  }

  /** How many pending messages no session has been shown. */
  async unseen(): Promise<number> {
    const { info, normal, steer } = await this.unseenByUrgency();
    return info + normal + steer;
  }

  /** The same by urgency. */
  async unseenByUrgency(): Promise<Unseen> {
    const { pending, ...counted } = await this.#mail.tally(this.#agent);
    const leased = { info: 0, steer: 0 };
    for (const urgency of this.#leases?.urgent.values() ?? []) leased[urgency] += 1;
    const unseen = Math.max(0, pending - this.leased());
    const info = Math.min(unseen, Math.max(0, (counted.info ?? 0) - leased.info));
    const steer = Math.min(unseen - info, Math.max(0, (counted.steer ?? 0) - leased.steer));
    return { info, steer, normal: unseen - info - steer };
  }

  leased(): number {
    return this.#leases?.numbers.size ?? 0;
  }

  get arrivals(): number {
    return this.#arrivals;
  }

  /** The session that consumes this inbox, when it is another one and still there. */
  otherOwner(consumer: Consumer): Consumer | undefined {
    const owner = this.#owner;
    if (!owner || owner === consumer) return undefined;
    const waiting = this.#waiter?.consumer === owner;
    const idle = this.#clock.now() - owner.lastCallAtMs > SESSION_IDLE_MS;
    return idle && !waiting ? undefined : owner;
  }

  /**
   * Up to `limit` pending messages, leased to the session from now on. The caller owns the desk by it. With `confirms`
   * what it was shown before is read, in the same batch.
   */
  look(
    consumer: Consumer,
    { limit = INBOX_SHOWN_MAX, confirms }: { limit?: number; confirms: boolean },
  ): Promise<MailRecord[]> {
    const shown = this.#showing.then(() => this.#look(consumer, limit, confirms));
    this.#showing = shown.catch(() => undefined);
    return shown;
  }

  async #look(consumer: Consumer, limit: number, confirms: boolean): Promise<MailRecord[]> {
    this.#own(consumer);
    const request = { agent: this.#agent, limit, except: this.#kept, nowMs: this.#clock.now() };
    const records = await this.#confirming(consumer, confirms, async (read) => {
      const looked = await this.#mail.look({ ...request, read });
      return { owed: looked.owed, value: looked.records };
    });
    // The session may have ended while the store was asked; then nothing was shown to anybody.
    if (this.#owner === consumer && records.length > 0) this.#lease(leaseOf(records));
    return records;
  }

  /**
   * Resolves when there are more arrivals than `seen`, with the message if one was handed to this session, which `takes`
   * those of some urgency; rejects when the signal aborts. One wait at a time.
   */
  async arrival(
    consumer: Consumer,
    seen: number,
    { takes, signal }: { takes: (urgency: Urgency) => boolean; signal: AbortSignal },
  ): Promise<MailRecord | undefined> {
    this.#own(consumer);
    if (this.#waiter) throw inUse(this.#waiter.consumer);
    signal.throwIfAborted();
    if (this.#arrivals !== seen) return undefined;
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { consumer, takes, wake: (handed) => end(() => resolve(handed)) };
      const aborted = () => end(() => reject(signal.reason));
      const end = (finish: () => void) => {
        signal.removeEventListener('abort', aborted);
        if (this.#waiter === waiter) this.#waiter = undefined;
        if (waiter.claimed !== undefined) this.#kept.delete(waiter.claimed);
        finish();
      };
      signal.addEventListener('abort', aborted, { once: true });
      this.#waiter = waiter;
    });
  }

  /** Something became visible. Who waits for a message that is being stored has to get that one first. */
  wake(): void {
    this.#arrivals += 1;
    if (this.#waiter?.claimed === undefined) this.#waiter?.wake();
  }

  /** Whether the session that waits, if any, takes the message that is about to be stored under this number. */
  claim(number: number, urgency: Urgency): boolean {
    if (!this.#waiter || this.#waiter.claimed !== undefined || this.#kept.size > 0) return false;
    if (!this.#waiter.takes(urgency)) return false;
    this.#waiter.claimed = number;
    this.#kept.add(number);
    return true;
  }

  /** The claimed message is stored. Whoever waited for it may have gone meanwhile. */
  handOver(record: MailRecord): void {
    const waiter = this.#waiter;
    if (waiter?.claimed !== record.number) return this.wake();
    this.#arrivals += 1;
    waiter.wake(record);
    this.#lease(leaseOf([record]));
  }

  /** It could not be stored. */
  disclaim(number: number): void {
    if (this.#waiter?.claimed !== number) return;
    this.#kept.delete(number);
    delete this.#waiter.claimed;
    this.wake();
  }

  /** Answered, whoever did it: no longer a lease. */
  taken(number: number): void {
    this.#kept.delete(number);
    if (!this.#leases?.numbers.delete(number)) return;
    this.#leases.urgent.delete(number);
    // Whoever counted a moment ago took one too many for leased.
    this.wake();
  }

  /** Gives back what was leased to the session but never reached it. */
  release(consumer: Consumer): void {
    if (this.#owner !== consumer || !this.#leases) return;
    this.#giveBack(this.#endLeases().numbers);
    this.wake();
  }

  /** What was shown to this session is read now. */
  async confirm(consumer: Consumer): Promise<void> {
    if (this.#owner !== consumer || !this.#leases) return;
    await this.#confirming(consumer, true, async (read) => {
      const { owed } = await this.#mail.confirm(this.#agent, read, this.#clock.now());
      return { owed, value: undefined };
    });
  }

  /** The session ended: what it was shown and did not confirm is pending again. */
  leave(consumer: Consumer): void {
    if (this.#owner !== consumer) return;
    this.#giveBack(this.#endLeases().numbers);
    this.#owner = undefined;
    this.wake();
  }

  /** Runs a batch that makes read what was shown to a session, when it `confirms`. */
  async #confirming<T>(
    consumer: Consumer,
    confirms: boolean,
    run: (read: number[]) => Promise<{ owed: boolean; value: T }>,
  ): Promise<T> {
    const shown: Leased = confirms ? this.#endLeases() : { numbers: new Set(), urgent: new Map() };
    try {
      const { owed, value } = await run([...shown.numbers]);
      this.#giveBack(shown.numbers);
      if (owed) this.#onOwed();
      return value;
    } catch (error) {
      // Still unread in the store: the next call confirms it.
      if (this.#owner === consumer && shown.numbers.size > 0) this.#lease(shown);
      else this.#giveBack(shown.numbers);
      throw error;
    }
  }

  /** What was leased; it stays out of sight until it is given back or read. */
  #endLeases(): Leased {
    this.#leases?.timer.cancel();
    const leased: Leased = this.#leases ?? { numbers: new Set(), urgent: new Map() };
    this.#leases = undefined;
    return leased;
  }

  #giveBack(numbers: ReadonlySet<number>): void {
    for (const number of numbers) this.#kept.delete(number);
  }

  #own(consumer: Consumer): void {
    if (consumer.ended)
      throw new PatchcordError('unknown_session', 'This session has ended.', 'Open a new one.');
    const other = this.otherOwner(consumer);
    if (other) throw inUse(other);
    if (this.#owner && this.#owner !== consumer) this.leave(this.#owner);
    this.#owner = consumer;
  }

  #lease({ numbers, urgent: some }: Leased): void {
    this.#leases?.timer.cancel();
    for (const number of numbers) this.#kept.add(number);
    const all = new Set([...(this.#leases?.numbers ?? []), ...numbers]);
    const urgent = new Map([...(this.#leases?.urgent ?? []), ...some]);
    const owner = this.#owner!;
    const timer = this.#clock.after(LEASE_MS, () => void this.confirm(owner).catch(() => undefined));
    this.#leases = { numbers: all, urgent, timer };
  }
}

function leaseOf(records: readonly MailRecord[]): Leased {
  const urgent = new Map<number, 'info' | 'steer'>();
  for (const { number, message } of records) if (message.urgency) urgent.set(number, message.urgency);
  return { numbers: new Set(records.map(({ number }) => number)), urgent };
}

function inUse(owner: Consumer): PatchcordError {
  return new PatchcordError(
    'agent_in_use',
    `Another session of this agent (${owner.client}) reads this inbox.`,
    'Use that session, end it, or give this client an agent name of its own.',
  );
}
