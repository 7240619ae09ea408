import { describe, expect, test } from 'vitest';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { verifyReceipt } from '../../protocol/receipt.ts';
import {
  ada,
  type At,
  bob,
  BOOT,
  cyd,
  ELSEWHERE,
  HERE,
  id,
  incoming,
  NOBODY,
  NOW,
  NS,
  numbersTo,
  outboxOf,
  outgoing,
  pendingOf,
  receipt,
  receive,
  refusal,
  statusOf,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about what agents here do with what they have, and how much fits. */

export function readingTests({ world, store }: At): void {
  const arrive = async (...messages: number[]) => {
    for (const message of messages) await store().receive(incoming(message, message));
  };
  const shown = async (limit: number, except: readonly number[] = [], nowMs = NOW) =>
    (await store().show(ada.id, limit, new Set(except), nowMs)).map(({ number, shownAtMs }) => [
      number,
      shownAtMs,
    ]);

  describe('reading', () => {
    test('show gives the oldest first, without those excepted', async () => {
      await arrive(1, 2, 3, 4);
      expect(await shown(2)).toEqual([
        [1, undefined],
        [2, undefined],
      ]);
      expect(await shown(2, [1, 2])).toEqual([
        [3, undefined],
        [4, undefined],
      ]);
      expect(await shown(9, [1, 2, 3, 4])).toEqual([]);
    });

    test('show says of a message when it was first shown', async () => {
      await arrive(1);
      expect(await shown(1, [], NOW + 1)).toEqual([[1, undefined]]);
      expect(await shown(1, [], NOW + 2)).toEqual([[1, NOW + 1]]);
      expect(await shown(1, [], NOW + 3)).toEqual([[1, NOW + 1]]);
      expect(await store().tally(ada.id)).toEqual({ pending: 1, deferred: 0 });
    });

    test('pending marks nothing', async () => {
      await arrive(1);
      await store().pending(ada.id, 10);
      expect(await shown(1)).toEqual([[1, undefined]]);
    });

    test('confirm makes read, once, and its sender is told when asked for', async () => {
      await arrive(1, 2);
      expect(await store().confirm(ada.id, [1, 2], NOW)).toEqual({ owed: true });
      expect(await store().confirm(ada.id, [1, 2, 99], NOW)).toEqual({ owed: false });
      expect(await outboxOf(store())).toEqual([]);
      expect(await store().tellRead(BOOT, NOW + 1)).toEqual({ machines: [THERE], more: false });
      expect(await store().tellRead(BOOT, NOW + 1)).toEqual({ machines: [], more: false });
      expect([await statusOf(store(), 1), await statusOf(store(), 2)]).toEqual(['read', 'read']);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
      const [entry, ...others] = await outboxOf(store());
      expect(others).toEqual([]);
      const receipts = entry!.letter.k === 'receipts' ? entry!.letter.receipts.map(verifyReceipt) : [];
      expect(receipts.map((one) => [one.by, one.ns, one.id, one.sender, one.recipient, one.state])).toEqual(
        [1, 2].map((message) => [HERE.peerId, NS, id(message), bob.id, ada.id, 'read']),
      );
      // When it was read, not when that was told.
      expect([receipts[0]!.at, entry!.atMs]).toEqual([NOW, NOW + 1]);
    });

    test('what is owed to a sender outlives a crash', async () => {
      await arrive(1);
      await store().confirm(ada.id, [1], NOW);
      const again = await world().reopen();
      expect(await again.tellRead(BOOT, NOW)).toEqual({ machines: [THERE], more: false });
    });

    test('a look confirms and shows in one batch', async () => {
      await arrive(1, 2, 3);
      await shown(1);
      const looked = await store().look({ agent: ada.id, read: [1], limit: 1, except: NOBODY, nowMs: NOW });
      expect(looked).toMatchObject({ owed: true, records: [{ number: 2 }] });
      expect([await statusOf(store(), 1), await statusOf(store(), 2)]).toEqual(['read', 'pending']);
      expect(await shown(9)).toEqual([
        [2, NOW],
        [3, undefined],
      ]);
    });

    test.for<[what: string, messages: number[], seqs: number[], handed: number[]]>([
      ['alone', [1], [1], [1]],
      ['behind another', [1, 2], [1, 2], [1]],
      ['beyond a gap, with what fills it', [2, 1], [2, 1], [1]],
    ])('to who waits goes what arrives %s, and is shown by it', async ([, messages, seqs, handed]) => {
      const asked: number[] = [];
      const given: number[] = [];
      for (const [at, message] of messages.entries()) {
        const handOff = (_agent: string, number: number) => asked.push(number) > 0;
        const received = await store().receive({ ...incoming(message, seqs[at]!), handOff });
        if (!received.taken) throw new Error(received.code);
        for (const one of received.released) if (one.handed) given.push(one.handed.number);
      }
      expect([asked, given]).toEqual([handed, handed]);
      expect(await shown(9, [], NOW + 1)).toEqual(
        messages.map((_, at) => [at + 1, handed.includes(at + 1) ? NOW : undefined]),
      );
    });

    test('what nobody waits for is not shown by its arrival', async () => {
      await store().receive({ ...incoming(1, 1), handOff: () => false });
      expect(await shown(1)).toEqual([[1, undefined]]);
    });

    test('confirm tells each machine of its own messages only', async () => {
      await arrive(1);
      await store().receive(incoming(11, 1, { from: cyd }, { machine: ELSEWHERE }));
      await store().confirm(ada.id, [1, 2], NOW);
      expect((await store().tellRead(BOOT, NOW)).machines.sort()).toEqual([THERE, ELSEWHERE].sort());
      for (const [machine, message] of [
        [THERE, 1],
        [ELSEWHERE, 11],
      ] as const) {
        const [entry] = await outboxOf(store(), machine);
        expect(
          entry!.letter.k === 'receipts' && entry!.letter.receipts.map((bytes) => verifyReceipt(bytes).id),
        ).toEqual([id(message)]);
      }
    });

    test('many receipts are cut into letters that fit', async () => {
      await Promise.all(numbersTo(205).map((seq) => store().receive(incoming(seq, seq))));
      await store().confirm(ada.id, numbersTo(205), NOW);
      await store().tellRead(BOOT, NOW);
      const entries = await outboxOf(store());
      expect(entries.map(({ letter }) => (letter.k === 'receipts' ? letter.receipts.length : 0))).toEqual([
        100, 100, 5,
      ]);
      for (const { number } of entries) expect(await store().settle(THERE, number, undefined)).toEqual({});
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('confirm passes over what was taken back or answered meanwhile', async () => {
      await arrive(1, 2, 3);
      await store().receiveUnsend(unsending(1));
      await store().mark(ada.id, { messageId: id(2), status: 'replied' }, BOOT, NOW);
      await store().confirm(ada.id, [1, 2, 3], NOW);
      expect([await statusOf(store(), 1), await statusOf(store(), 2), await statusOf(store(), 3)]).toEqual([
        'unsent',
        'replied',
        'read',
      ]);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
    });

    test.for<[marks: ('deferred' | 'replied')[], status: string, pending: number, deferred: number]>([
      [['deferred'], 'deferred', 0, 1],
      [['replied'], 'replied', 0, 0],
      [['deferred', 'deferred'], 'deferred', 0, 1],
      [['deferred', 'replied'], 'replied', 0, 0],
      [['replied', 'replied'], 'replied', 0, 0],
    ])('mark %j leaves it %s', async ([marks, status, pending, deferred]) => {
      await arrive(1);
      for (const one of marks) await store().mark(ada.id, { messageId: id(1), status: one }, BOOT, NOW);
      expect(await statusOf(store(), 1)).toBe(status);
      expect(await store().tally(ada.id)).toEqual({ pending, deferred });
      expect((await store().deferred(ada.id, 10)).length).toBe(deferred);
      expect(await pendingOf(store())).toEqual([]);
    });

    test('a deferral is told to the sender, once', async () => {
      await arrive(1);
      expect(await store().mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW)).toEqual({
        machines: [THERE],
      });
      expect(await store().mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW)).toEqual({
        machines: [],
      });
      const entries = await outboxOf(store());
      expect(
        entries.map(({ letter }) => letter.k === 'receipts' && verifyReceipt(letter.receipts[0]!).state),
      ).toEqual(['deferred']);
    });

    test.for<[what: string, prepare: (store: MailStore) => Promise<unknown>]>([
      ['unknown', async () => undefined],
      ['one sent', (mail) => mail.accept(outgoing(1))],
      ['one held back', (mail) => mail.receive(incoming(1, 2))],
      [
        'one taken back',
        async (mail) => {
          await mail.receive(incoming(1, 1));
          await mail.receiveUnsend(unsending(1));
        },
      ],
    ])('mark refuses a message that is %s', async ([, prepare]) => {
      await prepare(store());
      const marked = store().mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW);
      await expect(marked).rejects.toEqual(refusal('unknown_message'));
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
    });
  });
}

