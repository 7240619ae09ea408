import { describe, expect, test } from 'vitest';
import type { Message, Party } from '../../protocol/letter.ts';
import { GAP_HOLD_MS } from '../../protocol/limits.ts';
import {
  ada,
  type At,
  bob,
  cyd,
  ELSEWHERE,
  HERE,
  id,
  incoming,
  NOBODY,
  NOW,
  outgoing,
  THERE,
  unsending,
  voided,
} from './mail-store-fixture.ts';

/** Another agent, on another machine, that took bob's name. */
const newBob: Party = { id: id(0xa9), name: bob.name };

/** The part of the mail store suite that is about names that moved to another machine. */
export function moveTests({ store, world }: At): void {
  const fromThere = (message: number, seq: number, more: Partial<Message> = {}) =>
    store().receive(incoming(message, seq, more));
  const fromElsewhere = (message: number, seq: number, more: Partial<Message> = {}) =>
    store().receive(incoming(message, seq, { from: newBob, ...more }, { machine: ELSEWHERE }));
  const show = (limit = 1_000) => store().show(ada.id, limit, NOBODY, NOW);
  const movesOf = async (agent = ada) =>
    (await store().pending(agent.id, 1_000)).map(({ movedFrom }) => movedFrom);

  describe('a sender name', () => {
    test('that writes for the first time, or again from its home, has not moved', async () => {
      for (const seq of [1, 2, 3]) await fromThere(seq, seq);
      expect(await movesOf()).toEqual([undefined, undefined, undefined]);
      expect(Object.keys((await store().find(ada.id, id(2)))!)).not.toContain('movedFrom');
    });

    test('that writes from another machine is said to have moved', async () => {
      await fromThere(1, 1);
      await fromElsewhere(2, 1);
      expect(await movesOf()).toEqual([undefined, THERE]);
    });

    test('is told of the machine, not of the agent: a new agent at home has not moved', async () => {
      await fromThere(1, 1);
      await fromThere(2, 1, { from: newBob });
      expect(await movesOf()).toEqual([undefined, undefined]);
    });

    test('that moved is at home there once that was shown', async () => {
      await fromThere(1, 1);
      await fromElsewhere(2, 1);
      const shown = await show();
      expect(shown.map(({ movedFrom }) => movedFrom)).toEqual([undefined, THERE]);
      await fromElsewhere(3, 2);
      expect((await store().find(ada.id, id(2)))!.movedFrom).toBe(THERE);
      expect((await store().find(ada.id, id(3)))!.movedFrom).toBeUndefined();
    });

    test('that moved back has moved again', async () => {
      await fromThere(1, 1);
      await fromElsewhere(2, 1);
      await show();
      await fromThere(3, 2);
      await show();
      await fromThere(4, 3);
      expect((await store().find(ada.id, id(3)))!.movedFrom).toBe(ELSEWHERE);
      expect((await store().find(ada.id, id(4)))!.movedFrom).toBeUndefined();
    });

    test('that moved says so until that was shown', async () => {
      await fromThere(1, 1);
      for (const seq of [1, 2]) await fromElsewhere(1 + seq, seq);
      expect(await movesOf()).toEqual([undefined, THERE, THERE]);
      await show(1);
      await fromElsewhere(4, 3);
      expect(await movesOf()).toEqual([undefined, THERE, THERE, THERE]);
    });

    test('that moved back and forth before anyone looked is told of each move', async () => {
      await fromThere(1, 1);
      await show();
      await fromElsewhere(2, 1);
      await fromThere(3, 2);
      await store().confirm(ada.id, [1], NOW);
      await show(1);
      await fromElsewhere(4, 2);
      expect(await movesOf()).toEqual([THERE, ELSEWHERE, THERE]);
    });

    test('cannot hide its move behind a message that it takes back', async () => {
      await fromThere(1, 1);
      await show();
      await fromElsewhere(2, 1);
      await store().receiveUnsend({ ...unsending(2, { from: newBob }), machine: ELSEWHERE });
      await fromElsewhere(3, 2);
      expect(await show()).toMatchObject([
        { message: { id: id(1) } },
        { message: { id: id(3) }, movedFrom: THERE },
      ]);
    });

    test('does not move by what is never shown', async () => {
      await fromThere(1, 1);
      await store().receive({ ...voided(2, 1, { from: newBob }), machine: ELSEWHERE });
      await fromThere(3, 2);
      expect(await movesOf()).toEqual([undefined, undefined]);
    });

    test('is one of several: another name does not move with it', async () => {
      await fromThere(1, 1);
      await fromElsewhere(2, 1, { from: cyd });
      await fromThere(3, 2);
      await fromElsewhere(4, 2, { from: cyd });
      expect(await movesOf()).toEqual([undefined, undefined, undefined, undefined]);
    });

    test('is remembered for each reader', async () => {
      await fromThere(1, 1, { to: cyd });
      await fromElsewhere(2, 1);
      expect(await movesOf()).toEqual([undefined]);
      await fromElsewhere(3, 1, { to: cyd });
      expect(await movesOf(cyd)).toEqual([undefined, THERE]);
    });

    test('has moved when what was held back is released, in the order of release', async () => {
      await fromElsewhere(2, 2);
      await fromThere(11, 1);
      await fromElsewhere(1, 1);
      expect(
        (await store().pending(ada.id, 9)).map(({ message, movedFrom }) => [message.id, movedFrom]),
      ).toEqual([
        [id(11), undefined],
        [id(1), THERE],
        [id(2), THERE],
      ]);
    });

    test('has moved when its gap is given up', async () => {
      await fromElsewhere(2, 2);
      await fromThere(11, 1);
      await store().giveUpGaps(NOW + GAP_HOLD_MS);
      expect(await store().find(ada.id, id(2))).toMatchObject({ movedFrom: THERE, missingBefore: 1 });
    });

    test('that moved to this machine is said to have moved too', async () => {
      await fromThere(1, 1);
      await store().receive(incoming(2, 1, { from: newBob }, { machine: HERE.peerId }));
      expect(await movesOf()).toEqual([undefined, THERE]);
    });

    test('has no home from what is sent to it, nor from notes to oneself', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2, { copies: [{ id: id(2), to: ada, machine: HERE.peerId }] }));
      await fromElsewhere(3, 1);
      await fromElsewhere(4, 1, { from: { id: id(0xa8), name: 'ada' } });
      expect(await movesOf()).toEqual([undefined, undefined]);
      const notes = await store().history(ada.id, 10);
      expect(notes.map(({ movedFrom }) => movedFrom)).toEqual([undefined, undefined, undefined, undefined]);
    });

    test('is remembered over a restart', async () => {
      await fromThere(1, 1);
      await show();
      await store().confirm(ada.id, [1], NOW);
      await world().reopen();
      await fromElsewhere(2, 1);
      expect(await movesOf()).toEqual([THERE]);
      await world().reopen();
      expect(await movesOf()).toEqual([THERE]);
    });
  });
}
