import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../mcp/messenger.ts';
import type { SendCall, WaitCall } from '../../protocol/calls.ts';
import type { Urgency } from '../../protocol/delivery/wakes.ts';
import { ACTIVITY_ANNOUNCE_MS, BUSY_MS } from '../../protocol/limits.ts';
import type { AgentView } from '../../protocol/views.ts';
import { deskAndLaptop, refusal, type Team } from './team.ts';
import { turn, type TestMachine } from './wire.ts';

/** Two machines: ada lives on the desk, bob on the laptop, and time stands still. */
let team: Team;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;
let bob: Session;

const BOB = 'bob@myproject';

beforeEach(async () => {
  ({ team, desk, laptop, ada, bob } = await deskAndLaptop());
});
afterEach(() => team.stopAll());

async function say(content: string, urgency?: Urgency, more: Partial<SendCall> = {}) {
  const sending = ada.send({ to_agent: 'bob', content, thread: '', urgency, ...more });
  await team.clock.advance(100);
  return sending;
}
/** A wait of bob, and what it has come to. */
function wait(session: Session = bob, more: Partial<WaitCall> = {}) {
  const state: { result?: Awaited<ReturnType<Session['wait']>>; error?: unknown } = {};
  session.wait({ timeout_seconds: 600, ...more }).then(
    (result) => (state.result = result),
    (error: unknown) => (state.error = error),
  );
  return state;
}
const inboxOf = async (session: Session) =>
  (await session.inbox({ all_agents: false })).pending.map(({ content }) => content);
const seenBy = async (session: Session, name: string): Promise<AgentView | undefined> =>
  (await session.inbox({ all_agents: true })).agents.find(({ agent }) => agent === `${name}@myproject`);
const settle = () => team.clock.advance(ACTIVITY_ANNOUNCE_MS);

describe('urgency', () => {
  test('info wakes nobody, and comes with the next message that does', async () => {
    const waiting = wait();
    await say('fyi', 'info');
    await turn();
    expect(waiting.result).toBeUndefined();
    await say('hello');
    await turn();
    expect(waiting.result).toMatchObject({
      status: 'message',
      message: { content: 'fyi', urgency: 'info' },
      more: 1,
    });
    expect((await bob.wait({ timeout_seconds: 1 })).message).toMatchObject({ content: 'hello' });
    expect('urgency' in (await ada.recall({ limit: 1, from_agent: '', thread_id: '' })).messages[0]!).toBe(
      false,
    );
  });

  test('info that waits already ends no wait, holds no send back, and is in the inbox', async () => {
    await say('fyi', 'info');
    const waiting = bob.wait({ timeout_seconds: 5 });
    await team.clock.advance(5_000);
    expect(await waiting).toEqual({ status: 'timeout', more: 0 });
    const sending = bob.send({ to_agent: 'ada', content: 'x', thread: '' });
    await team.clock.advance(100);
    expect((await sending).status).toBe('sent');
    expect(await inboxOf(bob)).toEqual(['fyi']);
  });

  test('a send is held back by what is normal, and shows what is info, too', async () => {
    await say('fyi', 'info');
    await say('hello', 'normal');
    const held = await bob.send({ to_agent: 'ada', content: 'x', thread: '' });
    expect(held).toMatchObject({ status: 'blocked', pending_total: 2 });
    expect(held.pending!.map(({ urgency }) => urgency)).toEqual(['info', undefined]);
  });

  test('what one session is shown does not hold another back, and is counted again when it is given back', async () => {
    await say('stop', 'steer');
    await say('fyi', 'info');
    expect((await bob.wait({ timeout_seconds: 1 })).message).toMatchObject({
      content: 'stop',
      urgency: 'steer',
    });
    const second = await team.open(laptop, 'bob');
    const send = async () => {
      const sending = second.send({ to_agent: 'ada', content: 'x', thread: '' });
      await team.clock.advance(100);
      return (await sending).status;
    };
    expect(await send()).toBe('sent');
    await bob.release();
    expect(await send()).toBe('blocked');
  });

  test('travels with a reply', async () => {
    const { message_id: id } = await say('question');
    await bob.inbox({ all_agents: false });
    const replying = bob.reply({
      message_id: id!,
      content: 'later',
      defer: false,
      resolve: false,
      urgency: 'info',
    });
    await team.clock.advance(100);
    await replying;
    expect((await ada.inbox({ all_agents: false })).pending).toMatchObject([
      { content: 'later', urgency: 'info' },
    ]);
  });
});