export function historyTests({ store }: At): void {
  describe('history', () => {
    test('has both directions, newest first, page by page', async () => {
      for (const message of numbersTo(5)) {
        await store().accept(outgoing(message));
        await store().receive(incoming(100 + message, message));
      }
      const first = await store().history(ada.id, 4);
      expect(first.map(({ number, direction }) => [number, direction])).toEqual([
        [10, 'received'],
        [9, 'sent'],
        [8, 'received'],
        [7, 'sent'],
      ]);
      expect((await store().history(ada.id, 100, 7)).map(({ number }) => number)).toEqual([6, 5, 4, 3, 2, 1]);
      expect(await store().history(ada.id, 10, 1)).toEqual([]);
      expect(await store().history(bob.id, 10)).toEqual([]);
    });
  });
}

export function limitTests({ world, store }: At): void {
  describe('limits', () => {
    test('a full outbox takes no more for that machine, others do', async () => {
      await world().pretendFull({ outbox: THERE });
      const copies = [
        { id: id(1), to: bob, machine: THERE },
        { id: id(2), to: cyd, machine: ELSEWHERE },
        { id: id(3), to: ada, machine: HERE.peerId },
      ];
      expect((await store().accept(outgoing(1, { copies }))).copies).toEqual([
        { id: id(1), error: 'outbox_full' },
        { id: id(2), number: 1 },
        { id: id(3), number: undefined },
      ]);
      expect(await store().find(ada.id, id(1))).toBeUndefined();
    });

    test('an answer that a full outbox keeps out marks nothing as answered', async () => {
      await store().receive(incoming(1, 1));
      await world().pretendFull({ outbox: THERE });
      const answer = outgoing(2, { mark: { messageId: id(1), status: 'replied' } });
      expect((await store().accept(answer)).copies).toEqual([{ id: id(2), error: 'outbox_full' }]);
      expect(await statusOf(store(), 1)).toBe('pending');
      expect(await store().tally(ada.id)).toEqual({ pending: 1, deferred: 0 });
    });

    test('a place in the sequence is not used up by what was kept out', async () => {
      await store().accept(outgoing(1));
      await world().pretendFull({ outbox: THERE });
      await store().accept(outgoing(2));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      expect((await store().accept(outgoing(3))).copies).toEqual([{ id: id(3), number: 2 }]);
      expect((await outboxOf(store())).map(({ letter }) => 'seq' in letter && letter.seq)).toEqual([2]);
    });

    test('a full inbox refuses for now, and takes voids and duplicates still', async () => {
      await store().receive(incoming(1, 1));
      await world().pretendFull({ inbox: ada.id });
      expect(await store().receive(incoming(2, 2))).toEqual({
        taken: false,
        code: 'mailbox_full',
        retry: true,
      });
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'delivered', released: [] });
      expect(await receive(store(), voided(2, 2))).toEqual({ state: 'unsent', released: [] });
      expect(await receive(store(), incoming(3, 1, { to: cyd }))).toMatchObject({ state: 'delivered' });
      await store().confirm(ada.id, [1], NOW);
      expect(await receive(store(), incoming(3, 3))).toEqual({ state: 'delivered', released: [id(3)] });
    });
  });
}

