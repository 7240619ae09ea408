import { describe, expect, test } from 'vitest';
import type { Removed } from '../../daemon/store/held-store.ts';
import { MAILBOX_RETENTION_MS } from '../../protocol/limits.ts';
import {
  BOB,
  CYD,
  DAY_MS,
  deposit,
  hashOf,
  holdAll,
  machine,
  NOW,
  NS,
  numbersTo,
  offered,
  OTHER_NS,
  preimage,
  type At,
} from './held-store-fixture.ts';

const NOTHING = { count: 0, sizeBytes: 0 };

/** Calls until there is no next; what each call removed. */
async function toTheEnd(call: (after: string | undefined) => Promise<Removed>): Promise<number[]> {
  const counts: number[] = [];
  let after: string | undefined;
  for (;;) {
    const { count, next } = await call(after);
    counts.push(count);
    if (next === undefined) return counts;
    expect(next > (after ?? '')).toBe(true);
    after = next;
  }
}

/** The part of the held store suite that is about what leaves a mailbox. */
export function dropTests({ store, world }: At): void {
  describe('dropping', () => {
    test('removes what the machine has, and says how many that were', async () => {
      await holdAll(store(), [1, 2, 3, 4]);
      expect(await store().drop(BOB, [hashOf(2), hashOf(9), hashOf(3), hashOf(2)])).toBe(2);
      expect(await offered(store())).toEqual([1, 4]);
      expect(await store().envelope(BOB, hashOf(2))).toBeUndefined();
      expect(await store().tally()).toEqual({ count: 2, sizeBytes: 200 });
      expect(await store().drop(BOB, [hashOf(2)])).toBe(0);
      expect(await store().drop(BOB, [])).toBe(0);
    });

    test('removes nothing of another machine', async () => {
      await holdAll(store(), [1]);
      expect(await store().drop(CYD, [hashOf(1)])).toBe(0);
      expect(await offered(store())).toEqual([1]);
    });

    test('removes across namespaces and leaves nothing behind', async () => {
      await holdAll(store(), [1]);
      await holdAll(store(), [2], { ns: OTHER_NS });
      expect(await store().drop(BOB, [hashOf(1), hashOf(2)])).toBe(2);
      expect(await store().tally()).toEqual(NOTHING);
      expect(await store().recipients()).toEqual([]);
    });

    test('counts each once when two ask at the same time', async () => {
      await holdAll(store(), numbersTo(20));
      const hashes = numbersTo(20).map((number) => hashOf(number));
      const counts = await Promise.all([store().drop(BOB, hashes), store().drop(BOB, hashes)]);
      expect(counts).toEqual([20, 0]);
    });

    test('survives a restart', async () => {
      await holdAll(store(), [1, 2]);
      await store().drop(BOB, [hashOf(1)]);
      expect(await offered(await world().reopen())).toEqual([2]);
    });
  });
}

export function withdrawTests({ store, world }: At): void {
  describe('withdrawing', () => {
    test('needs the preimage', async () => {
      await holdAll(store(), [1, 2]);
      expect(await store().withdraw(preimage(9))).toBe(false);
      expect(await store().withdraw(deposit(1).withdraw)).toBe(false);
      expect(await offered(store())).toEqual([1, 2]);
      expect(await store().withdraw(preimage(1))).toBe(true);
      expect(await offered(store())).toEqual([2]);
      expect(await store().withdraw(preimage(1))).toBe(false);
    });

    test('says false of what the recipient has dropped', async () => {
      await holdAll(store(), [1]);
      await store().drop(BOB, [hashOf(1)]);
      expect(await store().withdraw(preimage(1))).toBe(false);
    });

    test('takes all that was left with one hash, in several batches', async () => {
      const { withdraw } = deposit(1);
      await Promise.all(numbersTo(1_200).map((number) => store().hold(deposit(number, { withdraw }))));
      await holdAll(store(), [1_201], { to: CYD, ns: OTHER_NS, withdraw });
      await holdAll(store(), [1_202]);
      expect(await store().withdraw(preimage(1))).toBe(true);
      expect(await offered(store())).toEqual([1_202]);
      expect(await store().recipients()).toEqual([{ ns: NS, to: BOB, count: 1, sizeBytes: 100 }]);
    });

    test('survives a restart, and works after one', async () => {
      await holdAll(store(), [1, 2, 3]);
      await store().withdraw(preimage(1));
      const again = await world().reopen();
      expect(await again.withdraw(preimage(2))).toBe(true);
      expect(await offered(again)).toEqual([3]);
    });
  });
}

