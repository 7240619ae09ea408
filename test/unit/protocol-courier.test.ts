import { describe, expect, test } from 'vitest';
import {
  newCourier,
  stepCourier,
  type Courier,
  type CourierEffect,
  type CourierEvent,
} from '../../protocol/delivery/courier.ts';
import { RETRY_BASE_MS, RETRY_MAX_MS } from '../../protocol/limits.ts';

/** Effects in short: `load 3`, `send 4`, `forget 4`, and with the last word when it wants to be woken. */
function told(effects: readonly CourierEffect[]): string {
  return effects
    .map((effect) => {
      if (effect.type === 'wake') return effect.atMs === undefined ? 'sleep' : `wake ${effect.atMs}`;
      if (effect.type === 'load') return `load ${effect.after}`;
      return `${effect.type === 'transmit' ? 'send' : 'forget'} ${effect.number}`;
    })
    .join(', ');
}

const up = (frames = 10, sizeBytes = 1_000): CourierEvent => ({
  type: 'link-up',
  window: { frames, sizeBytes },
});
const loaded = (
  courier: Courier,
  more: boolean,
  ...entries: (number | [number, number])[]
): CourierEvent => ({
  type: 'loaded',
  epoch: courier.epoch,
  more,
  entries: entries.map((one) => {
    const [number, sizeBytes] = typeof one === 'number' ? [one, 100] : one;
    return { number, sizeBytes };
  }),
});
const next = (number: number, previous: number | undefined): CourierEvent => ({
  type: 'appended',
  next: { number, sizeBytes: 100, previous },
});
const settled = (number: number): CourierEvent => ({ type: 'settled', number });
const postponed = (number: number): CourierEvent => ({ type: 'postponed', number });
const APPENDED: CourierEvent = { type: 'appended' };
const DOWN: CourierEvent = { type: 'link-down' };
const TICK: CourierEvent = { type: 'tick' };
const R = RETRY_BASE_MS;

type Step = [event: CourierEvent | ((courier: Courier) => CourierEvent), nowMs: number, effects: string];

