import { describe, expect, test } from 'vitest';
import type { MailStore, NoticeKind } from '../../daemon/store/mail-store.ts';
import type { ReceiptState } from '../../protocol/receipt.ts';
import {
  ada,
  type At,
  bob,
  BOOT,
  cyd,
  ELSEWHERE,
  id,
  incoming,
  NOBODY,
  noticesOf,
  NOW,
  NS,
  outboxOf,
  outgoing,
  pendingOf,
  receipt,
  receiptsFor,
  receive,
  refusal,
  releasedOf,
  statusOf,
  THERE,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about what a sender is told of its messages' ends. */

const takeBack = (store: MailStore, message: number, neverLeft = false) =>
  store.takeBack({ agent: ada.id, messageId: id(message), neverLeft: () => neverLeft, boot: BOOT });

/** Message 1 of ada is asked back, and she was told `requested`. It was delivered unless it may still be on its way. */
async function askBack(store: MailStore, wasDelivered = false): Promise<void> {
  await store.accept(outgoing(1));
  if (wasDelivered) await store.settle(THERE, 1, receipt(1, 'delivered'));
  await takeBack(store, 1);
  await store.unsendAsked(ada.id, id(1));
}

/** The ends of message 1 that are told by a notice. */
const ENDS: [what: string, kind: NoticeKind, text: RegExp, end: (store: MailStore) => Promise<unknown>][] = [
  [
    'is refused',
    'refused',
    /to bob was refused \(forbidden\): it will not be shown/,
    async (store) => {
      await store.accept(outgoing(1));
      return store.refuse(THERE, 1, 'forbidden');
    },
  ],
  [
    'is refused with all that waits for a machine',
    'refused',
    /to bob was refused \(not_member\)/,
    async (store) => {
      await store.accept(outgoing(1));
      return store.refuseAll(THERE, NS, 'not_member', 0, () => true);
    },
  ],
  [
    'is refused by letter',
    'refused',
    /to bob was refused: it will not be shown/,
    async (store) => {
      await store.accept(outgoing(1));
      return store.receiveReceipts(NS, [receipt(1, 'refused')]);
    },
  ],
  [
    'expires',
    'expired',
    /to bob expired/,
    async (store) => {
      await store.accept(outgoing(1));
      return store.expire(THERE, NOW + 1, 0, () => true);
    },
  ],
  [
    'is taken back after it was requested',
    'unsend',
    /to bob was taken back, as you asked: it was not read/,
    async (store) => {
      await askBack(store);
      return store.settle(THERE, 2, receipt(1, 'unsent'));
    },
  ],
  [
    'is taken back after it was requested, as a letter says',
    'unsend',
    /to bob was taken back/,
    async (store) => {
      await askBack(store);
      return store.receiveReceipts(NS, [receipt(1, 'unsent')]);
    },
  ],
  [
    'turns out to be read after it was asked back',
    'unsend',
    /to bob could not be taken back: it was read already/,
    async (store) => {
      await askBack(store, true);
      return store.settle(THERE, 2, receipt(1, 'read'));
    },
  ],
];

export function noticeTests({ store, world }: At): void {
  const refuse = async (message: number) => {
    await store().accept(outgoing(message));
    const page = await outboxOf(store());
    const { number } = page.find(({ letter }) => 'id' in letter && letter.id === id(message))!;
    return store().refuse(THERE, number, 'forbidden');
  };

  describe('a notice', () => {
    test.for(ENDS)('comes when a message %s', async ([, kind, text, end]) => {
      const settled = await end(store());
      const [notice, ...others] = await store().pending(ada.id, 10);
      expect(others).toEqual([]);
      expect(notice).toMatchObject({
        direction: 'received',
        status: 'pending',
        number: 2,
        ns: NS,
        notice: { kind, about: id(1) },
        message: { from: { name: 'patchcord' }, to: ada },
      });
      expect(notice!.message.content).toMatch(text);
      expect(notice!.message.content).toContain(id(1));
      expect(await store().tally(ada.id)).toEqual({ pending: 1, deferred: 0 });
      expect(JSON.stringify(settled)).toContain(JSON.stringify(await releasedOf(store(), 1)));
    });

    test.for(ENDS)('comes once when a message %s', async ([, kind, , end]) => {
      await end(store());
      const after = await statusOf(store(), 1);
      for (const state of ['refused', 'unsent', 'read', 'expired'] as const)
        for (const taken of await store().receiveReceipts(NS, [receipt(1, state)]))
          expect(taken.released).toEqual([]);
      for (const number of [1, 2]) {
        expect(await store().refuse(THERE, number, 'forbidden')).toEqual({});
        expect(await store().settle(THERE, number, receipt(1, 'unsent'))).toEqual({});
      }
      await store().refuseAll(THERE, NS, 'not_member', 0, () => true);
      await store().expire(THERE, NOW + 1, 0, () => true);
      await store().unsendAsked(ada.id, id(1));
      expect(await noticesOf(store())).toEqual([{ kind, about: id(1), status: 'pending' }]);
      expect(await statusOf(store(), 1)).toBe(after);
    });

    test.for(ENDS)('and the end of its message are one batch: %s', async ([, kind, , end]) => {
      const ended = async () =>
        ['refused', 'expired', 'unsent', 'read'].includes((await statusOf(store(), 1)) ?? '');
      let isDone = false;
      // Whatever leads to the end is written again and again; of the end itself all is there or nothing.
      for (let writes = 0; !isDone; writes++) {
        expect(writes).toBeLessThan(10);
        await world().clear();
        world().allowWrites(writes);
        isDone = await end(store()).then(
          () => true,
          () => false,
        );
        await world().reopen();
        expect([await ended(), (await noticesOf(store())).length]).toEqual(isDone ? [true, 1] : [false, 0]);
      }
      expect(await noticesOf(store())).toEqual([{ kind, about: id(1), status: 'pending' }]);
    });

    test('has its place among the messages, and is shown and confirmed like them', async () => {
      await store().receive(incoming(11, 1));
      await refuse(1);
      await store().receive(incoming(12, 2));
      const shown = await store().show(ada.id, 10, NOBODY, NOW);
      expect(shown.map(({ number, notice }) => [number, notice?.kind])).toEqual([
        [1, undefined],
        [3, 'refused'],
        [4, undefined],
      ]);
      const again = await store().show(ada.id, 10, new Set([1, 4]), NOW + 1);
      expect(again).toMatchObject([{ number: 3, shownAtMs: NOW }]);
      await store().confirm(ada.id, [1, 3, 4], NOW);
      expect(await store().tellRead(BOOT, NOW)).toEqual({ machines: [THERE], more: false });
      expect(await pendingOf(store())).toEqual([]);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
      expect((await receiptsFor(store())).map((letter) => letter.map((one) => one.id))).toEqual([
        [id(11), id(12)],
      ]);
    });

    test('alone is read without telling anybody', async () => {
      await refuse(1);
      expect(await store().confirm(ada.id, [2], NOW)).toEqual({ owed: false });
      expect(await store().outboxMachines()).toEqual([]);
      expect(await noticesOf(store())).toEqual([{ kind: 'refused', about: id(1), status: 'read' }]);
    });

    test.for<[status: 'deferred' | 'replied', deferred: number]>([
      ['deferred', 1],
      ['replied', 0],
    ])('is marked %s, without telling anybody', async ([status, deferred]) => {
      await refuse(1);
      const [notice] = await store().pending(ada.id, 10);
      const marked = { messageId: notice!.message.id, status };
      for (let time = 0; time < 2; time++)
        expect(await store().mark(ada.id, marked, BOOT, NOW)).toEqual({ machines: [] });
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred });
      expect((await store().deferred(ada.id, 10)).map(({ number }) => number)).toEqual(
        deferred ? [notice!.number] : [],
      );
      expect(await noticesOf(store())).toEqual([{ kind: 'refused', about: id(1), status }]);
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('goes to the agent whose message it was, in the thread of that message', async () => {
      await store().accept(outgoing(1, { from: cyd, thread: 'deploy' }));
      await store().refuse(THERE, 1, 'forbidden');
      const [notice] = await store().pending(cyd.id, 10);
      expect(notice).toMatchObject({
        message: { to: cyd, thread: { slug: 'deploy', root: id(1) } },
        notice: { about: id(1) },
      });
      expect(await store().pending(ada.id, 10)).toEqual([]);
    });

    test('of several copies comes for each', async () => {
      const copies = [
        { id: id(1), to: bob, machine: THERE },
        { id: id(2), to: cyd, machine: ELSEWHERE },
      ];
      await store().accept(outgoing(1, { copies }));
      await store().refuse(ELSEWHERE, 2, 'forbidden');
      await store().refuse(THERE, 1, 'forbidden');
      expect((await noticesOf(store())).map(({ about }) => about)).toEqual([id(2), id(1)]);
      expect((await store().pending(ada.id, 10)).map(({ message }) => message.content)).toEqual([
        expect.stringContaining('to cyd'),
        expect.stringContaining('to bob'),
      ]);
    });

    test('is nothing that anybody could send, use up, take back or give a receipt for', async () => {
      await refuse(1);
      const { message } = (await store().pending(ada.id, 10))[0]!;
      expect(await receive(store(), incoming(9, 1, { id: message.id }))).toBe('invalid_id');
      const taking = { agent: ada.id, messageId: message.id, neverLeft: () => true, boot: BOOT };
      await expect(store().takeBack(taking)).rejects.toEqual(refusal('not_sender'));
      const forged = { id: message.id, sender: ada.id };
      expect(await store().receiveReceipts(NS, [receipt(9, 'read', forged)])).toEqual([]);
      const unsend = { k: 'unsend' as const, id: message.id, from: bob, to: ada };
      await store().receiveUnsend({ ns: NS, machine: THERE, letter: unsend, nowMs: NOW });
      expect(await noticesOf(store())).toEqual([{ kind: 'refused', about: id(1), status: 'pending' }]);
    });

    test('comes into an inbox that is full', async () => {
      await world().pretendFull({ inbox: ada.id });
      const { pending } = await store().tally(ada.id);
      await refuse(1);
      expect((await store().tally(ada.id)).pending).toBe(pending + 1);
      expect(await noticesOf(store())).toHaveLength(1);
    });

    test('is not written where the sender has heard, or where nothing ended', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await store().receiveReceipts(NS, [receipt(1, 'read')]);
      await store().accept(outgoing(2));
      await takeBack(store(), 2);
      await store().settle(THERE, 3, receipt(2, 'unsent'));
      await store().accept(outgoing(3));
      await takeBack(store(), 3, true);
      await store().refuse(THERE, 4, 'forbidden');
      expect(await noticesOf(store())).toEqual([]);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
    });
  });
}

