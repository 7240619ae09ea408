import { describe, expect, test } from 'vitest';
import type { Arrived } from '../../daemon/store/mail-store.ts';
import { GAP_HELD_MAX, OUTBOX_MAX } from '../../protocol/limits.ts';
import { type ReceiptState, signReceipt } from '../../protocol/receipt.ts';
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
  pendingOf,
  receipt,
  receiptsFor,
  receive,
  stateOf,
  statusOf,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about mail that other machines keep and pass on. */

const [HOLDER, SECOND] = [ELSEWHERE, HERE.peerId];

export function heldTests({ store, world }: At): void {
  const takeBack = (message: number, neverLeft = false) =>
    store().takeBack({ agent: ada.id, messageId: id(message), neverLeft: () => neverLeft, boot: BOOT });
  const heldOf = async (message: number) => (await store().find(ada.id, id(message)))?.held;

  describe('what a mailbox holds', () => {
    test('lets its message climb, and is named in the outbox and in the history', async () => {
      await store().accept(outgoing(1));
      expect(await store().markHeld(THERE, 1, HOLDER)).toEqual({
        about: { agent: ada.id, messageId: id(1), kind: 'message', state: 'held' },
      });
      expect(await store().find(ada.id, id(1))).toMatchObject({ status: 'held', held: [HOLDER], outbox: 1 });
      expect(await store().outboxEntry(THERE, 1)).toMatchObject({ held: [HOLDER], letter: { k: 'message' } });
      expect(await store().outboxCount(THERE)).toBe(1);
    });

    test('is counted once for each mailbox, in the order in which they said so', async () => {
      await store().accept(outgoing(1));
      await store().markHeld(THERE, 1, HOLDER);
      expect(await store().markHeld(THERE, 1, HOLDER)).toEqual({});
      expect(await heldOf(1)).toEqual([HOLDER]);
      expect(await store().markHeld(THERE, 1, SECOND)).toMatchObject({ about: { state: 'held' } });
      expect(await heldOf(1)).toEqual([HOLDER, SECOND]);
      expect((await store().outboxEntry(THERE, 1))!.held).toEqual([HOLDER, SECOND]);
    });

    test('said by several at the same time loses none', async () => {
      await store().accept(outgoing(1));
      await Promise.all([HOLDER, SECOND, HOLDER].map((mailbox) => store().markHeld(THERE, 1, mailbox)));
      expect(await heldOf(1)).toEqual([HOLDER, SECOND]);
    });

    test.for<[what: string, machine: string, number: number]>([
      ['a number that never was', THERE, 99],
      ['a number of another machine', ELSEWHERE, 1],
      ['number 0', THERE, 0],
    ])('under %s says nothing', async ([, machine, number]) => {
      await store().accept(outgoing(1));
      expect(await store().markHeld(machine, number, HOLDER)).toEqual({});
      expect(await statusOf(store(), 1)).toBe('queued');
      expect(await store().outboxCount(machine)).toBe(machine === THERE ? 1 : 0);
    });

    test('after it was settled says nothing, and puts nothing back', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      expect(await store().markHeld(THERE, 1, HOLDER)).toEqual({});
      expect(await statusOf(store(), 1)).toBe('delivered');
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('never falls: neither below what is known, nor does it come down to it', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      expect(await store().markHeld(THERE, 1, HOLDER)).toMatchObject({ about: { state: 'replied' } });
      expect(await statusOf(store(), 1)).toBe('replied');
      await store().accept(outgoing(3));
      await store().markHeld(THERE, 2, HOLDER);
      await store().settle(THERE, 2, receipt(3, 'delivered'));
      expect(await statusOf(store(), 3)).toBe('delivered');
    });

    test('of receipts is kept with the entry alone', async () => {
      await store().receive(incoming(11, 1));
      await store().confirm(ada.id, [1], NOW);
      await store().tellRead(BOOT, NOW);
      expect(await store().markHeld(THERE, 1, HOLDER)).toEqual({});
      expect((await store().outboxEntry(THERE, 1))!.held).toEqual([HOLDER]);
      expect(await store().settle(THERE, 1, undefined)).toEqual({});
    });

    test('of a void or an unsend says nothing of the message', async () => {
      await store().accept(outgoing(1));
      await takeBack(1);
      expect(await store().markHeld(THERE, 2, HOLDER)).toEqual({});
      expect(await statusOf(store(), 1)).toBe('queued');
      expect(await heldOf(1)).toBeUndefined();
      await store().accept(outgoing(2));
      await store().settle(THERE, 3, receipt(2, 'delivered'));
      await takeBack(2);
      expect(await store().markHeld(THERE, 4, HOLDER)).toEqual({});
      expect(await statusOf(store(), 2)).toBe('delivered');
      expect((await outboxOf(store())).map(({ letter, held }) => [letter.k, held])).toEqual([
        ['void', [HOLDER]],
        ['unsend', [HOLDER]],
      ]);
    });

    test('is asked back under a number that nobody holds', async () => {
      await store().accept(outgoing(1));
      await store().markHeld(THERE, 1, HOLDER);
      expect(await takeBack(1)).toEqual({ status: 'asked', machine: THERE, number: 2, replaced: 1 });
      const [entry] = await outboxOf(store());
      expect([entry!.letter.k, entry!.held]).toEqual(['void', undefined]);
      expect(await store().find(ada.id, id(1))).toMatchObject({ status: 'held', held: [HOLDER] });
    });

    test('is remembered over a restart', async () => {
      await store().accept(outgoing(1));
      await store().markHeld(THERE, 1, HOLDER);
      const again = await world().reopen();
      expect(await again.find(ada.id, id(1))).toMatchObject({ status: 'held', held: [HOLDER] });
      expect(await again.markHeld(THERE, 1, HOLDER)).toEqual({});
      expect(await again.markHeld(THERE, 1, SECOND)).toMatchObject({ about: { state: 'held' } });
      expect((await again.outboxEntry(THERE, 1))!.held).toEqual([HOLDER, SECOND]);
    });

    test('is not said when the disk did not take it', async () => {
      await store().accept(outgoing(1));
      world().allowWrites(0);
      await expect(store().markHeld(THERE, 1, HOLDER)).rejects.toThrow('');
      world().allowWrites(Infinity);
      expect(await statusOf(store(), 1)).toBe('queued');
      expect(await store().markHeld(THERE, 1, HOLDER)).toMatchObject({ about: { state: 'held' } });
    });
  });
}

