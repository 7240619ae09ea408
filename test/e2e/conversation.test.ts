import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest';
import { CONTENT_LENGTH_MAX } from '../../protocol/limits.ts';
import type { MessageView } from '../../protocol/views.ts';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import type { McpAgent } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';

/**
 * What agents of three machines say to each other: daemons and MCP servers are processes, the machines speak over
 * libp2p. The machines are started once; every test has agents of its own.
 */
const stage = new Stage();
let a: DaemonProcess;
let b: DaemonProcess;
let c: DaemonProcess;
let opened: McpAgent[];

beforeAll(async () => {
  [a, b, c] = await Promise.all([stage.machine('alpha'), stage.machine('beta'), stage.machine('gamma')]);
  await mesh('team', a, b, c);
});
afterAll(() => stage.end());
beforeEach(() => {
  opened = [];
});
afterEach(async () => {
  await Promise.allSettled(opened.map((agent) => agent.close()));
});

async function open(machine: DaemonProcess, address: string): Promise<McpAgent> {
  const agent = await stage.agent(machine, address.includes('@') ? address : `${address}@team`);
  opened.push(agent);
  return agent;
}

/** Two agents that know each other, on two machines unless told otherwise. */
async function pair(one: string, other: string, machines = [a, b]): Promise<[McpAgent, McpAgent]> {
  const pair = await Promise.all([open(machines[0]!, one), open(machines[1]!, other)]);
  await Promise.all([pair[0].sees(other), pair[1].sees(one)]);
  return pair;
}

const contents = (messages: readonly MessageView[]): string[] => messages.map(({ content }) => content);
const pendingOf = async (agent: McpAgent) => (await agent.call('inbox')).pending;

