import { afterEach, assert, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../processes/eventually.ts';
import type { Admin } from '../../daemon/api/admin.ts';
import type { Messenger, Session } from '../../mcp/messenger.ts';
import type { RecallCall, ReplyCall, SendCall } from '../../protocol/calls.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { ErrorView } from '../../protocol/errors.ts';
import { CONTENT_LENGTH_MAX, RECALL_CONTENT_LENGTH } from '../../protocol/limits.ts';
import type { MessageView } from '../../protocol/views.ts';

/** One machine on a live clock, with namespace `myproject` and its agents frontend, backend and ops. */
export interface MessengerWorld {
  messenger: Messenger;
  admin: Admin;
  teardown(): Promise<void>;
}

const [FRONTEND, BACKEND, OPS] = ['frontend@myproject', 'backend@myproject', 'ops@myproject'] as const;
const NOBODY_ID = '019a0000-0000-7000-8000-000000000000';
const WAIT = { timeout_seconds: 60 };

const sendCall = (to: string, content: string, thread = ''): SendCall => ({ to_agent: to, content, thread });
const replyCall = (id: string, more: Partial<ReplyCall> = {}): ReplyCall => ({
  message_id: id,
  content: '',
  defer: false,
  resolve: false,
  ...more,
});
const contents = (messages: readonly MessageView[]): string[] => messages.map((message) => message.content);

/**
 * What every Messenger must do, in process and over the socket alike: the contract of mcp/messenger.ts, told as
 * tests. Each test has a machine of its own.
 */
export function messengerSuite(name: string, setup: () => Promise<MessengerWorld>): void {
  describe(`the messenger ${name}`, () => {
    let world: MessengerWorld;
    let sessions: Session[];
    beforeEach(async () => {
      sessions = [];
      world = await setup();
    });
    afterEach(async () => {
      await Promise.allSettled(sessions.map(async (session) => session.close()));
      await world.teardown();
    });

    const desk: Desk = {
      admin: () => world.admin,
      async open(agent) {
        const session = await world.messenger.open({ agent, client: 'suite 1.0' });
        sessions.push(session);
        return session;
      },
    };
    sendingTests(desk);
    refusalTests(desk);
    gateTests(desk);
    leaseTests(desk);
    waitTests(desk);
    threadTests(desk);
    recallTests(desk);
    unsendTests(desk);
  });
}

interface Desk {
  admin(): Admin;
  open(agent: string): Promise<Session>;
}

const trio = async (desk: Desk) => ({
  frontend: await desk.open(FRONTEND),
  backend: await desk.open(BACKEND),
  ops: await desk.open(OPS),
});

async function idOf(sent: ReturnType<Session['send']>): Promise<string> {
  const { message_id: id } = await sent;
  expect(id).toEqual(expect.any(String));
  return id!;
}

const inboxOf = async (session: Session) => session.inbox({ all_agents: false });
const recallOf = async (session: Session, more: Partial<RecallCall> = {}) =>
  session.recall({ limit: 10, from_agent: '', thread_id: '', ...more });

async function peeked(desk: Desk, agent: string): Promise<string[]> {
  return contents((await desk.admin().peek(agent, 100)).pending);
}

function sendingTests(desk: Desk): void {
  describe('sending', () => {
    test('a session knows itself', async () => {
      const session = await desk.open(FRONTEND);
      expect(session.self).toMatchObject({ agent: FRONTEND, namespace: 'myproject', client: 'suite 1.0' });
      expect((await inboxOf(session)).self).toEqual(session.self);
    });

    test('an agent that is new on this machine is added', async () => {
      const session = await desk.open('Newcomer@myproject');
      expect(session.self.agent).toBe('newcomer@myproject');
      const known = (await desk.admin().agents()).map(({ agent }) => agent);
      expect(known).toContain('newcomer@myproject');
    });

    test('a message reaches another agent of the machine, and says all about itself', async () => {
      const { frontend, backend } = await trio(desk);
      const sent = await frontend.send(sendCall('backend', '  hello \u{1F44B}  '));
      expect(sent).toMatchObject({ status: 'sent', receipts: [{ to: BACKEND }] });
      expect(['queued', 'delivered', 'read']).toContain(sent.receipts[0]!.state);
      const { pending } = await inboxOf(backend);
      expect(pending).toHaveLength(1);
      expect(pending[0]).toMatchObject({
        message_id: sent.message_id,
        from: FRONTEND,
        from_machine: frontend.self.machine,
        to: BACKEND,
        namespace: 'myproject',
        content: 'hello \u{1F44B}',
        status: 'pending',
      });
      expect(new Date(pending[0]!.sent_at).toISOString()).toBe(pending[0]!.sent_at);
      expect(pending[0]!.seen_before ?? false).toBe(false);
    });

    test('messages of one sender arrive in the order they were sent', async () => {
      const { frontend, backend } = await trio(desk);
      const texts = Array.from({ length: 20 }, (_none, index) => `message ${index}`);
      for (const text of texts) await frontend.send(sendCall('backend', text));
      expect(contents((await inboxOf(backend)).pending)).toEqual(texts);
    });

    test('a group gets one message each, and whoever is unknown is named', async () => {
      const frontend = await desk.open(FRONTEND);
      const sent = await frontend.send(sendCall('backend, ops,backend@myproject, nobody', 'all of you'));
      expect(sent.status).toBe('partial');
      expect(sent.group_id).toEqual(expect.any(String));
      expect(sent.receipts.map(({ error }) => error?.code)).toEqual([
        undefined,
        undefined,
        'unknown_recipient',
      ]);
      for (const [index, address] of [BACKEND, OPS].entries()) {
        const { pending } = await inboxOf(await desk.open(address));
        expect(pending).toMatchObject([
          { message_id: sent.receipts[index]!.message_id, to: address, group_id: sent.group_id },
        ]);
      }
    });

    test('a message to oneself is deferred: it does not stand in the way', async () => {
      const { frontend, backend } = await trio(desk);
      const id = await idOf(frontend.send(sendCall('frontend', 'remember the milk')));
      const inbox = await inboxOf(frontend);
      expect(inbox.pending).toEqual([]);
      expect(inbox.deferred).toMatchObject([{ message_id: id, content: 'remember the milk' }]);
      expect((await frontend.send(sendCall('backend', 'unblocked'))).status).toBe('sent');
      expect(contents((await inboxOf(backend)).pending)).toEqual(['unblocked']);
    });

    test('inbox lists who is online, and with all_agents whoever is not', async () => {
      const frontend = await desk.open(FRONTEND);
      await desk.open(BACKEND);
      const online = (await inboxOf(frontend)).agents;
      expect(online.map(({ agent }) => agent)).toContain(BACKEND);
      expect(online.every((agent) => agent.online)).toBe(true);
      const all = (await frontend.inbox({ all_agents: true })).agents;
      expect(all.find(({ agent }) => agent === OPS)).toMatchObject({
        namespace: 'myproject',
        online: false,
      });
    });
  });
}

function refusalTests(desk: Desk): void {
  const refusalOf = async (call: Promise<unknown>): Promise<ErrorView> => {
    const error = await call.catch((thrown: unknown) => thrown);
    assert(error instanceof PatchcordError, `expected a PatchcordError, got ${JSON.stringify(error)}`);
    return error.view();
  };
  const codeOf = async (call: Promise<unknown>): Promise<string> => (await refusalOf(call)).code;

  describe('is refused:', () => {
    test('an unknown recipient, with the nearest names', async () => {
      const frontend = await desk.open(FRONTEND);
      const refusal = await refusalOf(frontend.send(sendCall('bakend', 'hi')));
      expect(refusal).toMatchObject({
        code: 'unknown_recipient',
        message: expect.stringContaining('backend'),
      });
    });

    test('no content, and too much', async () => {
      const { frontend, backend } = await trio(desk);
      for (const empty of ['', ' \n\t ']) {
        expect(await codeOf(frontend.send(sendCall('backend', empty)))).toBe('content_empty');
      }
      const most = '\u{1F44B}'.repeat(CONTENT_LENGTH_MAX / 2);
      const tooLong = frontend.send(sendCall('backend', `${most}!`));
      expect(await codeOf(tooLong)).toBe('content_too_long');
      expect((await frontend.send(sendCall('backend', most))).status).toBe('sent');
      expect(contents((await inboxOf(backend)).pending)).toEqual([most]);
    });

    test('an id that is none, and one that nobody knows', async () => {
      const frontend = await desk.open(FRONTEND);
      expect(await codeOf(frontend.reply(replyCall('42', { content: 'x' })))).toBe('invalid_id');
      expect(await codeOf(frontend.reply(replyCall(NOBODY_ID, { content: 'x' })))).toBe('unknown_message');
      expect(await codeOf(frontend.unsend({ message_id: '42' }))).toBe('invalid_id');
      expect(await codeOf(frontend.unsend({ message_id: NOBODY_ID }))).toBe('unknown_message');
    });

    test("what concerns somebody else's message: a reply to it, taking it back", async () => {
      const { frontend, backend, ops } = await trio(desk);
      const id = await idOf(frontend.send(sendCall('backend', 'for backend')));
      const reply = replyCall(id, { content: 'me too' });
      expect(await codeOf(frontend.reply(reply))).toBe('not_addressee');
      expect(await codeOf(backend.unsend({ message_id: id }))).toBe('not_sender');
      // Whoever has no part in it does not even learn that it exists.
      expect(await codeOf(ops.reply(reply))).toBe('unknown_message');
      expect(await codeOf(ops.unsend({ message_id: id }))).toBe('unknown_message');
      expect(contents((await inboxOf(backend)).pending)).toEqual(['for backend']);
    });

    test('a reply that says nothing and does nothing', async () => {
      const { frontend, backend } = await trio(desk);
      const id = await idOf(frontend.send(sendCall('backend', 'well?')));
      await inboxOf(backend);
      expect(await codeOf(backend.reply(replyCall(id)))).toBe('content_empty');
    });

    test('an agent of a namespace that is not here', async () => {
      expect(await codeOf(desk.open('frontend@elsewhere'))).toBe('unknown_namespace');
      expect(await codeOf(desk.open('not a name@myproject'))).toBe('invalid_name');
    });
  });
}

function gateTests(desk: Desk): void {
  describe('the gate', () => {
    test('blocks sending while messages wait, and shows them without taking them', async () => {
      const { frontend, backend } = await trio(desk);
      await frontend.send(sendCall('backend', 'read me first'));
      for (let attempt = 0; attempt < 2; attempt++) {
        const blocked = await backend.send(sendCall('ops', 'too early'));
        expect(blocked).toMatchObject({ status: 'blocked', receipts: [], pending_total: 1 });
        expect(contents(blocked.pending!)).toEqual(['read me first']);
      }
      expect(await peeked(desk, OPS)).toEqual([]);
      await inboxOf(backend);
      expect((await backend.send(sendCall('ops', 'now'))).status).toBe('sent');
    });

    test('opens for replies', async () => {
      const { frontend, backend } = await trio(desk);
      const first = await idOf(frontend.send(sendCall('backend', 'one')));
      await frontend.send(sendCall('backend', 'two'));
      expect(await backend.reply(replyCall(first, { content: 'answer' }))).toMatchObject({
        status: 'replied',
        to: FRONTEND,
      });
      expect((await inboxOf(frontend)).pending).toMatchObject([
        { content: 'answer', reply_to: first, from: BACKEND },
      ]);
    });
  });
}

function leaseTests(desk: Desk): void {
  describe('what is shown', () => {
    test('becomes read with the next call', async () => {
      const { frontend, backend } = await trio(desk);
      await frontend.send(sendCall('backend', 'once'));
      expect((await inboxOf(backend)).pending).toHaveLength(1);
      expect((await inboxOf(backend)).pending).toEqual([]);
      await backend.close();
      expect((await inboxOf(await desk.open(BACKEND))).pending).toEqual([]);
    });

    test('becomes read when it is confirmed', async () => {
      const { frontend, backend } = await trio(desk);
      const id = await idOf(frontend.send(sendCall('backend', 'printed')));
      await inboxOf(backend);
      await backend.confirm();
      await backend.close();
      expect(await peeked(desk, BACKEND)).toEqual([]);
      // The receipt takes the way of all mail, so it may come a moment later.
      const { messages } = await eventually(
        'the read receipt',
        () => recallOf(frontend),
        ({ messages: [message] }) => message?.status === 'read',
      );
      expect(messages).toMatchObject([{ message_id: id, status: 'read' }]);
    });

    test.each(['inbox', 'wait'] as const)(
      'by %s is given back by a session that ends before',
      async (how) => {
        const { frontend, backend } = await trio(desk);
        const id = await idOf(frontend.send(sendCall('backend', 'do not lose me')));
        const shown =
          how === 'inbox' ? (await inboxOf(backend)).pending[0] : (await backend.wait(WAIT)).message;
        expect(shown?.message_id).toBe(id);
        await backend.close();
        await backend.close();
        expect(await peeked(desk, BACKEND)).toEqual(['do not lose me']);
        const again = await inboxOf(await desk.open(BACKEND));
        expect(again.pending).toMatchObject([{ message_id: id, seen_before: true }]);
      },
    );

    test('by a peek stays as it was', async () => {
      const { frontend, backend } = await trio(desk);
      await frontend.send(sendCall('backend', 'only looking'));
      for (let look = 0; look < 2; look++) expect(await peeked(desk, BACKEND)).toEqual(['only looking']);
      const { pending } = await inboxOf(backend);
      expect(pending).toHaveLength(1);
      expect(pending[0]!.seen_before ?? false).toBe(false);
    });

    test('goes to one session of an agent; a second is told so', async () => {
      const [frontend, first, second] = [
        await desk.open(FRONTEND),
        await desk.open(BACKEND),
        await desk.open(BACKEND),
      ];
      await inboxOf(first);
      await frontend.send(sendCall('backend', 'for the first'));
      const told = await inboxOf(second);
      expect(told.pending).toEqual([]);
      expect(told.warnings).not.toEqual([]);
      await expect(second.wait(WAIT)).rejects.toMatchObject({ code: 'agent_in_use' });
      expect(contents((await inboxOf(first)).pending)).toEqual(['for the first']);
      await first.close();
      expect((await inboxOf(second)).pending).toMatchObject([
        { content: 'for the first', seen_before: true },
      ]);
    });
  });
}

function waitTests(desk: Desk): void {
  describe('waiting', () => {
    test('ends with the oldest message, and counts the others', async () => {
      const { frontend, backend } = await trio(desk);
      for (const text of ['one', 'two', 'three']) await frontend.send(sendCall('backend', text));
      expect(await backend.wait(WAIT)).toMatchObject({
        status: 'message',
        message: { content: 'one' },
        more: 2,
      });
      expect(await backend.wait(WAIT)).toMatchObject({
        status: 'message',
        message: { content: 'two' },
        more: 1,
      });
    });

    test('is woken by an arrival', async () => {
      const { frontend, backend } = await trio(desk);
      const woken = backend.wait(WAIT);
      await frontend.send(sendCall('backend', 'wake up'));
      expect(await woken).toMatchObject({ status: 'message', message: { content: 'wake up' }, more: 0 });
    });

    test('ends when its time is over', async () => {
      const backend = await desk.open(BACKEND);
      expect(await backend.wait({ timeout_seconds: 0 })).toEqual({ status: 'timeout', more: 0 });
    });

    test('consumes nothing when it is aborted', async () => {
      const { frontend, backend } = await trio(desk);
      const abort = new AbortController();
      const reason = new Error('the client cancelled');
      const aborted = backend.wait(WAIT, abort.signal);
      abort.abort(reason);
      await expect(aborted).rejects.toBe(reason);
      await expect(backend.wait(WAIT, abort.signal)).rejects.toBe(reason);
      await frontend.send(sendCall('backend', 'still here'));
      const { message } = await backend.wait(WAIT);
      expect(message?.content).toBe('still here');
      expect(message?.seen_before ?? false).toBe(false);
    });
  });
}

function threadTests(desk: Desk): void {
  describe('threads', () => {
    async function asked() {
      const { frontend, backend } = await trio(desk);
      const sent = await frontend.send(sendCall('backend', 'how do we log in?', ' Auth  Migration '));
      const inbox = await inboxOf(backend);
      return { frontend, backend, sent, inbox, id: sent.message_id! };
    }

    test('have a slug and an id, and inbox groups by them', async () => {
      const { sent, inbox, id } = await asked();
      expect(sent).toMatchObject({ thread: 'auth-migration', thread_id: expect.any(String) });
      expect(inbox.pending[0]).toMatchObject({ thread: 'auth-migration', thread_id: sent.thread_id });
      expect(inbox.threads).toEqual([
        { thread: 'auth-migration', thread_id: sent.thread_id, messages: [id] },
      ]);
    });

    test('are inherited by replies', async () => {
      const { frontend, backend, sent, id } = await asked();
      const reply = await backend.reply(replyCall(id, { content: 'with a key' }));
      expect(reply).toMatchObject({ status: 'replied', thread: 'auth-migration', thread_id: sent.thread_id });
      expect((await frontend.wait(WAIT)).message).toMatchObject({ reply_to: id, thread_id: sent.thread_id });
    });

    test('are resolved by one side, which tells the other, and opened again by the next message', async () => {
      const { frontend, backend, sent, id } = await asked();
      const resolved = await backend.reply(replyCall(id, { content: 'done', resolve: true }));
      expect(resolved).toMatchObject({ status: 'resolved', thread_id: sent.thread_id });
      const { message } = await frontend.wait(WAIT);
      expect(message).toMatchObject({ content: 'done', thread_resolved_at: expect.any(String) });
      await frontend.confirm();
      await frontend.send(sendCall('backend', 'one more thing', 'auth-migration'));
      const again = await backend.wait(WAIT);
      expect(again.message).toMatchObject({ content: 'one more thing', thread_id: sent.thread_id });
      expect(again.message!.thread_resolved_at).toBeUndefined();
    });

    test('a deferred message stays for later, blocks nothing, and is replied to then', async () => {
      const { frontend, backend, id } = await asked();
      expect(await backend.reply(replyCall(id, { defer: true }))).toMatchObject({
        status: 'deferred',
        to: FRONTEND,
      });
      const later = await inboxOf(backend);
      expect(later.pending).toEqual([]);
      expect(later.deferred).toMatchObject([{ message_id: id, status: 'deferred' }]);
      expect((await backend.send(sendCall('ops', 'free to go'))).status).toBe('sent');
      await backend.reply(replyCall(id, { content: 'at last' }));
      expect((await inboxOf(backend)).deferred).toEqual([]);
      expect((await frontend.wait(WAIT)).message?.content).toBe('at last');
    });
  });
}

function recallTests(desk: Desk): void {
  describe('recall', () => {
    test('shows both directions, newest first, of whom and of which thread is asked', async () => {
      const { frontend, backend, ops } = await trio(desk);
      const inThread = await backend.send(sendCall('frontend', 'from backend', 'deploy'));
      await ops.send(sendCall('frontend', 'from ops'));
      await inboxOf(frontend);
      await frontend.send(sendCall('backend', 'to backend', 'deploy'));
      const all = (await recallOf(frontend)).messages;
      expect(contents(all)).toEqual(['to backend', 'from ops', 'from backend']);
      expect(all.map(({ direction }) => direction)).toEqual(['sent', 'received', 'received']);
      expect(contents((await recallOf(frontend, { limit: 1 })).messages)).toEqual(['to backend']);
      for (const from of ['ops', OPS]) {
        expect(contents((await recallOf(frontend, { from_agent: from })).messages)).toEqual(['from ops']);
      }
      for (const thread of ['deploy', inThread.thread_id!]) {
        const messages = (await recallOf(frontend, { thread_id: thread })).messages;
        expect(contents(messages)).toEqual(['to backend', 'from backend']);
      }
    });

    test('cuts long content and says so', async () => {
      const frontend = await desk.open(FRONTEND);
      await frontend.send(sendCall('backend', 'x'.repeat(RECALL_CONTENT_LENGTH)));
      await frontend.send(sendCall('backend', 'y'.repeat(RECALL_CONTENT_LENGTH + 1)));
      const { messages } = await recallOf(frontend);
      expect(messages.map(({ content_cut: cut }) => cut)).toEqual([true, false]);
      expect(messages[0]!.content.startsWith('y'.repeat(RECALL_CONTENT_LENGTH - 1))).toBe(true);
      expect(messages[0]!.content.length).toBeLessThanOrEqual(RECALL_CONTENT_LENGTH + 1);
      expect(messages[1]!.content).toBe('x'.repeat(RECALL_CONTENT_LENGTH));
    });

    test('marks nothing', async () => {
      const { frontend, backend } = await trio(desk);
      await frontend.send(sendCall('backend', 'unseen'));
      expect(contents((await recallOf(backend)).messages)).toEqual(['unseen']);
      expect(contents((await inboxOf(backend)).pending)).toEqual(['unseen']);
    });
  });
}

function unsendTests(desk: Desk): void {
  describe('unsend', () => {
    test('takes back what was not read', async () => {
      const { frontend, backend } = await trio(desk);
      const id = await idOf(frontend.send(sendCall('backend', 'oops')));
      expect(await frontend.unsend({ message_id: id })).toEqual({ status: 'unsent', message_id: id });
      expect((await inboxOf(backend)).pending).toEqual([]);
      expect((await recallOf(frontend)).messages).toMatchObject([{ message_id: id, status: 'unsent' }]);
      expect((await frontend.unsend({ message_id: id })).status).toBe('unsent');
    });

    test('never un-reads', async () => {
      const { frontend, backend } = await trio(desk);
      const id = await idOf(frontend.send(sendCall('backend', 'too late')));
      await inboxOf(backend);
      await backend.confirm();
      expect(await frontend.unsend({ message_id: id })).toEqual({ status: 'already_read', message_id: id });
      expect(contents((await recallOf(backend)).messages)).toEqual(['too late']);
    });
  });
}
