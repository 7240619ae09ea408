import { beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import { key, readTally } from '../../daemon/store/mail-records.ts';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { INBOX_SENDER_MAX, INBOX_SIZE_BYTES_MAX, OUTBOX_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import {
  ada,
  bob,
  BOOT,
  cyd,
  ELSEWHERE,
  HERE,
  id,
  incoming,
  NOBODY,
  NOW,
  outgoing,
  receipt,
  receive,
  statusOf,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';
import { newNotice } from './new-notice.ts';

let journal: Journal;
let store: MailStore;
beforeEach(() => {
  journal = new Journal(new MemoryKv(), createRecordSeal(new Uint8Array(32), systemRandom.bytes));
  store = createKvMailStore(journal, HERE, newNotice);
});

const FULL = { taken: false, code: 'mailbox_full', retry: true };
const fromCyd = (message: number, seq: number) =>
  incoming(message, seq, { from: cyd }, { machine: ELSEWHERE });
const pretend = (name: string, value: unknown) => journal.transact(async (tx) => tx.put(name, value));
const unread = async () => ({
  bob: await journal.get<number>(key.unread(ada.id, bob.id)),
  cyd: await journal.get<number>(key.unread(ada.id, cyd.id)),
  sizeBytes: (await readTally(journal, ada.id)).pendingSizeBytes,
});

describe('what one sender may have unread', () => {
  test('is a share: past it that one is refused for now, and nobody else', async () => {
    for (const message of [1, 2]) await receive(store, incoming(message, message));
    await pretend(key.unread(ada.id, bob.id), INBOX_SENDER_MAX);
    expect(await store.receive(incoming(3, 3))).toEqual(FULL);
    expect(await store.receive(incoming(4, 9))).toEqual(FULL);
    expect(await statusOf(store, 1)).toBe('pending');
    expect(await receive(store, fromCyd(11, 1))).toMatchObject({ released: [id(11)] });
    expect(await receive(store, incoming(3, 1, { to: cyd }))).toMatchObject({ state: 'delivered' });
    expect(await receive(store, voided(3, 3))).toMatchObject({ state: 'unsent' });
  });

  test.each([
    ['reads', () => store.confirm(ada.id, [1], NOW)],
    ['defers', () => store.mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW)],
    ['answers', () => store.mark(ada.id, { messageId: id(1), status: 'replied' }, BOOT, NOW)],
    ['is taken back from', () => store.receiveUnsend(unsending(1))],
  ])('has room again when the agent %s', async (_what, make) => {
    await receive(store, incoming(1, 1));
    await pretend(key.unread(ada.id, bob.id), INBOX_SENDER_MAX);
    await make();
    expect(await receive(store, incoming(2, 2))).toMatchObject({ released: [id(2)] });
    expect(await store.receive(incoming(3, 3))).toEqual(FULL);
  });
});

describe('the counts', () => {
  test('follow what is unread', async () => {
    await receive(store, incoming(1, 1, { content: '\u5165\u53e3' }));
    await receive(store, incoming(2, 2, { content: 'four' }));
    await receive(store, incoming(4, 4, { content: 'held back' }));
    await receive(store, fromCyd(11, 1));
    expect(await unread()).toEqual({ bob: 2, cyd: 1, sizeBytes: 6 + 4 + 10 });
    await receive(store, incoming(3, 3, { content: '' }));
    expect(await unread()).toEqual({ bob: 4, cyd: 1, sizeBytes: 29 });
    await store.receiveUnsend(unsending(2));
    await store.show(ada.id, 10, NOBODY, NOW);
    await store.confirm(ada.id, [1, 3, 4, 4], NOW);
    expect(await unread()).toEqual({ bob: 1, cyd: undefined, sizeBytes: 9 });
    for (const status of ['deferred', 'replied'] as const)
      await store.mark(ada.id, { messageId: id(4), status }, BOOT, NOW);
    expect(await unread()).toEqual({ bob: undefined, cyd: undefined, sizeBytes: 0 });
  });

  test('leave notices out', async () => {
    await store.accept(outgoing(1));
    await store.refuse(THERE, 1, 'not_member');
    expect(await store.tally(ada.id)).toEqual({ pending: 1, deferred: 0 });
    await store.confirm(ada.id, [2], NOW);
    expect(await unread()).toEqual({ bob: undefined, cyd: undefined, sizeBytes: undefined });
  });

  test('of an older store are no debt', async () => {
    await receive(store, incoming(1, 1));
    await pretend(key.tally(ada.id), { pending: 1, deferred: 0, number: 1 });
    await journal.transact(async (tx) => tx.delete(key.unread(ada.id, bob.id)));
    await store.confirm(ada.id, [1], NOW);
    expect(await unread()).toEqual({ bob: undefined, cyd: undefined, sizeBytes: 0 });
  });
});

test('an inbox takes so many bytes unread and no more', async () => {
  await receive(store, incoming(1, 1));
  const tally = await readTally(journal, ada.id);
  await pretend(key.tally(ada.id), { ...tally, pendingSizeBytes: INBOX_SIZE_BYTES_MAX - 4 });
  expect(await store.receive(incoming(2, 2, { content: 'fiver' }))).toEqual(FULL);
  expect(await receive(store, incoming(2, 2, { content: 'four' }))).toMatchObject({ released: [id(2)] });
  expect(await store.receive(fromCyd(11, 1))).toEqual(FULL);
  await store.confirm(ada.id, [1, 2], NOW);
  expect(await receive(store, fromCyd(11, 1))).toMatchObject({ released: [id(11)] });
});

describe('the outbox for one machine', () => {
  test('takes so many bytes and no more; other machines’ is another', async () => {
    await pretend(key.outboxSize(THERE), OUTBOX_SIZE_BYTES_MAX - 5);
    const copies = [
      { id: id(1), to: bob, machine: THERE },
      { id: id(2), to: cyd, machine: ELSEWHERE },
    ];
    expect((await store.accept(outgoing(1, { copies }))).copies).toEqual([
      { id: id(1), error: 'outbox_full' },
      { id: id(2), number: 1 },
    ]);
  });

  test('counts bytes in and out, also of what is taken back', async () => {
    for (const message of [1, 2, 3]) await store.accept(outgoing(message));
    const entries = await store.outboxPage(THERE, 0, 10, 1e6);
    const size = () => journal.get<number>(key.outboxSize(THERE));
    expect(await size()).toBe(entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    await store.settle(THERE, 1, receipt(1, 'read'));
    const request = { agent: ada.id, boot: BOOT };
    await store.takeBack({ ...request, messageId: id(2), neverLeft: () => true });
    await store.takeBack({ ...request, messageId: id(3), neverLeft: () => false });
    await store.markHeld(THERE, 2, ELSEWHERE);
    const left = await store.outboxPage(THERE, 0, 10, 1e6);
    expect(left).toHaveLength(2);
    expect(await size()).toBe(left.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    for (const { number } of left) await store.settle(THERE, number, undefined);
    expect(await size()).toBeUndefined();
  });
});