describe('two machines', () => {
  test('ask, answer, and know that it was answered', async () => {
    const [frontend, backend] = await pair('frontend', 'backend');
    const waiting = backend.next();
    const sent = await frontend.call('send_message', {
      to_agent: 'backend',
      content: 'run the migration',
      thread: 'Auth  Migration',
    });
    expect(sent).toMatchObject({ status: 'sent', thread: 'auth-migration', receipts: [{ online: true }] });
    const request = await waiting;
    expect(request).toMatchObject({
      message_id: sent.message_id,
      from: 'frontend@team',
      from_machine: 'alpha',
      to: 'backend@team',
      content: 'run the migration',
      thread: 'auth-migration',
      thread_id: sent.thread_id,
    });
    const answering = frontend.next();
    await backend.call('reply', {
      message_id: request.message_id,
      content: 'done - 3 tables created',
      resolve: true,
    });
    const answer = await answering;
    expect(answer).toMatchObject({
      content: 'done - 3 tables created',
      from_machine: 'beta',
      reply_to: sent.message_id,
      thread_id: sent.thread_id,
      thread_resolved_at: expect.any(String),
    });
    await frontend.reaches(sent.message_id!, 'replied');
    expect((await pendingOf(backend)).concat(await pendingOf(frontend))).toEqual([]);
  });

  test('hold a sender back until it has read what came from the other machine', async () => {
    const [writer, reader] = await pair('gate.writer', 'gate.reader');
    await reader.send('gate.writer', 'read me first');
    // The peek shows that it has arrived, and marks nothing.
    const { admin } = a.client();
    await eventually(
      'the message arrived',
      () => admin.peek('gate.writer@team', 10),
      ({ total }) => total === 1,
    );
    const blocked = await writer.call('send_message', { to_agent: 'gate.reader', content: 'too early' });
    expect(blocked).toMatchObject({ status: 'blocked', receipts: [], pending_total: 1 });
    expect(contents(await pendingOf(writer))).toEqual(['read me first']);
    await writer.send('gate.reader', 'now');
    expect((await reader.next()).content).toBe('now');
  });

  test.each([
    ['4-byte characters', '\u{1F9EA}'.repeat(CONTENT_LENGTH_MAX / 2)],
    ['3-byte characters', '\u20AC'.repeat(CONTENT_LENGTH_MAX)],
    ['characters that JSON escapes', '"\u0001'.repeat(CONTENT_LENGTH_MAX / 2)],
  ])('carry the longest message in %s unaltered', async (_what, text) => {
    const [writer, reader] = await pair('long.writer', 'long.reader');
    const waiting = reader.next();
    await writer.send('long.reader', text);
    expect((await waiting).content === text).toBe(true);
    const longer = writer.call('send_message', { to_agent: 'long.reader', content: `${text}!` });
    await expect(longer).rejects.toMatchObject({ code: 'content_too_long' });
  });

  test('keep a thread: inherited by replies, resolved, and opened again by the next message', async () => {
    const [asker, answerer] = await pair('asker', 'answerer');
    const first = await asker.send('answerer', 'how do we log in?', 'login');
    const question = await answerer.next();
    const reply = await answerer.call('reply', { message_id: first, content: 'with a key' });
    expect(reply).toMatchObject({ status: 'replied', thread: 'login', thread_id: question.thread_id });
    const answer = await asker.next();
    expect(answer).toMatchObject({ thread: 'login', thread_id: question.thread_id, reply_to: first });
    await asker.call('reply', { message_id: answer.message_id, resolve: true });
    const resolved = await answerer.next();
    expect(resolved).toMatchObject({ thread: 'login', thread_resolved_at: expect.any(String) });
    await answerer.send('asker', 'and how out?', 'login');
    const reopened = await asker.next();
    expect(reopened).toMatchObject({ content: 'and how out?', thread_id: question.thread_id });
    expect(reopened.thread_resolved_at).toBeUndefined();
    for (const agent of [asker, answerer]) {
      const { messages } = await agent.call('recall', { thread_id: question.thread_id });
      expect(messages).toHaveLength(4);
      expect(messages.every(({ thread_resolved_at: at }) => at === undefined)).toBe(true);
    }
  });

  test('recall by agent, by thread and by number, in both directions', async () => {
    const [reader, other] = await pair('rec.reader', 'rec.other');
    const third = await open(c, 'rec.third');
    await third.sees('rec.reader');
    await other.send('rec.reader', 'in the thread', 'deploy');
    const { thread_id: threadId } = await reader.next();
    await third.send('rec.reader', 'from the third');
    await reader.next();
    await reader.send('rec.other', 'back in the thread', 'deploy');
    const recalled = async (filter: object) =>
      contents((await reader.call('recall', { ...filter })).messages);
    const all = ['back in the thread', 'from the third', 'in the thread'];
    expect(await recalled({})).toEqual(all);
    expect(await recalled({ limit: 2 })).toEqual(all.slice(0, 2));
    expect(await recalled({ from_agent: 'rec.third' })).toEqual(['from the third']);
    expect(await recalled({ from_agent: 'rec.other@team' })).toEqual(['in the thread']);
    expect(await recalled({ from_agent: 'rec.reader' })).toEqual(['back in the thread']);
    expect(await recalled({ thread_id: 'deploy' })).toEqual([all[0], all[2]]);
    expect(await recalled({ thread_id: threadId })).toEqual([all[0], all[2]]);
    expect(await recalled({ thread_id: 'deploy', from_agent: 'rec.other' })).toEqual([all[2]]);
    const { messages } = await reader.call('recall');
    expect(messages.map(({ direction }) => direction)).toEqual(['sent', 'received', 'received']);
  });
});

describe('deferred', () => {
  test('mail outlives the daemon, is told to its sender, and is answered later', async () => {
    const [asker, busy] = await pair('def.asker', 'def.busy');
    const id = await asker.send('def.busy', 'when you have time');
    await busy.next();
    expect(await busy.call('reply', { message_id: id, defer: true })).toMatchObject({ status: 'deferred' });
    await asker.reaches(id, 'deferred');
    await b.kill('SIGKILL');
    await b.start();
    const again = await open(b, 'def.busy');
    const inbox = await again.call('inbox');
    expect(inbox.pending).toEqual([]);
    expect(inbox.deferred).toMatchObject([{ message_id: id, content: 'when you have time' }]);
    await again.call('reply', { message_id: id, content: 'at last' });
    expect((await again.call('inbox')).deferred).toEqual([]);
    expect(await asker.next()).toMatchObject({ content: 'at last', reply_to: id });
    await asker.reaches(id, 'replied');
  });

  test("is what one writes to oneself: it stands in nobody's way", async () => {
    const [writer, other] = await pair('self.writer', 'self.other');
    const sent = await writer.call('send_message', { to_agent: 'self.writer', content: 'remember' });
    expect(sent.receipts).toMatchObject([{ state: 'deferred' }]);
    await writer.send('self.other', 'not blocked');
    const { pending, deferred } = await writer.call('inbox');
    expect([contents(pending), contents(deferred)]).toEqual([[], ['remember']]);
    expect((await other.next()).content).toBe('not blocked');
    await writer.close();
    const again = await open(a, 'self.writer');
    expect(contents((await again.call('inbox')).deferred)).toEqual(['remember']);
    await again.call('reply', { message_id: sent.message_id, resolve: true });
    expect((await again.call('inbox')).deferred).toEqual([]);
  });
});

