import type { Clock, Timer } from '../../daemon/clock.ts';

interface Event {
  atMs: number;
  number: number;
  task: (() => void) | undefined;
}

const settled = Promise.resolve();

/** More events at one moment than any machine has reason for: something runs in a circle without time passing. */
const EVENTS_AT_ONCE_MAX = 20_000;

/** The first moment of every simulation: 2026-01-01, so that ids and dates look like real ones. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

/**
 * Time that passes only from event to event. Events run in the order of their time, those of one time in the
 * order in which they were asked for; between two events all promises settle. Nothing in a simulation does real
 * I/O, so what Node runs when no promise is left to settle comes late enough, and a run is a function of its seed.
 */
export class VirtualTime {
  /** How many events have happened. */
  steps = 0;
  #nowMs = 0;
  #count = 0;
  #atOnce = 0;
  /** A binary heap; the earliest event is first. */
  readonly #heap: Event[] = [];

  /** Since the simulation began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, task: () => void): Timer {
    const event: Event = { atMs: this.#nowMs + Math.max(0, Math.ceil(delayMs)), number: this.#count++, task };
    this.#push(event);
    return { cancel: () => (event.task = undefined) };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Runs events until `done`, no longer than `limitMs` of virtual time; says whether it was done. */
  run(limitMs: number, done: () => boolean = () => false): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    return new Promise((resolve, reject) => {
      const turn = () => {
        try {
          const ended = done() || this.#step(endMs);
          if (ended === undefined) process.nextTick(later);
          else resolve(ended);
        } catch (error) {
          reject(asError(error));
        }
      };
      // The next tick comes when no promise is left to settle; unlike an immediate it asks no system for I/O. What a
      // tick asks for itself would come before the promises that it settled.
      const later = () => void settled.then(turn);
      process.nextTick(later);
    });
  }

  /** Runs the next event; false when none comes until then. */
  #step(endMs: number): false | undefined {
    let next = this.#heap[0];
    for (; next && !next.task && next.atMs <= endMs; next = this.#heap[0]) this.#pop();
    if (!next?.task || next.atMs > endMs) {
      this.#nowMs = endMs;
      return false;
    }
    this.#pop();
    this.#atOnce = next.atMs === this.#nowMs ? this.#atOnce + 1 : 0;
    if (this.#atOnce > EVENTS_AT_ONCE_MAX) throw new Error('the simulation runs in a circle');
    this.#nowMs = next.atMs;
    this.steps += 1;
    next.task();
    return undefined;
  }

  /** Lets time pass until `work` is done, at most `limitMs`. */
  async finish<T>(work: Promise<T>, limitMs: number): Promise<T> {
    let isSettled = false;
    const settle = () => (isSettled = true);
    work.then(settle, settle);
    if (!(await this.run(limitMs, () => isSettled)))
      throw new Error('what a simulation waits for does not end');
    return work;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The clock of one start of one machine: off by as much as its owner set it wrong, and silent once that start ended. */
export class NodeClock implements Clock {
  readonly #time: VirtualTime;
  /** How wrong it is; whoever sets the machine's clock changes it at once. */
  skewMs: number;
  #ended = false;

  constructor(time: VirtualTime, skewMs: number) {
    this.#time = time;
    this.skewMs = skewMs;
  }

  now(): number {
    return EPOCH_MS + this.skewMs + this.#time.nowMs;
  }

  elapsed(): number {
    return this.#time.nowMs;
  }

  after(delayMs: number, task: () => void): Timer {
    return this.#time.after(delayMs, () => {
      if (!this.#ended) task();
    });
  }

  end(): void {
    this.#ended = true;
  }
}
