import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RECEIPTS_GATHER_MS } from '../../protocol/limits.ts';
import {
  agentsOf,
  linksOf,
  membersOf,
  peeked,
  pendingOf,
  refusal,
  rungOf,
  three,
  warningsOf,
  type Three,
} from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

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
const toldByDesk = expect.stringContaining('removed from myproject by desk');

describe('a machine that was removed', () => {
  test('has no link any more, on either side, at once', async () => {
    expect(await linksOf(all.tower)).toEqual(['desk', 'laptop']);
    await remove();
    expect(await linksOf(all.tower)).toEqual([]);
    for (const machine of [all.desk, all.laptop]) {
      expect((await machine.admin.status()).links.map(({ machine: label }) => label)).not.toContain('tower');
      expect(await linksOf(machine)).toHaveLength(1);
      expect(await membersOf(machine)).toEqual(['desk', 'laptop']);
    }
  });

  test('learns it, with who did it, and its sessions are told', async () => {
    await remove();
    expect(await namespaceOf(all.tower)).toMatchObject({
      namespace: 'myproject',
      role: 'removed',
      agents: [],
      removed: { by: 'desk', at: new Date(all.team.clock.now()).toISOString() },
    });
    expect(await warningsOf(all.cid)).toEqual([toldByDesk]);
    expect(await warningsOf(all.ada)).toEqual([]);
    expect(await warningsOf(all.bob)).toEqual([]);
  });

  test('ends what waits there at once, with who did it, and nothing else', async () => {
    const waiting = all.cid.wait({ timeout_seconds: 3_600 });
    const others = all.bob.wait({ timeout_seconds: 60 });
    waiting.catch(() => undefined);
    await turn();
    await remove();
    await expect(waiting).rejects.toMatchObject({ code: 'not_member', message: toldByDesk });
    await expect(all.cid.wait({ timeout_seconds: 3_600 })).rejects.toEqual(refusal('not_member'));
    await all.team.say(all.ada, 'bob', 'still here');
    expect(await others).toMatchObject({ status: 'message', message: { content: 'still here' } });
  });

  test('can neither send, nor add agents, invite, remove or promote', async () => {
    await remove();
    const refused = refusal('not_member');
    await expect(all.cid.send({ to_agent: 'ada', content: 'x', thread: '' })).rejects.toEqual(refused);
    await expect(all.tower.admin.addAgent('new@myproject')).rejects.toEqual(refused);
    await expect(all.tower.admin.invite('myproject')).rejects.toEqual(refused);
    await expect(all.tower.admin.removeMember('myproject', 'desk')).rejects.toEqual(refused);
    await expect(all.tower.admin.promote('myproject', 'tower')).rejects.toEqual(refused);
    await expect(all.tower.admin.decideJoin('myproject', '123456', true)).rejects.toEqual(refused);
  });

  test('keeps what its agents were told, and may still read and put it off', async () => {
    await all.team.say(all.ada, 'cid', 'before');
    await remove();
    const { pending } = await all.cid.inbox({ all_agents: false });
    expect(pending).toMatchObject([
      { content: 'before', from: 'ada@myproject', from_machine: 'desk', from_peer_id: all.desk.peerId },
    ]);
    const call = { message_id: pending[0]!.message_id, resolve: false };
    expect(await all.cid.reply({ ...call, content: '', defer: true })).toMatchObject({ status: 'deferred' });
    await expect(all.cid.reply({ ...call, content: 'back', defer: false })).rejects.toEqual(
      refusal('not_member'),
    );
  });

  test('sees no agent of others, and others none of its own', async () => {
    expect(await agentsOf(all.cid)).toEqual(['ada', 'bob']);
    await remove();
    expect(await agentsOf(all.cid)).toEqual([]);
    expect(await agentsOf(all.ada)).toEqual(['bob']);
    expect(await agentsOf(all.bob)).toEqual(['ada']);
    for (const machine of [all.desk, all.laptop])
      expect((await namespaceOf(machine)).agents).toEqual(['ada@myproject', 'bob@myproject']);
    await expect(all.ada.send({ to_agent: 'cid', content: 'x', thread: '' })).rejects.toEqual(
      refusal('unknown_recipient'),
    );
  });

  test('has neither the namespace key nor what others shared in its store; others keep nothing that it shared', async () => {
    const { team, ns } = all;
    await remove();
    const kept = await team.stored(all.tower);
    expect([kept.keys, kept.rosters]).toEqual([[], []]);
    for (const machine of [all.desk, all.laptop]) {
      const { rosters } = await team.stored(machine);
      expect(rosters.map((one) => one.machine)).not.toContain(all.tower.peerId);
      expect(await team.key(machine, ns)).toBeDefined();
    }
  });

  test('is known by its label, in what it sent before', async () => {
    await all.team.say(all.cid, 'ada', 'from the tower');
    await remove();
    expect((await all.ada.inbox({ all_agents: false })).pending).toMatchObject([
      { content: 'from the tower', from: 'cid@myproject', from_machine: 'tower' },
    ]);
  });

  test('gets no reply to what it sent before', async () => {
    await all.team.say(all.cid, 'ada', 'are you there?');
    await remove();
    const [message] = (await all.ada.inbox({ all_agents: false })).pending;
    const call = { message_id: message!.message_id, defer: false, resolve: false };
    await expect(all.ada.reply({ ...call, content: 'yes' })).rejects.toEqual(refusal('unknown_recipient'));
    expect(
      await all.ada.reply({ ...call, content: '', resolve: true }).catch((error: unknown) => error),
    ).toEqual(refusal('unknown_recipient'));
    expect(await all.ada.reply({ ...call, content: '', defer: true })).toMatchObject({ status: 'deferred' });
    expect((await all.desk.admin.status()).links.map(({ queued }) => queued)).toEqual([0]);
  });

  test('stays removed after restarts of all', async () => {
    await remove();
    const { team } = all;
    all.desk = await team.again(all.desk);
    all.laptop = await team.again(all.laptop);
    all.tower = await team.again(all.tower);
    expect(await linksOf(all.tower)).toEqual([]);
    expect(await linksOf(all.desk)).toEqual(['laptop']);
    expect((await namespaceOf(all.tower)).role).toBe('removed');
    const cid = await team.open(all.tower, 'cid');
    expect(await warningsOf(cid)).toEqual([toldByDesk]);
  });

  test('does not keep the others from talking', async () => {
    await remove();
    await all.team.say(all.ada, 'bob', 'still here?');
    expect(await pendingOf(all.bob)).toEqual(['still here?']);
    await all.bob.confirm();
    await all.team.say(all.bob, 'ada', 'yes');
    expect(await pendingOf(all.ada)).toEqual(['yes']);
  });

  test('is told once, and nothing changes an hour later', async () => {
    await remove();
    await all.team.clock.advance(3_600_000);
    expect(await membersOf(all.desk)).toEqual(['desk', 'laptop']);
    expect(await linksOf(all.tower)).toEqual([]);
    expect(await warningsOf(all.cid)).toHaveLength(1);
  });
});

