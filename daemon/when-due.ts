import type { Clock, Timer } from './clock.ts';
import type { Log } from './log.ts';

/** After a failure, what was due is done later. */
const AGAIN_MS = 5_000;

/** Runs a task at the earliest of the times that it was told. One timer, however many times that are. */
export class WhenDue {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #what: string;
  readonly #run: () => Promise<number | undefined>;
  #next: { timer: Timer; atMs: number } | undefined;
  #stopped = false;

  /** `run` says when something is due next, if ever. `what` names for the log what could not be done. */
  constructor(parts: { clock: Clock; log: Log; what: string; run: () => Promise<number | undefined> }) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#what = parts.what;
    this.#run = parts.run;
  }

  at(atMs: number): void {
    if (this.#stopped || (this.#next && this.#next.atMs <= atMs)) return;
    this.#next?.timer.cancel();
    const timer = this.#clock.after(Math.max(0, atMs - this.#clock.now()), () => {
      this.#next = undefined;
      void this.now();
    });
    this.#next = { timer, atMs };
  }

  async now(): Promise<void> {
    try {
      const atMs = await this.#run();
      if (atMs !== undefined) this.at(atMs);
    } catch (error) {
      this.#log.error({ error }, `${this.#what} failed; trying again`);
      this.at(this.#clock.now() + AGAIN_MS);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#next?.timer.cancel();
  }
}
