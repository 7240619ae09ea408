import { describe, expect, test } from 'vitest';
import { type ReceiptState } from '../../protocol/receipt.ts';
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
  NEXT_BOOT,
  noticesOf,
  NOW,
  NS,
  numbersTo,
  outboxOf,
  outgoing,
  receipt,
  refusal,
  releasedOf,
  statusOf,
  THERE,
  unsending,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about what agents here send. */

export function acceptTests({ store }: At): void {
  describe('accept', () => {
    test('puts one message into history and outbox', async () => {
      const accepted = await store().accept(outgoing(1, { replyTo: id(9), group: id(8), resolve: true }));
      expect(accepted).toMatchObject({ thread: undefined, copies: [{ id: id(1), number: 1 }] });
      const entry = await store().outboxEntry(THERE, 1);
      expect(accepted.queued).toEqual([{ machine: THERE, entry, previous: undefined }]);
      const record = await store().find(ada.id, id(1));
      expect(record).toEqual({
        number: 1,
        direction: 'sent',
        ns: NS,
        machine: THERE,
        status: 'queued',
        acceptedAtMs: NOW,
        outbox: 1,
        message: {
          k: 'message',
          id: id(1),
          seq: 1,
          from: ada,
          to: bob,
          content: 'content 1',
          sent_at: NOW,
          hops: 1,
          reply_to: id(9),
          group: id(8),
          resolve: true,
          seen: { seq: 0 },
        },
      });
      const entries = await outboxOf(store());
      expect(entries).toMatchObject([
        { number: 1, ns: NS, agent: ada.id, boot: BOOT, letter: record!.message },
      ]);
      expect(entries[0]!.sizeBytes).toBeGreaterThan('content 1'.length);
      expect(await store().outboxEntry(THERE, 1)).toEqual(entries[0]);
    });

    test('gives each line its own sequence, without a gap', async () => {
      for (const message of [1, 2, 3]) await store().accept(outgoing(message));
      await store().accept(outgoing(4, { copies: [{ id: id(4), to: cyd, machine: ELSEWHERE }] }));
      await store().accept(outgoing(5, { from: cyd }));
      await store().accept(outgoing(6));
      const seqs = (await outboxOf(store())).map(({ letter }) =>
        letter.k === 'message' ? [letter.from.name, letter.seq] : [],
      );
      expect(seqs).toEqual([
        ['ada', 1],
        ['ada', 2],
        ['ada', 3],
        ['cyd', 1],
        ['ada', 4],
      ]);
      expect((await outboxOf(store(), ELSEWHERE)).map(({ letter }) => 'seq' in letter && letter.seq)).toEqual(
        [1],
      );
    });

    test('sequences have no gap when many are accepted at once', async () => {
      await Promise.all(numbersTo(50).map((message) => store().accept(outgoing(message))));
      const entries = await outboxOf(store());
      expect(entries.map(({ letter }) => 'seq' in letter && letter.seq)).toEqual(numbersTo(50));
      expect(entries.map(({ number }) => number)).toEqual(numbersTo(50));
    });

    test('puts a copy for each recipient', async () => {
      const copies = [
        { id: id(1), to: bob, machine: THERE },
        { id: id(2), to: cyd, machine: ELSEWHERE },
        { id: id(3), to: ada, machine: HERE.peerId },
      ];
      const accepted = await store().accept(outgoing(1, { copies, group: id(7) }));
      expect(accepted.copies).toEqual([
        { id: id(1), number: 1 },
        { id: id(2), number: 2 },
        { id: id(3), number: undefined },
      ]);
      expect((await store().outboxMachines()).sort()).toEqual([THERE, ELSEWHERE].sort());
      expect((await store().history(ada.id, 10)).map(({ message }) => [message.id, message.group])).toEqual([
        [id(3), id(7)],
        [id(2), id(7)],
        [id(1), id(7)],
      ]);
    });

    test('a note to oneself is deferred at once and never leaves', async () => {
      const { copies } = await store().accept(
        outgoing(1, { copies: [{ id: id(1), to: ada, machine: HERE.peerId }] }),
      );
      expect(copies).toEqual([{ id: id(1), number: undefined }]);
      expect(await store().outboxMachines()).toEqual([]);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 1 });
      expect(await store().deferred(ada.id, 10)).toMatchObject([
        { direction: 'received', status: 'deferred' },
      ]);
      await store().mark(ada.id, { messageId: id(1), status: 'replied' }, BOOT, NOW);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('marks what it answers, in the same write', async () => {
      await store().receive(incoming(1, 1));
      await store().accept(outgoing(2, { replyTo: id(1), mark: { messageId: id(1), status: 'replied' } }));
      expect(await statusOf(store(), 1)).toBe('replied');
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
    });

    test('writes nothing when what it answers is unknown', async () => {
      const answer = outgoing(2, { mark: { messageId: id(1), status: 'replied' }, thread: 'deploy' });
      await expect(store().accept(answer)).rejects.toEqual(refusal('unknown_message'));
      expect(await store().history(ada.id, 10)).toEqual([]);
      expect(await store().outboxCount(THERE)).toBe(0);
      expect(await store().thread(ada.id, bob.id, 'deploy')).toBeUndefined();
      expect((await store().accept(outgoing(3))).copies).toEqual([{ id: id(3), number: 1 }]);
    });
  });
}

