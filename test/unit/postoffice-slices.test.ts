import { silentLog } from '../../daemon/log.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { Slices } from '../../daemon/postoffice/slices.ts';
import type { Clock } from '../../daemon/clock.ts';

/** Turns of the event loop, one at a time. */
class Turns implements Clock {
  readonly #tasks: (() => void)[] = [];
  /** Delays that were asked for. */
  readonly delays: number[] = [];

  now(): number {
    return 0;
  }

  elapsed(): number {
    return 0;
  }

  after(delayMs: number, task: () => void): { cancel(): void } {
    this.delays.push(delayMs);
    this.#tasks.push(task);
    return { cancel: () => undefined };
  }

  get pending(): number {
    return this.#tasks.length;
  }

  next(): void {
    this.#tasks.shift()!();
  }
}

let turns: Turns;
let slices: Slices;
let done: number[];
beforeEach(() => {
  turns = new Turns();
  slices = new Slices(turns, silentLog);
  done = [];
});

const run = (from: number, to: number) => {
  for (let task = from; task <= to; task++) slices.run(() => void done.push(task));
};
const upTo = (last: number) => Array.from({ length: last }, (_none, index) => index + 1);

describe('slices', () => {
  test('run a few tasks at once', () => {
    run(1, 16);
    expect(done).toEqual(upTo(16));
  });

  test('run many in turns of 16, in order', () => {
    run(1, 40);
    expect(done).toEqual(upTo(16));
    turns.next();
    expect(done).toEqual(upTo(32));
    turns.next();
    expect(done).toEqual(upTo(40));
    expect(turns.delays.every((delayMs) => delayMs === 0)).toBe(true);
  });

  test('never run a task past one that waits', () => {
    run(1, 20);
    turns.next();
    expect(done).toEqual(upTo(20));
    run(21, 100);
    while (turns.pending > 0) {
      const before = done.length;
      turns.next();
      expect(done.length - before).toBeLessThanOrEqual(16);
      if (done.length === 48) run(101, 110);
    }
    expect(done).toEqual(upTo(110));
  });

  test('count what ran in a turn, whether it waited for it or not', () => {
    run(1, 20);
    turns.next();
    expect(done).toHaveLength(20);
    run(21, 40);
    // Four of this turn's sixteen were used up.
    expect(done).toHaveLength(32);
  });

  test('set no timer for the turn after the last', () => {
    run(1, 17);
    while (turns.pending > 0) turns.next();
    expect(done).toEqual(upTo(17));
    expect(turns.pending).toBe(0);
    run(18, 18);
    expect(done).toEqual(upTo(18));
  });

  test('a task may ask for more', () => {
    slices.run(() => {
      done.push(1);
      run(2, 30);
    });
    while (turns.pending > 0) turns.next();
    expect(done).toEqual(upTo(30));
  });

  test('what a waiting task asks for comes after those that waited with it', () => {
    run(1, 16);
    slices.run(() => {
      done.push(17);
      slices.run(() => void done.push(19));
    });
    run(18, 18);
    while (turns.pending > 0) turns.next();
    expect(done).toEqual(upTo(19));
  });

  test('one that throws loses no other', () => {
    run(1, 16);
    slices.run(() => {
      throw new Error('broken');
    });
    run(17, 40);
    while (turns.pending > 0) {
      try {
        turns.next();
      } catch {
        // The one that was meant to.
      }
    }
    expect(done).toEqual(upTo(40));
  });
});
