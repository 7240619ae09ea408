import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import type { Kv } from '../../daemon/store/kv.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import type { StoredTally } from '../../daemon/store/mail-records.ts';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { createMailSweep, type MailSweep } from '../../daemon/store/mail-sweep.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { COPY_AGE_MS_MAX } from '../../protocol/limits.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import {
  ada,
  bob,
  BOOT,
  HERE,
  id,
  incoming,
  NOBODY,
  NOW,
  numbersTo,
  outgoing,
  receipt,
  receive,
  statusOf,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';

const DAY_MS = 24 * 3_600_000;
const LATER = NOW + 8 * DAY_MS;
const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);

describe.each(['memory', 'LevelDB'])('the sweep of the history in %s', (where) => {
  let kv: Kv | undefined;
  let journal: Journal;
  let store: MailStore;
  let sweep: MailSweep;
  let folder: string | undefined;

  const open = async () => {
    if (where === 'LevelDB') kv = await openLevelKv((folder ??= await mkdtemp(join(tmpdir(), 'sweep-'))));
    else kv ??= new MemoryKv();
    journal = new Journal(kv, seal);
    store = createKvMailStore(journal, HERE, () => ({ id: id(0xfff), nowMs: NOW }));
    sweep = createMailSweep(journal);
  };
  beforeEach(open);
  afterEach(async () => {
    await journal.close();
    if (folder) await rm(folder, { recursive: true, force: true });
    [kv, folder] = [undefined, undefined];
  });

  /** Sweeps what is older than `beforeMs` until there is no next; says what each batch removed. */
  const sweepAll = async (beforeMs = NOW + 1, nowMs = LATER): Promise<number[]> => {
    const batches: number[] = [];
    for (let after: number | undefined = 0; after !== undefined;) {
      const done: Awaited<ReturnType<MailSweep['history']>> = await sweep.history(
        ada.id,
        { beforeMs, nowMs },
        after,
      );
      batches.push(done.removed);
      after = done.next;
    }
    return batches;
  };
  const forgetAll = async (nowMs: number): Promise<number> => {
    let removed = 0;
    for (let after: string | undefined = ''; after !== undefined;) {
      const done: Awaited<ReturnType<MailSweep['forget']>> = await sweep.forget(nowMs, after);
      removed += done.removed;
      after = done.next;
    }
    return removed;
  };
  const numbers = async () => (await store.history(ada.id, 1_000)).map(({ number }) => number).toReversed();
  const keys = async (prefix: string) =>
    (await kv!.range({ from: `${prefix}/`, to: `${prefix}0` })).map(([name]) => name);
  const tally = () => journal.get<StoredTally>(`tally/${ada.id}`);
  const read = async (count: number) => {
    await store.show(ada.id, count, NOBODY, NOW);
    await store.confirm(ada.id, numbersTo(count), NOW);
  };

  test('takes what is old and done with, and says how far it came', async () => {
    for (const message of [1, 2, 3]) await receive(store, incoming(message, message));
    await read(2);
    await receive(store, incoming(4, 4, {}, { nowMs: NOW + 1 }));
    expect(await sweep.agents()).toEqual([ada.id]);
    expect(await sweepAll()).toEqual([2]);
    expect(await numbers()).toEqual([3, 4]);
    expect(await tally()).toMatchObject({ pending: 2, number: 4, floor: 3 });
    expect(await statusOf(store, 1)).toBeUndefined();
  });

  test('never takes what is unread, deferred or in the outbox; takes it when that is over', async () => {
    await receive(store, incoming(1, 1));
    await receive(store, incoming(2, 2));
    await store.mark(ada.id, { messageId: id(2), status: 'deferred' }, BOOT, NOW);
    await store.accept(outgoing(3));
    const { number } = (await store.outboxPage(THERE, 0, 10, 1e6)).find(
      ({ letter }) => letter.k === 'message',
    )!;
    expect(await sweepAll(LATER)).toEqual([0]);
    expect(await numbers()).toEqual([1, 2, 3]);
    expect(await keys('kept')).toHaveLength(3);
    expect((await store.pending(ada.id, 9)).map(({ number: one }) => one)).toEqual([1]);
    expect((await store.deferred(ada.id, 9)).map(({ number: one }) => one)).toEqual([2]);
    await store.settle(THERE, number, receipt(3, 'delivered'));
    await store.mark(ada.id, { messageId: id(2), status: 'replied' }, BOOT, NOW);
    await store.confirm(ada.id, [1], NOW);
    expect(await sweepAll(LATER)).toEqual([3, 0]);
    expect([await numbers(), await keys('kept')]).toEqual([[], []]);
    expect(await tally()).toMatchObject({ pending: 0, deferred: 0, number: 3, floor: 3 });
  });

  test('counts from when it was shown', async () => {
    await receive(store, incoming(1, 1));
    await sweepAll();
    await store.show(ada.id, 1, NOBODY, LATER);
    await store.confirm(ada.id, [1], LATER);
    expect(await sweepAll(LATER)).toEqual([0, 0]);
    expect(await sweepAll(LATER + 1, LATER + 2)).toEqual([1, 0]);
  });

  test('goes past what its clock has not reached', async () => {
    await receive(store, incoming(1, 1, {}, { nowMs: LATER + DAY_MS }));
    await receive(store, incoming(2, 2));
    await read(2);
    expect(await sweepAll()).toEqual([1]);
    expect(await numbers()).toEqual([1]);
    expect(await sweepAll(LATER + 2 * DAY_MS, LATER + 9 * DAY_MS)).toEqual([1, 0]);
  });

  test('takes at most 200 at once, and less of what is long', async () => {
    for (const message of numbersTo(450)) await store.receive(incoming(message, message));
    await read(450);
    expect(await sweepAll()).toEqual([200, 200, 50]);
    const content = '\u5165'.repeat(50_000);
    for (const message of numbersTo(40))
      await store.accept(
        outgoing(1_000 + message, {
          content,
          copies: [{ id: id(1_000 + message), to: ada, machine: HERE.peerId }],
        }),
      );
    for (const message of numbersTo(40))
      await store.mark(ada.id, { messageId: id(1_000 + message), status: 'replied' }, BOOT, NOW);
    const batches = await sweepAll();
    expect(batches.reduce((sum, count) => sum + count)).toBe(40);
    expect(batches.length).toBeGreaterThan(1);
  });

  test('finds what is kept in slices too', async () => {
    for (const message of numbersTo(450)) await store.receive(incoming(message, message));
    expect(await sweepAll()).toEqual([0, 0, 0]);
    await store.confirm(ada.id, numbersTo(450), NOW);
    expect(await sweepAll()).toEqual([200, 200, 50, 0]);
  });

  test('a copy that comes late is not shown again, until no copy can come', async () => {
    await receive(store, incoming(1, 1));
    await read(1);
    await receive(store, incoming(2, 2));
    await store.receiveUnsend(unsending(2));
    await sweepAll();
    expect(await numbers()).toEqual([]);
    expect(await receive(store, incoming(1, 1))).toEqual({ state: 'delivered', released: [] });
    expect(await receive(store, incoming(2, 2))).toEqual({ state: 'unsent', released: [] });
    expect((await store.receiveUnsend(unsending(1))).state).toBe('read');
    expect(await forgetAll(LATER + COPY_AGE_MS_MAX)).toBe(0);
    expect(await store.knows(ada.id, id(1))).toBe(true);
    expect(await forgetAll(LATER + COPY_AGE_MS_MAX + 2 * DAY_MS)).toBe(2);
    expect([await keys('known'), await keys('forget')]).toEqual([[], []]);
  });

  test('marks that are in no history are forgotten as well', async () => {
    await receive(store, voided(1, 1));
    await store.receiveUnsend(unsending(2));
    await receive(store, voided(3, 9));
    await store.giveUpGaps(NOW + DAY_MS);
    expect(await forgetAll(NOW + COPY_AGE_MS_MAX)).toBe(0);
    expect(await keys('known')).toHaveLength(3);
    expect(await forgetAll(NOW + COPY_AGE_MS_MAX + 3 * DAY_MS)).toBe(3);
    expect(await keys('known')).toEqual([]);
  });

  test('what was sent, and notices, leave nothing behind', async () => {
    await store.accept(outgoing(1));
    await store.refuse(THERE, 1, 'not_member');
    await store.confirm(ada.id, [2], NOW);
    expect(await sweepAll()).toEqual([2]);
    expect([await keys('known'), await keys('forget')]).toEqual([[], []]);
    expect(await store.receiveReceipts('a'.repeat(64), [receipt(1, 'read')])).toEqual([]);
  });

  test('what ended stays for as long as the notice of it', async () => {
    await store.accept(outgoing(1, { nowMs: NOW - 8 * DAY_MS }));
    await store.expire(THERE, NOW, 0, () => true);
    expect(await sweepAll(NOW)).toEqual([0]);
    expect(await statusOf(store, 1)).toBe('expired');
  });

  test('a reply to what is gone is taken', async () => {
    await store.accept(outgoing(1));
    await store.settle(THERE, 1, receipt(1, 'read'));
    await sweepAll();
    expect(await receive(store, incoming(9, 1, { reply_to: id(1) }))).toMatchObject({ released: [id(9)] });
    const answer = { ...outgoing(10), mark: { messageId: id(1), status: 'replied' as const } };
    await expect(store.accept(answer)).rejects.toMatchObject({ code: 'unknown_message' });
    expect(await store.find(bob.id, id(1))).toBeUndefined();
  });

  test('survives a restart and gives space back', async () => {
    for (const message of numbersTo(30)) await store.receive(incoming(message, message));
    await read(30);
    await sweepAll();
    await sweep.compact();
    if (where === 'LevelDB') {
      await journal.close();
      await open();
    }
    expect(await numbers()).toEqual([]);
    expect(await sweepAll()).toEqual([0, 0]);
    expect(await receive(store, incoming(31, 31))).toMatchObject({ released: [id(31)] });
    expect(await tally()).toMatchObject({ number: 31, floor: 30, pending: 1 });
  });
});