export function outboxTests({ store }: At): void {
  describe('the outbox', () => {
    const fillOutbox = async (most: number, content = 'x') => {
      await Promise.all(numbersTo(most).map((message) => store().accept(outgoing(message, { content }))));
    };
    const pageNumbers = async (...page: [after: number, limit: number, sizeBytes: number]) =>
      (await store().outboxPage(THERE, ...page)).map(({ number }) => number);

    test('is paged by count', async () => {
      await fillOutbox(70);
      expect(await pageNumbers(0, 10, 1e9)).toEqual(numbersTo(10));
      expect(await pageNumbers(10, 3, 1e9)).toEqual([11, 12, 13]);
      expect(await pageNumbers(0, 64, 1e9)).toEqual(numbersTo(64));
      expect(await pageNumbers(64, 64, 1e9)).toEqual(numbersTo(70, 65));
      expect(await pageNumbers(70, 64, 1e9)).toEqual([]);
      expect(await pageNumbers(0, 1_000, 1e9)).toEqual(numbersTo(70));
    });

    test('is paged by bytes, and never empty before the end', async () => {
      await fillOutbox(40, 'x'.repeat(1_000));
      const { sizeBytes } = (await store().outboxEntry(THERE, 1))!;
      expect(await pageNumbers(0, 100, 1)).toEqual([1]);
      expect(await pageNumbers(7, 100, 0)).toEqual([8]);
      const page = await pageNumbers(0, 100, 35 * sizeBytes);
      expect(page.length).toBeGreaterThanOrEqual(34);
      expect(page.length).toBeLessThanOrEqual(36);
    });

    test('passes over what was settled', async () => {
      await fillOutbox(5);
      for (const number of [1, 3, 5]) await store().settle(THERE, number, receipt(number, 'delivered'));
      expect(await pageNumbers(0, 10, 1e9)).toEqual([2, 4]);
      expect(await store().outboxCount(THERE)).toBe(2);
      expect(await store().outboxEntry(THERE, 3)).toBeUndefined();
    });

    test('is one for each machine', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2, { copies: [{ id: id(2), to: cyd, machine: ELSEWHERE }] }));
      expect([
        await store().outboxCount(THERE),
        await store().outboxCount(ELSEWHERE),
        await store().outboxCount(HERE.peerId),
      ]).toEqual([1, 1, 0]);
      expect(await store().outboxEntry(ELSEWHERE, 1)).toBeUndefined();
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      expect(await store().outboxMachines()).toEqual([ELSEWHERE]);
    });
  });
}

