import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';

/** Sealing or opening one envelope takes about half a millisecond; so many are done before others get their turn. */
const TASKS_PER_TURN = 16;

/**
 * Runs short tasks in order, at once while there are few, in slices when there are many: a link that comes up with
 * a full window must not keep the event loop from everything else.
 */
export class Slices {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #queue: (() => void)[] = [];
  #left = TASKS_PER_TURN;
  #armed = false;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  run(task: () => void): void {
    this.#queue.push(task);
    this.#arm();
    if (this.#queue.length === 1) this.#drain();
  }

  #drain(): void {
    while (this.#queue.length > 0 && this.#left > 0) {
      this.#left -= 1;
      // It stays in the queue while it runs, so that what it adds comes after what is there.
      try {
        this.#queue[0]!();
      } catch (error) {
        this.#log.error({ error }, 'an envelope could not be handled');
      }
      this.#queue.shift();
    }
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#clock.after(0, () => {
      this.#armed = false;
      this.#left = TASKS_PER_TURN;
      this.#drain();
      if (this.#queue.length > 0) this.#arm();
    });
  }
}
