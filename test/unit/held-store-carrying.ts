import { describe, expect, test } from 'vitest';
import {
  BOB,
  CYD,
  deposit,
  envelope,
  hashOf,
  holdAll,
  preimage,
  refusal,
  type At,
} from './held-store-fixture.ts';

/** The part of the held store suite that is about mail that no link brings or takes on. */
export function carryTests({ store, world }: At): void {
  describe('a copy', () => {
    test('has the withdrawal that the envelope was left with', async () => {
      await holdAll(store(), [1]);
      const { withdraw } = deposit(1);
      expect(await store().copy(BOB, hashOf(1))).toEqual({ envelope: envelope(1), withdraw });
      const reopened = await world().reopen();
      expect(await reopened.copy(BOB, hashOf(1))).toEqual({ envelope: envelope(1), withdraw });
    });

    test('is of what is held for that machine alone', async () => {
      await holdAll(store(), [1]);
      expect(await store().copy(CYD, hashOf(1))).toBeUndefined();
      expect(await store().copy(BOB, hashOf(2))).toBeUndefined();
      await store().drop(BOB, [hashOf(1)]);
      expect(await store().copy(BOB, hashOf(1))).toBeUndefined();
      await expect(store().copy('bob', hashOf(1))).rejects.toEqual(refusal('invalid_input'));
    });
  });

  describe('a letter that was sealed anew', () => {
    test('is known by its withdrawal, for as long as one of its envelopes is held', async () => {
      const { withdraw } = deposit(1);
      await holdAll(store(), [1]);
      await store().hold(deposit(2, { withdraw }));
      expect(await store().holdsFor(BOB, withdraw)).toBe(true);
      expect(await store().holdsFor(BOB, deposit(2).withdraw)).toBe(false);
      await store().drop(BOB, [hashOf(1)]);
      expect(await store().holdsFor(BOB, withdraw)).toBe(true);
      await store().withdraw(preimage(1));
      expect(await store().holdsFor(BOB, withdraw)).toBe(false);
    });

    test('is not taken for one that is held for another machine', async () => {
      const { withdraw } = deposit(1);
      await store().hold(deposit(1, { to: CYD }));
      expect(await store().holdsFor(BOB, withdraw)).toBe(false);
      expect(await store().holdsFor(CYD, withdraw)).toBe(true);
      await expect(store().holdsFor(BOB, withdraw.subarray(1))).rejects.toEqual(refusal('invalid_input'));
    });
  });
}
