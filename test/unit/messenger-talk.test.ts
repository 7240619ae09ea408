import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../mcp/messenger.ts';
import { messageText } from '../../mcp/message-text.ts';
import { replyText } from '../../mcp/text.ts';
import type { ReplyCall } from '../../protocol/calls.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { RECEIPTS_GATHER_MS } from '../../protocol/limits.ts';
import { admit, HandClock, startMachine, turn, Wire, type TestMachine } from './wire.ts';

/** Two machines: ada lives on the desk, bob on the laptop, and time stands still. Four hops are the bound. */
let wire: Wire;
let clock: HandClock;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;
let bob: Session;

const HOUR_MS = 3_600_000;
const hopsMax = 4;

beforeEach(async () => {
  wire = new Wire();
  clock = new HandClock();
  desk = await startMachine(wire, { seed: 1, label: 'desk', clock, hopsMax });
  laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock, hopsMax });
  await desk.admin.createNamespace('myproject');
  await admit(desk, laptop);
  ada = await open(desk, 'ada');
  bob = await open(laptop, 'bob');
});
afterEach(async () => {
  await desk.stop();
  await laptop.stop();
});

async function open(machine: TestMachine, name: string, byPerson?: boolean): Promise<Session> {
  const session = await machine.messenger.open({ agent: `${name}@myproject`, client: 'test 1', byPerson });
  await turn();
  return session;
}

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const apart = () => wire.cut(desk.peerId, laptop.peerId);
async function together(): Promise<void> {
  wire.mend(desk.peerId, laptop.peerId);
  for (let round = 0; round < 5; round += 1) await turn();
}
const pendingOf = async (session: Session) => {
  await turn();
  return (await session.inbox({ all_agents: false })).pending;
};
async function say(
  from: Session,
  to: string,
  more: { thread?: string; reply_by?: string } = {},
): Promise<string> {
  const call = { to_agent: to, content: `of ${from.self.agent}`, thread: '', ...more };
  const sent = await from.send(call);
  expect(sent.status).toBe('sent');
  await turn();
  return sent.message_id!;
}
async function answer(from: Session, id: string, more: Partial<ReplyCall> = {}) {
  const result = await from.reply({ message_id: id, content: 'yes', defer: false, resolve: false, ...more });
  await turn();
  return result;
}
const recall = async (session: Session, thread = '') =>
  (await session.recall({ limit: 100, from_agent: '', thread_id: thread })).messages;
/** What both show of the thread: its ids, and whether it is resolved. */
async function threadOf(slug: string) {
  const both = await Promise.all([recall(ada, slug), recall(bob, slug)]);
  const views = both.flat().filter(({ notice }) => notice === undefined);
  const ids = new Set(views.map(({ thread_id: id }) => id));
  const resolved = new Set(views.map((view) => view.thread_resolved_at !== undefined));
  expect([ids.size, resolved.size]).toEqual([1, 1]);
  return { id: [...ids][0]!, isResolved: [...resolved][0]! };
}

