import { equal, ok } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decideArrival, decideGaps, EMPTY_LINE, type Line } from '../../protocol/delivery/line.ts';
import { GAP_HELD_MAX, GAP_HOLD_MS } from '../../protocol/limits.ts';
import { holds } from './holds.ts';

const SEQ_MAX = 12;

/** A message arrives (again), or time passes and whoever watches gaps looks. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ seq: fc.integer({ min: 1, max: SEQ_MAX }) }) },
  { weight: 1, arbitrary: fc.record({ afterMs: fc.integer({ min: 1, max: GAP_HOLD_MS + 1_000 }) }) },
);
type Step = { seq: number } | { afterMs: number };

/** The receiver as its users know it: what it showed, in order, and what it keeps to itself. */
class Receiver {
  line: Line = EMPTY_LINE;
  nowMs = 0;
  readonly known = new Set<number>();
  readonly shown: { seq: number; late: boolean; missingBefore: number }[] = [];

  run(step: Step): void {
    if ('seq' in step) this.arrive(step.seq);
    else this.pass(step.afterMs);
  }

  arrive(seq: number): void {
    const arrival = decideArrival(
      this.line,
      { seq, id: `id ${seq}`, known: this.known.has(seq) },
      this.nowMs,
    );
    equal(arrival.verdict, this.#expected(seq));
    this.known.add(seq);
    if (arrival.verdict === 'duplicate' || arrival.verdict === 'full') return;
    this.line = arrival.line;
    if (arrival.verdict !== 'hold') this.#show(seq, arrival.verdict === 'late', 0);
    if (arrival.verdict === 'release') for (const held of arrival.freed) this.#show(held.seq, false, 0);
  }

  /** A tiny reference: nothing but the two numbers that matter. */
  #expected(seq: number): string {
    if (this.known.has(seq)) return 'duplicate';
    return seq < this.line.next ? 'late' : seq === this.line.next ? 'release' : 'hold';
  }

  pass(ms: number): void {
    this.nowMs += ms;
    const before = this.line;
    const { line, freed, dueAtMs } = decideGaps(before, this.nowMs);
    for (const { held, missingBefore } of freed) this.#show(held.seq, false, missingBefore);
    const missing = freed.reduce((sum, { missingBefore }) => sum + missingBefore, 0);
    equal(line.next - before.next, missing + freed.length);
    const oldest = Math.min(...line.held.map(({ sinceMs }) => sinceMs));
    equal(dueAtMs, line.held.length === 0 ? undefined : oldest + GAP_HOLD_MS);
    ok(oldest + GAP_HOLD_MS > this.nowMs);
    this.line = line;
  }

  #show(seq: number, late: boolean, missingBefore: number): void {
    this.shown.push({ seq, late, missingBefore });
  }
}

describe('a line', () => {
  test('shows each message once, in order unless late, and names every gap', async () => {
    expect(
      await holds(
        fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
          const receiver = new Receiver();
          for (const one of steps) {
            const { next } = receiver.line;
            receiver.run(one);
            expect(receiver.line.next).toBeGreaterThanOrEqual(next);
            expect(receiver.line.held.map(({ seq }) => seq)).toEqual(
              receiver.line.held.map(({ seq }) => seq).toSorted((a, b) => a - b),
            );
          }
          receiver.pass(GAP_HOLD_MS);
          receiver.pass(GAP_HOLD_MS);
          const { shown, known, line } = receiver;
          // Everything that arrived was shown, once.
          expect(shown.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual(
            [...known].toSorted((a, b) => a - b),
          );
          const inTime = shown.filter(({ late }) => !late);
          for (const [index, { seq, missingBefore }] of inTime.entries()) {
            const previous = inTime[index - 1]?.seq ?? 0;
            expect(seq).toBe(previous + 1 + missingBefore);
          }
          expect(line.next).toBe((inTime.at(-1)?.seq ?? 0) + 1);
        }),
      ),
    ).toBe(true);
  });

  test('shows the same in the end, whatever the order of arrival, when nothing is missing', async () => {
    expect(
      await holds(
        fc.property(
          fc.shuffledSubarray(range(1, SEQ_MAX), { minLength: SEQ_MAX, maxLength: SEQ_MAX }),
          (order) => {
            const receiver = new Receiver();
            for (const seq of order) receiver.arrive(seq);
            expect(receiver.shown.map(({ seq }) => seq)).toEqual(range(1, SEQ_MAX));
          },
        ),
      ),
    ).toBe(true);
  });

  test('holds no more than its bound, and takes the missing one all the same', () => {
    const receiver = new Receiver();
    for (const seq of range(2, GAP_HELD_MAX + 1)) receiver.arrive(seq);
    const beyond = decideArrival(receiver.line, { seq: GAP_HELD_MAX + 2, id: 'beyond', known: false }, 0);
    expect(beyond.verdict).toBe('full');
    receiver.arrive(1);
    expect(receiver.shown).toHaveLength(GAP_HELD_MAX + 1);
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_none, index) => from + index);
}