export function settleTests({ store }: At): void {
  describe('settle', () => {
    test.for<[state: ReceiptState, after: string]>([
      ['delivered', 'delivered'],
      ['read', 'read'],
      ['unsent', 'unsent'],
    ])('by a receipt of %s', async ([state, after]) => {
      await store().accept(outgoing(1));
      const settled = await store().settle(THERE, 1, receipt(1, state));
      expect(settled).toEqual({ about: { agent: ada.id, messageId: id(1), kind: 'message', state } });
      const record = await store().find(ada.id, id(1));
      expect(record!.status).toBe(after);
      expect(record!.outbox).toBeUndefined();
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('twice says nothing the second time', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      expect(await store().settle(THERE, 1, receipt(1, 'read'))).toEqual({});
      expect(await statusOf(store(), 1)).toBe('delivered');
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('of a number that never was', async () => {
      expect(await store().settle(THERE, 99, undefined)).toEqual({});
      expect(await store().refuse(THERE, 99, 'forbidden')).toEqual({});
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('does not climb down', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      expect(await statusOf(store(), 1)).toBe('replied');
    });

    test('a refusal for good is kept with its reason', async () => {
      await store().accept(outgoing(1));
      const settled = await store().refuse(THERE, 1, 'unknown_recipient');
      const released = await releasedOf(store(), 1);
      expect(released).toHaveLength(1);
      expect(settled).toEqual({
        about: { agent: ada.id, messageId: id(1), kind: 'message', state: 'refused' },
        released,
      });
      expect(await store().find(ada.id, id(1))).toMatchObject({
        status: 'refused',
        refusal: 'unknown_recipient',
      });
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('a refusal does not undo what is known to be delivered', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      expect(await store().refuse(THERE, 1, 'forbidden')).toMatchObject({ about: { state: 'refused' } });
      const record = await store().find(ada.id, id(1));
      expect([record!.status, record!.refusal]).toEqual(['replied', undefined]);
      expect(await noticesOf(store())).toEqual([]);
    });
  });
}

export function takeBackTests({ store }: At): void {
  const takeBack = (message: number, neverLeft: boolean, agent = ada) =>
    store().takeBack({
      agent: agent.id,
      messageId: id(message),
      neverLeft: () => neverLeft,
      boot: NEXT_BOOT,
    });

  describe('taking back', () => {
    test('what never left is void at once', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2));
      expect(await takeBack(1, true)).toEqual({ status: 'unsent' });
      expect(await statusOf(store(), 1)).toBe('unsent');
      expect(
        (await outboxOf(store())).map(({ letter }) => [letter.k, 'seq' in letter && letter.seq]),
      ).toEqual([
        ['void', 1],
        ['message', 2],
      ]);
      expect(JSON.stringify(await outboxOf(store()))).not.toContain('content 1');
      expect(await takeBack(1, true)).toEqual({ status: 'unsent' });
      await store().settle(THERE, 1, receipt(1, 'unsent'));
      expect(await statusOf(store(), 1)).toBe('unsent');
    });

    test('what may have left is replaced by its void under a new number', async () => {
      await store().accept(outgoing(1));
      expect(await takeBack(1, false)).toEqual({ status: 'asked', machine: THERE, number: 2, replaced: 1 });
      expect(await outboxOf(store())).toMatchObject([
        { number: 2, letter: { k: 'void', seq: 1 }, boot: NEXT_BOOT },
      ]);
      expect(await statusOf(store(), 1)).toBe('queued');
      // An acknowledgement of the message itself comes too late to say anything about the void.
      expect(await store().settle(THERE, 1, receipt(1, 'delivered'))).toEqual({});
      expect(await takeBack(1, false)).toEqual({ status: 'asked', machine: THERE, number: 2 });
      expect(await store().settle(THERE, 2, receipt(1, 'unsent'))).toMatchObject({
        about: { kind: 'void', state: 'unsent' },
      });
      expect(await statusOf(store(), 1)).toBe('unsent');
    });

    test('what is delivered is asked for', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      expect(await takeBack(1, true)).toEqual({ status: 'asked', machine: THERE, number: 2 });
      expect(await outboxOf(store())).toMatchObject([{ number: 2, letter: { k: 'unsend', id: id(1) } }]);
      expect(await takeBack(1, true)).toEqual({ status: 'asked', machine: THERE, number: 2 });
      expect(await store().outboxCount(THERE)).toBe(1);
      expect(await store().settle(THERE, 2, receipt(1, 'read'))).toMatchObject({
        about: { kind: 'unsend', state: 'read' },
      });
      expect(await takeBack(1, true)).toEqual({ status: 'already_read' });
    });

    test('a refused request leaves the message as it was', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await takeBack(1, false);
      await store().refuse(THERE, 2, 'unknown_recipient');
      expect(await statusOf(store(), 1)).toBe('delivered');
    });

    test.for<[state: ReceiptState, status: 'already_read' | 'unsent']>([
      ['read', 'already_read'],
      ['deferred', 'already_read'],
      ['replied', 'already_read'],
      ['unsent', 'unsent'],
      ['expired', 'unsent'],
      ['refused', 'unsent'],
    ])('of what is %s answers %s and asks nobody', async ([state, status]) => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, state));
      expect(await takeBack(1, false)).toEqual({ status });
      expect(await store().outboxCount(THERE)).toBe(0);
      expect(await statusOf(store(), 1)).toBe(state);
    });

    test('of what is not mine is refused', async () => {
      await store().receive(incoming(1, 1));
      await expect(takeBack(1, true)).rejects.toEqual(refusal('not_sender'));
      await expect(takeBack(2, true)).rejects.toEqual(refusal('unknown_message'));
      await store().receiveUnsend(unsending(1));
      await expect(takeBack(1, true)).rejects.toEqual(refusal('unknown_message'));
      await store().receive(incoming(3, 3));
      await expect(takeBack(3, true)).rejects.toEqual(refusal('unknown_message'));
    });

    test('of a note to oneself is too late', async () => {
      await store().accept(outgoing(1, { copies: [{ id: id(1), to: ada, machine: HERE.peerId }] }));
      expect(await takeBack(1, true)).toEqual({ status: 'already_read' });
    });
  });
}
