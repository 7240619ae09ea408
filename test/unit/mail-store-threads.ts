import { describe, expect, test } from 'vitest';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { resolvedAtMs, rootOf } from '../../protocol/delivery/thread.ts';
import { GAP_HOLD_MS } from '../../protocol/limits.ts';
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
  NOW,
  outgoing,
  receipt,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about threads and the chains of answers in them. */

const deploy = (root: number) => ({ thread: { slug: 'deploy', root: id(root) } });
const here = { thread: 'deploy' };

/** Id of the thread of ada and another, and when it was resolved. */
async function viewOf(store: MailStore, peer = bob, slug = 'deploy') {
  const thread = await store.thread(ada.id, peer.id, slug);
  return thread && { root: rootOf(thread), resolvedAt: resolvedAtMs(thread) };
}

export function threadTests({ store }: At): void {
  const takeBack = (message: number, neverLeft = true) =>
    store().takeBack({ agent: ada.id, messageId: id(message), neverLeft: () => neverLeft, boot: BOOT });

  describe('threads', () => {
    test('are opened by the first message and joined by later ones', async () => {
      const expected = { slug: 'deploy', root: id(1) };
      expect((await store().accept(outgoing(1, here))).thread).toEqual(expected);
      expect((await store().accept(outgoing(2, here))).thread).toEqual(expected);
      expect((await store().find(ada.id, id(2)))!.message.thread).toEqual(expected);
      expect(await store().thread(bob.id, ada.id, 'deploy')).toBeUndefined();
    });

    test('of several copies have one root', async () => {
      const copies = [
        { id: id(1), to: bob, machine: THERE },
        { id: id(2), to: cyd, machine: ELSEWHERE },
      ];
      await store().accept(outgoing(1, { ...here, copies }));
      expect((await store().find(ada.id, id(2)))!.message.thread).toEqual({ slug: 'deploy', root: id(1) });
    });

    test('are inherited from what arrives', async () => {
      await store().receive(incoming(5, 1, deploy(5)));
      const accepted = await store().accept(outgoing(6, here));
      expect(accepted.thread).toEqual({ slug: 'deploy', root: id(5) });
    });

    test.for<[mine: number, theirs: number]>([
      [1, 2],
      [2, 1],
    ])('opened on both sides (%i here, %i there) have the lower root', async ([mine, theirs]) => {
      await store().accept(outgoing(mine, here));
      await store().receive(incoming(theirs, 1, deploy(theirs)));
      expect(await viewOf(store())).toEqual({ root: id(1), resolvedAt: undefined });
      expect((await store().thread(ada.id, bob.id, 'deploy'))!.roots).toEqual([id(1), id(2)]);
      expect((await store().accept(outgoing(9, here))).thread?.root).toBe(id(1));
    });

    test('have the id that the other side knows, until something is said there', async () => {
      await store().accept(outgoing(5, here));
      const copies = [{ id: id(6), to: cyd, machine: ELSEWHERE }];
      await store().accept(outgoing(6, { ...here, copies }));
      await store().receive(incoming(1, 1, deploy(1)));
      expect([await viewOf(store()), await viewOf(store(), cyd)]).toMatchObject([
        { root: id(1) },
        { root: id(5) },
      ]);
      await store().accept(outgoing(7, { ...here, copies: [{ ...copies[0]!, id: id(7) }] }));
      expect(await viewOf(store(), cyd)).toMatchObject({ root: id(1) });
    });

    test('know a bounded number of ids, the lowest', async () => {
      for (const [index, root] of [9, 3, 8, 4, 7, 5, 6, 2, 1, 10].entries())
        await store().receive(incoming(20 + index, index + 1, deploy(root)));
      const { roots } = (await store().thread(ada.id, bob.id, 'deploy'))!;
      expect(roots).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map(id));
    });

    test('keep slugs apart that look alike', async () => {
      for (const [index, slug] of ['a', 'a-', '\u00e4', 'aa', '\u5165'].entries())
        await store().accept(outgoing(index + 1, { thread: slug }));
      expect(await viewOf(store(), bob, '\u00e4')).toMatchObject({ root: id(3) });
      expect(await viewOf(store(), bob, 'a')).toMatchObject({ root: id(1) });
    });
  });

  describe('a resolve', () => {
    const resolvedAt = async (peer = bob) => (await viewOf(store(), peer))?.resolvedAt;

    test('closes the thread, and the next message opens it again, from either side', async () => {
      await store().accept(outgoing(1, here));
      await store().accept(outgoing(2, { ...here, resolve: true, nowMs: NOW + 5 }));
      expect(await resolvedAt()).toBe(NOW + 5);
      await store().receive(incoming(3, 1, deploy(1)));
      expect(await resolvedAt()).toBeUndefined();
      await store().receive(
        incoming(4, 2, { ...deploy(1), resolve: true, seen: { seq: 2 } }, { nowMs: NOW + 9 }),
      );
      expect(await resolvedAt()).toBe(NOW + 9);
      await store().accept(outgoing(5, here));
      expect(await resolvedAt()).toBeUndefined();
    });

    test('says what its sender had taken in, not what a gap holds back', async () => {
      await store().receive(incoming(1, 1));
      await store().receive(incoming(3, 3, deploy(3)));
      await store().accept(outgoing(5, { ...here, resolve: true }));
      expect((await store().find(ada.id, id(5)))!.message).toMatchObject({ resolve: true, seen: { seq: 1 } });
      await store().receive(incoming(2, 2));
      expect(await resolvedAt()).toBeUndefined();
    });

    test.for<[what: string, seen: number | undefined, isResolved: boolean]>([
      ['that had seen all', 2, true],
      ['that crosses a message', 1, false],
      ['that does not say what it had seen', undefined, false],
    ])('%s', async ([, seen, isResolved]) => {
      await store().accept(outgoing(1, here));
      await store().accept(outgoing(2, here));
      const more = seen === undefined ? {} : { seen: { seq: seen } };
      await store().receive(incoming(5, 1, { ...deploy(1), resolve: true, ...more }));
      expect(await resolvedAt()).toBe(isResolved ? NOW : undefined);
    });

    test('of both sides at once closes the thread, and does not cross the other', async () => {
      await store().accept(outgoing(1, here));
      await store().accept(outgoing(2, { ...here, resolve: true, nowMs: NOW + 1 }));
      await store().receive(incoming(5, 1, { ...deploy(1), resolve: true, seen: { seq: 1 } }));
      expect(await resolvedAt()).toBe(NOW);
    });

    test('closes the thread with one recipient of several', async () => {
      const copies = [
        { id: id(1), to: bob, machine: THERE },
        { id: id(2), to: cyd, machine: ELSEWHERE },
      ];
      await store().accept(outgoing(1, { ...here, copies }));
      await store().receive(incoming(5, 1, { ...deploy(1), resolve: true, seen: { seq: 1 } }));
      expect([await resolvedAt(), await resolvedAt(cyd)]).toEqual([NOW, undefined]);
    });

    test('is not crossed by what belongs to another thread', async () => {
      await store().accept(outgoing(1, here));
      await store().accept(outgoing(2, { thread: 'other' }));
      await store().receive(incoming(5, 1, { ...deploy(1), resolve: true, seen: { seq: 1 } }));
      expect(await resolvedAt()).toBe(NOW);
    });

    test('of an earlier epoch had not seen a later one', async () => {
      await store().receive(incoming(1, 1, { ...deploy(1), epoch: 7 }));
      await store().receive(incoming(2, 2, { ...deploy(1), epoch: 7, resolve: true, seen: { seq: 9 } }));
      await store().accept(outgoing(3, here));
      expect(await resolvedAt()).toBe(NOW);
      await store().receive(incoming(4, 1, { ...deploy(1), epoch: 8 }));
      expect(await resolvedAt()).toBeUndefined();
    });

    test('of a note to oneself holds over what was noted before', async () => {
      const note = (message: number) => [{ id: id(message), to: ada, machine: HERE.peerId }];
      await store().accept(outgoing(1, { ...here, copies: note(1) }));
      await store().accept(outgoing(2, { ...here, copies: note(2), resolve: true }));
      expect(await resolvedAt(ada)).toBe(NOW);
      await store().accept(outgoing(3, { ...here, copies: note(3) }));
      expect(await resolvedAt(ada)).toBeUndefined();
    });
  });

  describe('what is taken back of a thread', () => {
    const resolvedAt = async () => (await viewOf(store()))?.resolvedAt;
    const resolve = { ...deploy(1), resolve: true as const, seen: { seq: 1 } };

    test.for<[how: string, end: (store: MailStore) => Promise<unknown>]>([
      ['before it left', () => takeBack(2)],
      ['by its recipient', (mail) => mail.settle(THERE, 2, receipt(2, 'unsent'))],
      ['as a letter says', (mail) => mail.receiveReceipts(outgoing(1).ns, [receipt(2, 'unsent')])],
      ['by a refusal', (mail) => mail.refuse(THERE, 2, 'forbidden')],
    ])('%s does not keep it open', async ([, end]) => {
      await store().accept(outgoing(1, here));
      await store().accept(outgoing(2, here));
      await store().receive(incoming(5, 1, resolve));
      expect(await resolvedAt()).toBeUndefined();
      await end(store());
      expect(await resolvedAt()).toBe(NOW);
    });

    test('after it may have arrived still counts', async () => {
      await store().accept(outgoing(1, here));
      await store().accept(outgoing(2, here));
      await store().receive(incoming(5, 1, resolve));
      await store().expire(THERE, NOW + 1, 0, () => false);
      expect(await resolvedAt()).toBeUndefined();
    });

    test('by the other side, several at once and in any order, leaves what was before', async () => {
      await store().receive(incoming(1, 1, deploy(1)));
      await store().accept(outgoing(9, { ...here, resolve: true }));
      for (const [message, seq] of [
        [2, 2],
        [3, 3],
        [4, 4],
      ] as const)
        await store().receive(incoming(message, seq, deploy(1)));
      await store().receiveUnsend(unsending(3));
      await store().receiveUnsend(unsending(4));
      expect(await resolvedAt()).toBeUndefined();
      await store().receive(voided(2, 2));
      expect(await resolvedAt()).toBe(NOW);
      await store().receiveUnsend(unsending(1));
      expect(await resolvedAt()).toBe(NOW);
    });

    test('leaves what came late, and before it, in its place', async () => {
      await store().receive(incoming(1, 1, deploy(1)));
      await store().accept(outgoing(9, { ...here, resolve: true }));
      for (const seq of [5, 6]) await store().receive(incoming(seq, seq, deploy(1)));
      await store().giveUpGaps(NOW + GAP_HOLD_MS);
      for (const seq of [3, 2, 4]) await store().receive(incoming(seq, seq, deploy(1)));
      for (const message of [6, 5, 4, 3]) {
        expect(await resolvedAt()).toBeUndefined();
        await store().receiveUnsend(unsending(message));
        const { content } = (await store().thread(ada.id, bob.id, 'deploy'))!.peer;
        expect(content!.place.seq).toBe(message - 1);
      }
      await store().receiveUnsend(unsending(2));
      expect(await resolvedAt()).toBe(NOW);
    });

    test('may be a resolve', async () => {
      await store().receive(incoming(1, 1, deploy(1)));
      await store().receive(incoming(2, 2, { ...deploy(1), resolve: true, seen: { seq: 0 } }));
      expect(await resolvedAt()).toBe(NOW);
      await store().receiveUnsend(unsending(2));
      expect(await resolvedAt()).toBeUndefined();
    });

    test('may be all of it, and its id with it', async () => {
      await store().accept(outgoing(1, here));
      await takeBack(1);
      expect(await viewOf(store())).toEqual({ root: undefined, resolvedAt: undefined });
      await store().receive(incoming(5, 1, deploy(5)));
      expect(await viewOf(store())).toMatchObject({ root: id(5) });
    });
  });
}

