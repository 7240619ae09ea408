import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../mcp/messenger.ts';
import type { PatchcordError } from '../../protocol/errors.ts';
import { AGENTS_PER_MACHINE_MAX } from '../../protocol/limits.ts';
import { admit, HandClock, startMachine, turn, Wire, type TestMachine } from './wire.ts';

let wire: Wire;
let clock: HandClock;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;

beforeEach(async () => {
  wire = new Wire();
  clock = new HandClock();
  desk = await startMachine(wire, { seed: 1, label: 'desk', clock });
  laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock });
  await desk.admin.createNamespace('myproject');
  await admit(desk, laptop);
  ada = await open(desk, 'ada');
});
afterEach(async () => {
  await desk.stop();
  await laptop.stop();
});

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
async function open(machine: TestMachine, name: string): Promise<Session> {
  const session = await machine.messenger.open({ agent: `${name}@myproject`, client: 'test 1' });
  await turn();
  return session;
}
const agentsSeenBy = async (session: Session, all = true) =>
  (await session.inbox({ all_agents: all })).agents.map(
    ({ agent, machine, online }) => `${agent} on ${machine}${online ? '' : ', away'}`,
  );
const warningsOf = async (session: Session) => (await session.inbox({ all_agents: false })).warnings;
async function say(session: Session, to: string, content: string) {
  const sending = session.send({ to_agent: to, content, thread: '' });
  await clock.advance(100);
  return sending;
}
const apart = () => wire.cut(desk.peerId, laptop.peerId);
const together = async () => {
  wire.mend(desk.peerId, laptop.peerId);
  await turn();
};

describe('names', () => {
  test('one that lives elsewhere is taken', async () => {
    await expect(laptop.admin.addAgent('ada@myproject')).rejects.toEqual(refusal('name_taken'));
    await expect(laptop.messenger.open({ agent: 'ADA@myproject', client: 'x' })).rejects.toEqual(
      refusal('name_taken'),
    );
    expect(await laptop.admin.agents()).toEqual([]);
  });

  test('one that lives here is the same agent', async () => {
    const [known] = await desk.admin.agents();
    expect(await desk.admin.addAgent('Ada@MyProject')).toMatchObject({ id: known!.id, added: false });
    const twice = await Promise.all([
      desk.admin.addAgent('ops@myproject'),
      desk.admin.addAgent('ops@myproject'),
    ]);
    expect(twice[0].id).toBe(twice[1].id);
  });

  test('one is free again when it was removed there', async () => {
    await desk.admin.removeAgent('ada@myproject');
    await turn();
    expect(await laptop.admin.addAgent('ada@myproject')).toMatchObject({ added: true });
    await expect(ada.inbox({ all_agents: false })).rejects.toEqual(refusal('unknown_session'));
  });

  test('an unknown one is refused with those that are near', async () => {
    await open(laptop, 'backend');
    const error = await ada.send({ to_agent: 'bakend', content: 'x', thread: '' }).then(
      () => undefined,
      (thrown: PatchcordError) => thrown,
    );
    expect(error).toEqual(refusal('unknown_recipient'));
    expect(error!.view().message).toContain('backend');
  });

  test('there are only so many on one machine', async () => {
    for (let count = 1; count < AGENTS_PER_MACHINE_MAX; count++)
      await desk.admin.addAgent(`agent-${count}@myproject`);
    await expect(desk.admin.addAgent('one-more@myproject')).rejects.toEqual(refusal('too_many'));
    await desk.admin.createNamespace('other');
    expect(await desk.admin.addAgent('one-more@other')).toMatchObject({ added: true });
    await turn();
    expect((await laptop.admin.namespaces())[0]!.agents).toHaveLength(AGENTS_PER_MACHINE_MAX);
  });

  test('one of another namespace is nobody here', async () => {
    await desk.admin.createNamespace('other');
    await desk.admin.addAgent('ops@other');
    await expect(ada.send({ to_agent: 'ops', content: 'x', thread: '' })).rejects.toEqual(
      refusal('unknown_recipient'),
    );
    await expect(ada.send({ to_agent: 'ops@other', content: 'x', thread: '' })).rejects.toEqual(
      refusal('unknown_recipient'),
    );
    expect(await agentsSeenBy(ada)).toEqual([]);
  });
});

