import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { climb, RECEIPT_STATES, type ReceiptState } from '../../protocol/receipt.ts';
import { holds } from './holds.ts';

const LADDER: ReceiptState[] = ['queued', 'held', 'delivered', 'read', 'deferred', 'replied'];
const ENDS: ReadonlySet<ReceiptState> = new Set(['unsent', 'expired', 'refused']);
const rung = (state: ReceiptState) => LADDER.indexOf(state);
const told = fc.array(fc.constantFrom(...RECEIPT_STATES), { maxLength: 12, size: 'max' });
const final = (states: readonly ReceiptState[]) => states.reduce<ReceiptState>(climb, 'queued');

describe('the receipt ladder', () => {
  test('is climbed only upwards, and nobody leaves an end', async () => {
    expect(
      await holds(
        fc.property(told, (states) => {
          let state: ReceiptState = 'queued';
          for (const next of states) {
            const after = climb(state, next);
            const higher = rung(next) > rung(state) ? next : state;
            const ends = ENDS.has(next) && rung(state) < rung('read');
            expect(after).toBe(ENDS.has(state) ? state : ends ? next : higher);
            expect([state, next]).toContain(after);
            state = after;
          }
        }),
      ),
    ).toBe(true);
  });

  test('comes to the same rung whatever the order in which receipts arrive', async () => {
    expect(
      await holds(
        fc.property(
          fc
            .array(fc.constantFrom(...LADDER), { minLength: 1, maxLength: 8 })
            .chain((states) =>
              fc.tuple(fc.constant(states), fc.shuffledSubarray(states, { minLength: states.length })),
            ),
          ([states, shuffled]) => {
            expect(final(shuffled)).toBe(final(states));
          },
        ),
      ),
    ).toBe(true);
  });

  test('never lets a message be both read and taken back', async () => {
    expect(
      await holds(
        fc.property(told, (states) => {
          const read = states.findIndex((state) => rung(state) >= rung('read'));
          const ended = states.findIndex((state) => ENDS.has(state));
          const result = final(states);
          const isRead = read >= 0 && (ended < 0 || read < ended);
          const isEnded = ended >= 0 && !isRead;
          expect(rung(result) >= rung('read')).toBe(isRead);
          expect(ENDS.has(result)).toBe(isEnded);
        }),
      ),
    ).toBe(true);
  });
});