describe('three machines', () => {
  test('that joined one by one are linked with each other, without the first', async () => {
    const [left, right] = await pair('tri.left', 'tri.right', [b, c]);
    await eventually(
      'beta is linked with gamma',
      () => b.client().admin.members('team'),
      (members) => members.length === 3 && members.every(({ online }) => online),
    );
    await a.kill('SIGTERM');
    const waiting = right.next();
    const id = await left.send('tri.right', 'alpha is away');
    expect(await waiting).toMatchObject({ content: 'alpha is away', from_machine: 'beta' });
    await right.call('reply', { message_id: id, content: 'so it is' });
    expect(await left.next()).toMatchObject({ content: 'so it is', from_machine: 'gamma' });
    await left.reaches(id, 'replied');
    await a.start();
    await eventually(
      'alpha is back',
      () => c.client().admin.members('team'),
      (members) => members.every(({ online }) => online),
    );
  });

  test('get one message each of a group, and whoever is unknown is named', async () => {
    const [sender, onB] = await pair('group.sender', 'group.b');
    const onC = await open(c, 'group.c');
    await sender.sees('group.c');
    const sent = await sender.call('send_message', {
      to_agent: 'group.b, group.c@team, group.d, group.b',
      content: 'all of you',
    });
    expect(sent).toMatchObject({ status: 'partial', group_id: expect.any(String) });
    expect(sent.receipts).toMatchObject([
      { to: 'group.b@team', message_id: expect.any(String) },
      { to: 'group.c@team', message_id: expect.any(String) },
      {
        to: 'group.d@team',
        error: { code: 'unknown_recipient', message: expect.stringMatching(/group\.[bc]/) },
      },
    ]);
    for (const [index, agent] of [onB, onC].entries()) {
      expect(await agent.next()).toMatchObject({
        message_id: sent.receipts[index]!.message_id,
        group_id: sent.group_id,
        content: 'all of you',
      });
      expect(await pendingOf(agent)).toEqual([]);
    }
  });
});