describe('mail for a machine that is removed', () => {
  test('that waits is refused, and only that', async () => {
    const { team, desk, laptop, tower, ada } = all;
    team.cut(desk, tower);
    team.cut(desk, laptop);
    for (const content of ['one', 'two']) await team.say(ada, 'cid', content);
    await team.say(ada, 'bob', 'three');
    expect(await rungOf(ada, 'one')).toBe('queued');
    await remove();
    for (const content of ['one', 'two']) expect(await rungOf(ada, content)).toBe('refused');
    expect(await rungOf(ada, 'three')).toBe('queued');
    await team.mend(desk, laptop);
    await team.mend(desk, tower);
    await team.clock.advance(60_000);
    expect(await rungOf(ada, 'three')).toBe('delivered');
    expect(await pendingOf(all.cid)).toEqual([]);
  });

  test('that is being sent just then is delivered or refused, and its sender knows which', async () => {
    const { ada } = all;
    const sending = ada.send({ to_agent: 'cid', content: 'just now', thread: '' });
    const removing = all.desk.admin.removeMember('myproject', 'tower');
    await all.team.clock.advance(100);
    await removing;
    const sent = await sending;
    expect(sent.status).toBe('sent');
    await all.team.clock.advance(60_000);
    const arrived = (await all.tower.admin.peek('cid@myproject', 10)).pending.map(({ content }) => content);
    // It was on its way before the removal; what arrived but was not acknowledged counts as refused.
    const rung = await rungOf(ada, 'just now');
    expect(['refused', 'delivered']).toContain(rung);
    expect(arrived.length).toBeGreaterThanOrEqual(rung === 'delivered' ? 1 : 0);
  });

  test('that it sent and that was in flight is taken or refused, and nothing waits for ever', async () => {
    const { team, desk, laptop, tower, cid } = all;
    team.cut(desk, tower);
    await team.say(cid, 'bob', 'arrived');
    await team.say(cid, 'ada', 'passed on');
    team.cut(laptop, tower);
    await team.say(cid, 'ada', 'last words');
    const removing = desk.admin.removeMember('myproject', 'tower');
    await team.mend(desk, tower);
    await removing;
    await team.clock.advance(60_000);
    expect(await rungOf(cid, 'last words')).toBe('refused');
    expect(await rungOf(cid, 'arrived')).toBe('delivered');
    expect(await rungOf(cid, 'passed on')).toBe('delivered');
    expect(await pendingOf(all.ada)).toEqual(['passed on']);
    expect(await pendingOf(all.bob)).toEqual(['arrived']);
    expect(tower.kv.keys('outbox/')).toEqual([]);
  });

  test('also the receipts that are owed to it', async () => {
    const { team, desk, tower } = all;
    await team.say(all.cid, 'ada', 'hello');
    team.cut(desk, tower);
    expect(await pendingOf(all.ada)).toEqual(['hello']);
    await all.ada.confirm();
    await team.clock.advance(RECEIPTS_GATHER_MS);
    expect((await desk.admin.status()).links.find(({ machine }) => machine === 'tower')?.queued).toBe(1);
    await remove();
    expect(desk.kv.keys('outbox/')).toEqual([]);
    expect(desk.kv.keys('outbox-count/')).toEqual([]);
    expect(desk.kv.keys('owed/')).toEqual([]);
  });

  test('that were not gathered yet when it was removed', async () => {
    const { team, desk, tower } = all;
    await team.say(all.cid, 'ada', 'hello');
    team.cut(desk, tower);
    expect(await pendingOf(all.ada)).toEqual(['hello']);
    await all.ada.confirm();
    expect(desk.kv.keys('owed/')).toHaveLength(1);
    await remove();
    await team.clock.advance(RECEIPTS_GATHER_MS);
    expect(desk.kv.keys('outbox/')).toEqual([]);
    expect(desk.kv.keys('owed/')).toEqual([]);
  });

  test('read after the removal leaves no receipt behind', async () => {
    const { team, desk } = all;
    await team.say(all.cid, 'ada', 'hello');
    await remove();
    expect(await pendingOf(all.ada)).toEqual(['hello']);
    await all.ada.confirm();
    await turn();
    expect(desk.kv.keys('outbox/')).toEqual([]);
  });

  test('in another namespace that both are in goes on', async () => {
    const { team, desk, tower } = all;
    await desk.admin.createNamespace('other');
    await admit(desk, tower, 'other');
    const eve = await team.open(desk, 'eve', 'other');
    const fay = await team.open(tower, 'fay', 'other');
    await remove();
    expect(await linksOf(tower)).toEqual(['desk']);
    await team.say(eve, 'fay', 'hello');
    expect(await pendingOf(fay)).toEqual(['hello']);
    expect(await warningsOf(fay)).toEqual([]);
    expect(await warningsOf(all.cid)).toEqual([toldByDesk]);
    expect(await agentsOf(all.cid)).toEqual([]);
    await expect(all.cid.send({ to_agent: 'ada', content: 'x', thread: '' })).rejects.toEqual(
      refusal('not_member'),
    );
  });
});

