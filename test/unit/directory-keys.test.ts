import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BEAT_INTERVAL_MS } from '../../protocol/limits.ts';
import { namespaceKeyHash } from '../../protocol/shared.ts';
import type { HandPeer } from './hand-peer.ts';
import { agentsOf, pendingOf, three, type Three } from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

let all: Three;
/** A member whose machine is driven by hand. */
let mal: HandPeer;
beforeEach(async () => {
  all = await three();
  mal = await all.team.hand(9, all.desk);
});
afterEach(async () => {
  await all.team.stopAll();
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const keyOf = (machine: TestMachine) => all.team.key(machine, all.ns);
const epochOf = async (machine: TestMachine) => (await all.team.log(machine, all.ns)).key!.epoch;
const keysTold = (peer: HandPeer) => peer.all('key').map(({ key }) => hex(key));
const remove = async (machine: string, by = all.desk) => {
  await by.admin.removeMember('myproject', machine);
  await turn();
};

/** One current key on all of them, which the log of each names. */
async function expectOneKey(...machines: TestMachine[]): Promise<string> {
  const keys = await Promise.all(machines.map(keyOf));
  expect(new Set(keys).size).toBe(1);
  for (const machine of machines) {
    const log = await all.team.log(machine, all.ns);
    expect(hex(log.key!.keyHash)).toBe(hex(namespaceKeyHash(Buffer.from(keys[0]!, 'hex'))));
    expect(log.rekeyDue).toBe(false);
  }
  return keys[0]!;
}

/** Presence passes both ways, so what is shared can be opened. */
async function expectTalk(one: TestMachine, other: TestMachine): Promise<void> {
  const name = `talk-${one.peerId.slice(-4)}-${other.peerId.slice(-4)}`.toLowerCase();
  const here = await all.team.open(one, `${name}-a`);
  const there = await all.team.open(other, `${name}-b`);
  expect(await agentsOf(here)).toContain(`${name}-b`);
  expect(await agentsOf(there)).toContain(`${name}-a`);
}

describe('the namespace key', () => {
  test('is one on all members from the founding, and the log names it', async () => {
    const key = await expectOneKey(all.desk, all.laptop, all.tower);
    expect(hex(mal.keys.get(all.ns)!)).toBe(key);
    expect(await epochOf(all.laptop)).toBe(1);
  });

  test('is not changed by who joins, claims, or is promoted', async () => {
    const key = await keyOf(all.desk);
    await admit(all.desk, await all.team.start(4, 'fourth'));
    await all.desk.admin.promote('myproject', 'laptop');
    await all.team.open(all.tower, 'dora');
    await all.team.clock.advance(10 * BEAT_INTERVAL_MS);
    expect(await expectOneKey(all.desk, all.laptop, all.tower)).toBe(key);
  });

  test('outlasts a restart', async () => {
    const key = await keyOf(all.laptop);
    all.laptop = await all.team.again(all.laptop);
    all.desk = await all.team.again(all.desk);
    expect(await expectOneKey(all.desk, all.laptop)).toBe(key);
    await expectTalk(all.desk, all.laptop);
  });

  test('is told to members only', async () => {
    const guest = await all.team.hand(8);
    await all.desk.admin.createNamespace('other');
    await guest.join((await all.desk.admin.invite('other')).ticket);
    await remove('tower');
    guest.say(
      all.desk.peerId,
      { t: 'heads', ns: all.ns, hashes: [all.ns], ask: true },
      { t: 'want', ns: all.ns },
    );
    await all.team.clock.advance(60_000);
    expect(guest.frames.filter(({ frame }) => 'ns' in frame && frame.ns === all.ns)).toEqual([]);
    expect(guest.keys.has(all.ns)).toBe(false);
  });

  test('in a frame that holds another one is ignored', async () => {
    const key = await keyOf(all.desk);
    for (const wrong of [new Uint8Array(32), new Uint8Array(32).fill(7)])
      mal.sayAll({ t: 'key', ns: all.ns, key: wrong });
    await turn();
    expect(await expectOneKey(all.desk, all.laptop, all.tower)).toBe(key);
  });
});

describe('after a removal', () => {
  test('the key is another, on all who stay, and the removed one never gets it', async () => {
    const { desk, laptop, tower } = all;
    const before = (await keyOf(desk))!;
    await remove('tower');
    const after = await expectOneKey(desk, laptop);
    expect(after).not.toBe(before);
    expect(await epochOf(laptop)).toBe(2);
    expect(hex(mal.keys.get(all.ns)!)).toBe(after);
    expect(await keyOf(tower)).toBeUndefined();
    await expectTalk(desk, laptop);
  });

  test('a removed machine that keeps what it had is told neither key nor boxes of the new epoch', async () => {
    const before = hex(mal.keys.get(all.ns)!);
    const heard = mal.frames.length;
    await remove('stranger');
    for (const machine of [all.desk, all.laptop])
      mal.slip(machine.peerId, { t: 'heads', ns: all.ns, hashes: [all.ns], ask: true });
    await all.team.open(all.laptop, 'after');
    await all.team.clock.advance(60_000);
    const told = mal.frames.slice(heard).map(({ frame }) => frame);
    expect(told.filter(({ t }) => t === 'key')).toEqual([]);
    const epochs = told.map((frame) => (frame.t === 'shared' ? frame.epoch : 1));
    expect(new Set(epochs)).toEqual(new Set(told.length > 0 ? [1] : []));
    expect(hex(mal.keys.get(all.ns)!)).toBe(before);
    expect(await expectOneKey(all.desk, all.laptop)).not.toBe(before);
  });

  test('of one that left, an admin makes another key within moments', async () => {
    const before = await keyOf(all.desk);
    await all.tower.admin.leave('myproject');
    await all.team.clock.advance(3_000);
    expect(await expectOneKey(all.desk, all.laptop)).not.toBe(before);
    await expectTalk(all.desk, all.laptop);
  });

  test('of one that left while the only admin was off, it does so when it starts', async () => {
    const { team, laptop, tower } = all;
    const before = await keyOf(laptop);
    await team.stop(all.desk);
    await tower.admin.leave('myproject');
    await team.clock.advance(60_000);
    expect((await team.log(laptop, all.ns)).rekeyDue).toBe(true);
    expect(await keyOf(laptop)).toBe(before);
    all.desk = await team.again(all.desk);
    await team.clock.advance(3_000);
    expect(await expectOneKey(all.desk, laptop)).not.toBe(before);
  });

  test('of one that left just before the only admin stopped, it does so at its next start', async () => {
    const { team, ns, tower } = all;
    const before = await keyOf(all.desk);
    await tower.admin.leave('myproject');
    await turn();
    await team.stop(all.laptop);
    await team.stop(all.desk);
    expect((await team.log(all.desk, ns)).rekeyDue).toBe(true);
    all.desk = await team.again(all.desk);
    await team.clock.advance(3_000);
    expect(await keyOf(all.desk)).not.toBe(before);
    all.laptop = await team.again(all.laptop);
    expect(await expectOneKey(all.desk, all.laptop)).toBe(await keyOf(all.desk));
  });

  test('a member that missed it gets the key from any other member', async () => {
    const { team, desk, laptop, tower } = all;
    for (const other of [desk, tower]) team.cut(laptop, other);
    team.cut(laptop, mal);
    await remove('stranger');
    await team.stop(desk);
    await team.mend(laptop, tower);
    expect(await expectOneKey(laptop, tower)).toBe(await keyOf(tower));
    await expectTalk(laptop, tower);
  });

  test('a member that was off gets it when it starts', async () => {
    const { team, desk } = all;
    await team.stop(all.laptop);
    await remove('tower');
    all.laptop = await team.again(all.laptop);
    expect(await expectOneKey(desk, all.laptop)).toBe(await keyOf(desk));
    await expectTalk(desk, all.laptop);
  });

  test('what is sealed under the old key is not taken, of whomever', async () => {
    const { ns, desk } = all;
    const old = { key: mal.keys.get(ns)!, epoch: 1 };
    mal.host(ns, [{ id: '019a5b00-1234-7abc-8def-000000000001', name: 'old' }]);
    await turn();
    await remove('tower');
    const before = (await all.team.stored(desk)).rosters;
    mal.sayAll(mal.box(ns, mal.roster([]), old));
    mal.sayAll(mal.box(ns, mal.roster([]), { ...old, epoch: 2 }));
    mal.sayAll(mal.box(ns, mal.roster([]), { key: old.key, epoch: 3 }));
    await turn();
    expect((await all.team.stored(desk)).rosters).toEqual(before);
    expect(await agentsOf(all.ada)).toContain('old');
    mal.sayAll(mal.box(ns, mal.roster([])));
    expect(await agentsOf(all.ada)).toContain('old (away)');
  });
});

describe('two admins', () => {
  beforeEach(async () => {
    await all.desk.admin.promote('myproject', 'laptop');
    await turn();
  });

  test('that remove while apart end with one key, which none of the removed ever had', async () => {
    const { team, desk, laptop, tower } = all;
    const fourth = await team.start(4, 'fourth');
    await admit(desk, fourth);
    for (const other of [laptop, tower, fourth, mal]) team.cut(desk, other);
    await remove('tower', desk);
    await remove('fourth', laptop);
    const apart = [await keyOf(desk), await keyOf(laptop)];
    expect(new Set(apart).size).toBe(2);
    await team.mend(desk, laptop);
    await team.mend(desk, mal);
    await team.clock.advance(10_000);
    const key = await expectOneKey(desk, laptop);
    expect(apart).not.toContain(key);
    expect(hex(mal.keys.get(all.ns)!)).toBe(key);
    await expectTalk(desk, laptop);
    expect(await keyOf(tower)).toBeUndefined();
  });

  test('that see one leave end with one key, made at the same moment or not', async () => {
    const { team, desk, laptop, tower } = all;
    const before = await keyOf(desk);
    team.cut(desk, laptop);
    await tower.admin.leave('myproject');
    // Each of them makes one.
    await team.clock.advance(3_000);
    const apart = [await keyOf(desk), await keyOf(laptop)];
    expect(new Set([before, ...apart]).size).toBe(3);
    await team.mend(desk, laptop);
    await team.clock.advance(3_000);
    const key = await expectOneKey(desk, laptop);
    expect(apart).toContain(key);
    expect(await epochOf(desk)).toBe(2);
    await expectTalk(desk, laptop);
  });

  test('both remove the same machine while apart', async () => {
    const { team, desk, laptop, tower } = all;
    for (const other of [laptop, tower, mal]) team.cut(desk, other);
    await remove('tower', desk);
    await remove('tower', laptop);
    await team.mend(desk, laptop);
    await team.clock.advance(10_000);
    await expectOneKey(desk, laptop);
    expect((await desk.admin.members('myproject')).map(({ machine }) => machine)).not.toContain('tower');
    await expectTalk(desk, laptop);
  });
});

describe('a machine that does not hold the current key', () => {
  /** Laptop hears of a new key from mal, who does not give it, and of nobody else. */
  async function withoutKey(): Promise<void> {
    const { team, desk, laptop, tower } = all;
    for (const other of [desk, tower]) team.cut(laptop, other);
    await remove('tower');
    const heard = mal.all('shared').length;
    mal.say(laptop.peerId, { t: 'log', ns: all.ns, more: false, statements: await told() });
    await turn();
    expect((await team.log(laptop, all.ns)).key!.epoch).toBe(2);
    expect(mal.all('shared')).toHaveLength(heard);
  }
  const told = async () => {
    const { statements } = await all.team.stored(all.desk);
    return statements.filter(({ ns }) => ns === all.ns).map(({ bytes }) => bytes);
  };

  test('shares nothing until it does, and then all of it', async () => {
    await withoutKey();
    const before = mal.frames.length;
    await all.team.open(all.laptop, 'new');
    await all.team.clock.advance(2 * BEAT_INTERVAL_MS);
    const since = () => mal.frames.slice(before).filter(({ from }) => from === all.laptop.peerId);
    expect(since().filter(({ frame }) => frame.t === 'shared')).toEqual([]);
    expect(mal.logOf(all.ns).claims.has('new')).toBe(true);
    const kept = await keyOf(all.laptop);
    mal.say(all.laptop.peerId, { t: 'key', ns: all.ns, key: new Uint8Array(32).fill(9) });
    await turn();
    expect(await keyOf(all.laptop)).toBe(kept);
    expect(since().filter(({ frame }) => frame.t === 'shared')).toEqual([]);
    mal.say(all.laptop.peerId, { t: 'key', ns: all.ns, key: mal.keys.get(all.ns)! });
    await turn();
    const shared = since()
      .map(({ frame }) => frame)
      .filter((frame) => frame.t === 'shared');
    expect(shared.length).toBeGreaterThan(0);
    expect(shared.every(({ epoch }) => epoch === 2)).toBe(true);
    expect(await expectOneKey(all.desk, all.laptop)).toBe(hex(mal.keys.get(all.ns)!));
  });

  test('still sends and takes mail', async () => {
    await withoutKey();
    all.team.wire.mend(all.desk.peerId, all.laptop.peerId);
    await all.team.say(all.ada, 'bob', 'hello');
    expect(await pendingOf(all.bob)).toEqual(['hello']);
  });

  test('and is an admin makes another after a minute, when nobody brings it', async () => {
    await all.desk.admin.promote('myproject', 'laptop');
    await turn();
    await withoutKey();
    await all.team.clock.advance(3 * BEAT_INTERVAL_MS);
    expect((await all.team.log(all.laptop, all.ns)).key!.epoch).toBe(2);
    await all.team.clock.advance(3 * BEAT_INTERVAL_MS);
    expect((await all.team.log(all.laptop, all.ns)).key!.epoch).toBe(3);
    expect(keysTold(mal)).toContain(await keyOf(all.laptop));
    await all.team.mend(all.desk, all.laptop);
    await expectOneKey(all.desk, all.laptop);
  });
});
