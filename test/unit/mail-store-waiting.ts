import { describe, expect, test } from 'vitest';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import {
  ada,
  type At,
  BOOT,
  ELSEWHERE,
  id,
  incoming,
  NOW,
  NS,
  outboxOf,
  outgoing,
  pendingOf,
  receipt,
  THERE,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about what its recipient's machine has no room for yet. */
export function waitingTests({ store, world }: At): void {
  const waitingOf = async (message: number) => {
    const record = await store().find(ada.id, id(message));
    return [record?.status, record?.waiting];
  };
  const full = (number = 1) => store().postponed(THERE, number, 'mailbox_full');

  describe('what was refused for now', () => {
    test('says why, and waits on', async () => {
      await store().accept(outgoing(1));
      expect(await full()).toEqual({
        about: { agent: ada.id, messageId: id(1), kind: 'message', state: 'queued' },
      });
      await world().reopen();
      expect(await waitingOf(1)).toEqual(['queued', 'mailbox_full']);
      expect((await outboxOf(store())).map(({ number }) => number)).toEqual([1]);
    });

    test('again for the same reason writes nothing; for another it does', async () => {
      await store().accept(outgoing(1));
      await full();
      world().allowWrites(0);
      expect(await full()).toEqual({});
      world().allowWrites(1);
      await store().postponed(THERE, 1, 'disk_full');
      expect(await waitingOf(1)).toEqual(['queued', 'disk_full']);
    });

    test.for<[what: string, climb: (store: MailStore) => Promise<unknown>, status: string]>([
      ['is delivered', (mail) => mail.settle(THERE, 1, receipt(1, 'delivered')), 'delivered'],
      ['is read, as a letter says', (mail) => mail.receiveReceipts(NS, [receipt(1, 'read')]), 'read'],
      ['is held', (mail) => mail.markHeld(THERE, 1, ELSEWHERE), 'held'],
      ['is answered', (mail) => mail.receive(incoming(2, 1, { reply_to: id(1) })), 'replied'],
      ['is refused', (mail) => mail.refuse(THERE, 1, 'forbidden'), 'refused'],
      ['expires', (mail) => mail.expire(THERE, NOW + 1, 0, () => true), 'expired'],
      [
        'is taken back',
        (mail) => mail.takeBack({ agent: ada.id, messageId: id(1), neverLeft: () => true, boot: BOOT }),
        'unsent',
      ],
    ])('waits no more when it %s', async ([, climb, status]) => {
      await store().accept(outgoing(1));
      await full();
      await climb(store());
      expect(await waitingOf(1)).toEqual([status, undefined]);
    });

    test('and is no message, is gone, or came further, changes nothing', async () => {
      expect(await full(9)).toEqual({});
      await store().receive(incoming(11, 1));
      await store().mark(ada.id, { messageId: id(11), status: 'deferred' }, BOOT, NOW);
      expect(await full(1)).toEqual({});
      await store().accept(outgoing(1));
      await store().markHeld(THERE, 2, ELSEWHERE);
      expect(await full(2)).toEqual({});
      expect(await waitingOf(1)).toEqual(['held', undefined]);
      expect(await pendingOf(store())).toEqual([]);
    });
  });
}