export function reopenTests({ world, store }: At): void {
  test('a store that is opened again has everything as it was', async () => {
    await store().accept(outgoing(1, { thread: 'deploy' }));
    await store().accept(outgoing(2));
    await store().settle(THERE, 1, receipt(1, 'delivered'));
    for (const [message, seq] of [
      [11, 1],
      [12, 2],
      [14, 4],
    ] as const)
      await store().receive(incoming(message, seq));
    await store().show(ada.id, 1, NOBODY, NOW);
    await store().mark(ada.id, { messageId: id(12), status: 'deferred' }, BOOT, NOW);
    const everything = async (mail: MailStore) => ({
      history: await mail.history(ada.id, 100),
      outbox: await outboxOf(mail),
      machines: await mail.outboxMachines(),
      tally: await mail.tally(ada.id),
      pending: await mail.pending(ada.id, 10),
      deferred: await mail.deferred(ada.id, 10),
      thread: await mail.thread(ada.id, bob.id, 'deploy'),
    });
    const before = await everything(store());
    const reopened = await world().reopen();
    expect(await everything(reopened)).toEqual(before);
    expect(await receive(reopened, incoming(11, 1))).toEqual({ state: 'delivered', released: [] });
    expect(await receive(reopened, incoming(13, 3))).toEqual({
      state: 'delivered',
      released: [id(13), id(14)],
    });
    expect((await reopened.accept(outgoing(3))).copies).toEqual([{ id: id(3), number: 4 }]);
    expect((await reopened.find(ada.id, id(3)))!.message.seq).toBe(3);
  });
}
