import { describe, expect, test } from 'vitest';
import type { MailStore, OutboxEntry } from '../../daemon/store/mail-store.ts';
import { DOUBT_MS, GAP_HOLD_MS } from '../../protocol/limits.ts';
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
  NOBODY,
  NOW,
  NS,
  numbersTo,
  OTHER_NS,
  outboxOf,
  outgoing,
  pendingOf,
  receipt,
  receive,
  statusOf,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about epochs, this machine's and those of others. */

const placesOf = async (store: MailStore, machine = THERE) =>
  (await outboxOf(store, machine)).flatMap(({ letter }) =>
    letter.k === 'message' ? [[Number.parseInt(letter.id.slice(-4), 16), letter.epoch ?? 0, letter.seq]] : [],
  );
const lettersOf = async (store: MailStore, machine = THERE) =>
  (await outboxOf(store, machine)).map(({ letter }) => letter);

const shares = (ns: string) => ns === NS;

/** Everything that a machine of a higher epoch may have lost, page by page. */
async function resyncAll(
  store: MailStore,
  machine: string,
  epoch: number,
  { nowMs = NOW, neverLeft = (_entry: OutboxEntry): boolean => false } = {},
) {
  const replaced: number[] = [];
  for (;;) {
    const page = await store.resync({ machine, epoch, boot: NEXT_BOOT, nowMs, neverLeft, shares });
    replaced.push(...page.replaced);
    if (page.state !== 'more') return { replaced, state: page.state };
  }
}

