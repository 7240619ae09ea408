import { describe, expect, test } from 'vitest';
import {
  ada,
  BOOT,
  id,
  incoming,
  NOBODY,
  NOW,
  outgoing,
  receive,
  THERE,
  unsending,
  type At,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about how much attention messages want. */
export function urgencyTests({ store, world }: At): void {
  describe('urgency', () => {
    const tally = () => store().tally(ada.id);
    const arrive = async () => {
      await receive(store(), incoming(1, 1, { urgency: 'info' }));
      await receive(store(), incoming(2, 2));
      await receive(store(), incoming(3, 3, { urgency: 'steer' }));
    };
    const counted = { pending: 3, deferred: 0, info: 1, steer: 1 };

    test('is kept in the message, on both sides; normal is not said', async () => {
      await store().accept(outgoing(1, { urgency: 'steer' }));
      await store().accept(outgoing(2));
      const sent = await store().outboxPage(THERE, 0, 9, 1_000_000);
      expect(sent.map(({ letter }) => letter.k === 'message' && letter.urgency)).toEqual([
        'steer',
        undefined,
      ]);
      expect('urgency' in (await store().find(ada.id, id(2)))!.message).toBe(false);
      await receive(store(), incoming(9, 1, { urgency: 'info' }));
      expect((await store().find(ada.id, id(9)))!.message.urgency).toBe('info');
    });

    test('is counted while a message is unread, also over a restart, and never changes what is shown first', async () => {
      await arrive();
      expect(await tally()).toEqual(counted);
      expect(await (await world().reopen()).tally(ada.id)).toEqual(counted);
      const shown = await store().show(ada.id, 9, NOBODY, NOW);
      expect(shown.map(({ message }) => message.id)).toEqual([id(1), id(2), id(3)]);
      await store().confirm(ada.id, [shown[0]!.number, shown[2]!.number], NOW);
      expect(await tally()).toEqual({ pending: 1, deferred: 0 });
    });

    test('is counted no more when a message is put off, answered or taken back', async () => {
      await arrive();
      await store().mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW);
      expect(await tally()).toEqual({ pending: 2, deferred: 1, steer: 1 });
      expect((await store().receiveUnsend(unsending(3))).state).toBe('unsent');
      expect(await tally()).toEqual({ pending: 1, deferred: 1 });
    });

    test('is counted when the message is visible, not when it waits behind a gap', async () => {
      await receive(store(), incoming(2, 2, { urgency: 'steer' }));
      expect(await tally()).toEqual({ pending: 0, deferred: 0 });
      await receive(store(), incoming(1, 1));
      expect(await tally()).toEqual({ pending: 2, deferred: 0, steer: 1 });
    });

    test('is counted again when what was in doubt is visible again', async () => {
      await arrive();
      await store().newEpoch({ inDoubt: true, boot: BOOT, nowMs: NOW });
      expect(await tally()).toEqual({ pending: 0, deferred: 0, doubt: 3 });
      const messages = [1, 2, 3].map((one) => ({ id: id(one), to: ada.id, state: 'unread' as const }));
      const [{ ns }] = [incoming(1, 1)];
      await store().receiveAsked({
        ns,
        machine: THERE,
        letter: { k: 'told', messages },
        boot: BOOT,
        nowMs: NOW,
      });
      expect(await tally()).toEqual(counted);
    });
  });
}
