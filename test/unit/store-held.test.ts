import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { DepositorBudget } from '../../daemon/store/depositor-budget.ts';
import { heldKey, tallyKeys } from '../../daemon/store/held-records.ts';
import type { HeldStore, HeldTally } from '../../daemon/store/held-store.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createKvHeldStore, type HeldBounds } from '../../daemon/store/kv-held-store.ts';
import type { Kv } from '../../daemon/store/kv.ts';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { encode } from '../../protocol/codec.ts';
import {
  FRAME_SIZE_BYTES_MAX,
  MAILBOX_COUNT_MAX,
  MAILBOX_DEPOSITOR_COUNT_MAX,
  MAILBOX_DEPOSITOR_SIZE_BYTES_MAX,
  MAILBOX_NAMESPACE_SIZE_BYTES_MAX,
  MAILBOX_RECIPIENT_COUNT_MAX,
  MAILBOX_RECIPIENT_SIZE_BYTES_MAX,
  MAILBOX_SIZE_BYTES_MAX,
} from '../../protocol/limits.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { auditHeld } from './held-audit.ts';
import {
  BOB,
  deposit,
  DEPOSITOR,
  FULL,
  holdAll,
  LARGE,
  machine,
  NOW,
  NS,
  numbersTo,
  refusal,
  type HeldStoreWorld,
} from './held-store-fixture.ts';
import { heldStoreSuite } from './held-store-suite.ts';

const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
const bounded = (bounds: Partial<HeldBounds>): HeldBounds => ({
  recipient: LARGE,
  namespaceSizeBytes: LARGE.sizeBytes,
  whole: LARGE,
  depositor: LARGE,
  ...bounds,
});

/** A held store over whatever `open` opens; a second time, what it opened before. */
async function worldOver(
  open: () => Promise<Kv>,
  clear: () => Promise<void>,
  bounds?: Partial<HeldBounds>,
): Promise<HeldStoreWorld> {
  let kv: Kv;
  let journal: Journal;
  const openStore = async (): Promise<HeldStore> => {
    kv = await open();
    journal = new Journal(kv, seal);
    return bounds ? createKvHeldStore(journal, { bounds: bounded(bounds) }) : createKvHeldStore(journal);
  };
  const world: HeldStoreWorld = {
    store: await openStore(),
    async reopen() {
      await journal.close();
      world.store = await openStore();
      return world.store;
    },
    audit: () => auditHeld(journal),
    async everything() {
      const entries = await kv.range({ from: '', to: '~' });
      return entries.flatMap(([key, value]) => [Buffer.from(key), value, encode(seal.open(key, value))]);
    },
    async teardown() {
      await journal.close();
      await clear();
    },
  };
  return world;
}

heldStoreSuite('in memory', async (bounds) => {
  const kv = new MemoryKv();
  return worldOver(
    async () => kv,
    async () => undefined,
    bounds,
  );
});

heldStoreSuite('in LevelDB', async (bounds) => {
  const folder = await mkdtemp(join(tmpdir(), 'patchcord-held-'));
  return worldOver(
    () => openLevelKv(folder),
    () => rm(folder, { recursive: true, force: true }),
    bounds,
  );
});

describe('a mailbox by default', () => {
  const [whole, namespace, recipient] = tallyKeys(NS, BOB);
  const LESS = { count: 0, sizeBytes: 0 };

  test.for<[what: string, tallyKey: string, almost: HeldTally]>([
    ['10,000 for a machine', recipient, { ...LESS, count: MAILBOX_RECIPIENT_COUNT_MAX - 1 }],
    ['64 MiB for a machine', recipient, { ...LESS, sizeBytes: MAILBOX_RECIPIENT_SIZE_BYTES_MAX - 100 }],
    ['256 MiB for a namespace', namespace, { ...LESS, sizeBytes: MAILBOX_NAMESPACE_SIZE_BYTES_MAX - 100 }],
    ['100,000 in all', whole, { ...LESS, count: MAILBOX_COUNT_MAX - 1 }],
    ['1 GiB in all', whole, { ...LESS, sizeBytes: MAILBOX_SIZE_BYTES_MAX - 100 }],
  ])('takes %s and no more', async ([, tallyKey, almost]) => {
    const journal = new Journal(new MemoryKv(), seal);
    const store = createKvHeldStore(journal);
    await journal.transact(async (tx) => tx.put(tallyKey, almost));
    await holdAll(store, [1]);
    expect(await store.hold(deposit(2, { sizeBytes: 1 }))).toEqual(FULL);
  });

  test('takes 128 MiB an hour of one machine and no more', async () => {
    const store = createKvHeldStore(new Journal(new MemoryKv(), seal));
    const sizeBytes = FRAME_SIZE_BYTES_MAX;
    const most = MAILBOX_DEPOSITOR_SIZE_BYTES_MAX / sizeBytes;
    const to = (number: number) => (number % 2 ? BOB : machine(3));
    for (const number of numbersTo(most)) await store.hold(deposit(number, { sizeBytes, to: to(number) }));
    expect((await store.tally()).count).toBe(most);
    expect(await store.hold(deposit(0, { to: machine(4) }))).toEqual(FULL);
    expect(await store.hold(deposit(0, { to: machine(4), depositor: machine(78) }))).toMatchObject({
      held: true,
    });
  });

  test('takes 10,000 an hour of one machine and no more', () => {
    const budget = new DepositorBudget(MAILBOX_DEPOSITOR_COUNT_MAX, MAILBOX_DEPOSITOR_SIZE_BYTES_MAX);
    for (let number = 0; number < 10_000; number++)
      expect(budget.spend(DEPOSITOR, 1, NOW + number)).toBeDefined();
    expect(budget.spend(DEPOSITOR, 1, NOW + 10_000)).toBeUndefined();
  });
});