export function newEpochTests({ store, world }: At): void {
  describe('newEpoch', () => {
    test('is later than now, and rises whatever the clock says', async () => {
      expect(await store().epoch()).toBe(0);
      const begin = { inDoubt: false, boot: BOOT };
      expect(await store().newEpoch({ ...begin, nowMs: NOW })).toBe(NOW);
      expect(await store().newEpoch({ ...begin, nowMs: NOW - 5 })).toBe(NOW + 1);
      expect(await store().settleEpoch(BOOT, NOW)).toBe(NOW + 1);
      await world().reopen();
      expect(await store().epoch()).toBe(NOW + 1);
    });

    test('is above one that this store has forgotten', async () => {
      const begin = { inDoubt: true, boot: BOOT, nowMs: NOW };
      expect(await store().newEpoch({ ...begin, above: NOW + 70 })).toBe(NOW + 71);
      expect(await store().newEpoch({ ...begin, above: NOW + 70 })).toBe(NOW + 72);
    });

    test('is whole before anything else is decided', async () => {
      for (const message of numbersTo(40)) await store().accept(outgoing(message));
      const begun = store().newEpoch({ inDoubt: true, boot: NEXT_BOOT, nowMs: NOW });
      const accepted = store().accept(outgoing(41));
      expect(await begun).toBe(NOW);
      await accepted;
      expect(await placesOf(store())).toEqual(numbersTo(41).map((message) => [message, NOW, message]));
    });

    test('what waits begins its lines again, and what comes later goes on there', async () => {
      for (const message of numbersTo(40)) await store().accept(outgoing(message));
      await store().accept(outgoing(50, { copies: [{ id: id(50), to: cyd, machine: ELSEWHERE }] }));
      for (const number of numbersTo(5)) await store().settle(THERE, number, receipt(number, 'read'));
      const epoch = await store().newEpoch({ inDoubt: true, boot: NEXT_BOOT, nowMs: NOW + 9 });
      await store().accept(outgoing(41));
      expect(await placesOf(store())).toEqual(
        numbersTo(41, 6).map((message) => [message, epoch, message - 5]),
      );
      expect(await placesOf(store(), ELSEWHERE)).toEqual([[50, epoch, 1]]);
      expect((await store().find(ada.id, id(7)))?.message).toMatchObject({ epoch, seq: 2 });
    });

    test('goes on after a crash, wherever that was', async () => {
      for (const message of numbersTo(40)) await store().accept(outgoing(message));
      for (const message of numbersTo(140, 101)) await store().receive(incoming(message, message - 100));
      for (let writes = 0; ; writes += 1) {
        world().allowWrites(writes);
        const done = await store()
          .newEpoch({ inDoubt: true, boot: NEXT_BOOT, nowMs: NOW })
          .then(
            () => true,
            () => false,
          );
        world().allowWrites(Infinity);
        await world().reopen();
        if (done) break;
        const epoch = await store().settleEpoch(NEXT_BOOT, NOW);
        if (epoch === 0) continue;
        expect(await placesOf(store())).toEqual(numbersTo(40).map((message) => [message, epoch, message]));
        expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0, doubt: 40 });
        expect(writes).toBeLessThan(20);
      }
    });
  });

  describe('what is in doubt', () => {
    const doubt = (nowMs = NOW) => store().newEpoch({ inDoubt: true, boot: BOOT, nowMs });
    const tell = (
      message: number,
      state: 'read' | 'unsent' | 'unread',
      more: { machine?: string; ns?: string } = {},
    ) =>
      store().receiveAsked({
        ns: NS,
        machine: THERE,
        boot: BOOT,
        nowMs: NOW + 1,
        ...more,
        letter: { k: 'told', messages: [{ id: id(message), to: ada.id, state }] },
      });

    test('is not shown, and asked about', async () => {
      await store().receive(incoming(1, 1));
      await store().receive(incoming(2, 2));
      await store().receive(incoming(9, 9));
      await doubt();
      expect(await pendingOf(store())).toEqual([]);
      expect(await store().show(ada.id, 9, NOBODY, NOW)).toEqual([]);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0, doubt: 3 });
      const about = (message: number) => ({ id: id(message), from: bob.id, to: ada.id });
      expect(await lettersOf(store())).toEqual([{ k: 'doubts', messages: [about(1), about(2), about(9)] }]);
    });

    test('but not what this machine knows for itself, marked as perhaps seen', async () => {
      await store().receive(incoming(1, 1, {}, { machine: HERE.peerId }));
      await doubt();
      expect(await store().pending(ada.id, 9)).toMatchObject([{ shownAtMs: NOW }]);
      expect(await outboxOf(store(), HERE.peerId)).toEqual([]);
    });

    test('is shown when its sender does not know it to be read, and not when it does', async () => {
      for (const message of [1, 2, 3, 4]) await store().receive(incoming(message, message));
      await doubt();
      expect(await tell(1, 'read')).toEqual({ released: [] });
      expect(await tell(2, 'unread')).toEqual({ released: [{ agent: ada.id, messageId: id(2) }] });
      expect(await tell(3, 'unsent')).toEqual({ released: [] });
      expect(await Promise.all([1, 2, 3, 4].map((message) => statusOf(store(), message)))).toEqual([
        'read',
        'pending',
        'unsent',
        'pending',
      ]);
      expect(await store().pending(ada.id, 9)).toMatchObject([{ number: 2, shownAtMs: NOW + 1 }]);
      expect(await store().tally(ada.id)).toEqual({ pending: 1, deferred: 0, doubt: 1 });
      await tell(2, 'read');
      expect(await statusOf(store(), 2)).toBe('pending');
    });

    test('is decided by the machine that sent it alone', async () => {
      await store().receive(incoming(1, 1));
      await doubt();
      await tell(1, 'read', { machine: ELSEWHERE });
      await tell(1, 'read', { ns: 'f'.repeat(64) });
      await tell(7, 'read');
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 0, doubt: 1 });
    });

    test('cannot be taken back: it may have been shown', async () => {
      await store().receive(incoming(1, 1));
      await doubt();
      expect(await store().receiveUnsend(unsending(1))).toMatchObject({ state: 'delivered' });
      await tell(1, 'unread');
      expect(await pendingOf(store())).toEqual(['content 1']);
    });

    test('is known when it comes again, and leaves no gap', async () => {
      await store().receive(incoming(1, 1));
      await doubt();
      expect(await receive(store(), incoming(1, 1, { epoch: 5 }))).toMatchObject({ released: [] });
      expect(await receive(store(), incoming(2, 2, { epoch: 5 }))).toMatchObject({ released: [id(2)] });
      expect(await pendingOf(store())).toEqual(['content 2']);
    });

    test('can be answered, which takes it out', async () => {
      await store().receive(incoming(1, 1));
      await doubt();
      await store().mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW);
      expect(await store().tally(ada.id)).toEqual({ pending: 0, deferred: 1 });
      expect(await tell(1, 'unread')).toEqual({ released: [] });
      expect((await store().find(ada.id, id(1)))?.doubt).toBeUndefined();
    });

    test('is shown after a day when nobody tells', async () => {
      await store().receive(incoming(1, 1));
      await doubt();
      const early = await store().giveUpDoubts(NOW + DOUBT_MS - 1);
      expect(early).toMatchObject({ released: [], dueAtMs: NOW + DOUBT_MS });
      const { released } = await store().giveUpDoubts(NOW + DOUBT_MS);
      expect(released).toEqual([{ agent: ada.id, messageId: id(1) }]);
      expect(await store().giveUpDoubts(NOW + DOUBT_MS)).toEqual({
        released: [],
        dueAtMs: undefined,
        next: undefined,
      });
      expect(await store().pending(ada.id, 9)).toMatchObject([{ shownAtMs: NOW + DOUBT_MS }]);
    });

    test('is asked about again of a machine that may have lost the question or its answer', async () => {
      for (const message of numbersTo(40)) await store().receive(incoming(message, message));
      await store().receive(incoming(41, 41, {}, { ns: OTHER_NS }));
      await doubt();
      for (const { number } of await outboxOf(store())) await store().settle(THERE, number, undefined);
      await tell(1, 'unread');
      await resyncAll(store(), ELSEWHERE, 7);
      expect(await lettersOf(store(), ELSEWHERE)).toEqual([]);
      await resyncAll(store(), THERE, 7);
      const asked = await lettersOf(store());
      expect(asked.flatMap((letter) => (letter.k === 'doubts' ? letter.messages : []))).toEqual(
        numbersTo(40)
          .slice(1)
          .map((message) => ({ id: id(message), from: bob.id, to: ada.id })),
      );
      await resyncAll(store(), THERE, 7);
      expect(await lettersOf(store())).toEqual(asked);
    });

    test('is asked about again when another epoch begins, which may have lost the answer', async () => {
      await store().receive(incoming(1, 1));
      await doubt();
      for (const { number } of await outboxOf(store())) await store().settle(THERE, number, undefined);
      await store().receive(incoming(2, 2));
      await doubt();
      const asked = (await lettersOf(store())).map((letter) =>
        letter.k === 'doubts' ? letter.messages.map((one) => one.id) : [],
      );
      expect(asked).toEqual([[id(1)], [id(2)]]);
    });

    test('is told of to whoever asks, of its own messages only', async () => {
      for (const message of numbersTo(4)) await store().accept(outgoing(message));
      await store().settle(THERE, 1, receipt(1, 'read'));
      await store().settle(THERE, 2, receipt(2, 'delivered'));
      await store().settle(THERE, 3, receipt(3, 'unsent'));
      const ask = (machine: string) =>
        store().receiveAsked({
          ns: NS,
          machine,
          boot: BOOT,
          nowMs: NOW,
          letter: {
            k: 'doubts',
            messages: [1, 2, 3, 4, 9].map((message) => ({ id: id(message), from: ada.id, to: bob.id })),
          },
        });
      expect(await ask(THERE)).toEqual({ released: [] });
      await ask(ELSEWHERE);
      const statesFor = async (machine: string) =>
        (await lettersOf(store(), machine)).flatMap((letter) =>
          letter.k === 'told' ? letter.messages.map(({ state }) => state) : [],
        );
      expect(await statesFor(THERE)).toEqual(['read', 'unread', 'unsent', 'unread', 'unread']);
      expect(await statesFor(ELSEWHERE)).toEqual(numbersTo(5).map(() => 'unread'));
      await world().pretendFull({ outbox: THERE });
      expect(await ask(THERE)).toEqual({ refusal: 'outbox_full', released: [] });
    });
  });
}