describe('a removal that somebody misses', () => {
  test('is told to a machine that was away, when it comes back', async () => {
    const { team, desk, laptop, tower, cid } = all;
    for (const other of [desk, laptop]) team.cut(other, tower);
    await remove();
    expect((await namespaceOf(tower)).role).toBe('member');
    await cid.send({ to_agent: 'ada', content: 'from outside', thread: '' });
    await team.mend(desk, tower);
    expect((await namespaceOf(tower)).role).toBe('removed');
    expect(await warningsOf(cid)).toEqual([toldByDesk]);
    expect(await rungOf(cid, 'from outside')).toBe('refused');
    expect(await linksOf(tower)).toEqual([]);
    expect(await pendingOf(all.ada)).toEqual([]);
  });

  test('is told by any other member', async () => {
    const { team, desk, laptop, tower } = all;
    for (const other of [desk, laptop]) team.cut(other, tower);
    await remove();
    await team.mend(laptop, tower);
    expect((await namespaceOf(tower)).removed).toMatchObject({ by: 'desk' });
  });

  test('is told to a machine that was off, when it starts', async () => {
    const { team, tower } = all;
    await team.stop(tower);
    await remove();
    all.tower = await team.again(tower);
    expect((await namespaceOf(all.tower)).role).toBe('removed');
    expect((await team.stored(all.tower)).keys).toEqual([]);
  });

  test('tells the removed one nothing of what came after', async () => {
    const { team, ns, desk, laptop, tower } = all;
    for (const other of [desk, laptop]) team.cut(other, tower);
    await remove();
    await team.open(desk, 'after');
    await team.start(4, 'secret-machine').then((fourth) => admit(desk, fourth));
    await team.mend(desk, tower);
    await team.mend(laptop, tower);
    await team.clock.advance(60_000);
    const log = await team.log(tower, ns);
    expect(log.removed.has(tower.peerId)).toBe(true);
    expect([...log.claims.keys()].sort()).toEqual(['ada', 'bob']);
    expect([...log.members.values()].map(({ label }) => label).sort()).toEqual(['desk', 'laptop']);
  });

  test('reaches a member by way of another, which links with the removed one until then', async () => {
    const { team, desk, laptop, tower } = all;
    team.cut(desk, laptop);
    team.cut(desk, tower);
    await remove();
    await team.say(all.cid, 'bob', 'between us');
    expect(await linksOf(laptop)).toEqual(['tower']);
    await team.mend(desk, laptop);
    expect(await linksOf(laptop)).toEqual(['desk']);
    expect(await linksOf(tower)).toEqual([]);
    expect((await namespaceOf(tower)).role).toBe('removed');
    expect(await membersOf(laptop)).toEqual(['desk', 'laptop']);
    // What was said before is still there.
    expect(await peeked(laptop, 'bob')).toEqual(['between us']);
    expect(await agentsOf(all.bob)).toEqual(['ada']);
  });

  test('reaches a member by way of the removed machine itself, which links with it no more', async () => {
    const { team, desk, laptop, tower } = all;
    team.cut(desk, laptop);
    await remove();
    expect((await namespaceOf(tower)).role).toBe('removed');
    await team.clock.advance(60_000);
    await team.mend(desk, laptop);
    expect(await membersOf(laptop)).toEqual(['desk', 'laptop']);
    expect(await linksOf(laptop)).toEqual(['desk']);
  });

  test('is told to a machine that was away and has a link for another namespace', async () => {
    const { team, desk, laptop, tower } = all;
    await desk.admin.createNamespace('other');
    await admit(desk, tower, 'other');
    for (const other of [desk, laptop]) team.cut(other, tower);
    await remove();
    await team.mend(desk, tower);
    await team.clock.advance(60_000);
    expect(await linksOf(tower)).toEqual(['desk']);
    expect((await namespaceOf(tower)).role).toBe('removed');
    expect(await warningsOf(all.cid)).toEqual([toldByDesk]);
  });

  test('and mail that a member sent meanwhile is refused when it learns', async () => {
    const { team, desk, laptop, tower, bob } = all;
    for (const other of [desk, tower]) team.cut(laptop, other);
    await remove();
    await team.say(bob, 'cid', 'too late');
    expect(await rungOf(bob, 'too late')).toBe('queued');
    await team.mend(desk, laptop);
    expect(await rungOf(bob, 'too late')).toBe('refused');
    await team.mend(laptop, tower);
    expect(await pendingOf(all.cid)).toEqual([]);
  });
});