export function hopTests({ store }: At): void {
  const hopsOf = async (message: number) => (await store().find(ada.id, id(message)))!.message.hops;
  const answer = (message: number, to: number, more = {}) =>
    store().accept(outgoing(message, { replyTo: id(to), ...more }));
  const guarded = (message: number) => ({ id: id(message), error: 'loop_guard' });

  describe('hops', () => {
    test('are one for what begins a chain, and one more for an answer', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { hops: 7, reply_to: id(1) }));
      await answer(3, 2);
      expect([await hopsOf(1), await hopsOf(3)]).toEqual([1, 8]);
    });

    test('of a message in a thread go on from the highest that is known in it', async () => {
      await store().receive(incoming(2, 1, { ...deploy(2), hops: 7 }));
      await store().receive(incoming(3, 2, { ...deploy(2), hops: 5 }));
      await store().accept(outgoing(4, here));
      await store().accept(outgoing(5, here));
      await store().accept(outgoing(6, { thread: 'other' }));
      expect([await hopsOf(4), await hopsOf(5), await hopsOf(6)]).toEqual([8, 9, 1]);
    });

    test('of a person are one, here and there', async () => {
      await store().receive(incoming(2, 1, { ...deploy(2), hops: 7 }));
      await store().accept(outgoing(3, { ...here, byPerson: true }));
      await store().accept(outgoing(4, here));
      expect([await hopsOf(3), await hopsOf(4)]).toEqual([1, 2]);
      await store().receive(incoming(5, 2, { ...deploy(2), hops: 30 }));
      await store().receive(incoming(6, 3, { ...deploy(2), hops: 1 }));
      await store().accept(outgoing(7, here));
      expect(await hopsOf(7)).toBe(2);
    });

    test('of a message that does not say are one', async () => {
      await store().receive(incoming(2, 1));
      await answer(3, 2);
      expect(await hopsOf(3)).toBe(2);
    });

    test('beyond the bound hold back what says something, and nothing else', async () => {
      await store().receive(incoming(2, 1, { ...deploy(2), hops: 4 }));
      expect((await answer(3, 2, { hopsMax: 4 })).copies).toEqual([guarded(3)]);
      expect((await store().accept(outgoing(4, { ...here, hopsMax: 4 }))).copies).toEqual([guarded(4)]);
      expect(await store().outboxCount(THERE)).toBe(0);
      expect((await store().find(ada.id, id(2)))!.status).toBe('pending');
      const closing = { content: '', resolve: true, hopsMax: 4 };
      expect((await answer(5, 2, closing)).copies).toEqual([{ id: id(5), number: 1 }]);
      expect((await answer(6, 2, { hopsMax: 4, byPerson: true })).copies).toEqual([{ id: id(6), number: 2 }]);
    });

    test('that are few to go are told', async () => {
      await store().receive(incoming(2, 1, { hops: 4 }));
      expect((await answer(3, 2, { hopsMax: 10 })).hopsLeft).toBeUndefined();
      expect((await answer(4, 2, { hopsMax: 9 })).hopsLeft).toBe(4);
      expect((await answer(5, 2, { hopsMax: 5 })).hopsLeft).toBe(0);
    });

    test('of a group are held back for those with whom the chain is long', async () => {
      await store().receive(incoming(2, 1, { ...deploy(2), hops: 4 }));
      const copies = [
        { id: id(3), to: bob, machine: THERE },
        { id: id(4), to: cyd, machine: ELSEWHERE },
      ];
      const accepted = await store().accept(outgoing(3, { ...here, copies, hopsMax: 4 }));
      expect(accepted.copies).toEqual([guarded(3), { id: id(4), number: 1 }]);
    });

    test('count from nothing after a reset, in all threads or in one', async () => {
      await store().receive(incoming(2, 1, { ...deploy(2), hops: 4 }));
      await store().resetChains(ada.id, 'other');
      await answer(3, 2);
      expect(await hopsOf(3)).toBe(5);
      await store().resetChains(ada.id, 'deploy');
      await answer(4, 2, here);
      await store().accept(outgoing(5, here));
      expect([await hopsOf(4), await hopsOf(5)]).toEqual([1, 2]);
      await store().receive(incoming(6, 2, { hops: 9 }));
      await store().resetChains(ada.id, 'deploy');
      await answer(7, 6);
      await store().resetChains(ada.id, undefined);
      await answer(8, 6);
      await store().receive(incoming(9, 3, { hops: 9 }));
      await answer(10, 9);
      expect([await hopsOf(7), await hopsOf(8), await hopsOf(10)]).toEqual([10, 1, 10]);
    });
  });
}
