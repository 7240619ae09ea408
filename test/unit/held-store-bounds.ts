import { describe, expect, test } from 'vitest';
import {
  BOB,
  CYD,
  deposit,
  DEPOSITOR,
  FULL,
  hashOf,
  holdAll,
  LARGE,
  machine,
  NOW,
  NS,
  numbersTo,
  offered,
  OTHER_NS,
  type At,
} from './held-store-fixture.ts';

/** The part of the held store suite that is about what a mailbox does not take. */
export function boundTests({ bounded }: At): void {
  describe('a full mailbox', () => {
    test('takes so many for one machine of a namespace', async () => {
      const { store } = await bounded({ recipient: { ...LARGE, count: 3 } });
      await holdAll(store, [1, 2, 3]);
      expect(await store.hold(deposit(4))).toEqual(FULL);
      await holdAll(store, [4], { to: CYD });
      await holdAll(store, [4], { ns: OTHER_NS, to: machine(4) });
      expect(await offered(store)).toEqual([1, 2, 3]);
    });

    test('takes so many bytes for one machine of a namespace, to the last', async () => {
      const { store } = await bounded({ recipient: { ...LARGE, sizeBytes: 1_000 } });
      await holdAll(store, [1], { sizeBytes: 900 });
      expect(await store.hold(deposit(2, { sizeBytes: 101 }))).toEqual(FULL);
      await holdAll(store, [2], { sizeBytes: 100 });
      expect(await store.hold(deposit(3, { sizeBytes: 1 }))).toEqual(FULL);
      await holdAll(store, [3], { to: CYD });
    });

    test('takes so many bytes for a namespace', async () => {
      const { store } = await bounded({ namespaceSizeBytes: 250 });
      await holdAll(store, [1]);
      await holdAll(store, [2], { to: CYD });
      expect(await store.hold(deposit(3, { to: machine(4) }))).toEqual(FULL);
      await holdAll(store, [3], { ns: OTHER_NS });
      await store.drop(CYD, [hashOf(2)]);
      await holdAll(store, [4], { to: machine(4) });
    });

    test('takes so many, and so many bytes, in all', async () => {
      const few = await bounded({ whole: { ...LARGE, count: 2 } });
      const small = await bounded({ whole: { ...LARGE, sizeBytes: 299 } });
      for (const { store } of [few, small]) {
        await holdAll(store, [1]);
        await holdAll(store, [2], { ns: OTHER_NS, to: CYD });
        expect(await store.hold(deposit(3, { to: machine(4) }))).toEqual(FULL);
        expect(await store.tally()).toEqual({ count: 2, sizeBytes: 200 });
      }
    });

    test('still answers what it holds, pushes nothing out, and takes more when there is room', async () => {
      const { store } = await bounded({ recipient: { ...LARGE, count: 2 } });
      await holdAll(store, [1, 2]);
      for (const number of [3, 4, 5]) expect(await store.hold(deposit(number))).toEqual(FULL);
      await holdAll(store, [1, 2]);
      expect(await offered(store)).toEqual([1, 2]);
      await store.drop(BOB, [hashOf(1)]);
      await holdAll(store, [3]);
      expect(await store.hold(deposit(4))).toEqual(FULL);
    });

    test('takes exactly what fits when all come at once', async () => {
      const { store } = await bounded({ recipient: { ...LARGE, count: 10 } });
      const answers = await Promise.all(numbersTo(50).map((number) => store.hold(deposit(number))));
      expect(answers.map(({ held }) => held)).toEqual(numbersTo(50).map((number) => number <= 10));
    });

    test('is as full after a restart', async () => {
      const world = await bounded({ recipient: { ...LARGE, count: 2 } });
      await holdAll(world.store, [1, 2]);
      const again = await world.reopen();
      expect(await again.hold(deposit(3))).toEqual(FULL);
    });
  });
}

export function depositorTests({ bounded }: At): void {
  const HOUR_MS = 3_600_000;
  const MINUTE_MS = 60_000;

  describe('one depositor', () => {
    test('leaves so many an hour, for whomever', async () => {
      const { store } = await bounded({ depositor: { ...LARGE, count: 3 } });
      await holdAll(store, [1]);
      await holdAll(store, [2], { to: CYD });
      await holdAll(store, [3], { ns: OTHER_NS });
      expect(await store.hold(deposit(4))).toEqual(FULL);
      await holdAll(store, [4], { depositor: machine(78) });
      expect(await store.hold(deposit(5, { nowMs: NOW + HOUR_MS }))).toEqual(FULL);
      await holdAll(store, [5], { nowMs: NOW + HOUR_MS + MINUTE_MS });
    });

    test('leaves so many bytes an hour, and a smaller one still fits', async () => {
      const { store } = await bounded({ depositor: { ...LARGE, sizeBytes: 250 } });
      await holdAll(store, [1, 2]);
      expect(await store.hold(deposit(3))).toEqual(FULL);
      await holdAll(store, [3], { sizeBytes: 50 });
    });

    test('is not charged for what is held already or was not taken', async () => {
      const { store } = await bounded({
        depositor: { ...LARGE, count: 3 },
        recipient: { ...LARGE, count: 1 },
      });
      await holdAll(store, [1, 1, 1, 1, 1]);
      for (const number of numbersTo(10, 2)) expect(await store.hold(deposit(number))).toEqual(FULL);
      await holdAll(store, [2], { to: CYD });
      await holdAll(store, [3], { ns: OTHER_NS });
      expect(await store.hold(deposit(4, { to: machine(4) }))).toEqual(FULL);
    });

    test('is charged though what it left is gone', async () => {
      const { store } = await bounded({ depositor: { ...LARGE, count: 2 } });
      await holdAll(store, [1, 2]);
      await store.drop(BOB, [hashOf(1), hashOf(2)]);
      expect(await store.hold(deposit(3))).toEqual(FULL);
    });

    test('begins anew with a restart', async () => {
      const world = await bounded({ depositor: { ...LARGE, count: 2 } });
      await holdAll(world.store, [1, 2]);
      expect(await world.store.hold(deposit(3))).toEqual(FULL);
      const again = await world.reopen();
      await holdAll(again, [3, 4]);
      expect(await again.hold(deposit(5))).toEqual(FULL);
    });

    test('leaves exactly as many when all come at once', async () => {
      const { store } = await bounded({ depositor: { ...LARGE, count: 10 } });
      const answers = await Promise.all(
        numbersTo(40).map((number) =>
          store.hold(deposit(number, { ns: number % 2 ? NS : OTHER_NS, depositor: DEPOSITOR })),
        ),
      );
      expect(answers.filter(({ held }) => held)).toHaveLength(10);
    });
  });
}