describe('an agent that does not want to be disturbed', () => {
  test('waits on until steer comes, or until it wants to be disturbed; the sender is told', async () => {
    await laptop.admin.setAgent(BOB, { dnd: true });
    const waiting = wait();
    await turn();
    const { receipts } = await say('hello');
    expect(receipts[0]).toMatchObject({ state: 'delivered', recipient_state: 'dnd' });
    expect(receipts[0]!.note).toContain('does not want to be disturbed');
    await turn();
    expect(waiting.result).toBeUndefined();
    expect((await laptop.admin.peek(BOB, 9)).total).toBe(1);
    const steered = await say('stop', 'steer');
    expect(steered.receipts[0]).toMatchObject({ recipient_state: 'dnd' });
    expect(steered.receipts[0]!.note).toBeUndefined();
    await turn();
    // One after another, in the order in which they were sent.
    expect(waiting.result).toMatchObject({ message: { content: 'hello' }, more: 1 });
    expect((await bob.wait({ timeout_seconds: 1 })).message).toMatchObject({
      content: 'stop',
      urgency: 'steer',
    });
  });

  test('is woken when that ends, also after a restart of its machine', async () => {
    await laptop.admin.setAgent(BOB, { dnd: true, status: 'in the middle of it' });
    laptop = await team.again(laptop);
    bob = await team.open(laptop, 'bob');
    const waiting = wait();
    await say('hello');
    await turn();
    expect(waiting.result).toBeUndefined();
    expect(await seenBy(ada, 'bob')).toMatchObject({ state: 'dnd', status: 'in the middle of it' });
    await laptop.admin.setAgent(BOB, { dnd: false });
    await turn();
    expect(waiting.result).toMatchObject({ message: { content: 'hello' } });
  });

  test('sees everything in its inbox', async () => {
    await laptop.admin.setAgent(BOB, { dnd: true });
    await say('fyi', 'info');
    await say('hello');
    expect(await inboxOf(bob)).toEqual(['fyi', 'hello']);
  });
});

