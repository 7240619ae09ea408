import { describe, expect, test } from 'vitest';
import { decideArrival, decideGaps, EMPTY_LINE, gapDueAt, type Line } from '../../protocol/delivery/line.ts';
import { GAP_HELD_MAX, GAP_HOLD_MS } from '../../protocol/limits.ts';

const held = (...seqs: (number | [seq: number, sinceMs: number])[]) =>
  seqs.map((one) => {
    const [seq, sinceMs] = typeof one === 'number' ? [one, 0] : one;
    return { seq, id: `m${seq}`, sinceMs };
  });
const line = (next: number, ...seqs: Parameters<typeof held>): Line => ({ next, held: held(...seqs) });

describe('decideArrival', () => {
  test.for<
    [what: string, before: Line, seq: number, verdict: string, after: Line | undefined, freed: number[]]
  >([
    ['the first', EMPTY_LINE, 1, 'release', line(2), []],
    ['the next', line(5), 5, 'release', line(6), []],
    ['one ahead', EMPTY_LINE, 2, 'hold', line(1, [2, 9]), []],
    ['one far ahead', line(5), 900, 'hold', line(5, [900, 9]), []],
    ['one before what is held', line(1, 4), 3, 'hold', line(1, [3, 9], 4), []],
    ['one between what is held', line(1, 2, 6), 4, 'hold', line(1, 2, [4, 9], 6), []],
    ['what fills the gap', line(1, 2), 1, 'release', line(3), [2]],
    ['what fills one gap of two', line(1, 2, 3, 5), 1, 'release', line(4, 5), [2, 3]],
    ['what fills the last gap', line(4, 5, 6, 7), 4, 'release', line(8), [5, 6, 7]],
    ['one of a place given up', line(5, 7), 3, 'late', line(5, 7), []],
    ['one of the place just before', line(2), 1, 'late', line(2), []],
    ['another message in a place that is held', line(1, 3), 3, 'late', line(1, 3), []],
    [
      'one ahead of a full line',
      line(1, ...range(2, GAP_HELD_MAX + 1)),
      GAP_HELD_MAX + 2,
      'full',
      undefined,
      [],
    ],
    ['one between, of a full line', line(1, ...range(3, GAP_HELD_MAX + 2)), 2, 'full', undefined, []],
    [
      'what fills the gap of a full line',
      line(1, ...range(2, GAP_HELD_MAX + 1)),
      1,
      'release',
      line(GAP_HELD_MAX + 2),
      range(2, GAP_HELD_MAX + 1),
    ],
    [
      'a late one of a full line',
      line(2, ...range(3, GAP_HELD_MAX + 2)),
      1,
      'late',
      line(2, ...range(3, GAP_HELD_MAX + 2)),
      [],
    ],
    [
      'the last that fits',
      line(1, ...range(2, GAP_HELD_MAX)),
      GAP_HELD_MAX + 1,
      'hold',
      line(1, ...range(2, GAP_HELD_MAX), [GAP_HELD_MAX + 1, 9]),
      [],
    ],
  ])('%s', ([, before, seq, verdict, after, freed]) => {
    const copy = structuredClone(before);
    const decision = decideArrival(before, { seq, id: `m${seq}`, known: false }, 9);
    expect(decision.verdict).toBe(verdict);
    expect('line' in decision ? decision.line : undefined).toEqual(after);
    expect('freed' in decision ? decision.freed : []).toEqual(held(...freed));
    expect(before).toEqual(copy);
    expect(EMPTY_LINE).toEqual({ next: 1, held: [] });
  });

  test.for([1, 2, 4, 7])('what is known is a duplicate in a place that is taken (%i)', (seq) => {
    expect(decideArrival(line(5, 7), { seq, id: 'x', known: true }, 9)).toEqual({ verdict: 'duplicate' });
  });

  test('what is known takes a place that is open', () => {
    expect(decideArrival(line(5, 6), { seq: 5, id: 'x', known: true }, 9)).toMatchObject({
      verdict: 'release',
      line: line(7),
      freed: held(6),
    });
    expect(decideArrival(line(5, 7), { seq: 9, id: 'm9', known: true }, 9)).toMatchObject({
      verdict: 'hold',
      line: line(5, 7, [9, 9]),
    });
  });

  test('an epoch after begins at one, and gives up what the one before waited for', () => {
    const before = line(3, 5, 6, 9);
    const closed = [
      { held: held(5)[0], missingBefore: 2 },
      { held: held(6)[0], missingBefore: 0 },
      { held: held(9)[0], missingBefore: 2 },
    ];
    const first = decideArrival(before, { epoch: 7, seq: 1, id: 'x', known: false }, 9);
    expect(first).toEqual({ verdict: 'release', line: { epoch: 7, next: 2, held: [] }, closed, freed: [] });
    const second = decideArrival(before, { epoch: 7, seq: 2, id: 'm2', known: false }, 9);
    expect(second).toEqual({ verdict: 'hold', line: { epoch: 7, ...line(1, [2, 9]) }, closed });
    expect(before).toEqual(line(3, 5, 6, 9));
  });

  test('an epoch before is over', () => {
    const now: Line = { epoch: 7, ...line(2, 4) };
    for (const epoch of [undefined, 6]) {
      for (const seq of [1, 2, 4, 900]) {
        const late = decideArrival(now, { epoch, seq, id: 'x', known: false }, 9);
        expect(late).toEqual({ verdict: 'late', line: now });
        const known = decideArrival(now, { epoch, seq, id: 'x', known: true }, 9);
        expect(known).toEqual({ verdict: 'duplicate' });
      }
    }
    expect(decideGaps(now, GAP_HOLD_MS)).toMatchObject({ line: { epoch: 7, next: 5, held: [] } });
  });

  test('what comes in any order is released in one', () => {
    const orders = permutations([1, 2, 3, 4, 5]);
    expect(orders).toHaveLength(120);
    for (const order of orders) {
      let current: Line = EMPTY_LINE;
      const released: number[] = [];
      for (const seq of order) {
        const decision = decideArrival(current, { seq, id: `m${seq}`, known: false }, 0);
        if (decision.verdict === 'release') released.push(seq, ...decision.freed.map((one) => one.seq));
        if ('line' in decision) current = decision.line;
      }
      expect(released).toEqual([1, 2, 3, 4, 5]);
      expect(current).toEqual(line(6));
    }
  });
});