export function dropNamespaceTests({ store }: At): void {
  const dropAll = (ns: string, to?: string) => toTheEnd((after) => store().dropNamespace(ns, to, after));

  describe('dropping a namespace', () => {
    test('says nothing of what is not there', async () => {
      expect(await store().dropNamespace(NS)).toEqual({ count: 0, next: undefined });
    });

    test('removes what is held for one machine there, and nothing else', async () => {
      await holdAll(store(), [1, 2]);
      await holdAll(store(), [3], { to: CYD });
      await holdAll(store(), [4], { ns: OTHER_NS });
      expect(await dropAll(NS, BOB)).toEqual([2]);
      expect([await offered(store()), await offered(store(), NS, CYD)]).toEqual([[], [3]]);
      expect(await offered(store(), OTHER_NS)).toEqual([4]);
      expect(await store().withdraw(preimage(1))).toBe(false);
    });

    test('removes what is held for all machines there', async () => {
      await holdAll(store(), [1, 2]);
      await holdAll(store(), [3], { to: CYD });
      await holdAll(store(), [4], { ns: OTHER_NS, to: machine(4) });
      expect(await dropAll(NS)).toEqual([3]);
      expect(await store().recipients()).toEqual([
        { ns: OTHER_NS, to: machine(4), count: 1, sizeBytes: 100 },
      ]);
    });

    test('takes many in several batches, also of several machines', async () => {
      const to = (number: number) => (number % 3 ? BOB : CYD);
      await Promise.all(numbersTo(1_200).map((number) => store().hold(deposit(number, { to: to(number) }))));
      const counts = await dropAll(NS);
      expect(counts.every((count) => count <= 500)).toBe(true);
      expect(counts.reduce((sum, count) => sum + count)).toBe(1_200);
      expect(await store().tally()).toEqual(NOTHING);
    });

    test('removes each once when two ask at the same time', async () => {
      await holdAll(store(), numbersTo(10));
      const both = await Promise.all([dropAll(NS), dropAll(NS, BOB)]);
      expect(both.flat().reduce((sum, count) => sum + count)).toBe(10);
    });
  });
}

export function sweepTests({ store, world }: At): void {
  const sweepAll = (nowMs: number, limit = 500) => toTheEnd((after) => store().sweep(nowMs, limit, after));
  const DUE = NOW + MAILBOX_RETENTION_MS + DAY_MS;

  describe('sweeping', () => {
    test('removes what is older than the retention, a day at a time, and never what is younger', async () => {
      await holdAll(store(), [1]);
      await holdAll(store(), [2], { nowMs: NOW + DAY_MS - 1 });
      await holdAll(store(), [3], { nowMs: NOW + DAY_MS });
      expect(await sweepAll(NOW + MAILBOX_RETENTION_MS)).toEqual([0]);
      expect(await sweepAll(DUE - 1)).toEqual([0]);
      expect(await sweepAll(DUE)).toEqual([2]);
      expect(await offered(store())).toEqual([3]);
      expect(await sweepAll(DUE + DAY_MS)).toEqual([1]);
      expect(await store().tally()).toEqual(NOTHING);
    });

    test('goes by the first deposit of an envelope', async () => {
      await holdAll(store(), [1]);
      await holdAll(store(), [1], { nowMs: NOW + 3 * DAY_MS });
      expect(await sweepAll(DUE)).toEqual([1]);
    });

    test('works in slices', async () => {
      const to = (number: number) => (number % 2 ? BOB : CYD);
      for (const number of numbersTo(25)) await holdAll(store(), [number], { to: to(number) });
      expect(await sweepAll(DUE, 10)).toEqual([10, 10, 5]);
      await holdAll(store(), numbersTo(20));
      expect(await sweepAll(DUE, 10)).toEqual([10, 10, 0]);
      expect(await store().tally()).toEqual(NOTHING);
    });

    test('passes over what left between two slices', async () => {
      await holdAll(store(), numbersTo(6));
      const first = await store().sweep(DUE, 2);
      expect(first.count).toBe(2);
      await store().drop(BOB, [hashOf(3), hashOf(4)]);
      expect(await store().sweep(DUE, 4, first.next)).toEqual({ count: 2, next: undefined });
    });

    test('goes on after a restart', async () => {
      await holdAll(store(), numbersTo(6));
      const first = await store().sweep(DUE, 4);
      const again = await world().reopen();
      expect(await offered(again)).toEqual([5, 6]);
      expect((await again.sweep(DUE, 4, first.next)).count).toBe(2);
    });

    test('removes nothing in the first days after 1970', async () => {
      await holdAll(store(), [1], { nowMs: 0 });
      for (const nowMs of [0, DAY_MS, MAILBOX_RETENTION_MS]) expect(await sweepAll(nowMs)).toEqual([0]);
      expect(await sweepAll(MAILBOX_RETENTION_MS + DAY_MS)).toEqual([1]);
    });
  });
}
