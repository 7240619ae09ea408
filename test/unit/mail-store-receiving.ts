import { describe, expect, test } from 'vitest';
import type { Arrived, MailStore } from '../../daemon/store/mail-store.ts';
import type { Unsend } from '../../protocol/letter.ts';
import { GAP_HELD_MAX, GAP_HOLD_MS } from '../../protocol/limits.ts';
import { type Receipt, type ReceiptState } from '../../protocol/receipt.ts';
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
  OTHER_NS,
  outgoing,
  pendingOf,
  receipt,
  receive,
  stateOf,
  statusOf,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about what arrives. */

export function receiveTests({ store }: At): void {
  describe('receive', () => {
    test('makes a message visible, and says so', async () => {
      const arrival = incoming(1, 1);
      expect(await receive(store(), arrival)).toEqual({ state: 'delivered', released: [id(1)] });
      expect(await store().pending(ada.id, 10)).toEqual([
        {
          number: 1,
          direction: 'received',
          ns: NS,
          machine: THERE,
          status: 'pending',
          acceptedAtMs: NOW,
          message: arrival.letter,
        },
      ]);
      expect(await store().tally(ada.id)).toEqual({ pending: 1, deferred: 0 });
    });

    test('keeps the order of each line', async () => {
      for (const seq of [1, 2, 3]) await store().receive(incoming(seq, seq));
      await store().receive(incoming(11, 1, { from: cyd }, { machine: ELSEWHERE }));
      await store().receive(incoming(4, 4));
      expect(await pendingOf(store())).toEqual([1, 2, 3, 11, 4].map((message) => `content ${message}`));
    });

    test('takes a duplicate without showing it again', async () => {
      await store().receive(incoming(1, 1));
      for (let time = 0; time < 3; time++)
        expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'delivered', released: [] });
      expect(await pendingOf(store())).toEqual(['content 1']);
      await store().show(ada.id, 10, NOBODY, NOW);
      await store().confirm(ada.id, [1], NOW);
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'read', released: [] });
      expect(await pendingOf(store())).toEqual([]);
    });

    test('takes many duplicates at once for one', async () => {
      const taken = await Promise.all(numbersTo(20).map(() => store().receive(incoming(1, 1))));
      expect(taken.flatMap((one) => (one.taken ? one.released : []))).toHaveLength(1);
      expect(await store().tally(ada.id)).toEqual({ pending: 1, deferred: 0 });
    });

    test('a duplicate under another number, or with another text, changes nothing', async () => {
      await store().receive(incoming(1, 1));
      await store().receive(incoming(1, 7, { content: 'forged' }));
      expect(await pendingOf(store())).toEqual(['content 1']);
      expect(await receive(store(), incoming(2, 2))).toEqual({ state: 'delivered', released: [id(2)] });
    });

    test("nobody uses up another sender's ids", async () => {
      await store().receive(incoming(1, 1));
      expect(await receive(store(), incoming(1, 1, { from: cyd }, { machine: ELSEWHERE }))).toBe(
        'invalid_id',
      );
      await store().accept(outgoing(2));
      expect(await receive(store(), incoming(2, 1, { from: cyd }, { machine: ELSEWHERE }))).toBe(
        'invalid_id',
      );
      expect(await receive(store(), incoming(3, 1, { from: cyd }, { machine: ELSEWHERE }))).toMatchObject({
        state: 'delivered',
      });
    });

    test('the same id may go to two agents', async () => {
      await store().receive(incoming(1, 1));
      expect(await receive(store(), incoming(1, 1, { to: cyd }))).toEqual({
        state: 'delivered',
        released: [id(1)],
      });
      expect(await pendingOf(store(), cyd)).toEqual(['content 1']);
    });

    test('marks the message that it answers as replied', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      expect(await statusOf(store(), 1)).toBe('replied');
    });

    test('an answer by another than the addressee marks nothing', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { from: cyd, reply_to: id(1) }, { machine: ELSEWHERE }));
      expect(await statusOf(store(), 1)).toBe('queued');
    });
  });
}

