import type { Clock } from '../clock.ts';
import type { Settled } from '../store/mail-store.ts';

type About = NonNullable<Settled['about']>;

/** Lets callers wait for what becomes of a message that is on its way. */
export class Settlements {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Set<(about: About) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The next announcement for a message that `wanted` accepts, or undefined after `timeoutMs`. */
  next(
    agent: string,
    messageId: string,
    timeoutMs: number,
    wanted: (about: About) => boolean = () => true,
  ): { promise: Promise<About | undefined>; forget: () => void } {
    const place = `${agent}/${messageId}`;
    const listeners = this.#waiting.get(place) ?? new Set();
    this.#waiting.set(place, listeners);
    let finish: (about: About | undefined) => void = () => undefined;
    const promise = new Promise<About | undefined>((resolve) => (finish = resolve));
    const listener = (about: About) => {
      if (wanted(about)) end(about);
    };
    const timer = this.#clock.after(timeoutMs, () => end(undefined));
    const end = (about: About | undefined) => {
      timer.cancel();
      listeners.delete(listener);
      if (listeners.size === 0) this.#waiting.delete(place);
      finish(about);
    };
    listeners.add(listener);
    return { promise, forget: () => end(undefined) };
  }

  announce(about: About): void {
    for (const listener of this.#waiting.get(`${about.agent}/${about.messageId}`) ?? []) listener(about);
  }
}
