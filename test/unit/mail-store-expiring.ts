import { describe, expect, test } from 'vitest';
import type { Expired } from '../../daemon/store/mail-store.ts';
import {
  ada,
  type At,
  BOOT,
  cyd,
  ELSEWHERE,
  id,
  incoming,
  noticesOf,
  NOW,
  NS,
  numbersTo,
  OTHER_NS,
  outboxOf,
  outgoing,
  receipt,
  releasedOf,
  statusOf,
  THERE,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about what nobody fetched in time. */
export function expireTests({ store, world }: At): void {
  const takeBack = (message: number, neverLeft = false) =>
    store().takeBack({ agent: ada.id, messageId: id(message), neverLeft: () => neverLeft, boot: BOOT });
  /** Calls until it ends; gives back what all calls said. */
  const expireAll = async (beforeMs: number, machine = THERE) => {
    const settled = [];
    let calls = 0;
    for (let after: number | undefined = 0; after !== undefined;) {
      const expired: Expired = await store().expire(machine, beforeMs, after, () => true);
      expect(expired.settled.length).toBeLessThanOrEqual(100);
      settled.push(...expired.settled);
      after = expired.next;
      calls += 1;
    }
    return { settled, numbers: settled.map(({ entry }) => entry.number), calls };
  };

  describe('expiry', () => {
    test('says nothing of an empty outbox', async () => {
      expect(await store().expire(THERE, NOW, 0, () => true)).toEqual({ settled: [], next: undefined });
    });

    test('ends what is older than that, and nothing else', async () => {
      for (const message of [1, 2, 3]) await store().accept(outgoing(message, { nowMs: NOW + message }));
      expect((await expireAll(NOW + 1)).numbers).toEqual([]);
      const { settled, calls } = await expireAll(NOW + 3);
      expect(calls).toBe(2);
      expect(settled).toEqual(
        await Promise.all(
          [1, 2].map(async (message) => ({
            about: { agent: ada.id, messageId: id(message), kind: 'message', state: 'expired' },
            released: await releasedOf(store(), message),
            entry: expect.objectContaining({ number: message, atMs: NOW + message }),
          })),
        ),
      );
      expect(await Promise.all([1, 2, 3].map((message) => statusOf(store(), message)))).toEqual([
        'expired',
        'expired',
        'queued',
      ]);
      expect((await store().find(ada.id, id(1)))!.outbox).toBeUndefined();
      expect((await outboxOf(store())).map(({ number }) => number)).toEqual([3]);
      expect(await store().outboxCount(THERE)).toBe(1);
    });

    test('ends what is held too', async () => {
      await store().accept(outgoing(1));
      await store().markHeld(THERE, 1, ELSEWHERE);
      const { settled } = await expireAll(NOW + 1);
      expect(settled).toMatchObject([{ entry: { number: 1, held: [ELSEWHERE], letter: { id: id(1) } } }]);
      expect(await statusOf(store(), 1)).toBe('expired');
    });

    test('is of one machine, whatever the namespace', async () => {
      await store().accept(outgoing(1, { ns: OTHER_NS }));
      await store().accept(outgoing(2, { copies: [{ id: id(2), to: cyd, machine: ELSEWHERE }] }));
      await store().accept(outgoing(3));
      expect((await expireAll(NOW + 1)).numbers).toEqual([1, 3]);
      expect(await store().outboxMachines()).toEqual([ELSEWHERE]);
    });

    test('takes many in several calls, the oldest first', async () => {
      await Promise.all(
        numbersTo(230).map((message) =>
          store().accept(outgoing(message, { nowMs: message <= 220 ? NOW : NOW + 1 })),
        ),
      );
      const { numbers, calls } = await expireAll(NOW + 1);
      expect(numbers).toEqual(numbersTo(220));
      expect(calls).toBe(4);
      expect(await store().outboxCount(THERE)).toBe(10);
      const notices = await noticesOf(store());
      expect(notices.map(({ about }) => about)).toEqual(numbersTo(220).map(id));
      expect(await store().tally(ada.id)).toEqual({ pending: 220, deferred: 0 });
    });

    test('that meets a whole batch ends after it', async () => {
      await Promise.all(numbersTo(100).map((message) => store().accept(outgoing(message))));
      const { numbers } = await expireAll(NOW + 1);
      expect(numbers).toHaveLength(100);
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('looks at few at once when they are long', async () => {
      const content = '\u5165'.repeat(50_000);
      await Promise.all(numbersTo(60).map((message) => store().accept(outgoing(message, { content }))));
      const { numbers, calls } = await expireAll(NOW + 1);
      expect(numbers).toEqual(numbersTo(60));
      expect(calls).toBeGreaterThan(2);
    });

    test('ends receipts without a word', async () => {
      await store().receive(incoming(11, 1));
      await store().confirm(ada.id, [1], NOW);
      await store().tellRead(BOOT, NOW);
      const { settled } = await expireAll(NOW + 1);
      expect(settled).toEqual([{ entry: expect.objectContaining({ number: 1 }) }]);
      expect(await store().outboxMachines()).toEqual([]);
      expect(await noticesOf(store())).toEqual([]);
      expect(await statusOf(store(), 11)).toBe('read');
    });

    test('of the void of what was taken back before it left says nothing new', async () => {
      await store().accept(outgoing(1));
      await takeBack(1, true);
      expect((await expireAll(NOW + 1)).numbers).toEqual([1]);
      expect(await statusOf(store(), 1)).toBe('unsent');
      expect(await noticesOf(store())).toEqual([]);
    });

    test('counts from when the message was sent, though it was taken back later', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2, { nowMs: NOW + 5 }));
      await takeBack(1);
      expect((await expireAll(NOW + 1)).numbers).toEqual([3]);
      expect(await statusOf(store(), 1)).toBe('expired');
      expect(await noticesOf(store())).toEqual([{ kind: 'expired', about: id(1), status: 'pending' }]);
      expect((await outboxOf(store())).map(({ number }) => number)).toEqual([2]);
    });

    test('finds what was taken back behind many that are younger', async () => {
      await store().accept(outgoing(1));
      await Promise.all(
        numbersTo(150, 2).map((message) => store().accept(outgoing(message, { nowMs: NOW + 5 }))),
      );
      await takeBack(1);
      expect((await expireAll(NOW + 1)).numbers).toEqual([151]);
      expect(await statusOf(store(), 1)).toBe('expired');
      expect(await store().outboxCount(THERE)).toBe(149);
    });

    test('of a request to take back ends that alone: its message was delivered', async () => {
      for (const message of [1, 2]) await store().accept(outgoing(message));
      for (const message of [1, 2]) await store().settle(THERE, message, receipt(message, 'delivered'));
      for (const message of [1, 2]) await takeBack(message);
      await store().unsendAsked(ada.id, id(2));
      await expireAll(NOW + 1);
      expect([await statusOf(store(), 1), await statusOf(store(), 2)]).toEqual(['delivered', 'delivered']);
      expect(await noticesOf(store())).toEqual([{ kind: 'unsend', about: id(2), status: 'pending' }]);
    });

    test('does not undo what is known to have come further', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      expect((await expireAll(NOW + 1)).numbers).toEqual([1]);
      expect(await statusOf(store(), 1)).toBe('replied');
      expect(await noticesOf(store())).toEqual([]);
    });

    test('is an end: a receipt that comes later changes nothing', async () => {
      await store().accept(outgoing(1));
      await expireAll(NOW + 1);
      expect(await store().receiveReceipts(NS, [receipt(1, 'read')])).toEqual([]);
      expect(await statusOf(store(), 1)).toBe('expired');
    });

    test('survives a restart, and is not done when the disk did not take it', async () => {
      for (const message of [1, 2]) await store().accept(outgoing(message));
      world().allowWrites(0);
      await expect(store().expire(THERE, NOW + 1, 0, () => true)).rejects.toThrow('');
      await world().reopen();
      expect([await store().outboxCount(THERE), await noticesOf(store())]).toEqual([2, []]);
      world().allowWrites(1);
      await store().expire(THERE, NOW + 1, 0, () => true);
      await world().reopen();
      expect(await store().outboxMachines()).toEqual([]);
      expect(await noticesOf(store())).toHaveLength(2);
      expect((await store().accept(outgoing(3))).copies).toEqual([{ id: id(3), number: 3 }]);
    });
  });
}