describe('a name that two machines claim while apart', () => {
  /** Both have an `ops` when they meet again; one of them has lost the name. */
  async function contest() {
    apart();
    const here = await open(desk, 'ops');
    const there = await open(laptop, 'ops');
    expect([await warningsOf(here), await warningsOf(there)]).toEqual([[], []]);
    await together();
    const isHere = (await warningsOf(here)).length === 0;
    const [winner, loser] = isHere ? [here, there] : [there, here];
    const [won, lost] = isHere ? [desk, laptop] : [laptop, desk];
    const [wonLabel, lostLabel] = isHere ? ['desk', 'laptop'] : ['laptop', 'desk'];
    return { winner, loser, won, lost, wonLabel, lostLabel };
  }
  const opsOf = async (machine: TestMachine) =>
    (await machine.admin.agents()).find(({ agent }) => agent === 'ops@myproject')!;

  test('is held by one of them, on both; the other one is told by whom', async () => {
    const { winner, loser, won, lost, wonLabel } = await contest();
    expect(await warningsOf(winner)).toEqual([]);
    expect(await warningsOf(loser)).toEqual([expect.stringContaining(`claimed first on ${wonLabel}`)]);
    expect((await opsOf(won)).name_held_by).toBeUndefined();
    expect((await opsOf(lost)).name_held_by).toBe(wonLabel);
    for (const machine of [desk, laptop]) {
      const members = await machine.admin.members('myproject');
      const holders = members.filter(({ agents }) => agents.includes('ops@myproject'));
      expect(holders.map(({ machine: label }) => label)).toEqual([wonLabel]);
    }
  });

  test('is the same one as before after restarts', async () => {
    const { wonLabel } = await contest();
    await desk.stop();
    await laptop.stop();
    desk = await startMachine(wire, { seed: 1, label: 'desk', clock, kv: desk.kv });
    laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock, kv: laptop.kv });
    await turn();
    const held = [await opsOf(desk), await opsOf(laptop)].map((agent) => agent.name_held_by);
    expect(held).toEqual(wonLabel === 'desk' ? [undefined, 'desk'] : ['laptop', undefined]);
  });

  test('takes mail to the holder, from everywhere', async () => {
    const { winner, lost, loser } = await contest();
    const bob = await open(laptop, 'bob');
    for (const session of [ada, bob]) await say(session, 'ops', 'hello');
    expect((await winner.inbox({ all_agents: false })).pending).toHaveLength(2);
    expect((await loser.inbox({ all_agents: false })).pending).toEqual([]);
    expect((await lost.admin.peek('ops@myproject', 10)).total).toBe(0);
  });

  test('cannot be sent from by the loser, nor answered from', async () => {
    apart();
    const [here, there] = [await open(desk, 'ops'), await open(laptop, 'ops')];
    const bob = await open(laptop, 'bob');
    await say(ada, 'ops', 'to the one here');
    await say(bob, 'ops', 'to the one there');
    await together();
    const loser = (await opsOf(desk)).name_held_by === undefined ? there : here;
    const { pending } = await loser.inbox({ all_agents: false });
    expect(pending).toHaveLength(1);
    const taken = refusal('name_taken');
    await expect(loser.send({ to_agent: 'ada', content: 'x', thread: '' })).rejects.toEqual(taken);
    const answer = { message_id: pending[0]!.message_id, content: 'x', resolve: false };
    await expect(loser.reply({ ...answer, defer: false })).rejects.toEqual(taken);
    expect(await loser.reply({ ...answer, content: '', defer: true })).toMatchObject({ status: 'deferred' });
  });

  test('in whose name the loser wrote before it knew is refused by the other, for good', async () => {
    apart();
    const [here, there] = [await open(desk, 'ops'), await open(laptop, 'ops')];
    const bob = await open(laptop, 'bob');
    const sent = [
      await here.send({ to_agent: 'bob', content: 'from here', thread: '' }).catch(() => undefined),
      await there.send({ to_agent: 'ada', content: 'from there', thread: '' }),
    ];
    expect(sent[0]).toBeUndefined();
    await together();
    await clock.advance(60_000);
    const lostThere = (await opsOf(laptop)).name_held_by !== undefined;
    const { messages } = await there.recall({ limit: 10, from_agent: '', thread_id: '' });
    const sentThere = messages.filter(({ direction }) => direction === 'sent');
    expect(sentThere.map(({ status }) => status)).toEqual([lostThere ? 'refused' : 'delivered']);
    const { pending } = await ada.inbox({ all_agents: false });
    expect(pending.map(({ content }) => content)).toEqual(lostThere ? [] : ['from there']);
    void bob;
  });

  test('goes to the other when the holder lets go of it', async () => {
    const { loser, won, lost } = await contest();
    await won.admin.removeAgent('ops@myproject');
    await turn();
    expect(await warningsOf(loser)).toEqual([]);
    expect((await opsOf(lost)).name_held_by).toBeUndefined();
    await say(ada, 'ops', 'yours now');
    expect((await loser.inbox({ all_agents: false })).pending).toMatchObject([{ content: 'yours now' }]);
    await loser.confirm();
    const other = await open(won, 'after');
    await say(loser, 'after', 'thanks');
    expect((await other.inbox({ all_agents: false })).pending).toMatchObject([{ content: 'thanks' }]);
  });

  test('goes to the other when the machine of the holder is removed or leaves', async () => {
    await desk.admin.promote('myproject', 'laptop');
    await turn();
    const { loser, won, lost, wonLabel } = await contest();
    if (won === desk) await lost.admin.removeMember('myproject', wonLabel);
    else await won.admin.leave('myproject');
    await turn();
    expect(await warningsOf(loser)).toEqual([]);
    expect((await lost.admin.namespaces())[0]!.agents).toContain('ops@myproject');
  });

  test('stays with the holder when the loser gives up', async () => {
    const { winner, lost, wonLabel } = await contest();
    await lost.admin.removeAgent('ops@myproject');
    await turn();
    expect(await warningsOf(winner)).toEqual([]);
    await expect(lost.admin.addAgent('ops@myproject')).rejects.toEqual(refusal('name_taken'));
    const members = await lost.admin.members('myproject');
    expect(members.find(({ machine }) => machine === wonLabel)!.agents).toContain('ops@myproject');
  });
});