export function settlingReceiptTests({ store, world }: At): void {
  const take = async (message: number, state: ReceiptState) => {
    const [taken, ...others] = await store().receiveReceipts(NS, [receipt(message, state)]);
    expect(others).toEqual([]);
    return taken && { settled: taken.settled, released: taken.released };
  };
  const takeBack = (message: number) =>
    store().takeBack({ agent: ada.id, messageId: id(message), neverLeft: () => false, boot: BOOT });

  describe('a receipt that comes by letter', () => {
    test.for<ReceiptState>(['queued', 'held', 'expired'])(
      'of %s is not its to say, and takes nothing out',
      async (state) => {
        await store().accept(outgoing(1));
        expect(await take(1, state)).toBeUndefined();
        expect([await statusOf(store(), 1), await store().outboxCount(THERE)]).toEqual(['queued', 1]);
      },
    );

    test('of refused, when it had said that it has the message, is of a copy and changes nothing', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await takeBack(1);
      expect(await take(1, 'refused')).toBeUndefined();
      expect([await statusOf(store(), 1), await store().outboxCount(THERE)]).toEqual(['delivered', 1]);
    });

    test('takes its entry out, and the count is right', async () => {
      for (const message of [1, 2, 3]) await store().accept(outgoing(message));
      expect(await take(2, 'delivered')).toEqual({ settled: { machine: THERE, number: 2 }, released: [] });
      expect((await outboxOf(store())).map(({ number }) => number)).toEqual([1, 3]);
      expect(await store().outboxCount(THERE)).toBe(2);
      expect((await store().find(ada.id, id(2)))!.outbox).toBeUndefined();
      for (const message of [1, 3]) await take(message, 'read');
      expect(await store().outboxMachines()).toEqual([]);
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('for an entry that is gone only lets its message climb', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      expect(await take(1, 'delivered')).toBeUndefined();
      expect(await take(1, 'read')).toEqual({ settled: undefined, released: [] });
      expect(await store().outboxCount(THERE)).toBe(1);
      expect(await statusOf(store(), 1)).toBe('read');
    });

    test('settles what was known to have come further already', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      expect(await take(1, 'delivered')).toEqual({ settled: { machine: THERE, number: 1 }, released: [] });
      expect(await statusOf(store(), 1)).toBe('replied');
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('settles a message that is held, and keeps who held it', async () => {
      await store().accept(outgoing(1));
      await store().markHeld(THERE, 1, HOLDER);
      await take(1, 'delivered');
      expect(await store().find(ada.id, id(1))).toMatchObject({ status: 'delivered', held: [HOLDER] });
    });

    test.for<[state: ReceiptState, ends: boolean, after: ReceiptState]>([
      ['delivered', false, 'delivered'],
      ['read', true, 'read'],
      ['deferred', true, 'deferred'],
      ['unsent', true, 'unsent'],
    ])('of %s, where the void of the message waits, ends it: %s', async ([state, ends, after]) => {
      await store().accept(outgoing(1));
      await takeBack(1);
      expect((await take(1, state))!.settled).toEqual(ends ? { machine: THERE, number: 2 } : undefined);
      expect((await outboxOf(store())).map(({ letter }) => letter.k)).toEqual(ends ? [] : ['void']);
      expect(await store().outboxCount(THERE)).toBe(ends ? 0 : 1);
      const record = (await store().find(ada.id, id(1)))!;
      expect([record.status, record.outbox]).toEqual([after, ends ? undefined : 2]);
    });

    test.for<[state: ReceiptState, ends: boolean]>([
      ['read', true],
      ['unsent', true],
    ])('of %s, where an unsend waits, ends it', async ([state]) => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await takeBack(1);
      expect(await take(1, 'delivered')).toBeUndefined();
      expect((await outboxOf(store())).map(({ letter }) => letter.k)).toEqual(['unsend']);
      expect(await take(1, state)).toEqual({ settled: { machine: THERE, number: 2 }, released: [] });
      expect(await store().outboxMachines()).toEqual([]);
      expect(await statusOf(store(), 1)).toBe(state);
    });

    test('ends the void of a message that was taken back before it left', async () => {
      await store().accept(outgoing(1));
      await store().takeBack({ agent: ada.id, messageId: id(1), neverLeft: () => true, boot: BOOT });
      expect(await take(1, 'unsent')).toEqual({ settled: { machine: THERE, number: 1 }, released: [] });
      expect(await store().outboxCount(THERE)).toBe(0);
      expect(await noticesOf(store())).toEqual([]);
    });

    test('survives a restart', async () => {
      await store().accept(outgoing(1));
      await take(1, 'delivered');
      const again = await world().reopen();
      expect([await again.outboxCount(THERE), await statusOf(again, 1)]).toEqual([0, 'delivered']);
      expect(await outboxOf(again)).toEqual([]);
    });
  });
}

