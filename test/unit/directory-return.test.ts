import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  agentsOf,
  linksOf,
  membersOf,
  peeked,
  pendingOf,
  refusal,
  three,
  warningsOf,
  type Three,
} from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

/** Leaving of one's own will, and being let in again. */

let all: Three;
beforeEach(async () => {
  all = await three();
});
afterEach(async () => {
  await all.team.stopAll();
});

const remove = async (machine = 'tower', by = all.desk) => {
  await by.admin.removeMember('myproject', machine);
  await turn();
};
const namespaceOf = async (machine: TestMachine) => (await machine.admin.namespaces())[0]!;

describe('leaving', () => {
  test('takes the machine, its agents and their names out, for all', async () => {
    const { team, desk, tower } = all;
    await tower.admin.leave('myproject');
    await turn();
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
    expect(await agentsOf(all.ada)).toEqual(['bob']);
    expect(await tower.admin.agents()).toEqual([]);
    await expect(all.cid.inbox({ all_agents: false })).rejects.toEqual(refusal('unknown_session'));
    expect(await team.key(tower, all.ns)).toBeUndefined();
    expect((await namespaceOf(tower)).removed).toMatchObject({ by: 'tower', reason: 'left' });
    await desk.admin.addAgent('cid@myproject');
  });

  test('of the last admin of others is refused, and of the last machine takes the namespace along', async () => {
    const { desk, laptop, tower } = all;
    await expect(desk.admin.leave('myproject')).rejects.toEqual(refusal('invalid_input'));
    expect(await membersOf(laptop)).toHaveLength(3);
    for (const machine of [laptop, tower]) await machine.admin.leave('myproject');
    await turn();
    await desk.admin.leave('myproject');
    expect(await desk.admin.namespaces()).toEqual([]);
    expect(await desk.admin.agents()).toEqual([]);
    expect(desk.kv.keys('statement/')).toEqual([]);
    await expect(desk.admin.members('myproject')).rejects.toEqual(refusal('unknown_namespace'));
    await desk.admin.createNamespace('myproject');
  });

  test('after a removal makes the machine forget, also after a restart', async () => {
    await remove();
    await all.tower.admin.leave('myproject');
    expect(await all.tower.admin.namespaces()).toEqual([]);
    all.tower = await all.team.again(all.tower);
    expect(await all.tower.admin.namespaces()).toEqual([]);
    expect(await all.tower.admin.agents()).toEqual([]);
    await all.tower.admin.createNamespace('myproject');
  });

  test('while nobody is linked is told on the next link', async () => {
    const { team, desk, laptop, tower } = all;
    for (const other of [desk, laptop]) team.cut(other, tower);
    await tower.admin.leave('myproject');
    expect(await membersOf(desk)).toHaveLength(3);
    await team.mend(desk, tower);
    await team.clock.advance(60_000);
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
    expect(await membersOf(laptop)).toEqual(['desk', 'laptop']);
  });
});

describe('another namespace of the same name', () => {
  test('may be founded by a machine that was removed, and is the one that is meant from then on', async () => {
    const { team, desk, tower } = all;
    await remove();
    const other = await tower.admin.createNamespace('myproject');
    expect(other.id).not.toBe(all.ns);
    expect(await membersOf(tower)).toEqual(['tower']);
    const eve = await team.open(tower, 'eve');
    expect(await warningsOf(eve)).toEqual([]);
    expect(await warningsOf(all.cid)).toHaveLength(1);
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
  });

  test('may be joined by a machine that was removed', async () => {
    const { team, tower } = all;
    await remove();
    const fourth = await team.start(4, 'fourth');
    await fourth.admin.createNamespace('myproject');
    await admit(fourth, tower);
    expect(await membersOf(tower)).toEqual(['fourth', 'tower']);
    expect(await linksOf(tower)).toEqual(['fourth']);
  });
});

describe('a machine that is let in again', () => {
  test('has its agents, with their names, mail and links', async () => {
    const { team, ns, desk, laptop, tower } = all;
    await team.say(all.ada, 'cid', 'before');
    await remove();
    await admit(desk, tower);
    expect((await namespaceOf(tower)).role).toBe('member');
    expect(await membersOf(laptop)).toEqual(['desk', 'laptop', 'tower']);
    expect(await linksOf(tower)).toEqual(['desk', 'laptop']);
    expect(await peeked(tower, 'cid')).toEqual(['before']);
    expect(await warningsOf(all.cid)).toEqual([]);
    await all.cid.confirm();
    for (const session of [all.ada, all.bob]) {
      expect(await agentsOf(session)).toContain('cid');
      await team.say(session, 'cid', 'welcome back');
    }
    expect(await pendingOf(all.cid)).toEqual(['welcome back', 'welcome back']);
    await all.cid.confirm();
    await team.say(all.cid, 'bob', 'thanks');
    expect(await pendingOf(all.bob)).toEqual(['thanks']);
    const keys = await Promise.all([desk, laptop, tower].map((machine) => team.key(machine, ns)));
    expect(new Set(keys).size).toBe(1);
  });

  test('does not get back a name that was given to another meanwhile', async () => {
    const { team, desk, tower } = all;
    await remove();
    await desk.admin.addAgent('cid@myproject');
    await admit(desk, tower);
    expect(await warningsOf(all.cid)).toEqual([expect.stringContaining('claimed first on desk')]);
    await expect(all.cid.send({ to_agent: 'ada', content: 'x', thread: '' })).rejects.toEqual(
      refusal('name_taken'),
    );
    expect(await tower.admin.agents()).toMatchObject([{ agent: 'cid@myproject', name_held_by: 'desk' }]);
    await desk.admin.removeAgent('cid@myproject');
    await turn();
    expect(await warningsOf(all.cid)).toEqual([]);
    await team.say(all.cid, 'ada', 'mine again');
    expect(await pendingOf(all.ada)).toEqual(['mine again']);
  });

  test('by another admin than the one who removed it', async () => {
    const { desk, laptop, tower } = all;
    await desk.admin.promote('myproject', 'laptop');
    await turn();
    await remove('tower', desk);
    await admit(laptop, tower);
    expect(await membersOf(desk)).toEqual(['desk', 'laptop', 'tower']);
  });

  test('not by the ticket that it used before', async () => {
    const { team, desk } = all;
    const fourth = await team.start(4, 'fourth');
    const { ticket } = await desk.admin.invite('myproject');
    await fourth.admin.join(ticket);
    await turn();
    await remove('fourth');
    expect((await namespaceOf(fourth)).role).toBe('removed');
    await expect(fourth.admin.join(ticket)).rejects.toEqual(refusal('ticket_used'));
    await turn();
    expect(await membersOf(desk)).not.toContain('fourth');
    expect(await linksOf(fourth)).toEqual([]);
  });

  test('after it left and forgot nothing', async () => {
    const { team, desk, tower } = all;
    await tower.admin.leave('myproject');
    await turn();
    await admit(desk, tower);
    const cid = await team.open(tower, 'cid');
    await team.say(all.ada, 'cid', 'again');
    expect(await pendingOf(cid)).toEqual(['again']);
  });
});