export function gapTests({ store }: At): void {
  describe('a gap', () => {
    test('holds back what is ahead of it, until it closes', async () => {
      expect(await receive(store(), incoming(3, 3))).toEqual({ state: 'delivered', released: [] });
      expect(await receive(store(), incoming(2, 2))).toEqual({ state: 'delivered', released: [] });
      expect(await pendingOf(store())).toEqual([]);
      expect(await store().history(ada.id, 10)).toEqual([]);
      expect(await store().find(ada.id, id(3))).toBeUndefined();
      expect(await receive(store(), incoming(1, 1))).toEqual({
        state: 'delivered',
        released: [id(1), id(2), id(3)],
      });
      expect(await pendingOf(store())).toEqual(['content 1', 'content 2', 'content 3']);
      expect(
        (await store().pending(ada.id, 9)).map(({ missingBefore, late }) => [missingBefore, late]),
      ).toEqual([
        [undefined, undefined],
        [undefined, undefined],
        [undefined, undefined],
      ]);
      expect(await store().giveUpGaps(NOW + 2 * GAP_HOLD_MS)).toEqual({ released: [], dueAtMs: undefined });
    });

    test('a held message is a duplicate too', async () => {
      await store().receive(incoming(2, 2));
      expect(await receive(store(), incoming(2, 2))).toEqual({ state: 'delivered', released: [] });
      await store().receive(incoming(1, 1));
      expect(await pendingOf(store())).toEqual(['content 1', 'content 2']);
    });

    test('says when it is given up, and then what is missing', async () => {
      await store().receive(incoming(1, 1));
      const held = await store().receive(incoming(5, 5));
      expect(held).toMatchObject({ gapDueAtMs: NOW + GAP_HOLD_MS });
      await store().receive(incoming(6, 6, {}, { nowMs: NOW + 10 }));
      const early = await store().giveUpGaps(NOW + GAP_HOLD_MS - 1);
      expect(early).toEqual({ released: [], dueAtMs: NOW + GAP_HOLD_MS });
      const given = await store().giveUpGaps(NOW + GAP_HOLD_MS);
      expect(given.released.map(({ agent, messageId }) => [agent, messageId])).toEqual([
        [ada.id, id(5)],
        [ada.id, id(6)],
      ]);
      expect(given.dueAtMs).toBeUndefined();
      expect(
        (await store().pending(ada.id, 9)).map(({ message, missingBefore }) => [message.id, missingBefore]),
      ).toEqual([
        [id(1), undefined],
        [id(5), 3],
        [id(6), undefined],
      ]);
    });

    test('what arrives after it was given up is shown, and said to be late', async () => {
      await store().receive(incoming(2, 2));
      await store().giveUpGaps(NOW + GAP_HOLD_MS);
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'delivered', released: [id(1)] });
      expect((await store().pending(ada.id, 9)).map(({ message, late }) => [message.id, late])).toEqual([
        [id(2), undefined],
        [id(1), true],
      ]);
      expect(await receive(store(), incoming(3, 3))).toMatchObject({ released: [id(3)] });
    });

    test('of one line holds no other back', async () => {
      await store().receive(incoming(2, 2));
      const other = incoming(11, 1, { from: cyd }, { machine: ELSEWHERE });
      expect(await receive(store(), other)).toMatchObject({ released: [id(11)] });
      await store().receive(incoming(12, 9, { from: cyd }, { machine: ELSEWHERE, nowMs: NOW + 50 }));
      expect(await store().giveUpGaps(NOW + GAP_HOLD_MS)).toMatchObject({
        dueAtMs: NOW + GAP_HOLD_MS + 50,
        released: [{ messageId: id(2) }],
      });
    });

    test('holds back no more than the bound; what fills it is always taken', async () => {
      await Promise.all(numbersTo(GAP_HELD_MAX + 1, 2).map((seq) => store().receive(incoming(seq, seq))));
      const beyond = await store().receive(incoming(5_000, GAP_HELD_MAX + 2));
      expect(beyond).toEqual({ taken: false, code: 'mailbox_full', retry: true });
      const filled = await store().receive(incoming(1, 1));
      expect(filled.taken && filled.released.map(({ messageId }) => messageId)).toEqual(
        numbersTo(GAP_HELD_MAX + 1).map(id),
      );
      expect(await store().tally(ada.id)).toEqual({ pending: GAP_HELD_MAX + 1, deferred: 0 });
    });

    test('a sequence number without end does no harm to the line', async () => {
      await store().receive(incoming(1, Number.MAX_SAFE_INTEGER));
      await store().giveUpGaps(NOW + GAP_HOLD_MS);
      expect(await receive(store(), incoming(2, 1))).toEqual({ state: 'delivered', released: [id(2)] });
    });
  });
}