describe('who may remove', () => {
  test('admins alone', async () => {
    await expect(all.laptop.admin.removeMember('myproject', 'tower')).rejects.toEqual(refusal('not_admin'));
    await expect(all.laptop.admin.promote('myproject', 'laptop')).rejects.toEqual(refusal('not_admin'));
    expect(await membersOf(all.desk)).toHaveLength(3);
  });

  test.for([
    ['this machine', 'desk', 'invalid_input'],
    ['one that is not there', 'nobody', 'not_found'],
    ['a name that is empty', '', 'not_found'],
  ])('not %s', async ([, machine, code]) => {
    await expect(remove(machine)).rejects.toEqual(refusal(code!));
    expect(await membersOf(all.laptop)).toHaveLength(3);
  });

  test('by label or by peer id', async () => {
    const { desk, laptop, tower } = all;
    await remove(tower.peerId);
    expect(await membersOf(desk)).toEqual(['desk', 'laptop']);
    await remove('laptop');
    expect(await membersOf(desk)).toEqual(['desk']);
    expect((await namespaceOf(laptop)).role).toBe('removed');
  });

  test('an admin that was promoted, also who promoted it', async () => {
    const { desk, laptop, tower } = all;
    expect(await desk.admin.promote('myproject', 'laptop')).toMatchObject({
      machine: 'laptop',
      role: 'admin',
    });
    await turn();
    await remove('desk', laptop);
    expect((await namespaceOf(desk)).removed).toMatchObject({ by: 'laptop' });
    expect(await membersOf(tower)).toEqual(['laptop', 'tower']);
    await expect(laptop.admin.leave('myproject')).rejects.toEqual(refusal('invalid_input'));
  });

  test('not one that was removed itself while apart: of two who remove each other one stays', async () => {
    const { team, desk, laptop, tower } = all;
    await desk.admin.promote('myproject', 'laptop');
    await turn();
    team.cut(desk, laptop);
    team.cut(desk, tower);
    team.cut(laptop, tower);
    await remove('laptop', desk);
    await remove('desk', laptop);
    await team.mend(desk, tower);
    await team.mend(laptop, tower);
    await team.mend(desk, laptop);
    await team.clock.advance(60_000);
    const left = await membersOf(tower);
    expect(left).toHaveLength(2);
    expect(left).toContain('tower');
    const [stays, goes] = left.includes('desk') ? [desk, laptop] : [laptop, desk];
    expect(await membersOf(stays)).toEqual(left);
    expect((await namespaceOf(goes)).role).toBe('removed');
    expect(await linksOf(tower)).toEqual(left.filter((label) => label !== 'tower'));
  });
});