describe('presence', () => {
  test('follows sessions, and the link', async () => {
    const bob = await open(laptop, 'bob');
    expect(await agentsSeenBy(ada)).toEqual(['bob@myproject on laptop']);
    await bob.close();
    await turn();
    expect(await agentsSeenBy(ada)).toEqual(['bob@myproject on laptop, away']);
    expect(await agentsSeenBy(ada, false)).toEqual([]);
    await open(laptop, 'bob');
    apart();
    expect(await agentsSeenBy(ada)).toEqual(['bob@myproject on laptop, away']);
    await together();
    expect(await agentsSeenBy(ada)).toEqual(['bob@myproject on laptop']);
  });

  test('what happened while apart is told on the next link', async () => {
    apart();
    const bob = await open(laptop, 'bob');
    await laptop.admin.addAgent('ops@myproject');
    await desk.admin.addAgent('dba@myproject');
    await together();
    expect(await agentsSeenBy(ada)).toEqual([
      'bob@myproject on laptop',
      'dba@myproject on desk, away',
      'ops@myproject on laptop, away',
    ]);
    expect(await agentsSeenBy(bob)).toEqual([
      'ada@myproject on desk',
      'dba@myproject on desk, away',
      'ops@myproject on laptop, away',
    ]);
  });

  test('two sessions of one agent are one presence', async () => {
    const [first, second] = [await open(laptop, 'bob'), await open(laptop, 'bob')];
    await first.close();
    await turn();
    expect(await agentsSeenBy(ada)).toEqual(['bob@myproject on laptop']);
    await second.close();
    await turn();
    expect(await agentsSeenBy(ada)).toEqual(['bob@myproject on laptop, away']);
  });
});

