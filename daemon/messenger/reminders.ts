import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { MailStore, Released } from '../store/mail-store.ts';
import { WhenDue } from '../when-due.ts';

/** Reminds of answers when they are due, also of those that became due while nothing ran. */
export class Reminders {
  readonly #mail: MailStore;
  readonly #clock: Clock;
  readonly #onReleased: (released: readonly Released[]) => void;
  readonly #due: WhenDue;

  constructor(parts: {
    mail: MailStore;
    clock: Clock;
    log: Log;
    /** Called with the notices that became visible. */
    onReleased: (released: readonly Released[]) => void;
  }) {
    this.#mail = parts.mail;
    this.#clock = parts.clock;
    this.#onReleased = parts.onReleased;
    this.#due = new WhenDue({ ...parts, what: 'a reminder', run: () => this.#remind() });
  }

  start(): Promise<void> {
    return this.#due.now();
  }

  stop(): void {
    this.#due.stop();
  }

  /** An answer is asked for by then. */
  watch(atMs: number | undefined): void {
    if (atMs !== undefined) this.#due.at(atMs);
  }

  async #remind(): Promise<number | undefined> {
    for (;;) {
      const { released, more, dueAtMs } = await this.#mail.remind(this.#clock.now());
      if (released.length > 0) this.#onReleased(released);
      if (!more) return dueAtMs;
    }
  }
}