export function relayedTests({ store, world }: At): void {
  const relayed = <T extends Arrived<unknown>>(arrival: T): T => ({ ...arrival, relayedIn: NEXT_BOOT });
  const told = async () => (await receiptsFor(store())).flat().map(({ id: about, state }) => [about, state]);

  describe('what a mailbox passed on', () => {
    test('is taken, and its receipt waits for the machine of its sender', async () => {
      const arrival = relayed(incoming(1, 1, {}, { nowMs: NOW + 5 }));
      expect(await receive(store(), arrival)).toEqual({ state: 'delivered', released: [id(1)] });
      expect(await receiptsFor(store())).toEqual([
        [
          {
            v: 1,
            ns: NS,
            id: id(1),
            sender: bob.id,
            recipient: ada.id,
            state: 'delivered',
            at: NOW + 5,
            by: HERE.peerId,
          },
        ],
      ]);
      expect(await outboxOf(store())).toMatchObject([{ number: 1, ns: NS, boot: NEXT_BOOT, atMs: NOW + 5 }]);
      expect(await store().outboxCount(THERE)).toBe(1);
      expect(await store().outboxMachines()).toEqual([THERE]);
    });

    test('by nobody queues nothing', async () => {
      await store().receive(incoming(1, 1));
      await store().receive(voided(2, 2));
      await store().receiveUnsend(unsending(3));
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('tells of what is held back, taken back, and asked back', async () => {
      await store().receive(relayed(incoming(2, 2)));
      await store().receive(relayed(voided(1, 1)));
      const unsend = relayed(unsending(3));
      expect(stateOf(await store().receiveUnsend(unsend), unsend)).toBe('unsent');
      expect(await told()).toEqual([
        [id(2), 'delivered'],
        [id(1), 'unsent'],
        [id(3), 'unsent'],
      ]);
      expect(await store().outboxCount(THERE)).toBe(3);
    });

    test('again is not seen again, and told again when that is news or was told before', async () => {
      await store().receive(relayed(incoming(1, 1)));
      expect(await receive(store(), relayed(incoming(1, 1)))).toEqual({ state: 'delivered', released: [] });
      await store().confirm(ada.id, [1], NOW);
      expect(await receive(store(), relayed(incoming(1, 1)))).toEqual({ state: 'read', released: [] });
      // The second "read" is that of the session which was shown it.
      expect((await told()).map(([, state]) => state)).toEqual(['delivered', 'read']);
      for (const { number } of await outboxOf(store())) await store().settle(THERE, number, undefined);
      for (let time = 0; time < 3; time++) await store().receive(relayed(incoming(1, 1)));
      expect(await told()).toEqual([[id(1), 'read']]);
      expect(await pendingOf(store())).toEqual([]);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0 });
    });

    test('and is refused, for now or for good, queues nothing', async () => {
      await world().pretendFull({ inbox: ada.id });
      expect(await receive(store(), relayed(incoming(1, 1)))).toBe('mailbox_full');
      await store().receive(incoming(11, 1, { to: cyd }));
      const stolen = incoming(11, 1, { to: cyd, from: ada }, { machine: ELSEWHERE });
      expect(await receive(store(), relayed(stolen))).toBe('invalid_id');
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('beyond what a gap holds back queues nothing', async () => {
      await Promise.all(numbersTo(GAP_HELD_MAX + 1, 2).map((seq) => store().receive(incoming(seq, seq))));
      const beyond = relayed(incoming(5_000, GAP_HELD_MAX + 2));
      expect(await receive(store(), beyond)).toBe('mailbox_full');
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('is taken though the outbox for that machine is full', async () => {
      await world().pretendFull({ outbox: THERE });
      await store().receive(relayed(incoming(1, 1)));
      expect(await told()).toEqual([[id(1), 'delivered']]);
      expect(await store().outboxCount(THERE)).toBe(OUTBOX_MAX + 1);
    });

    test.for<[what: string, run: () => Promise<unknown>, seen: string[]]>([
      ['a message', () => store().receive(relayed(incoming(1, 1))), ['content 1']],
      ['an unsend', () => store().receiveUnsend(relayed(unsending(1))), []],
    ])('%s and its receipt are one batch', async ([, run, seen]) => {
      world().allowWrites(0);
      await expect(run()).rejects.toThrow('');
      await world().reopen();
      expect([await pendingOf(store()), await told()]).toEqual([[], []]);
      expect(await store().knows(ada.id, id(1))).toBe(false);
      world().allowWrites(1);
      await run();
      await world().reopen();
      expect(await pendingOf(store())).toEqual(seen);
      expect((await told()).map(([about]) => about)).toEqual([id(1)]);
      expect(await store().knows(ada.id, id(1))).toBe(true);
    });
  });

  describe('telling a machine', () => {
    test('queues a receipt like any other letter', async () => {
      const said = {
        ns: NS,
        id: id(1),
        sender: bob.id,
        recipient: ada.id,
        state: 'refused',
        at: NOW,
      } as const;
      const bytes = signReceipt(said, HERE);
      expect(await store().tell(THERE, NS, bytes, NEXT_BOOT)).toEqual({ machines: [THERE] });
      expect(await outboxOf(store())).toMatchObject([{ number: 1, ns: NS, boot: NEXT_BOOT }]);
      expect(await receiptsFor(store())).toEqual([[{ ...said, v: 1, by: HERE.peerId }]]);
      expect(await store().settle(THERE, 1, undefined)).toEqual({});
      expect(await store().outboxMachines()).toEqual([]);
    });

    test('the same twice queues it once, while it waits', async () => {
      const about = { ns: NS, id: id(1), sender: bob.id, recipient: ada.id } as const;
      const say = (state: ReceiptState, at: number) =>
        store().tell(THERE, NS, signReceipt({ ...about, state, at }, HERE), BOOT);
      await say('refused', NOW);
      await world().reopen();
      expect(await say('refused', NOW + 9)).toEqual({ machines: [] });
      expect(await say('unsent', NOW)).toEqual({ machines: [THERE] });
      expect(await store().outboxCount(THERE)).toBe(2);
      await store().settle(THERE, 1, undefined);
      expect(await say('refused', NOW)).toEqual({ machines: [THERE] });
    });
  });
}
