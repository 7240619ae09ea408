import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { MailStore, Released } from '../store/mail-store.ts';

/** After a failure of the store it looks again. */
const AGAIN_MS = 5_000;

/**
 * The epoch of this machine. After a restore it shows what was in doubt once nobody has told for too long whether it
 * was read.
 */
export class Epochs {
  /** Known once it is started. */
  current = 0;
  readonly #mail: MailStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: string;
  readonly #onReleased: (released: readonly Released[]) => void;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: {
    mail: MailStore;
    clock: Clock;
    log: Log;
    /** This start of the daemon. */
    boot: string;
    onReleased: (released: readonly Released[]) => void;
  }) {
    this.#mail = parts.mail;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#boot = parts.boot;
    this.#onReleased = parts.onReleased;
  }

  /** Before anything is shown, accepted or sent. Begins or finishes a new epoch that is due. */
  async start(): Promise<void> {
    const before = await this.#mail.epoch();
    this.began(await this.#mail.settleEpoch(this.#boot, this.#clock.now()));
    if (this.current > before) this.#log.warn({ epoch: this.current }, 'a new epoch of this machine begins');
    this.look();
  }

  /** Looks for what is in doubt, now and whenever some of it is due. */
  look(): void {
    this.#timer?.cancel();
    void this.#look();
  }

  /** A new epoch has begun in the store; the next hello tells it. */
  began(epoch: number): void {
    this.current = Math.max(this.current, epoch);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    let dueAtMs: number | undefined;
    try {
      for (let after: string | undefined, more = true; more && !this.#stopped;) {
        const page = await this.#mail.giveUpDoubts(this.#clock.now(), after);
        if (page.released.length > 0) this.#onReleased(page.released);
        if (page.dueAtMs !== undefined) dueAtMs = Math.min(dueAtMs ?? Infinity, page.dueAtMs);
        after = page.next;
        more = after !== undefined;
      }
    } catch (error) {
      if (!this.#stopped) this.#log.error({ error }, 'what is in doubt could not be looked at');
      dueAtMs = this.#clock.now() + AGAIN_MS;
    }
    if (this.#stopped || dueAtMs === undefined) return;
    this.#timer = this.#clock.after(Math.max(0, dueAtMs - this.#clock.now()), () => void this.#look());
  }
}