describe('courier', () => {
  test.for<[what: string, steps: Step[]]>([
    [
      'does nothing without a link',
      [
        [APPENDED, 0, 'sleep'],
        [TICK, 5, 'sleep'],
        [settled(1), 5, 'forget 1, sleep'],
        [postponed(1), 5, 'sleep'],
        [DOWN, 9, 'sleep'],
      ],
    ],
    [
      'loads on a new link, and again while there is more',
      [
        [up(), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, true, 1, 2), 1, `send 1, send 2, load 2, wake ${R + 1}`],
        [(courier) => loaded(courier, false), 2, `wake ${R + 1}`],
      ],
    ],
    [
      'loads what was appended while it loaded',
      [
        [up(), 0, 'load 0, sleep'],
        [APPENDED, 0, 'sleep'],
        [(courier) => loaded(courier, false), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1), 0, `send 1, wake ${R}`],
        [APPENDED, 0, `load 1, wake ${R}`],
      ],
    ],
    [
      'sends what is known to be next without a look',
      [
        [up(), 0, 'load 0, sleep'],
        [next(1, undefined), 0, 'sleep'],
        [(courier) => loaded(courier, true, 1), 0, `send 1, load 1, wake ${R}`],
        [(courier) => loaded(courier, false), 0, `wake ${R}`],
        [next(4, 1), 0, `send 4, wake ${R}`],
        [next(6, 4), 0, `send 6, wake ${R}`],
      ],
    ],
    [
      'looks when what is new may not be next',
      [
        [up(), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1), 0, `send 1, wake ${R}`],
        [next(4, 3), 0, `load 1, wake ${R}`],
        [(courier) => loaded(courier, false, 3, 4), 0, `send 3, send 4, wake ${R}`],
        // It was told of late.
        [next(3, 1), 0, `load 4, wake ${R}`],
      ],
    ],
    [
      'passes over what is gone before it is told of',
      [
        [up(), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1), 0, `send 1, wake ${R}`],
        [settled(2), 0, `forget 2, wake ${R}`],
        [next(2, 1), 0, `load 1, wake ${R}`],
        [(courier) => loaded(courier, false), 0, `wake ${R}`],
      ],
    ],
    [
      'stops at the window of frames',
      [
        [up(2), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, true, 1, 2, 3, 4), 0, `send 1, send 2, wake ${R}`],
        [settled(1), 1, `forget 1, send 3, wake ${R}`],
        [settled(3), 2, `forget 3, send 4, load 4, wake ${R}`],
      ],
    ],
    [
      'stops at the window of bytes',
      [
        [up(10, 250), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1, 2, 3), 0, `send 1, send 2, wake ${R}`],
        [settled(2), 1, `forget 2, send 3, wake ${R}`],
      ],
    ],
    [
      'sends what is larger than the window alone',
      [
        [up(10, 50), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1, [2, 9_000], 3), 0, `send 1, wake ${R}`],
        [settled(1), 0, `forget 1, send 2, wake ${R}`],
        [settled(2), 0, `forget 2, send 3, wake ${R}`],
        [settled(3), 0, 'forget 3, sleep'],
      ],
    ],
    [
      'sends again after a while, each time twice as long',
      [
        [up(), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1), 0, `wake ${R}`.replace(/^/, 'send 1, ')],
        [TICK, R - 1, `wake ${R}`],
        [TICK, R, `send 1, wake ${3 * R}`],
        [TICK, 3 * R, `send 1, wake ${7 * R}`],
        [settled(1), 4 * R, 'forget 1, sleep'],
        [TICK, 99 * R, 'sleep'],
      ],
    ],
    [
      'postpones what the peer cannot take now, and goes on with the rest',
      [
        [up(2), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1, 2, 3), 0, `send 1, send 2, wake ${R}`],
        [postponed(1), 10, `send 3, wake ${R}`],
        [settled(2), 20, `forget 2, wake ${R + 10}`],
        [TICK, R + 10, `send 3, send 1, wake ${3 * R + 10}`],
        [settled(1), R + 20, `forget 1, wake ${3 * R + 10}`],
      ],
    ],
    [
      'sends a postponed one only when it fits',
      [
        [up(1), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1, 2), 0, `send 1, wake ${R}`],
        [postponed(1), 0, `send 2, wake ${R}`],
        [TICK, R, `send 2, wake ${3 * R}`],
        [settled(2), R + 1, `forget 2, send 1, wake ${3 * R + 1}`],
      ],
    ],
    [
      'forgets a postponed one that was settled',
      [
        [up(), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1), 0, `send 1, wake ${R}`],
        [postponed(1), 0, `wake ${R}`],
        [settled(1), 1, 'forget 1, sleep'],
      ],
    ],
    [
      'does not send what was settled while it was ready',
      [
        [up(1), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1, 2, 3), 0, `send 1, wake ${R}`],
        [settled(2), 0, `forget 2, wake ${R}`],
        [settled(1), 0, `forget 1, send 3, wake ${R}`],
      ],
    ],
    [
      'starts from the lowest number on a new link',
      [
        [up(1), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1, 2), 0, `send 1, wake ${R}`],
        [DOWN, 5, 'forget 2, forget 1, sleep'],
        [up(1), 9, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1, 2), 9, `send 1, wake ${R + 9}`],
      ],
    ],
    [
      'starts anew when a link follows a link',
      [
        [up(), 0, 'load 0, sleep'],
        [(courier) => loaded(courier, false, 1), 0, `send 1, wake ${R}`],
        [up(), 5, 'forget 1, load 0, sleep'],
      ],
    ],
    [
      'passes over what was loaded for an earlier link',
      [
        [up(), 0, 'load 0, sleep'],
        [DOWN, 1, 'sleep'],
        [up(), 2, 'load 0, sleep'],
        [
          (courier) => loaded({ ...courier, epoch: courier.epoch - 1 }, true, 1, 2),
          3,
          'forget 1, forget 2, sleep',
        ],
        [(courier) => loaded(courier, false, 1), 4, `send 1, wake ${R + 4}`],
      ],
    ],
    [
      'settles what it never had',
      [
        [up(), 0, 'load 0, sleep'],
        [settled(77), 0, 'forget 77, sleep'],
        [postponed(77), 0, 'sleep'],
      ],
    ],
  ])('%s', ([, steps]) => {
    const courier = newCourier();
    const seen = steps.map(([event, nowMs]) =>
      told(stepCourier(courier, typeof event === 'function' ? event(courier) : event, nowMs)),
    );
    expect(seen).toEqual(steps.map(([, , effects]) => effects));
  });

  test('waits at most the longest time between two attempts, however many there were', () => {
    const courier = newCourier();
    stepCourier(courier, up(), 0);
    stepCourier(courier, loaded(courier, false, 1), 0);
    let nowMs = 0;
    for (let attempt = 0; attempt < 2_000; attempt++) {
      const wake = stepCourier(courier, TICK, nowMs).at(-1);
      const atMs = wake?.type === 'wake' ? wake.atMs! : NaN;
      expect(atMs - nowMs).toBeGreaterThan(0);
      expect(atMs - nowMs).toBeLessThanOrEqual(RETRY_MAX_MS);
      nowMs = atMs;
    }
  });

  test('with many refused for now the rest waits too, and goes on when they are taken', () => {
    const courier = newCourier();
    stepCourier(courier, up(1_000, 1_000_000), 0);
    const numbers = Array.from({ length: 100 }, (_none, index) => index + 1);
    stepCourier(courier, loaded(courier, true, ...numbers), 0);
    for (const number of numbers.slice(0, 80)) stepCourier(courier, postponed(number), 0);
    expect(courier.paused.size).toBe(80);
    stepCourier(courier, loaded(courier, true, 101, 102), 1);
    expect(told(stepCourier(courier, APPENDED, 1))).toBe(`wake ${R}`);
    for (const number of numbers.slice(0, 20)) stepCourier(courier, settled(number), 1);
    const sent = [...courier.inflight.keys()];
    expect(sent).toContain(101);
    expect(sent).toContain(102);
  });

  test('what is in flight is what was sent and not answered, to the byte', () => {
    const courier = newCourier();
    stepCourier(courier, up(5, 1_000), 0);
    stepCourier(courier, loaded(courier, false, [1, 10], [2, 20], [3, 30]), 0);
    stepCourier(courier, settled(1), 0);
    stepCourier(courier, settled(1), 0);
    stepCourier(courier, postponed(2), 0);
    stepCourier(courier, postponed(2), 0);
    expect([[...courier.inflight.keys()], courier.inflightSizeBytes]).toEqual([[3], 30]);
    stepCourier(courier, settled(2), 0);
    expect([[...courier.inflight.keys()], courier.inflightSizeBytes]).toEqual([[3], 30]);
    stepCourier(courier, DOWN, 0);
    expect([courier.inflight.size, courier.inflightSizeBytes, courier.paused.size]).toEqual([0, 0, 0]);
  });
});