describe('unsend', () => {
  test('takes back what waits on the other machine', async () => {
    const [sender, reader] = await pair('un.sender', 'un.reader');
    const id = await sender.send('un.reader', 'oops');
    await sender.reaches(id, 'delivered');
    expect(await sender.call('unsend', { message_id: id })).toEqual({ status: 'unsent', message_id: id });
    await sender.reaches(id, 'unsent');
    expect(await pendingOf(reader)).toEqual([]);
    expect((await reader.call('recall')).messages).toEqual([]);
    await expect(reader.call('reply', { message_id: id, content: 'x' })).rejects.toMatchObject({
      code: 'unknown_message',
    });
    expect(await sender.call('unsend', { message_id: id })).toMatchObject({ status: 'unsent' });
    await sender.send('un.reader', 'what I meant');
    const next = await reader.next();
    expect(next.content).toBe('what I meant');
    expect(next.missing_before).toBeUndefined();
  });

  test('leaves what was shown, confirmed or not', async () => {
    const [sender, reader] = await pair('late.sender', 'late.reader');
    const id = await sender.send('late.reader', 'too late');
    expect((await reader.next()).message_id).toBe(id);
    expect(await sender.call('unsend', { message_id: id })).toMatchObject({ status: 'already_read' });
    expect(contents((await reader.call('recall')).messages)).toEqual(['too late']);
    await sender.reaches(id, 'read');
    expect(await sender.call('unsend', { message_id: id })).toMatchObject({ status: 'already_read' });
  });

  test('of what never left this machine is certain at once', async () => {
    const [sender, reader] = await pair('never.sender', 'never.reader');
    await reader.close();
    // Nobody is there to keep it either.
    await c.kill('SIGKILL');
    await b.kill('SIGKILL');
    await sender.sees('never.reader', { online: false });
    const id = await sender.send('never.reader', 'never mind');
    expect(await sender.call('unsend', { message_id: id })).toMatchObject({ status: 'unsent' });
    await sender.send('never.reader', 'this instead');
    await b.start();
    await c.start();
    const next = await (await open(b, 'never.reader')).next();
    expect(next.content).toBe('this instead');
    expect(next.missing_before).toBeUndefined();
  });

  test('of what was on its way when the machine died is asked for, and then granted', async () => {
    const [sender, reader] = await pair('way.sender', 'way.reader');
    await reader.close();
    b.process!.kill('SIGSTOP');
    const id = await sender.send('way.reader', 'on its way');
    await b.kill('SIGKILL');
    expect(await sender.call('unsend', { message_id: id })).toMatchObject({ status: 'requested' });
    await b.start();
    await sender.reaches(id, 'unsent');
    const { pending } = await sender.call('inbox');
    expect(pending).toMatchObject([{ from: 'patchcord', notice: 'unsend', about: id }]);
    const again = await open(b, 'way.reader');
    expect(await pendingOf(again)).toEqual([]);
    await sender.send('way.reader', 'after it');
    const next = await again.next();
    expect(next.content).toBe('after it');
    expect(next.missing_before).toBeUndefined();
  });

  test('of what was shown by a machine that is away is asked for, and then refused', async () => {
    const [sender, reader] = await pair('shown.sender', 'shown.reader');
    const id = await sender.send('shown.reader', 'seen already');
    expect((await reader.next()).message_id).toBe(id);
    await b.kill('SIGKILL');
    expect(await sender.call('unsend', { message_id: id })).toMatchObject({ status: 'requested' });
    await b.start();
    const again = await open(b, 'shown.reader');
    expect(await again.next()).toMatchObject({ message_id: id, content: 'seen already', seen_before: true });
    expect(await pendingOf(again)).toEqual([]);
    await sender.reaches(id, 'read');
    expect(await sender.call('unsend', { message_id: id })).toMatchObject({ status: 'already_read' });
  });

  test('says the truth when it races with the reader', async () => {
    const [sender, reader] = await pair('race.sender', 'race.reader');
    for (let round = 0; round < 6; round++) {
      const waiting = reader.next();
      b.process!.kill('SIGSTOP');
      const id = await sender.send('race.reader', `race ${round}`);
      const unsending = sender.call('unsend', { message_id: id });
      b.process!.kill('SIGCONT');
      const { status } = await unsending;
      expect(['unsent', 'already_read']).toContain(status);
      // The reader waits on until there is something that may be shown.
      if (status === 'unsent') await sender.send('race.reader', 'done');
      expect((await waiting).content).toBe(status === 'unsent' ? 'done' : `race ${round}`);
    }
    expect(await pendingOf(reader)).toEqual([]);
  });
});

describe('one machine', () => {
  test('carries mail between its own agents as between machines', async () => {
    const [one, other] = await pair('own.one', 'own.other', [a, a]);
    const waiting = other.next();
    const id = await one.send('own.other', 'next door');
    expect(await waiting).toMatchObject({ content: 'next door', from_machine: 'alpha' });
    await other.call('reply', { message_id: id, content: 'I hear you' });
    expect(await one.next()).toMatchObject({ content: 'I hear you', reply_to: id });
    await one.reaches(id, 'replied');
  });

  test('keeps its namespaces apart', async () => {
    await a.client().admin.createNamespace('elsewhere');
    const [insider, outsider, homonym, namesake] = await Promise.all([
      open(a, 'ns.insider'),
      open(a, 'ns.outsider@elsewhere'),
      open(a, 'ns.both'),
      open(a, 'ns.both@elsewhere'),
    ]);
    await Promise.all([insider.sees('ns.both'), outsider.sees('ns.both')]);
    for (const to of ['ns.outsider', 'ns.outsider@elsewhere']) {
      const sending = insider.call('send_message', { to_agent: to, content: 'hello?' });
      await expect(sending).rejects.toMatchObject({ code: 'unknown_recipient' });
    }
    await insider.send('ns.both', 'for the team');
    await outsider.send('ns.both', 'for elsewhere');
    expect(contents(await pendingOf(homonym))).toEqual(['for the team']);
    expect(contents(await pendingOf(namesake))).toEqual(['for elsewhere']);
    const listed = JSON.stringify((await insider.call('inbox', { all_agents: true })).agents);
    expect(listed).toContain('ns.both@team');
    expect(listed).not.toMatch(/elsewhere|outsider/);
    const onB = await open(b, 'ns.on.beta');
    await onB.sees('ns.insider');
    expect(JSON.stringify(await onB.call('inbox', { all_agents: true }))).not.toMatch(/elsewhere|outsider/);
    const namespaces = await b.client().admin.namespaces();
    expect(namespaces.map(({ namespace }) => namespace)).toEqual(['team']);
  });
});
