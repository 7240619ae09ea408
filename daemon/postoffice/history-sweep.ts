import { HISTORY_SWEEP_INTERVAL_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { MailSweep } from '../store/mail-sweep.ts';

/** After so many removed records their space is given back at once; LevelDB does it for fewer by and by. */
const COMPACTED_FROM = 2_000;

/**
 * Removes from time to time what the history has kept for longer than the retention, batch by batch, so that mail
 * does not wait for it.
 */
export class HistorySweep {
  readonly #mail: MailSweep;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #retentionMs: number;
  #timer: Timer | undefined;
  #sweeping: Promise<void> = Promise.resolve();
  /** Ends the pause between two batches. */
  #goOn: () => void = () => undefined;
  #stopped = false;

  constructor(parts: { mail: MailSweep; clock: Clock; log: Log; retentionMs: number }) {
    this.#mail = parts.mail;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#retentionMs = parts.retentionMs;
  }

  start(): void {
    this.#timer = this.#clock.after(HISTORY_SWEEP_INTERVAL_MS, () => {
      this.#sweeping = this.#sweep().finally(() => {
        if (!this.#stopped) this.start();
      });
    });
  }

  /** Resolves when the batch that runs is done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#goOn();
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    try {
      const nowMs = this.#clock.now();
      const time = { nowMs, beforeMs: nowMs - this.#retentionMs };
      let removed = 0;
      for (const agent of await this.#mail.agents()) {
        removed += await this.#each(0, (after) => this.#mail.history(agent, time, after));
      }
      removed += await this.#each('', (after) => this.#mail.forget(nowMs, after));
      if (removed >= COMPACTED_FROM && !this.#stopped) await this.#mail.compact();
      if (removed > 0) this.#log.info({ removed }, 'the history was swept');
    } catch (error) {
      this.#log.error({ error }, 'the history could not be swept');
    }
  }

  /** Runs batches until there is no next, and says how many records they removed. */
  async #each<At>(
    first: At,
    batch: (after: At) => Promise<{ removed: number; next: At | undefined }>,
  ): Promise<number> {
    let removed = 0;
    for (let after: At | undefined = first; after !== undefined && !this.#stopped;) {
      const done: { removed: number; next: At | undefined } = await batch(after);
      removed += done.removed;
      after = done.next;
      if (after !== undefined) await this.#turn();
    }
    return removed;
  }

  /** Whatever waits goes first. */
  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#goOn = resolve;
      this.#clock.after(0, resolve);
    });
  }
}