describe('an admin that was removed', () => {
  beforeEach(async () => {
    await all.desk.admin.promote('myproject', 'laptop');
    await turn();
  });

  test('lets nobody in by the tickets that it gave before', async () => {
    const { team, desk, laptop } = all;
    const { ticket } = await laptop.admin.invite('myproject');
    await remove('laptop', desk);
    const fourth = await team.start(4, 'fourth');
    await expect(fourth.admin.join(ticket)).rejects.toEqual(refusal('ticket_refused'));
    expect(await fourth.admin.namespaces()).toEqual([]);
    expect(await membersOf(desk)).toEqual(['desk', 'tower']);
  });

  test('takes along whom it let in before it knew, and those are told', async () => {
    const { team, desk, laptop, tower } = all;
    for (const other of [desk, tower]) team.cut(laptop, other);
    await remove('laptop', desk);
    const fourth = await team.start(4, 'fourth');
    for (const other of [desk, tower]) team.cut(fourth, other);
    await admit(laptop, fourth);
    const dan = await team.open(fourth, 'dan');
    expect(await membersOf(fourth)).toEqual(['desk', 'fourth', 'laptop', 'tower']);
    for (const other of [desk, tower]) for (const one of [laptop, fourth]) await team.mend(one, other);
    await team.clock.advance(60_000);
    expect(await membersOf(desk)).toEqual(['desk', 'tower']);
    expect((await namespaceOf(laptop)).role).toBe('removed');
    expect(await linksOf(desk)).toEqual(['tower']);
    expect((await namespaceOf(fourth)).role).toBe('removed');
    expect(await warningsOf(dan)).toHaveLength(1);
    await expect(dan.send({ to_agent: 'ada', content: 'x', thread: '' })).rejects.toEqual(
      refusal('not_member'),
    );
  });

  test('has no say in what it does while it does not know', async () => {
    const { team, desk, laptop, tower } = all;
    for (const other of [desk, tower]) team.cut(laptop, other);
    await remove('laptop', desk);
    await remove('tower', laptop);
    await laptop.admin.addAgent('late@myproject');
    for (const other of [desk, tower]) await team.mend(laptop, other);
    await team.clock.advance(60_000);
    // A removal by somebody who was an admin counts unless it is struck: here the first one strikes it or they meet.
    const members = await membersOf(desk);
    expect(members).toContain('desk');
    expect(members).not.toContain('laptop');
    expect((await namespaceOf(desk)).agents).not.toContain('late@myproject');
    expect(await membersOf(tower)).toEqual(members);
  });
});

describe('what was sent to a removed machine', () => {
  test('cannot be taken back once it is refused', async () => {
    const { team, desk, laptop, tower, ada } = all;
    for (const other of [desk, laptop]) team.cut(other, tower);
    const { message_id: messageId } = await team.say(ada, 'cid', 'too late');
    await remove();
    expect(await rungOf(ada, 'too late')).toBe('refused');
    const unsending = ada.unsend({ message_id: messageId! });
    await team.clock.advance(5_000);
    expect(await unsending).toMatchObject({ message_id: messageId! });
    expect(await rungOf(ada, 'too late')).toBe('refused');
    expect(desk.kv.keys('outbox/')).toEqual([]);
  });
});