export function voidTests({ store }: At): void {
  const unsend = async (arrival: Arrived<Unsend>) => stateOf(await store().receiveUnsend(arrival), arrival);

  describe('what was taken back', () => {
    test('a void takes its place and is not seen', async () => {
      await store().receive(incoming(2, 2));
      expect(await receive(store(), voided(1, 1))).toEqual({ state: 'unsent', released: [id(2)] });
      expect(await pendingOf(store())).toEqual(['content 2']);
      expect(await receive(store(), voided(1, 1))).toEqual({ state: 'unsent', released: [] });
    });

    test('a message after its void is not seen', async () => {
      await store().receive(voided(1, 1));
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'unsent', released: [] });
      expect(await pendingOf(store())).toEqual([]);
    });

    test('a void after its message takes it back while it is unseen', async () => {
      await store().receive(incoming(1, 1));
      expect(await receive(store(), voided(1, 1))).toEqual({ state: 'unsent', released: [] });
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
      expect(await store().find(ada.id, id(1))).toMatchObject({ status: 'unsent', message: { content: '' } });
      expect(await receive(store(), incoming(2, 2))).toMatchObject({ released: [id(2)] });
    });

    test('an unsend takes back what is unseen', async () => {
      await store().receive(incoming(1, 1));
      expect(await unsend(unsending(1))).toBe('unsent');
      expect(await pendingOf(store())).toEqual([]);
      expect(await unsend(unsending(1))).toBe('unsent');
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'unsent', released: [] });
    });

    test('an unsend before its message keeps it from being seen, and its place', async () => {
      expect(await unsend(unsending(1))).toBe('unsent');
      expect(await receive(store(), incoming(2, 2))).toEqual({ state: 'delivered', released: [] });
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'unsent', released: [id(2)] });
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'unsent', released: [] });
      expect(await pendingOf(store())).toEqual(['content 2']);
    });

    test('an unsend of what is held back', async () => {
      await store().receive(incoming(2, 2));
      expect(await unsend(unsending(2))).toBe('unsent');
      expect(await receive(store(), incoming(1, 1))).toEqual({ state: 'delivered', released: [id(1)] });
      expect(await pendingOf(store())).toEqual(['content 1']);
      expect(await receive(store(), incoming(3, 3))).toMatchObject({ released: [id(3)] });
    });

    test.for<[what: string, see: (store: MailStore) => Promise<unknown>, state: ReceiptState]>([
      ['shown', (mail) => mail.show(ada.id, 1, NOBODY, NOW), 'delivered'],
      ['read', (mail) => mail.confirm(ada.id, [1], NOW), 'read'],
      [
        'deferred',
        (mail) => mail.mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW),
        'deferred',
      ],
      ['replied', (mail) => mail.mark(ada.id, { messageId: id(1), status: 'replied' }, BOOT, NOW), 'replied'],
    ])('nothing un-reads what was %s', async ([, see, state]) => {
      await store().receive(incoming(1, 1));
      await see(store());
      const before = await store().find(ada.id, id(1));
      expect(await unsend(unsending(1))).toBe(state);
      expect(await receive(store(), voided(1, 1))).toEqual({ state, released: [] });
      expect(await store().find(ada.id, id(1))).toEqual(before);
      expect(before!.message.content).toBe('content 1');
    });

    test("nobody takes back another's message", async () => {
      await store().receive(incoming(1, 1));
      await store().receiveUnsend({ ...unsending(1, { from: cyd }), machine: ELSEWHERE });
      expect(await receive(store(), voided(1, 1, { from: cyd }))).toBe('invalid_id');
      expect(await pendingOf(store())).toEqual(['content 1']);
    });
  });
}

export function receiptTests({ store }: At): void {
  describe('receipts', () => {
    test.for<[state: ReceiptState, next: ReceiptState, after: ReceiptState]>([
      ['delivered', 'read', 'read'],
      ['read', 'replied', 'replied'],
      ['read', 'delivered', 'read'],
      ['deferred', 'replied', 'replied'],
      ['replied', 'deferred', 'replied'],
      ['read', 'unsent', 'read'],
      ['unsent', 'read', 'unsent'],
    ])('%s, then %s, is %s', async ([state, next, after]) => {
      await store().accept(outgoing(1));
      expect(await store().receiveReceipts(NS, [receipt(1, state)])).toEqual([
        { receipt: receipt(1, state), settled: { machine: THERE, number: 1 }, released: [] },
      ]);
      await store().receiveReceipts(NS, [receipt(1, next)]);
      expect(await statusOf(store(), 1)).toBe(after);
    });

    test('several at once; only those that change something are told', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2));
      const receipts = [receipt(1, 'read'), receipt(1, 'read'), receipt(2, 'delivered'), receipt(3, 'read')];
      expect(await store().receiveReceipts(NS, receipts)).toEqual([
        { receipt: receipt(1, 'read'), settled: { machine: THERE, number: 1 }, released: [] },
        { receipt: receipt(2, 'delivered'), settled: { machine: THERE, number: 2 }, released: [] },
      ]);
      expect(await store().receiveReceipts(NS, [receipt(2, 'read')])).toEqual([
        { receipt: receipt(2, 'read'), settled: undefined, released: [] },
      ]);
    });

    test.for<[what: string, forged: Receipt, ns?: string]>([
      ['by another machine', receipt(1, 'read', { by: ELSEWHERE })],
      ['by this machine', receipt(1, 'read', { by: HERE.peerId })],
      ['of another recipient', receipt(1, 'read', { recipient: cyd.id })],
      ['of another sender', receipt(1, 'read', { sender: bob.id })],
      ['of an unknown message', receipt(2, 'read')],
      ['in a letter of another namespace', receipt(1, 'read'), OTHER_NS],
      ['that names another namespace', receipt(1, 'read', { ns: OTHER_NS })],
    ])('one %s is passed over', async ([, forged, ns = NS]) => {
      await store().accept(outgoing(1));
      expect(await store().receiveReceipts(ns, [forged])).toEqual([]);
      expect(await statusOf(store(), 1)).toBe('queued');
      expect(await store().outboxEntry(THERE, 1)).toMatchObject({ letter: { id: id(1) } });
    });

    test('one for a message that was received is passed over', async () => {
      await store().receive(incoming(1, 1));
      expect(await store().receiveReceipts(NS, [receipt(1, 'read')])).toEqual([]);
      expect(await statusOf(store(), 1)).toBe('pending');
    });
  });
}