export function resyncTests({ store, world }: At): void {
  describe('resync', () => {
    test('queues what is not known to be read, in its order, in a line of its own', async () => {
      for (const message of numbersTo(5)) await store().accept(outgoing(message));
      await store().accept(outgoing(9, { copies: [{ id: id(9), to: cyd, machine: ELSEWHERE }] }));
      await store().settle(THERE, 1, receipt(1, 'read'));
      await store().settle(THERE, 2, receipt(2, 'delivered'));
      await store().settle(THERE, 3, receipt(3, 'unsent'));
      expect(await resyncAll(store(), THERE, 7)).toEqual({ replaced: [4, 5], state: 'done' });
      expect(await placesOf(store())).toEqual([
        [2, NOW, 1],
        [4, NOW, 2],
        [5, NOW, 3],
      ]);
      expect(await outboxOf(store())).toMatchObject([{ again: true }, { again: true }, { again: true }]);
      expect(await statusOf(store(), 2)).toBe('delivered');
      expect(await placesOf(store(), ELSEWHERE)).toEqual([[9, 0, 1]]);
      await store().accept(outgoing(6));
      await store().accept(outgoing(10, { copies: [{ id: id(10), to: cyd, machine: ELSEWHERE }] }));
      expect((await placesOf(store())).at(-1)).toEqual([6, NOW, 4]);
      expect((await placesOf(store(), ELSEWHERE)).at(-1)).toEqual([10, 0, 2]);
    });

    test('says of what may have been shown that it was sent before, and so it is shown', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2));
      await store().accept(outgoing(3));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await resyncAll(store(), THERE, 7, {
        neverLeft: ({ number }) => number === 3,
      });
      const again = (await lettersOf(store())).map((letter) => letter.k === 'message' && letter.again);
      expect(again).toEqual([true, true, undefined]);
      await store().receive(incoming(8, 1, { again: true }));
      expect(await store().pending(ada.id, 9)).toMatchObject([{ shownAtMs: NOW }]);
      expect(await store().receiveUnsend(unsending(8))).toMatchObject({ state: 'delivered' });
    });

    test('is done once for an epoch, and again for the next', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await resyncAll(store(), THERE, 7);
      expect(await store().resyncedEpoch(THERE)).toBe(7);
      const before = await outboxOf(store());
      await resyncAll(store(), THERE, 7);
      await resyncAll(store(), THERE, 6);
      expect(await outboxOf(store())).toEqual(before);
      expect(await resyncAll(store(), THERE, 8)).toEqual({ replaced: [before[0]!.number], state: 'done' });
      expect(await placesOf(store())).toEqual([[1, NOW + 1, 1]]);
    });

    test('goes on after a crash, and leaves nothing out and nothing twice', async () => {
      for (const message of numbersTo(100)) await store().accept(outgoing(message));
      for (const number of numbersTo(100)) await store().settle(THERE, number, receipt(number, 'delivered'));
      expect(
        await store().resync({
          machine: THERE,
          epoch: 7,
          boot: BOOT,
          nowMs: NOW,
          neverLeft: () => false,
          shares,
        }),
      ).toMatchObject({ state: 'more' });
      expect(await store().resyncedEpoch(THERE)).toBe(0);
      await world().reopen();
      expect(await store().unfinishedResyncs()).toEqual([{ machine: THERE, epoch: 7 }]);
      await resyncAll(store(), THERE, 7, { nowMs: NOW + 50 });
      expect(await store().unfinishedResyncs()).toEqual([]);
      expect(await placesOf(store())).toEqual(numbersTo(100).map((message) => [message, NOW, message]));
    });

    test('sends nothing of a namespace that the machine is not in', async () => {
      await store().accept(outgoing(1, { ns: OTHER_NS }));
      await store().settle(THERE, 1, receipt(1, 'delivered', { ns: OTHER_NS }));
      expect(await resyncAll(store(), THERE, 7)).toEqual({ replaced: [], state: 'done' });
      expect(await outboxOf(store())).toEqual([]);
    });

    test('waits for room', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await world().pretendFull({ outbox: THERE });
      expect(await resyncAll(store(), THERE, 7)).toEqual({ replaced: [], state: 'full' });
      expect(await store().resyncedEpoch(THERE)).toBe(0);
    });

    test('an old receipt does not settle what is sent again', async () => {
      await store().accept(outgoing(1));
      await store().settle(THERE, 1, receipt(1, 'delivered'));
      await resyncAll(store(), THERE, 7);
      for (const more of [{}, { epoch: 6 }]) {
        expect(await store().receiveReceipts(NS, [receipt(1, 'delivered', more)])).toEqual([]);
        expect(await outboxOf(store())).toHaveLength(1);
      }
      // It read what it had before, and does not say that what was sent again has come.
      await store().receiveReceipts(NS, [receipt(1, 'read', { epoch: 7 })]);
      expect(await statusOf(store(), 1)).toBe('read');
      const [entry] = await outboxOf(store());
      const line = (await store().find(ada.id, id(1)))?.message.epoch;
      expect(entry).toMatchObject({ letter: { epoch: line } });
      await store().receiveReceipts(NS, [receipt(1, 'read', { epoch: 7, line: line! })]);
      expect(await outboxOf(store())).toEqual([]);
    });
  });

  describe('a line that begins again', () => {
    test('closes the one before: what was held is shown, and what is missing named', async () => {
      await store().receive(incoming(3, 3));
      expect(await receive(store(), incoming(4, 1, { epoch: 7 }))).toEqual({
        state: 'delivered',
        released: [id(3), id(4)],
      });
      expect(await store().find(ada.id, id(3))).toMatchObject({ missingBefore: 2 });
      expect(await receive(store(), incoming(1, 1))).toMatchObject({ released: [id(1)] });
      expect(await store().find(ada.id, id(1))).toMatchObject({ late: true });
      expect((await store().giveUpGaps(NOW + GAP_HOLD_MS)).released).toEqual([]);
    });

    test('after this machine lost what it had, a gap before it is no gap', async () => {
      await store().receive(incoming(1, 1));
      await store().receive(incoming(3, 3));
      await store().newEpoch({ inDoubt: false, boot: BOOT, nowMs: NOW + 1 });
      await store().receive(incoming(5, 5, {}, { nowMs: NOW + 1 }));
      await store().receive(incoming(6, 1, { epoch: 7 }));
      expect((await store().find(ada.id, id(3)))?.missingBefore).toBe(1);
      expect((await store().find(ada.id, id(5)))?.missingBefore).toBeUndefined();
      await store().receive(incoming(8, 3, { epoch: 7 }));
      await store().giveUpGaps(NOW + GAP_HOLD_MS);
      expect(await store().find(ada.id, id(8))).toMatchObject({ missingBefore: 1 });
    });

    test('what was held there and comes again is shown once, also when it is taken back', async () => {
      await store().receive(incoming(3, 3));
      expect(await receive(store(), voided(3, 1, { epoch: 7 }))).toEqual({
        state: 'unsent',
        released: [id(3)],
      });
      expect(await statusOf(store(), 3)).toBe('unsent');
      await store().receive(incoming(2, 4, { epoch: 7 }));
      expect(await receive(store(), incoming(2, 1, { epoch: 8 }))).toEqual({
        state: 'delivered',
        released: [id(2)],
      });
      expect(await pendingOf(store())).toEqual(['content 2']);
    });

    test('a void for what was shown takes its place and no more', async () => {
      await store().receive(incoming(1, 1));
      await store().show(ada.id, 9, NOBODY, NOW);
      expect(await receive(store(), voided(1, 1, { epoch: 7 }))).toEqual({
        state: 'delivered',
        released: [],
      });
      expect(await receive(store(), incoming(2, 2, { epoch: 7 }))).toMatchObject({ released: [id(2)] });
    });
  });
}
