import type { Clock, Timer } from '../clock.ts';
import type { Link } from './link.ts';
import { isStall, LOOK_INTERVAL_MS } from './liveness.ts';

/** Looks at every link once a second, with one timer for all of them. */
export class LinkCare {
  readonly #clock: Clock;
  readonly #links: () => readonly Link[];
  #timer: Timer | undefined;
  #lookedMs = 0;

  constructor(clock: Clock, links: () => readonly Link[]) {
    this.#clock = clock;
    this.#links = links;
  }

  start(): void {
    this.#lookedMs = this.#clock.elapsed();
    this.#schedule();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Asks every link at once, and gives it a short time to answer. */
  askAll(): void {
    for (const link of this.#links()) link.ask(true);
  }

  #schedule(): void {
    this.#timer = this.#clock.after(LOOK_INTERVAL_MS, () => {
      this.#look();
      this.#schedule();
    });
  }

  #look(): void {
    const nowMs = this.#clock.elapsed();
    const stalled = isStall(nowMs - this.#lookedMs);
    this.#lookedMs = nowMs;
    for (const link of this.#links()) {
      if (stalled) link.excuse();
      link.look();
    }
  }
}
