import { describe, expect, test } from 'vitest';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { DUE_MAX } from '../../protocol/limits.ts';
import {
  ada,
  type At,
  bob,
  BOOT,
  id,
  incoming,
  noticesOf,
  NOW,
  outgoing,
  pendingOf,
  receipt,
  receive,
  statusOf,
  THERE,
  unsending,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about answers that are asked for. */

const HOUR_MS = 3_600_000;
const asking = { replyWithinMs: HOUR_MS };
const asked = { reply_within: HOUR_MS };
const deploy = { thread: { slug: 'deploy', root: id(1) } };

/** What was said when the time for message 1 was over. */
async function told(store: MailStore) {
  const { released } = await store.remind(NOW + HOUR_MS);
  const notices = (await noticesOf(store)).filter(({ kind }) => kind === 'reminder' || kind === 'unanswered');
  expect(released).toHaveLength(notices.length);
  return notices.map(({ kind, about }) => `${kind} ${about}`);
}

export function owingTests({ store, world }: At): void {
  describe('an answer that is asked for', () => {
    test('is waited for: its sender is told when there is none', async () => {
      expect((await store().accept(outgoing(1, asking))).dueAtMs).toBe(NOW + HOUR_MS);
      expect((await store().find(ada.id, id(1)))!.message.reply_within).toBe(HOUR_MS);
      expect(await store().remind(NOW + HOUR_MS - 1)).toEqual({
        released: [],
        more: false,
        dueAtMs: NOW + HOUR_MS,
      });
      expect(await told(store())).toEqual([`unanswered ${id(1)}`]);
      const [text] = await pendingOf(store());
      expect(text).toContain(`No answer came in the time that you gave for message ${id(1)} to bob`);
      expect(text).toContain(`reply(message_id="${id(1)}", resolve=true)`);
    });

    test('is owed: its recipient is reminded, by the time at which it became visible', async () => {
      await store().receive(incoming(2, 2, asked));
      const arrival = incoming(1, 1, asked, { nowMs: NOW + 7 });
      const received = await store().receive(arrival);
      expect(received).toMatchObject({
        released: [
          { messageId: id(1), dueAtMs: NOW + HOUR_MS + 7 },
          { messageId: id(2), dueAtMs: NOW + HOUR_MS + 7 },
        ],
      });
      expect((await store().remind(NOW + HOUR_MS + 6)).dueAtMs).toBe(NOW + HOUR_MS + 7);
      expect((await store().remind(NOW + HOUR_MS + 7)).released).toHaveLength(2);
      const text = (await pendingOf(store())).at(-1);
      expect(text).toContain(`bob asked for an answer to message ${id(2)}`);
      expect(text).toContain(`reply(message_id="${id(2)}", content="...")`);
    });

    test('is told of once, also after a restart', async () => {
      await store().receive(incoming(1, 1, asked));
      const reopened = await world().reopen();
      expect(await told(reopened)).toEqual([`reminder ${id(1)}`]);
      expect(await reopened.remind(NOW + 9 * HOUR_MS)).toEqual({
        released: [],
        more: false,
        dueAtMs: undefined,
      });
    });

    test('is looked for in bounded batches, the earliest first', async () => {
      for (let seq = 1; seq <= DUE_MAX + 2; seq += 1)
        await store().receive(incoming(seq, seq, { reply_within: HOUR_MS + (DUE_MAX + 2 - seq) }));
      const first = await store().remind(NOW + HOUR_MS + DUE_MAX);
      expect([first.released.length, first.more, first.dueAtMs]).toEqual([DUE_MAX, true, undefined]);
      const second = await store().remind(NOW + HOUR_MS + DUE_MAX);
      expect([second.released.length, second.more, second.dueAtMs]).toEqual([
        1,
        false,
        NOW + HOUR_MS + DUE_MAX + 1,
      ]);
      expect((await noticesOf(store()))[0]!.about).toBe(id(DUE_MAX + 2));
    });

    test.for<[what: string, end: (store: MailStore) => Promise<unknown>]>([
      ['an answer', (mail) => mail.accept(outgoing(5, answering))],
      [
        'an answer that closes',
        (mail) => mail.accept(outgoing(5, { ...answering, resolve: true, content: '' })),
      ],
      [
        'a resolve of the thread here',
        (mail) => mail.accept(outgoing(5, { thread: 'deploy', resolve: true })),
      ],
      [
        'a resolve of the thread there',
        (mail) => mail.receive(incoming(5, 2, { ...deploy, resolve: true, seen: { seq: 0 } })),
      ],
      ['its being taken back', (mail) => mail.receiveUnsend(unsending(1))],
      [
        'its sender, who lets go',
        (mail) => mail.receive(incoming(5, 2, { content: '', resolve: true, reply_to: id(1) })),
      ],
    ])('is owed no longer after %s', async ([, end]) => {
      await store().receive(incoming(1, 1, { ...asked, ...deploy }));
      await end(store());
      expect(await told(store())).toEqual([]);
    });
    const answering = { replyTo: id(1), mark: { messageId: id(1), status: 'replied' as const } };

    test.for<[what: string, end: (store: MailStore) => Promise<unknown>]>([
      ['putting it off', (mail) => mail.mark(ada.id, { messageId: id(1), status: 'deferred' }, BOOT, NOW)],
      ['a resolve that had not seen it', (mail) => mail.receive(incoming(5, 2))],
      ['a message of its thread', (mail) => mail.accept(outgoing(5, { thread: 'deploy' }))],
      [
        'another that lets go of it',
        (mail) =>
          mail.receive(
            incoming(5, 1, {
              content: '',
              resolve: true,
              reply_to: id(1),
              from: { id: id(0xa9), name: 'mal' },
            }),
          ),
      ],
    ])('is owed still after %s', async ([, end]) => {
      await store().receive(incoming(1, 1, { ...asked, ...deploy }));
      await end(store());
      expect(await told(store())).toEqual([`reminder ${id(1)}`]);
    });

    test.for<[what: string, end: (store: MailStore) => Promise<unknown>]>([
      ['an answer', (mail) => mail.receive(incoming(5, 1, { reply_to: id(1) }))],
      [
        'a resolve of the thread',
        (mail) => mail.receive(incoming(5, 1, { ...deploy, resolve: true, seen: { seq: 1 } })),
      ],
      ['a refusal', (mail) => mail.refuse(THERE, 1, 'forbidden')],
      ['its being taken back', (mail) => mail.settle(THERE, 1, receipt(1, 'unsent'))],
      ['its sender, who lets go', (mail) => mail.accept(outgoing(5, lettingGo))],
    ])('is waited for no longer after %s', async ([, end]) => {
      await store().accept(outgoing(1, { ...asking, thread: 'deploy' }));
      await end(store());
      expect(await told(store())).toEqual([]);
    });
    const lettingGo = { replyTo: id(1), resolve: true, content: '' };

    test('is waited for still when a resolve crossed it', async () => {
      await store().accept(outgoing(1, { ...asking, thread: 'deploy' }));
      await store().receive(incoming(5, 1, { ...deploy, resolve: true, seen: { seq: 0 } }));
      expect(await told(store())).toEqual([`unanswered ${id(1)}`]);
    });

    test('that is let go of shows nothing, and its letter may come twice', async () => {
      await store().receive(incoming(1, 1, asked));
      const letter = incoming(5, 2, { content: '', resolve: true, reply_to: id(1) });
      for (let time = 0; time < 2; time += 1)
        expect(await receive(store(), letter)).toEqual({ state: 'delivered', released: [] });
      expect(await pendingOf(store())).toEqual(['content 1']);
      expect((await store().history(ada.id, 10)).length).toBe(1);
      expect(await receive(store(), incoming(6, 3))).toMatchObject({ released: [id(6)] });
    });

    test('that is let go of in a thread closes it, and says so', async () => {
      await store().receive(incoming(1, 1, { ...asked, ...deploy }));
      const letter = incoming(5, 2, { content: '', ...deploy, resolve: true, reply_to: id(1) });
      expect(await receive(store(), letter)).toMatchObject({ released: [id(5)] });
      expect(await statusOf(store(), 1)).toBe('pending');
    });

    test('is of no concern to a message that asks for none', async () => {
      const released = [{ agent: ada.id, messageId: id(1) }];
      expect(await store().receive(incoming(1, 1))).toHaveProperty('released', released);
      expect(
        (await store().accept(outgoing(2, { copies: [{ id: id(2), to: bob, machine: THERE }] }))).dueAtMs,
      ).toBe(undefined);
      expect(await store().remind(NOW + 9 * HOUR_MS)).toEqual({
        released: [],
        more: false,
        dueAtMs: undefined,
      });
    });
  });
}
