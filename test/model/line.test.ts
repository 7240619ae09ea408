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

/** One message of the sender: who sees it is told by its id, however often and under whichever place it comes. */
interface Place {
  epoch: number;
  seq: number;
  id: string;
}

/** Arrivals over several epochs; some messages are sent again in a later one. */
const story = fc.record({
  /** So many messages are new in each epoch, and these of the ones before are sent again at its start. */
  epochs: fc.array(
    fc.record({ fresh: fc.nat({ max: 5 }), again: fc.array(fc.nat({ max: 20 }), { maxLength: 4 }) }),
    { minLength: 1, maxLength: 4 },
  ),
  arrivals: fc.array(
    fc.oneof(
      { weight: 5, arbitrary: fc.record({ which: fc.nat({ max: 40 }) }) },
      { weight: 1, arbitrary: fc.record({ afterMs: fc.integer({ min: 1, max: GAP_HOLD_MS + 1_000 }) }) },
    ),
    { maxLength: 60, size: 'max' },
  ),
});

function placesOf(epochs: readonly { fresh: number; again: readonly number[] }[]): Place[] {
  const ids: string[] = [];
  return epochs.flatMap(({ fresh, again }, epoch) => {
    const before = ids.length;
    const repeated = [...new Set(again.filter((index) => index < before))].map((index) => ids[index]!);
    const made = Array.from({ length: fresh }, (_none, index) => `id ${before + index}`);
    ids.push(...made);
    return [...repeated, ...made].map((id, index) => ({ epoch, seq: index + 1, id }));
  });
}

/** The receiver of lines with epochs: what is known takes its place unseen, as the store does it. */
class EpochReceiver {
  line: Line = EMPTY_LINE;
  nowMs = 0;
  readonly known = new Set<string>();
  readonly shown: { id: string; epoch: number; seq: number; late: boolean; missingBefore: number }[] = [];
  /** Places that were taken without showing anything. */
  readonly blank: string[] = [];
  #held = new Map<string, string | undefined>();

  arrive({ epoch, seq, id }: Place): void {
    const known = this.known.has(id);
    const before = this.line;
    const arrival = decideArrival(before, { epoch, seq, id, known }, this.nowMs);
    if (arrival.verdict === 'full') throw new Error('too few messages for that');
    if (arrival.verdict === 'duplicate') {
      ok(known);
      const begun = before.epoch ?? 0;
      const isOpen = epoch > begun || (epoch === begun && seq >= before.next);
      ok(!isOpen || before.held.some((held) => held.seq === seq));
      return;
    }
    this.known.add(id);
    if ('closed' in arrival) {
      ok(epoch > (before.epoch ?? 0) || arrival.closed.length === 0);
      for (const { held, missingBefore } of arrival.closed)
        this.#free(before.epoch ?? 0, held.seq, missingBefore);
    }
    this.line = arrival.line;
    const shows = known ? undefined : id;
    if (arrival.verdict === 'hold') this.#held.set(`${epoch} ${seq}`, shows);
    else this.#show(shows, { epoch, seq, late: arrival.verdict === 'late', missingBefore: 0 });
    if (arrival.verdict === 'release') for (const held of arrival.freed) this.#free(epoch, held.seq, 0);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    const epoch = this.line.epoch ?? 0;
    const { line, freed } = decideGaps(this.line, this.nowMs);
    equal(line.epoch ?? 0, epoch);
    for (const { held, missingBefore } of freed) this.#free(epoch, held.seq, missingBefore);
    this.line = line;
  }

  #free(epoch: number, seq: number, missingBefore: number): void {
    const place = `${epoch} ${seq}`;
    ok(this.#held.has(place));
    const id = this.#held.get(place);
    this.#held.delete(place);
    this.#show(id, { epoch, seq, late: false, missingBefore });
  }

  #show(id: string | undefined, more: Omit<EpochReceiver['shown'][number], 'id'>): void {
    if (id === undefined) this.blank.push(`${more.epoch} ${more.seq}`);
    this.shown.push({ id: id ?? '', ...more });
  }
}

describe('a line of several epochs', () => {
  test('shows each message once, in the order of epochs and places unless late, and names every gap', async () => {
    expect(
      await holds(
        fc.property(story, ({ epochs, arrivals }) => {
          const places = placesOf(epochs);
          const receiver = new EpochReceiver();
          for (const one of arrivals) {
            const { epoch = 0, next } = receiver.line;
            if ('afterMs' in one) receiver.pass(one.afterMs);
            else if (places.length > 0) receiver.arrive(places[one.which % places.length]!);
            const after = receiver.line;
            ok((after.epoch ?? 0) > epoch || ((after.epoch ?? 0) === epoch && after.next >= next));
          }
          receiver.pass(GAP_HOLD_MS);
          receiver.pass(GAP_HOLD_MS);
          const { shown, known } = receiver;
          equal(receiver.line.held.length, 0);
          expect(
            shown
              .map(({ id }) => id)
              .filter((id) => id !== '')
              .toSorted(),
          ).toEqual([...known].toSorted());
          const inTime = shown.filter(({ late }) => !late);
          for (const [index, { epoch, seq, missingBefore }] of inTime.entries()) {
            const previous = inTime[index - 1];
            const isSame = previous?.epoch === epoch;
            ok(previous === undefined || isSame || previous.epoch < epoch);
            equal(seq, (isSame ? previous.seq : 0) + 1 + missingBefore);
          }
        }),
      ),
    ).toBe(true);
  });

  test('shows the same, whatever was sent again, when each epoch comes in its order', async () => {
    expect(
      await holds(
        fc.property(story, ({ epochs }) => {
          const places = placesOf(epochs);
          const receiver = new EpochReceiver();
          for (const place of places) receiver.arrive(place);
          const ids = receiver.shown.map(({ id }) => id).filter((id) => id !== '');
          expect(ids).toEqual(ids.map((_id, index) => `id ${index}`));
          expect(receiver.shown.every(({ late, missingBefore }) => !late && missingBefore === 0)).toBe(true);
        }),
      ),
    ).toBe(true);
  });
});

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