describe('decideGaps', () => {
  const T = GAP_HOLD_MS;
  test.for<
    [
      what: string,
      before: Line,
      nowMs: number,
      after: Line,
      freed: [seq: number, missing: number][],
      dueAtMs: number | undefined,
    ]
  >([
    ['nothing held', line(5), T * 9, line(5), [], undefined],
    ['not yet', line(1, 2), T - 1, line(1, 2), [], T],
    ['just now', line(1, 2), T, line(3), [[2, 1]], undefined],
    ['a clock that was set back', line(1, [2, 1_000]), 0, line(1, 2), [], T],
    ['several missing', line(1, 5), T, line(6), [[5, 4]], undefined],
    [
      'a run behind the gap',
      line(1, 3, 4, 5),
      T,
      line(6),
      [
        [3, 2],
        [4, 0],
        [5, 0],
      ],
      undefined,
    ],
    [
      'two gaps, both due',
      line(1, 3, 6, 7),
      T,
      line(8),
      [
        [3, 2],
        [6, 2],
        [7, 0],
      ],
      undefined,
    ],
    ['two gaps, the second later', line(1, 3, [6, 10]), T, line(4, [6, 10]), [[3, 2]], T + 10],
    [
      'the first came last',
      line(1, [3, 10], 6),
      T,
      line(7),
      [
        [3, 2],
        [6, 2],
      ],
      undefined,
    ],
    [
      'a younger one in the run',
      line(1, 2, [3, 10]),
      T,
      line(4),
      [
        [2, 1],
        [3, 0],
      ],
      undefined,
    ],
  ])('%s', ([, before, nowMs, after, freed, dueAtMs]) => {
    const decision = decideGaps(before, nowMs);
    expect(decision.line).toEqual(after);
    expect(decision.freed.map(({ held: one, missingBefore }) => [one.seq, missingBefore])).toEqual(freed);
    expect(decision.dueAtMs).toBe(dueAtMs);
    expect(gapDueAt(decision.line)).toBe(dueAtMs);
  });

  test('nothing is held longer than the bound, whatever arrives meanwhile', () => {
    let current: Line = EMPTY_LINE;
    for (let nowMs = 0; nowMs <= 10 * T; nowMs += T / 10) {
      const seq = 2 + 2 * (nowMs / (T / 10));
      const decision = decideArrival(current, { seq, id: `m${seq}`, known: false }, nowMs);
      if ('line' in decision) current = decision.line;
      current = decideGaps(current, nowMs).line;
      for (const one of current.held) expect(nowMs - one.sinceMs).toBeLessThan(T);
    }
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_none, index) => from + index);
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, at) => permutations(items.toSpliced(at, 1)).map((rest) => [item, ...rest]));
}