describe('a thread opened on both sides apart', () => {
  test('has one id on both, and either finds all of it', async () => {
    apart();
    const mine = await say(ada, 'bob', { thread: 'plan' });
    await clock.advance(1);
    const theirs = await say(bob, 'ada', { thread: 'plan' });
    await together();
    expect((await threadOf('plan')).id).toBe(mine);
    for (const session of [ada, bob]) {
      const [shown] = await pendingOf(session);
      expect(shown!.thread_id).toBe(mine);
      for (const root of [mine, theirs]) expect(await recall(session, root)).toHaveLength(2);
    }
    await say(bob, 'ada', { thread: 'plan' });
    const [later] = await pendingOf(ada);
    expect(later!.thread_id).toBe(mine);
    expect((await answer(ada, later!.message_id)).thread_id).toBe(mine);
  });

  test('is told by its id of now in every answer', async () => {
    apart();
    await say(ada, 'bob', { thread: 'plan' });
    await clock.advance(1);
    await say(bob, 'ada', { thread: 'plan' });
    await together();
    const { id } = await threadOf('plan');
    const [shown] = await pendingOf(ada);
    expect(await answer(ada, shown!.message_id, { content: '', defer: true })).toMatchObject({
      thread_id: id,
    });
    expect(await ada.send({ to_agent: 'bob', content: 'x', thread: 'plan' })).toMatchObject({
      thread_id: id,
    });
  });

  test('of three is one with each', async () => {
    const tower = await startMachine(wire, { seed: 3, label: 'tower', clock, hopsMax });
    await admit(desk, tower);
    const cid = await open(tower, 'cid');
    // Nor may the tower pass anything on.
    wire.cut(tower.peerId, laptop.peerId);
    apart();
    await say(bob, 'ada', { thread: 'plan' });
    await clock.advance(1);
    const { thread_id: root } = await ada.send({ to_agent: 'bob, cid', content: 'all', thread: 'plan' });
    await turn();
    await together();
    const of = async (session: Session, who: string) =>
      (await recall(session)).find(({ to, from }) => `${to} ${from}`.includes(who))!.thread_id;
    expect(await of(ada, 'cid@')).toBe(await of(cid, 'ada@'));
    expect(await of(ada, 'bob@')).toBe(await of(bob, 'ada@'));
    expect(await of(cid, 'ada@')).toBe(root);
    expect(await of(bob, 'ada@')).not.toBe(root);
    await tower.stop();
  });
});

describe('a resolve', () => {
  test.each(['before', 'after'])(
    'that crosses a message sent %s it leaves the thread open',
    async (order) => {
      await say(ada, 'bob', { thread: 'plan' });
      const [asked] = await pendingOf(bob);
      apart();
      if (order === 'before') await say(ada, 'bob', { thread: 'plan' });
      await answer(bob, asked!.message_id, { content: '', resolve: true });
      if (order === 'after') await say(ada, 'bob', { thread: 'plan' });
      await together();
      expect((await threadOf('plan')).isResolved).toBe(false);
    },
  );

  test('that crosses a message which is taken back closes the thread', async () => {
    await say(ada, 'bob', { thread: 'plan' });
    const [asked] = await pendingOf(bob);
    apart();
    const crossing = await say(ada, 'bob', { thread: 'plan' });
    await answer(bob, asked!.message_id, { content: '', resolve: true });
    expect(await ada.unsend({ message_id: crossing })).toMatchObject({ status: 'unsent' });
    await together();
    expect((await threadOf('plan')).isResolved).toBe(true);
  });

  test('of both at once closes it', async () => {
    const id = await say(ada, 'bob', { thread: 'plan' });
    await pendingOf(bob);
    const reply = (await answer(bob, id)).reply_id!;
    await pendingOf(ada);
    apart();
    await answer(bob, id, { content: '', resolve: true });
    await answer(ada, reply, { content: '', resolve: true });
    await together();
    expect((await threadOf('plan')).isResolved).toBe(true);
  });
});

describe('putting off', () => {
  test('works while the other machine is away, which learns of it later', async () => {
    const id = await say(ada, 'bob');
    await pendingOf(bob);
    await bob.confirm();
    await clock.advance(RECEIPTS_GATHER_MS);
    apart();
    expect(await answer(bob, id, { content: '', defer: true })).toMatchObject({ status: 'deferred' });
    expect((await bob.inbox({ all_agents: false })).deferred).toMatchObject([{ message_id: id }]);
    expect((await recall(ada))[0]!.status).toBe('read');
    await together();
    expect((await recall(ada))[0]!.status).toBe('deferred');
  });
});

