import { base58btc } from 'multiformats/bases/base58';
import { describe, expect, test } from 'vitest';
import type { HeldStore } from '../../daemon/store/held-store.ts';
import { FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import {
  BOB,
  CYD,
  deposit,
  DEPOSITOR,
  envelope,
  hashOf,
  holdAll,
  NOW,
  NS,
  numbersTo,
  offered,
  OTHER_NS,
  preimage,
  refusal,
  type At,
} from './held-store-fixture.ts';

/** The part of the held store suite that is about what is kept and offered. */
export function holdTests({ store, world }: At): void {
  describe('holding', () => {
    test('keeps an envelope, byte for byte', async () => {
      await holdAll(store(), [1]);
      expect(await store().envelope(BOB, hashOf(1))).toEqual(envelope(1));
      expect(await store().tally()).toEqual({ count: 1, sizeBytes: 100 });
      expect(await store().recipients()).toEqual([{ ns: NS, to: BOB, count: 1, sizeBytes: 100 }]);
    });

    test('keeps one envelope once, whoever leaves it again, and its first withdrawal', async () => {
      await holdAll(store(), [1, 2]);
      const again = deposit(1, { depositor: CYD, withdraw: deposit(3).withdraw, nowMs: NOW + 1 });
      expect(await store().hold(again)).toEqual({ held: true, hash: hashOf(1) });
      expect(await offered(store())).toEqual([1, 2]);
      expect(await store().tally()).toEqual({ count: 2, sizeBytes: 200 });
      expect(await store().withdraw(preimage(3))).toBe(false);
      expect(await store().withdraw(preimage(1))).toBe(true);
    });

    test('keeps one once when two leave it at the same time', async () => {
      const both = await Promise.all(numbersTo(20).map(() => store().hold(deposit(1))));
      expect(both).toEqual(numbersTo(20).map(() => ({ held: true, hash: hashOf(1) })));
      expect(await offered(store())).toEqual([1]);
    });

    test('keeps what was dropped when it is left again, in a new place', async () => {
      await holdAll(store(), [1, 2]);
      await store().drop(BOB, [hashOf(1)]);
      await holdAll(store(), [1]);
      expect(await offered(store())).toEqual([2, 1]);
    });

    test('keeps what fits one frame', async () => {
      const sizeBytes = FRAME_SIZE_BYTES_MAX;
      await holdAll(store(), [1], { sizeBytes });
      expect(await store().envelope(BOB, hashOf(1, sizeBytes))).toEqual(envelope(1, sizeBytes));
      await holdAll(store(), [2], { sizeBytes: 1 });
      expect(await store().tally()).toEqual({ count: 2, sizeBytes: sizeBytes + 1 });
    });

    test('shows it to its recipient only', async () => {
      await holdAll(store(), [1]);
      await holdAll(store(), [2], { to: CYD });
      await holdAll(store(), [3], { ns: OTHER_NS });
      expect(await store().envelope(CYD, hashOf(1))).toBeUndefined();
      expect(await store().envelope(BOB, hashOf(9))).toBeUndefined();
      expect([await offered(store()), await offered(store(), NS, CYD)]).toEqual([[1], [2]]);
      expect([await offered(store(), OTHER_NS), await offered(store(), OTHER_NS, CYD)]).toEqual([[3], []]);
      expect(await store().recipients()).toEqual(
        [
          { ns: NS, to: BOB, count: 1, sizeBytes: 100 },
          { ns: NS, to: CYD, count: 1, sizeBytes: 100 },
          { ns: OTHER_NS, to: BOB, count: 1, sizeBytes: 100 },
        ].sort((a, b) => (a.ns + a.to < b.ns + b.to ? -1 : 1)),
      );
    });

    test('keeps one envelope for each of two machines', async () => {
      await holdAll(store(), [1]);
      await holdAll(store(), [1], { to: CYD });
      await store().drop(BOB, [hashOf(1)]);
      expect(await store().envelope(CYD, hashOf(1))).toEqual(envelope(1));
      expect(await store().tally()).toEqual({ count: 1, sizeBytes: 100 });
    });

    test('survives a restart, tallies and numbers too', async () => {
      await holdAll(store(), [1, 2, 3]);
      const before = await store().offers(BOB, NS, 0, 10);
      await store().drop(BOB, [hashOf(2), hashOf(3)]);
      const again = await world().reopen();
      expect(await again.tally()).toEqual({ count: 1, sizeBytes: 100 });
      expect(await again.recipients()).toEqual([{ ns: NS, to: BOB, count: 1, sizeBytes: 100 }]);
      expect(await again.envelope(BOB, hashOf(1))).toEqual(envelope(1));
      await holdAll(again, [1, 4]);
      const after = await again.offers(BOB, NS, 0, 10);
      expect(after.map(({ hash }) => hash)).toEqual([hashOf(1), hashOf(4)]);
      expect(after[0]).toEqual(before[0]);
      expect(after[1]!.number).toBeGreaterThan(before[2]!.number);
    });
  });
}

export function offerTests({ store }: At): void {
  describe('offers', () => {
    test('are in the order of deposit, whatever the hashes', async () => {
      const numbers = numbersTo(50).reverse();
      await holdAll(store(), numbers);
      expect(await offered(store())).toEqual(numbers);
      for (const limit of [1, 7, 50, 51]) expect(await offered(store(), NS, BOB, limit)).toEqual(numbers);
    });

    test('say how long each is', async () => {
      await store().hold(deposit(1, { sizeBytes: 7 }));
      const [offer] = await store().offers(BOB, NS, 0, 10);
      expect(offer).toEqual({ number: offer!.number, hash: hashOf(1, 7), sizeBytes: 7 });
      expect(await store().offers(BOB, NS, offer!.number, 10)).toEqual([]);
    });

    test('are all seen by a cursor while others arrive and leave', async () => {
      const seen: string[] = [];
      let after = 0;
      const holding = numbersTo(300).map((number) => store().hold(deposit(number)));
      let isHeld = false;
      const all = Promise.all(holding).then(() => (isHeld = true));
      for (;;) {
        const isLast = isHeld;
        const page = await store().offers(BOB, NS, after, 7);
        for (const { number, hash } of page) {
          expect(number).toBeGreaterThan(after);
          after = number;
          seen.push(String(hash));
        }
        if (page.length > 0) await store().drop(BOB, [page[0]!.hash]);
        else if (isLast) break;
      }
      await all;
      expect(seen).toEqual(numbersTo(300).map((number) => String(hashOf(number))));
    });

    test('are never of what a failed page skipped: deposits of one moment keep the order they came in', async () => {
      await Promise.all(numbersTo(100).map((number) => store().hold(deposit(number))));
      expect(await offered(store())).toEqual(numbersTo(100));
    });
  });
}

export function secrecyTests({ store, world }: At): void {
  test('no key and no value names the depositor, even to whoever has the store key', async () => {
    await holdAll(store(), numbersTo(5));
    await store().hold(deposit(1));
    await store().drop(BOB, [hashOf(2)]);
    await store().withdraw(preimage(3));
    const everything = await world().everything();
    expect(everything.length).toBeGreaterThan(3 * 5);
    const key = Buffer.from(base58btc.baseDecode(DEPOSITOR)).subarray(-32);
    const traces = [DEPOSITOR, key, key.toString('hex'), key.toString('base64'), key.toString('base64url')];
    const isIn = (trace: string | Buffer) => everything.some((bytes) => Buffer.from(bytes).includes(trace));
    for (const trace of traces) expect(isIn(trace)).toBe(false);
    // The search does find what is there.
    for (const trace of [BOB, NS, Buffer.from(hashOf(4)), Buffer.from(envelope(4))])
      expect(isIn(trace)).toBe(true);
  });
}

export function argumentTests({ store }: At): void {
  const bad = [1.5, -1, Number.NaN, Infinity];
  const calls: [what: string, call: (store: HeldStore) => Promise<unknown>][] = [
    ['no envelope', (store) => store.hold(deposit(1, { envelope: new Uint8Array(0) }))],
    ['an envelope too long', (store) => store.hold(deposit(1, { sizeBytes: FRAME_SIZE_BYTES_MAX + 1 }))],
    ['a short withdrawal', (store) => store.hold(deposit(1, { withdraw: new Uint8Array(31) }))],
    ['a long withdrawal', (store) => store.hold(deposit(1, { withdraw: new Uint8Array(33) }))],
    ['a namespace with a slash', (store) => store.hold(deposit(1, { ns: `${NS.slice(1)}/` }))],
    ['a namespace that is none', (store) => store.hold(deposit(1, { ns: 'team' }))],
    ['a machine that is none', (store) => store.hold(deposit(1, { to: `${BOB}/` }))],
    ['a time that is none', (store) => store.hold(deposit(1, { nowMs: Number.NaN }))],
    ['a time before 1970', (store) => store.hold(deposit(1, { nowMs: -1 }))],
    ['offers of no machine', (store) => store.offers('bob', NS, 0, 1)],
    ['offers of no namespace', (store) => store.offers(BOB, '', 0, 1)],
    ...bad.map((after): (typeof calls)[number] => [
      `offers after ${after}`,
      (store) => store.offers(BOB, NS, after, 1),
    ]),
    ...[...bad, 0, 501].flatMap((limit): typeof calls => [
      [`offers up to ${limit}`, (store) => store.offers(BOB, NS, 0, limit)],
      [`a sweep of ${limit}`, (store) => store.sweep(NOW, limit)],
    ]),
    ['an envelope of no machine', (store) => store.envelope('', hashOf(1))],
    ['an envelope of a short hash', (store) => store.envelope(BOB, hashOf(1).subarray(1))],
    ['a drop for no machine', (store) => store.drop('', [hashOf(1)])],
    ['a drop of a short hash', (store) => store.drop(BOB, [hashOf(1).subarray(1)])],
    [
      'a drop of too many',
      (store) =>
        store.drop(
          BOB,
          numbersTo(501).map(() => hashOf(1)),
        ),
    ],
    ['a short preimage', (store) => store.withdraw(preimage(1).subarray(1))],
    ['no namespace to drop', (store) => store.dropNamespace('')],
    ['no machine to drop', (store) => store.dropNamespace(NS, '')],
    ['a sweep at no time', (store) => store.sweep(Number.NaN, 1)],
  ];
  test.for(calls)('refuses %s', async ([, call]) => {
    await holdAll(store(), [1]);
    await expect(call(store())).rejects.toThrow(refusal('invalid_input'));
    expect(await offered(store())).toEqual([1]);
  });
}