describe('tokens', () => {
  test('lead to their agent, also after a restart, until it is removed', async () => {
    const { token } = await desk.admin.newToken('ada@myproject');
    const other = await desk.admin.newToken('ada@myproject');
    expect(other.token).not.toBe(token);
    expect(await desk.admin.agentOfToken(token)).toBe('ada@myproject');
    for (const wrong of ['', token.slice(0, -1), `${token}x`, token.toUpperCase()])
      expect(await desk.admin.agentOfToken(wrong)).toBeUndefined();
    await desk.stop();
    desk = await startMachine(wire, { seed: 1, label: 'desk', clock, kv: desk.kv });
    expect(await desk.admin.agentOfToken(token)).toBe('ada@myproject');
    await desk.admin.removeAgent('ada@myproject');
    expect(await desk.admin.agentOfToken(token)).toBeUndefined();
    await desk.stop();
    desk = await startMachine(wire, { seed: 1, label: 'desk', clock, kv: desk.kv });
    expect(await desk.admin.agentOfToken(token)).toBeUndefined();
    expect(await desk.admin.agents()).toEqual([]);
  });

  test('are given for agents of this machine only', async () => {
    await expect(laptop.admin.newToken('ada@myproject')).rejects.toEqual(refusal('unknown_agent'));
  });
});

describe('between two machines', () => {
  test('a message arrives, and its reply, and each learns how far its own came', async () => {
    const bob = await open(laptop, 'bob');
    const sent = await say(ada, 'bob', 'hello');
    expect(sent.receipts).toMatchObject([{ to: 'bob@myproject', state: 'delivered', online: true }]);
    const { pending } = await bob.inbox({ all_agents: false });
    expect(pending).toMatchObject([{ from: 'ada@myproject', from_machine: 'desk', content: 'hello' }]);
    const replying = bob.reply({
      message_id: pending[0]!.message_id,
      content: 'hi',
      defer: false,
      resolve: false,
    });
    await clock.advance(100);
    expect((await replying).state).toBe('delivered');
    expect((await ada.wait({ timeout_seconds: 1 })).message).toMatchObject({
      content: 'hi',
      reply_to: sent.message_id,
    });
    const { messages } = await ada.recall({ limit: 10, from_agent: '', thread_id: '' });
    expect(messages.map(({ content, status }) => [content, status])).toEqual([
      ['hi', 'read'],
      ['hello', 'replied'],
    ]);
  });

  test('a message to a machine that is away waits there, safe from a restart, and arrives once', async () => {
    const bob = await open(laptop, 'bob');
    apart();
    const sent = await say(ada, 'bob', 'later');
    expect(sent.receipts).toMatchObject([{ state: 'queued', online: false }]);
    await desk.stop();
    desk = await startMachine(wire, { seed: 1, label: 'desk', clock, kv: desk.kv });
    expect((await desk.admin.status()).links).toMatchObject([
      { peer_id: laptop.peerId, up: false, queued: 1 },
    ]);
    await together();
    await together();
    expect((await bob.inbox({ all_agents: false })).pending.map(({ content }) => content)).toEqual(['later']);
    expect((await desk.admin.status()).links).toMatchObject([{ up: true, queued: 0 }]);
  });

  test('a thread opened on both sides at once has one id, by which both find all of it', async () => {
    const bob = await open(laptop, 'bob');
    apart();
    await ada.send({ to_agent: 'bob', content: 'from ada', thread: 'deploy' });
    await clock.advance(1);
    await bob.send({ to_agent: 'ada', content: 'from bob', thread: 'deploy' });
    await together();
    const ids = new Set<string>();
    for (const session of [ada, bob]) {
      const { threads } = await session.inbox({ all_agents: false });
      ids.add(threads[0]!.thread_id);
      const { messages } = await session.recall({
        limit: 10,
        from_agent: '',
        thread_id: threads[0]!.thread_id,
      });
      expect(messages.map(({ content }) => content).sort()).toEqual(['from ada', 'from bob']);
    }
    expect(ids.size).toBe(1);
  });
});