describe('an answer asked for', () => {
  test('is shown with its time, and told on both sides when there is none', async () => {
    const id = await say(ada, 'bob', { reply_by: '1h' });
    const by = new Date(clock.now() + HOUR_MS).toISOString();
    const [asked] = await pendingOf(bob);
    expect(asked).toMatchObject({ message_id: id, reply_by: by });
    expect(messageText(asked!)).toContain(`An answer is asked for by ${by}.`);
    await answer(bob, id, { content: '', defer: true });
    const waiting = bob.wait({ timeout_seconds: 3_600 });
    await turn();
    await clock.advance(HOUR_MS);
    const { message: reminder } = await waiting;
    expect(reminder).toMatchObject({ notice: 'reminder', about: id, from: 'patchcord' });
    expect(messageText(reminder!)).toContain(`reply(message_id="${id}", content="...")`);
    const [notice, ...more] = await pendingOf(ada);
    expect(more).toEqual([]);
    expect(notice).toMatchObject({ notice: 'unanswered', about: id });
    expect(notice!.content).toContain('it is deferred');
  });

  test('is counted by each side by its own clock, from when it arrived', async () => {
    apart();
    const id = await say(ada, 'bob', { reply_by: '1h' });
    await clock.advance(HOUR_MS - 1);
    await together();
    await clock.advance(1);
    expect((await pendingOf(ada))[0]).toMatchObject({ notice: 'unanswered', about: id });
    expect((await pendingOf(bob)).map(({ notice }) => notice)).toEqual([undefined]);
    await clock.advance(HOUR_MS);
    expect((await pendingOf(bob)).map(({ notice }) => notice)).toEqual(['reminder']);
  });

  test('is told at the next start, when its time was over before', async () => {
    const id = await say(ada, 'bob', { reply_by: '90s' });
    await laptop.stop();
    await clock.advance(100_000);
    laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock, kv: laptop.kv });
    bob = await open(laptop, 'bob');
    expect((await pendingOf(bob)).map(({ notice, message_id: of, about }) => [notice, about ?? of])).toEqual([
      [undefined, id],
      ['reminder', id],
    ]);
  });

  test.each<[what: string, end: (id: string) => Promise<unknown>]>([
    ['an answer', (id) => answer(bob, id)],
    ['an answer that closes', (id) => answer(bob, id, { content: '', resolve: true })],
    ['its sender, who lets go', (id) => answer(ada, id, { content: '', resolve: true })],
  ])('is told to nobody after %s', async (_what, end) => {
    for (const thread of ['', 'plan']) {
      const id = await say(ada, 'bob', { reply_by: '1h', thread });
      await pendingOf(bob);
      await end(id);
      const sent = (await recall(ada)).find(({ message_id: of }) => of === id);
      const received = (await recall(bob)).find(({ message_id: of }) => of === id);
      expect([sent!.reply_by, received!.reply_by]).toEqual([undefined, undefined]);
      await pendingOf(ada);
      await pendingOf(bob);
    }
    await ada.confirm();
    await bob.confirm();
    await clock.advance(HOUR_MS);
    expect((await pendingOf(ada)).concat(await pendingOf(bob))).toEqual([]);
  });

  test('that is taken back is told to nobody', async () => {
    const id = await say(ada, 'bob', { reply_by: '1h' });
    expect(await ada.unsend({ message_id: id })).toMatchObject({ status: 'unsent' });
    await clock.advance(HOUR_MS);
    expect((await pendingOf(ada)).concat(await pendingOf(bob))).toEqual([]);
  });

  test('is let go of by its sender alone, without a word, and while it is owed', async () => {
    const id = await say(ada, 'bob', { reply_by: '1h' });
    const plain = await say(ada, 'bob');
    await pendingOf(bob);
    for (const call of [
      { message_id: id, content: 'no need', resolve: true },
      { message_id: id, content: '', defer: true },
      { message_id: plain, content: '', resolve: true },
    ])
      await expect(answer(ada, call.message_id, call)).rejects.toEqual(refusal('not_addressee'));
    const ended = await answer(ada, id, { content: '', resolve: true });
    expect(ended).toMatchObject({ status: 'resolved', to: 'bob@myproject', reply_id: expect.any(String) });
    // Bob sees nothing new, and is asked no longer.
    expect(await pendingOf(bob)).toEqual([]);
    const again = await answer(ada, id, { content: '', resolve: true });
    expect(again).toEqual({ status: 'resolved', to: 'bob@myproject' });
  });

  test.each(['2 h', '0s', '8d', 'tomorrow', '-1h'])('within %j is refused', async (text) => {
    const sending = ada.send({ to_agent: 'bob', content: 'x', thread: '', reply_by: text });
    await expect(sending).rejects.toEqual(refusal('invalid_input'));
  });

  test.each(['', '1s', '7d', ' 2H '])('within %j is taken', async (text) => {
    await say(ada, 'bob', { reply_by: text });
    expect((await pendingOf(bob))[0]!.reply_by !== undefined).toBe(text !== '');
  });
});

