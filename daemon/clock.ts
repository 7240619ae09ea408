import { randomBytes } from 'node:crypto';
import type { RandomBytes } from '../protocol/ids.ts';

/** A timer that can be called off; calling it off twice, or late, does nothing. */
export interface Timer {
  cancel(): void;
}

/** The only source of time. Simulations bring their own. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Runs `task` once, after `delayMs`. A pending timer does not keep the process alive. */
  after(delayMs: number, task: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/** The only source of randomness. Simulations bring a seeded one. */
export interface Random {
  bytes: RandomBytes;
  /** Uniform in [0, 1); for jitter, never for secrets. */
  fraction(): number;
}

export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  fraction: () => Math.random(),
};