describe('what an agent does', () => {
  test('is idle at first and while it waits, busy while it works, idle again when nothing happens for long', async () => {
    expect(await seenBy(ada, 'bob')).toMatchObject({ online: true, state: 'idle' });
    await bob.inbox({ all_agents: false });
    await settle();
    expect(await seenBy(ada, 'bob')).toMatchObject({ state: 'busy' });
    const waiting = bob.wait({ timeout_seconds: 60 });
    await settle();
    expect(await seenBy(ada, 'bob')).toMatchObject({ state: 'idle' });
    await team.clock.advance(60_000);
    await waiting;
    await settle();
    expect(await seenBy(ada, 'bob')).toMatchObject({ state: 'busy' });
    await team.clock.advance(BUSY_MS + ACTIVITY_ANNOUNCE_MS);
    expect(await seenBy(ada, 'bob')).toMatchObject({ state: 'idle' });
    await bob.close();
    await turn();
    const away = await seenBy(ada, 'bob');
    expect(away).toMatchObject({ online: false });
    expect(away!.state).toBeUndefined();
  });

  test('is announced at most every two seconds, and not at all when it was for a moment', async () => {
    const rosters = () => team.wire.networks.get(laptop.peerId)!.sent.get('shared') ?? 0;
    const before = rosters();
    const waiting = bob.wait({ timeout_seconds: 600 });
    await settle();
    for (let count = 0; count < 50; count += 1) {
      await bob.release();
      await waiting.catch(() => undefined);
      void bob.wait({ timeout_seconds: 600 }).catch(() => undefined);
      await team.clock.advance(100);
    }
    expect(rosters()).toBe(before);
    for (let count = 0; count < 100; count += 1) {
      await bob.recall({ limit: 1, from_agent: '', thread_id: '' });
      await team.clock.advance(100);
    }
    expect(rosters() - before).toBeLessThanOrEqual(5);
  });

  test('is not written down by others, but that it does not want to be disturbed is', async () => {
    const written = async () => {
      const { rosters } = await team.stored(desk);
      return rosters.find(({ machine }) => machine === laptop.peerId)?.roster.agents[0]?.state;
    };
    expect(await written()).toBe('idle');
    await bob.inbox({ all_agents: false });
    await settle();
    expect(await seenBy(ada, 'bob')).toMatchObject({ state: 'busy' });
    expect(await written()).toBe('idle');
    await laptop.admin.setAgent(BOB, { dnd: true });
    await settle();
    expect(await written()).toBe('dnd');
  });

  test('its project and branch are told while it is here, and what its user has set counts more', async () => {
    await bob.close();
    const open = (more: object) => laptop.messenger.open({ agent: BOB, client: 'test 1', ...more });
    const first = await open({ project: 'web-\u001b[2Jshop', branch: 'main' });
    await turn();
    expect(await seenBy(ada, 'bob')).toMatchObject({ project: 'web- [2Jshop', branch: 'main' });
    await laptop.admin.setAgent(BOB, { project: 'secret name', share_branch: false });
    await turn();
    const told = await seenBy(ada, 'bob');
    expect(told).toMatchObject({ project: 'secret name' });
    expect(told!.branch).toBeUndefined();
    await laptop.admin.setAgent(BOB, { project: '' });
    await turn();
    expect((await seenBy(ada, 'bob'))!.project).toBeUndefined();
    await laptop.admin.setAgent(BOB, { project: null, share_branch: true });
    await first.close();
    await turn();
    expect((await seenBy(ada, 'bob'))!.project).toBeUndefined();
  });
});

describe('a wait for another agent', () => {
  const until = { until_agent: 'bob', until_state: 'idle' } as const;

  test('ends at once when it is so', async () => {
    const result = await ada.wait({ timeout_seconds: 60, ...until });
    expect(result).toMatchObject({ status: 'notice', notice: { agent: BOB, state: 'idle' }, more: 0 });
  });

  test('ends when the agent waits, and not before; a message ends it as ever', async () => {
    await bob.inbox({ all_agents: false });
    await settle();
    const waiting = wait(ada, until);
    await turn();
    expect(waiting.result).toBeUndefined();
    wait(bob);
    await settle();
    expect(waiting.result).toMatchObject({ status: 'notice', notice: { agent: BOB } });
    await bob.release();
    await bob.inbox({ all_agents: false });
    await settle();
    const again = wait(ada, until);
    const sending = bob.send({ to_agent: 'ada', content: 'done', thread: '' });
    await team.clock.advance(100);
    await sending;
    expect(again.result).toMatchObject({ status: 'message', message: { content: 'done' } });
  });

  test('ends when the agent comes', async () => {
    team.cut(desk, laptop);
    await turn();
    const waiting = wait(ada, { until_agent: BOB, until_state: 'online' });
    await turn();
    expect(waiting.result).toBeUndefined();
    await team.mend(desk, laptop);
    await turn();
    expect(waiting.result).toMatchObject({ status: 'notice', notice: { state: 'online' } });
  });

  test.each([['nobody'], ['bob@elsewhere']])('is refused for %s', async (name) => {
    await expect(ada.wait({ timeout_seconds: 60, until_agent: name })).rejects.toEqual(
      refusal('unknown_recipient'),
    );
  });
});