describe('a chain of answers', () => {
  /** Ada and bob answer one another until one may not go on; says who and about which message. */
  async function untilStopped(
    thread = '',
  ): Promise<{ session: Session; id: string; answers: number; code: string }> {
    let id = await say(ada, 'bob', { thread });
    for (let answers = 0; answers < 2 * hopsMax; answers += 1) {
      const session = answers % 2 === 0 ? bob : ada;
      await pendingOf(session);
      const outcome = await answer(session, id).catch((error: unknown) => asPatchcordError(error));
      if (outcome instanceof PatchcordError) return { session, id, answers, code: outcome.code };
      id = outcome.reply_id!;
    }
    throw new Error('they go on');
  }

  test('ends at the bound, and says whom to ask and how', async () => {
    const { session, id, answers, code } = await untilStopped('plan');
    expect([answers, code]).toEqual([hopsMax - 1, 'loop_guard']);
    const { agent } = session.self;
    const refused = answer(session, id);
    await expect(refused).rejects.toThrow('4 times in a row');
    await expect(refused).rejects.toHaveProperty(
      'remedy',
      expect.stringContaining(`patchcord reset --as ${agent} --thread plan`),
    );
    await expect(refused).rejects.toHaveProperty('retryable', false);
    const other = session === ada ? 'bob' : 'ada';
    await expect(session.send({ to_agent: other, content: 'x', thread: 'plan' })).rejects.toEqual(
      refusal('loop_guard'),
    );
    await expect(answer(session, id, { defer: true })).rejects.toEqual(refusal('loop_guard'));
    expect(await answer(session, id, { content: '', defer: true })).toMatchObject({ status: 'deferred' });
    expect(await answer(session, id, { content: '', resolve: true })).toMatchObject({ status: 'resolved' });
    await say(session, other, { thread: 'another' });
  });

  test('warns when it nears the bound', async () => {
    const id = await say(ada, 'bob');
    await pendingOf(bob);
    const { warning, ...rest } = await answer(bob, id);
    expect(warning).toContain('2 more answers may follow');
    expect(replyText({ warning, ...rest })).toContain('Warning: 2 more answers may follow');
  });

  test.each(['', 'plan'])('goes on after a reset by a person (thread %j)', async (thread) => {
    const { session, id } = await untilStopped(thread);
    const machine = session === ada ? desk : laptop;
    const { agent } = session.self;
    await machine.admin.resetChains(agent, 'other');
    await expect(answer(session, id)).rejects.toEqual(refusal('loop_guard'));
    expect(await machine.admin.resetChains(agent, thread || undefined)).toMatchObject({ agent });
    expect((await answer(session, id)).warning).toContain('3 more answers');
  });

  test('begins anew with what a person says, on either side', async () => {
    const { session, id } = await untilStopped('plan');
    const [machine, name] = session === ada ? [desk, 'ada'] : [laptop, 'bob'];
    const person = await open(machine, name, true);
    const said = await answer(person, id);
    expect(said).toMatchObject({ status: 'replied' });
    expect(said.warning).toBeUndefined();
    const other = session === ada ? bob : ada;
    await pendingOf(other);
    expect(await answer(other, said.reply_id!)).toMatchObject({ status: 'replied' });
  });

  test('is reset for an agent that is here, in a thread that has a name', async () => {
    await expect(desk.admin.resetChains('nobody@myproject')).rejects.toEqual(refusal('unknown_agent'));
    await expect(desk.admin.resetChains('ada@myproject', ' ')).rejects.toEqual(refusal('invalid_input'));
    expect(await desk.admin.resetChains('ADA@myproject', 'The Plan')).toEqual({
      agent: 'ada@myproject',
      thread: 'the-plan',
    });
  });

  test('puts no word of a peer into a command', async () => {
    const { loopGuard } = await import('../../daemon/messenger/loop-guard.ts');
    for (const slug of ['a b', '$(reboot)', '`x`', "'", '-x', ''])
      expect(loopGuard('ada@myproject', 4, slug).remedy).not.toContain('--thread');
    expect(loopGuard('ada@myproject', 4, 'plan').remedy).toContain('--thread plan`');
  });
});
