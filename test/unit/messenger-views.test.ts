import { describe, expect, test } from 'vitest';
import { agentView, messageView } from '../../daemon/messenger/views.ts';
import type { MailRecord } from '../../daemon/store/mail-store.ts';
import type { ThreadState } from '../../protocol/delivery/thread.ts';
import { zMessageView } from '../../protocol/views.ts';
import { ada, bob, ELSEWHERE, HERE, id, incoming, NOW, NS, THERE } from './mail-store-fixture.ts';

const LABELS: Record<string, string> = { [HERE.peerId]: 'desk', [THERE]: 'laptop' };
const directory = {
  self: { peerId: HERE.peerId },
  logs: new Map([[NS, { name: 'team' }]]),
  labelOf: (_ns: string, machine: string) => LABELS[machine] ?? machine.slice(-8),
};
const place = { seq: 1 };
const THREAD: ThreadState = {
  own: {},
  peer: { resolve: { place, root: id(9), number: 1, seen: { seq: 0 }, atMs: NOW } },
  roots: [id(9)],
};
const mail = {
  thread: async (agent: string, peer: string) => (agent === ada.id && peer === bob.id ? THREAD : undefined),
};

const RECEIVED: MailRecord = {
  number: 1,
  direction: 'received',
  ns: NS,
  message: incoming(1, 1).letter,
  machine: THERE,
  status: 'pending',
  acceptedAtMs: NOW,
};
const SENT: MailRecord = {
  ...RECEIVED,
  direction: 'sent',
  status: 'queued',
  message: { ...RECEIVED.message, from: ada, to: bob },
};

/** As ada's daemon shows it, after the published schema took it. */
async function viewOf(record: MailRecord) {
  return zMessageView.parse(await messageView(record, { directory, mail, viewer: ada.id }));
}

describe('the view of a message', () => {
  test('that another machine sealed says which, by label and key', async () => {
    expect(await viewOf(RECEIVED)).toEqual({
      message_id: id(1),
      from: 'bob@team',
      from_machine: 'laptop',
      from_peer_id: THERE,
      verified: 'sealed',
      to: 'ada@team',
      namespace: 'team',
      content: 'content 1',
      sent_at: new Date(NOW).toISOString(),
      status: 'pending',
    });
  });

  test.each<[string, MailRecord]>([
    ['of an agent of this machine', { ...RECEIVED, machine: HERE.peerId }],
    ['that was sent from here', SENT],
    ['to oneself', { ...SENT, direction: 'received', machine: HERE.peerId, status: 'deferred' }],
  ])('%s is local', async (_name, record) => {
    const view = await viewOf(record);
    expect(view).toMatchObject({ from_machine: 'desk', from_peer_id: HERE.peerId, verified: 'local' });
    expect(view.moved_from).toBeUndefined();
  });

  test.each<[string, string, string]>([
    ['a machine by its label', THERE, 'laptop'],
    ['a machine without a label by the end of its key', ELSEWHERE, ELSEWHERE.slice(-8)],
  ])('whose sender moved names %s', async (_name, movedFrom, label) => {
    const view = await viewOf({ ...RECEIVED, machine: HERE.peerId, movedFrom });
    expect(view).toMatchObject({ moved_from: label, from_machine: 'desk' });
  });

  test('carries its thread and how it arrived', async () => {
    const message = { ...RECEIVED.message, thread: { slug: 'deploy', root: id(10) } };
    const record: MailRecord = { ...RECEIVED, message, shownAtMs: NOW, late: true, missingBefore: 2 };
    expect(await viewOf(record)).toMatchObject({
      thread: 'deploy',
      thread_id: id(9),
      thread_resolved_at: new Date(NOW).toISOString(),
      seen_before: true,
      late: true,
      missing_before: 2,
    });
  });

  test.each<[string, MailRecord, readonly string[] | undefined]>([
    [
      'held, by their labels',
      { ...SENT, status: 'held', held: [THERE, ELSEWHERE] },
      ['laptop', ELSEWHERE.slice(-8)],
    ],
    ['held no longer', { ...SENT, status: 'delivered', held: [THERE] }, undefined],
    ['held, and taken back', { ...SENT, status: 'unsent', held: [THERE] }, undefined],
    ['queued', SENT, undefined],
  ])('that is %s names the machines that keep it, or none', async (_name, record, holders) => {
    expect((await viewOf(record)).held_by).toEqual(holders);
  });

  test.each(['refused', 'expired', 'unsend', 'reminder', 'unanswered'] as const)(
    'that is a notice (%s) is of no agent',
    async (kind) => {
      const message = { ...RECEIVED.message, from: { id: id(0), name: 'patchcord' }, content: 'It ended.' };
      const view = await viewOf({ ...RECEIVED, message, notice: { kind, about: id(7), peer: bob.id } });
      expect(view).toEqual({
        message_id: id(1),
        from: 'patchcord',
        from_machine: 'desk',
        from_peer_id: HERE.peerId,
        verified: 'local',
        to: 'ada@team',
        namespace: 'team',
        content: 'It ended.',
        sent_at: new Date(NOW).toISOString(),
        status: 'pending',
        notice: kind,
        about: id(7),
      });
    },
  );

  test('from an agent that calls itself patchcord is told from a notice', async () => {
    const message = { ...RECEIVED.message, from: { id: id(9), name: 'patchcord' } };
    const view = await viewOf({ ...RECEIVED, message });
    expect([view.from, view.notice, view.from_machine]).toEqual(['patchcord@team', undefined, 'laptop']);
  });
});

test.each([
  ['never seen', 0, null],
  ['seen before', NOW, new Date(NOW).toISOString()],
])('the view of an agent that was %s', (_name, lastSeenMs, last_seen) => {
  const where = { machine: THERE, label: 'laptop', platform: 'linux', client: 'test 1' };
  expect(agentView({ id: bob.id, name: 'bob', online: false, lastSeenMs, ...where }, 'team')).toEqual({
    agent: 'bob@team',
    namespace: 'team',
    machine: 'laptop',
    client: 'test 1',
    platform: 'linux',
    online: false,
    last_seen,
  });
});
