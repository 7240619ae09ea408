import type { Clock, Random, Timer } from '../clock.ts';

/** Waits between attempts: 1 s at first, doubled each time up to 10 min, each with full jitter above a half. */
const FIRST_MS = 1_000;
const LAST_MS = 10 * 60_000;
/** Attempts at the same time; they are of no hurry. */
const ATTEMPTS_MAX = 8;

export interface DirectSeekerOptions {
  clock: Clock;
  random: Random;
  /** The addresses of a machine that lead through no relay, best first. */
  addresses(peerId: string): readonly string[];
  /** Makes a direct connection the link, also where no address is known; rejects when it cannot. */
  connect(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<void>;
}

interface Target {
  failures: number;
  /** The addresses of the last attempt. */
  tried?: string;
  timer?: Timer;
  attempt?: AbortController;
}

/** How long to wait after so many failures in a row. */
export function seekDelayMs(failures: number, fraction: number): number {
  return (0.5 + fraction / 2) * Math.min(LAST_MS, FIRST_MS * 2 ** failures);
}

/**
 * Looks for a direct way to machines that are linked through a relay, for as long as they are.
 *
 * Invariant: each target has a timer or an attempt, not both.
 */
export class DirectSeeker {
  readonly #options: DirectSeekerOptions;
  readonly #targets = new Map<string, Target>();
  #running = 0;

  constructor(options: DirectSeekerOptions) {
    this.#options = options;
  }

  /** A machine is linked through a relay. */
  seek(peerId: string): void {
    this.forget(peerId);
    const target: Target = { failures: 0 };
    this.#targets.set(peerId, target);
    this.#wait(peerId, target);
  }

  /** A machine is linked directly, or not at all. */
  forget(peerId: string): void {
    const target = this.#targets.get(peerId);
    this.#targets.delete(peerId);
    target?.timer?.cancel();
    target?.attempt?.abort(new Error('no longer needed'));
  }

  /** Addresses may have changed: machines with other ones than were tried are tried soon. */
  again(): void {
    for (const [peerId, target] of this.#targets) {
      if (target.timer === undefined || target.failures === 0) continue;
      if (this.#options.addresses(peerId).join() === target.tried) continue;
      target.timer.cancel();
      target.failures = 0;
      this.#wait(peerId, target);
    }
  }

  stop(): void {
    for (const peerId of this.#targets.keys()) this.forget(peerId);
  }

  #wait(peerId: string, target: Target): void {
    const { clock, random } = this.#options;
    target.timer = clock.after(seekDelayMs(target.failures, random.fraction()), () => {
      delete target.timer;
      if (this.#running < ATTEMPTS_MAX) void this.#try(peerId, target);
      else this.#wait(peerId, target);
    });
  }

  async #try(peerId: string, target: Target): Promise<void> {
    const addresses = this.#options.addresses(peerId);
    const attempt = new AbortController();
    target.attempt = attempt;
    target.tried = addresses.join();
    this.#running += 1;
    try {
      await this.#options.connect(peerId, addresses, attempt.signal);
    } catch {
      // The link through the relay goes on.
    }
    this.#running -= 1;
    delete target.attempt;
    if (this.#targets.get(peerId) !== target) return;
    target.failures += 1;
    this.#wait(peerId, target);
  }
}