describe('a mailbox on a bad disk', () => {
  test('charges nobody for what could not be written', async () => {
    const kv = new MemoryKv();
    let isFull = true;
    const flaky: Kv = {
      get: (key) => kv.get(key),
      range: (range) => kv.range(range),
      write: async (operations, options) => {
        if (isFull) throw new Error('no space left');
        await kv.write(operations, options);
      },
      close: () => kv.close(),
    };
    const journal = new Journal(flaky, seal);
    const store = createKvHeldStore(journal, { bounds: bounded({ depositor: { ...LARGE, count: 2 } }) });
    for (const number of [1, 2, 3])
      await expect(store.hold(deposit(number))).rejects.toThrow('no space left');
    isFull = false;
    await holdAll(store, [1, 2]);
    expect(await store.hold(deposit(3))).toEqual(FULL);
    await auditHeld(journal);
  });

  test('notices a damaged record, names it, and still drops the envelope that cannot be read', async () => {
    const kv = new MemoryKv();
    const journal = new Journal(kv, seal);
    await holdAll(createKvHeldStore(journal), [1, 2]);
    const store = createKvHeldStore(new Journal(kv, seal));
    const damaged = (await kv.get(heldKey.envelope(1)))!.with(40, 0);
    await kv.write([{ key: heldKey.envelope(1), value: damaged }], { sync: true });
    const [first] = await store.offers(BOB, NS, 0, 1);
    await expect(store.envelope(BOB, first!.hash)).rejects.toThrow(refusal('store_damaged'));
    expect(await store.drop(BOB, [first!.hash])).toBe(1);
  });

  test('writes each deposit and each removal in one synced batch, and gathers what comes together', async () => {
    const kv = new MemoryKv();
    const writes: boolean[] = [];
    const counted: Kv = {
      get: (key) => kv.get(key),
      range: (range) => kv.range(range),
      write: async (operations, options) => {
        writes.push(options.sync);
        await new Promise((resolve) => setImmediate(resolve));
        await kv.write(operations, options);
      },
      close: () => kv.close(),
    };
    const store = createKvHeldStore(new Journal(counted, seal));
    await holdAll(store, [1]);
    const offers = await store.offers(BOB, NS, 0, 10);
    await store.drop(
      BOB,
      offers.map(({ hash }) => hash),
    );
    expect(writes).toEqual([true, true]);
    await Promise.all(numbersTo(200).map((number) => store.hold(deposit(number))));
    expect(writes.length).toBeLessThan(50);
    expect(writes.every(Boolean)).toBe(true);
  });
});

describe('the budget of depositors', () => {
  const MINUTE_MS = 60_000;

  test('slides: what was left first is free first', () => {
    const budget = new DepositorBudget(60, LARGE.sizeBytes);
    for (let minute = 0; minute < 60; minute++)
      expect(budget.spend(DEPOSITOR, 1, NOW + minute * MINUTE_MS)).toBeDefined();
    expect(budget.spend(DEPOSITOR, 1, NOW + 60 * MINUTE_MS)).toBeUndefined();
    expect(budget.spend(DEPOSITOR, 1, NOW + 61 * MINUTE_MS)).toBeDefined();
    expect(budget.spend(DEPOSITOR, 1, NOW + 61 * MINUTE_MS)).toBeUndefined();
  });

  test('is not won back by setting the clock back, and not lost for longer than an hour', () => {
    const budget = new DepositorBudget(1, LARGE.sizeBytes);
    const before = NOW - 30 * 24 * 3_600_000;
    expect(budget.spend(DEPOSITOR, 1, NOW)).toBeDefined();
    expect(budget.spend(DEPOSITOR, 1, before)).toBeUndefined();
    expect(budget.spend(DEPOSITOR, 1, before + 61 * MINUTE_MS)).toBeDefined();
  });

  test('gives back what failed', () => {
    const budget = new DepositorBudget(1, 10);
    budget.spend(DEPOSITOR, 10, NOW)!.giveBack();
    expect(budget.spend(DEPOSITOR, 10, NOW)).toBeDefined();
  });

  test('forgets those whose hour is over', () => {
    const budget = new DepositorBudget(5, 100);
    for (const number of numbersTo(100)) budget.spend(`depositor ${number}`, 1, NOW);
    expect(budget.size).toBe(100);
    budget.spend('depositor 1', 1, NOW + 30 * MINUTE_MS);
    budget.spend(DEPOSITOR, 1, NOW + 61 * MINUTE_MS);
    expect(budget.size).toBe(2);
  });
});
