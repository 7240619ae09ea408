import type { Unseen } from '../../protocol/delivery/wakes.ts';
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
  wake(): void;
}

/**
 * One agent's inbox as its sessions see it. It decides who consumes, leases what is shown, and wakes who waits.
 *
 *     pending --show--> leased --next call or 2 min--> read
 *                          \--session ends first--> pending, marked as shown before
 */
export class Desk {
  readonly #agent: string;
  readonly #mail: MailStore;
  readonly #confirm: (agent: string, numbers: readonly number[]) => Promise<void>;
  readonly #clock: Clock;
  #owner: Consumer | undefined;
  #leases: { numbers: Set<number>; urgent: Map<number, 'info' | 'steer'>; timer: Timer } | undefined;
  #waiter: Waiter | undefined;
  /** Counts wakes, so that one between a look and a wait is not missed. */
  #arrivals = 0;
  /** Looks run one after another, so that no two lease the same message. */
  #showing: Promise<unknown> = Promise.resolve();

  constructor(parts: {
    agent: string;
    mail: MailStore;
    confirm: (agent: string, numbers: readonly number[]) => Promise<void>;
    clock: Clock;
  }) {
    this.#agent = parts.agent;
    this.#mail = parts.mail;
    this.#confirm = parts.confirm;
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

  /** Up to `limit` pending messages, leased to the session from now on. The caller owns the desk by it. */
  show(consumer: Consumer, limit: number = INBOX_SHOWN_MAX): Promise<MailRecord[]> {
    const shown = this.#showing.then(() => this.#show(consumer, limit));
    this.#showing = shown.catch(() => undefined);
    return shown;
  }

  async #show(consumer: Consumer, limit: number): Promise<MailRecord[]> {
    this.#own(consumer);
    const leased = this.#leases?.numbers ?? new Set<number>();
    const records = await this.#mail.show(this.#agent, limit, leased, this.#clock.now());
    // The session may have ended while the store was asked; then nothing was shown to anybody.
    if (this.#owner === consumer && records.length > 0) this.#lease(records);
    return records;
  }

  /** Resolves when there are more arrivals than `seen`; rejects when the signal aborts. One wait at a time. */
  async arrival(consumer: Consumer, seen: number, signal: AbortSignal): Promise<void> {
    this.#own(consumer);
    if (this.#waiter) throw inUse(this.#waiter.consumer);
    signal.throwIfAborted();
    if (this.#arrivals !== seen) return;
    await new Promise<void>((resolve, reject) => {
      const waiter = { consumer, wake: () => end(resolve) };
      const aborted = () => end(() => reject(signal.reason));
      const end = (finish: () => void) => {
        signal.removeEventListener('abort', aborted);
        if (this.#waiter === waiter) this.#waiter = undefined;
        finish();
      };
      signal.addEventListener('abort', aborted, { once: true });
      this.#waiter = waiter;
    });
  }

  /** Something became visible. */
  wake(): void {
    this.#arrivals += 1;
    this.#waiter?.wake();
  }

  /** Answered, whoever did it: no longer a lease. */
  taken(number: number): void {
    if (!this.#leases?.numbers.delete(number)) return;
    this.#leases.urgent.delete(number);
    // Whoever counted a moment ago took one too many for leased.
    this.wake();
  }

  /** Gives back what was leased to the session but never reached it. */
  release(consumer: Consumer): void {
    if (this.#owner !== consumer || !this.#leases) return;
    this.#leases.timer.cancel();
    this.#leases = undefined;
    this.wake();
  }

  /** What was shown to this session is read now. */
  async confirm(consumer: Consumer): Promise<void> {
    if (this.#owner !== consumer || !this.#leases) return;
    const { numbers, urgent, timer } = this.#leases;
    timer.cancel();
    this.#leases = undefined;
    try {
      await this.#confirm(this.#agent, [...numbers]);
    } catch (error) {
      // Still unread in the store: the next call confirms it.
      if (this.#owner === consumer) this.#leaseNumbers(numbers, urgent);
      throw error;
    }
  }

  /** The session ended: what it was shown and did not confirm is pending again. */
  leave(consumer: Consumer): void {
    if (this.#owner !== consumer) return;
    this.#leases?.timer.cancel();
    this.#leases = undefined;
    this.#owner = undefined;
    this.wake();
  }

  #own(consumer: Consumer): void {
    if (consumer.ended)
      throw new PatchcordError('unknown_session', 'This session has ended.', 'Open a new one.');
    const other = this.otherOwner(consumer);
    if (other) throw inUse(other);
    if (this.#owner && this.#owner !== consumer) this.leave(this.#owner);
    this.#owner = consumer;
  }

  #lease(records: readonly MailRecord[]): void {
    const urgent = new Map<number, 'info' | 'steer'>();
    for (const { number, message } of records) if (message.urgency) urgent.set(number, message.urgency);
    this.#leaseNumbers(new Set(records.map(({ number }) => number)), urgent);
  }

  #leaseNumbers(numbers: ReadonlySet<number>, some: ReadonlyMap<number, 'info' | 'steer'>): void {
    this.#leases?.timer.cancel();
    const all = new Set([...(this.#leases?.numbers ?? []), ...numbers]);
    const urgent = new Map([...(this.#leases?.urgent ?? []), ...some]);
    const owner = this.#owner!;
    const timer = this.#clock.after(LEASE_MS, () => void this.confirm(owner).catch(() => undefined));
    this.#leases = { numbers: all, urgent, timer };
  }
}

function inUse(owner: Consumer): PatchcordError {
  return new PatchcordError(
    'agent_in_use',
    `Another session of this agent (${owner.client}) reads this inbox.`,
    'Use that session, end it, or give this client an agent name of its own.',
  );
}
