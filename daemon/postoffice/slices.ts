import type { Clock } from '../clock.ts';

/** Sealing or opening one envelope takes about half a millisecond; so many are done before others get their turn. */
const TASKS_PER_TURN = 16;

/**
 * Runs short tasks in order, at once while there are few, in slices when there are many: a link that comes up with
 * a full window must not keep the event loop from everything else.
 */
export class Slices {
  readonly #clock: Clock;
  readonly #queue: (() => void)[] = [];
  #left = TASKS_PER_TURN;
  #armed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  run(task: () => void): void {
    this.#arm();
    if (this.#queue.length > 0 || this.#left === 0) {
      this.#queue.push(task);
      return;
    }
    this.#left -= 1;
    task();
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#clock.after(0, () => {
      this.#armed = false;
      this.#left = TASKS_PER_TURN;
      for (const task of this.#queue.splice(0, TASKS_PER_TURN)) {
        this.#left -= 1;
        task();
      }
      if (this.#queue.length > 0) this.#arm();
    });
  }
}