export function unsendAskedTests({ store, world }: At): void {
  describe('a taking-back that was requested', () => {
    test('and was answered meanwhile brings no notice any more', async () => {
      await store().accept(outgoing(1));
      await takeBack(store(), 1);
      await store().settle(THERE, 2, receipt(1, 'unsent'));
      const before = await store().find(ada.id, id(1));
      expect(await store().unsendAsked(ada.id, id(1))).toBe('unsent');
      expect(await store().find(ada.id, id(1))).toEqual(before);
      await store().receiveReceipts(NS, [receipt(1, 'unsent'), receipt(1, 'read')]);
      expect(await noticesOf(store())).toEqual([]);
    });

    test('of a message that is unknown, received or settled changes nothing', async () => {
      await store().receive(incoming(2, 1));
      await store().accept(outgoing(3));
      await store().settle(THERE, 1, receipt(3, 'delivered'));
      const before = await store().history(ada.id, 10);
      for (const message of [1, 2, 3]) await store().unsendAsked(ada.id, id(message));
      expect(await store().history(ada.id, 10)).toEqual(before);
    });

    test('twice brings one notice', async () => {
      await askBack(store());
      expect(await takeBack(store(), 1)).toEqual({ status: 'asked', machine: THERE, number: 2 });
      expect(await store().unsendAsked(ada.id, id(1))).toBeUndefined();
      await store().settle(THERE, 2, receipt(1, 'unsent'));
      expect(await noticesOf(store())).toHaveLength(1);
    });

    test.for<ReceiptState>(['delivered', 'held'])(
      'waits on when %s is heard of the message',
      async (state) => {
        await askBack(store());
        if (state === 'held') await store().markHeld(THERE, 2, ELSEWHERE);
        else await store().receiveReceipts(NS, [receipt(1, state)]);
        expect(await noticesOf(store())).toEqual([]);
        await store().receiveReceipts(NS, [receipt(1, 'unsent')]);
        expect(await noticesOf(store())).toEqual([{ kind: 'unsend', about: id(1), status: 'pending' }]);
        expect((await store().find(ada.id, id(1)))!.unsendAsked).toBeUndefined();
      },
    );

    test('that is refused for good is said to have failed', async () => {
      await askBack(store(), true);
      await store().refuse(THERE, 2, 'unknown_recipient');
      expect(await noticesOf(store())).toEqual([{ kind: 'unsend', about: id(1), status: 'pending' }]);
      expect((await store().pending(ada.id, 9))[0]!.message.content).toContain(
        'could not be taken back: its machine has not confirmed it. It was delivered, and may have been read.',
      );
      expect(await statusOf(store(), 1)).toBe('delivered');
    });

    test.for<[what: string, end: (store: MailStore) => Promise<unknown>, kind: NoticeKind]>([
      ['refused', (mail) => mail.refuse(THERE, 2, 'forbidden'), 'refused'],
      ['expired', (mail) => mail.expire(THERE, NOW + 1, 0, () => true), 'expired'],
    ])('of a message that is %s brings that notice alone', async ([, end, kind]) => {
      await askBack(store());
      await end(store());
      expect(await noticesOf(store())).toEqual([{ kind, about: id(1), status: 'pending' }]);
      expect(await statusOf(store(), 1)).toBe(kind);
    });

    test('of a message that was answered by a reply ends with the answer to the void', async () => {
      await askBack(store());
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      expect(await noticesOf(store())).toEqual([]);
      await store().settle(THERE, 2, receipt(1, 'read'));
      expect((await store().pending(ada.id, 9)).map(({ message }) => message.content)).toEqual([
        'content 2',
        expect.stringContaining('could not be taken back: it was replied already'),
      ]);
    });

    test('is remembered over a restart', async () => {
      await askBack(store());
      const again = await world().reopen();
      await again.settle(THERE, 2, receipt(1, 'unsent'));
      expect(await noticesOf(again)).toEqual([{ kind: 'unsend', about: id(1), status: 'pending' }]);
    });
  });
}
