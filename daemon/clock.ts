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
  /** Milliseconds since some moment; it only rises, whoever sets the clock. For whatever waits or is due. */
  elapsed(): number;
  /** Runs `task` once, after `delayMs`. A pending timer does not keep the process alive. */
  after(delayMs: number, task: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => Math.floor(performance.now()),
  after(delayMs, task) {
    if (delayMs <= 0) {
      // After what is to be read and written; a timer would take a millisecond.
      const immediate = setImmediate(task);
      immediate.unref();
      return { cancel: () => clearImmediate(immediate) };
    }
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

/** Small draws come from a pool: each call of the system's generator costs more than the bytes it brings. */
const POOL_SIZE_BYTES = 4_096;
let pool = new Uint8Array(0);

export const systemRandom: Random = {
  bytes(length) {
    if (length > POOL_SIZE_BYTES) return new Uint8Array(randomBytes(length));
    if (pool.length < length) pool = new Uint8Array(randomBytes(POOL_SIZE_BYTES));
    const drawn = pool.slice(0, length);
    pool.fill(0, 0, length);
    pool = pool.subarray(length);
    return drawn;
  },
  fraction: () => Math.random(),
};
