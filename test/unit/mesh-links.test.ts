import { beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { DirectoryStore } from '../../daemon/directory/directory-store.ts';
import { Directory } from '../../daemon/directory/directory.ts';
import { MeshLinks } from '../../daemon/directory/mesh-links.ts';
import { PrekeyAsks } from '../../daemon/directory/prekey-asks.ts';
import { silentLog } from '../../daemon/log.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import {
  BRIEF_LINK_IDLE_MS,
  BRIEF_LINK_MOMENT_MS,
  BRIEF_LINK_REST_MS,
  BRIEF_LINK_TRY_MS,
  BRIEF_LINKS_MAX,
  LINKS_MAX,
  VISITORS_MAX,
} from '../../protocol/limits.ts';
import { addStatements, openLog, type NamespaceLog } from '../../protocol/membership/log.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { genesis } from './membership-fixture.ts';
import { MACHINES, teamLog } from './team-log.ts';
import { HandClock } from './wire.ts';

/** 300 members, of which this machine is the first; whom it cannot reach the test decides. */
let log: NamespaceLog;
let directory: Directory;
let clock: HandClock;
let links: MeshLinks;
/** How often the network was told of other peers, and what is not to be waited for any more. */
let changes: number;
let givenUp: string[];
let far: string[];
beforeEach(() => {
  log ??= addStatements(openLog(genesis), teamLog(MACHINES)).log;
  clock = new HandClock();
  directory = new Directory({
    self: { peerId: log.places[0]!, label: 'here', platform: 'test' },
    store: new DirectoryStore(
      new Journal(new MemoryKv(), createRecordSeal(new Uint8Array(32), systemRandom.bytes)),
    ),
    log: silentLog,
    onLogChanged: () => {},
  });
  directory.logs.set(log.id, log);
  links = new MeshLinks({ directory, clock, random: { ...systemRandom, fraction: () => 0.5 } });
  changes = 0;
  givenUp = [];
  links.onPeers = () => void (changes += 1);
  links.onGivenUp = (machine) => void givenUp.push(machine);
  far = log.places.filter((machine) => !links.isNeighbour(machine) && machine !== directory.self.peerId);
});

function up(machine: string): boolean {
  const may = links.linkUp(machine);
  if (may) directory.linked.add(machine);
  return may;
}

function down(machine: string): void {
  links.linkDown(machine);
  directory.linked.delete(machine);
}

describe('whom a machine links with', () => {
  test('are its neighbours, no more than it may', () => {
    const peers = links.peers();
    expect(log.places).toHaveLength(MACHINES);
    expect(peers.size).toBeLessThanOrEqual(LINKS_MAX);
    expect(peers.size).toBeGreaterThan(LINKS_MAX / 2);
    for (const machine of peers) expect(links.isNeighbour(machine)).toBe(true);
    expect(far.length + peers.size + 1).toBe(MACHINES);
  });

  test('and whoever there is something for, until it is idle', async () => {
    const [machine] = far;
    expect(links.want(machine!)).toBe(true);
    expect(links.peers().has(machine!)).toBe(true);
    up(machine!);
    expect(links.want(machine!)).toBe(false);
    await clock.advance(BRIEF_LINK_IDLE_MS - 1);
    links.used(machine!);
    await clock.advance(BRIEF_LINK_IDLE_MS - 1);
    expect(links.peers().has(machine!)).toBe(true);
    await clock.advance(1);
    expect(links.peers().has(machine!)).toBe(false);
    expect([changes, clock.pending]).toEqual([2, 0]);
  });

  test('but not one that was not reached, before it has rested', async () => {
    const [machine] = far;
    links.want(machine!);
    await clock.advance(BRIEF_LINK_MOMENT_MS);
    expect([links.want(machine!), givenUp]).toEqual([false, [machine]]);
    expect(links.peers().has(machine!)).toBe(true);
    await clock.advance(BRIEF_LINK_TRY_MS - BRIEF_LINK_MOMENT_MS);
    expect([links.want(machine!), links.peers().has(machine!)]).toEqual([false, false]);
    await clock.advance(BRIEF_LINK_REST_MS);
    expect(givenUp).toEqual([machine, machine]);
    expect(links.want(machine!)).toBe(true);
  });

  test('and again one whose link broke', async () => {
    const [machine] = far;
    links.want(machine!);
    up(machine!);
    down(machine!);
    expect(links.want(machine!)).toBe(true);
    await clock.advance(BRIEF_LINK_TRY_MS);
    expect(links.peers().has(machine!)).toBe(false);
  });

  test('so many at a time, of which the longest idle one makes room', async () => {
    for (const machine of far.slice(0, BRIEF_LINKS_MAX)) {
      expect(links.want(machine)).toBe(true);
      up(machine);
      await clock.advance(1);
    }
    const [next, other] = far.slice(BRIEF_LINKS_MAX);
    // All are in use.
    for (const machine of far.slice(0, BRIEF_LINKS_MAX)) links.used(machine);
    expect(links.want(next!)).toBe(false);
    await clock.advance(BRIEF_LINK_MOMENT_MS);
    for (const machine of far.slice(0, BRIEF_LINKS_MAX)) if (machine !== far[7]) links.used(machine);
    expect(links.want(other!)).toBe(true);
    expect(links.peers().has(far[7]!)).toBe(false);
    expect(far.filter((machine) => links.peers().has(machine))).toHaveLength(BRIEF_LINKS_MAX);
  });

  test('not strangers, and no neighbour twice', () => {
    const [neighbour] = links.peers();
    for (const machine of [neighbour!, directory.self.peerId, 'stranger']) {
      expect(links.want(machine)).toBe(false);
    }
    expect([changes, clock.pending]).toEqual([0, 0]);
  });

  test('a machine with hardly a link tries others of which it has an address', () => {
    for (const machine of far.slice(0, 9)) directory.addresses.set(machine, ['/ip4/127.0.0.1/tcp/1']);
    links.beat();
    const tried = far.filter((machine) => links.peers().has(machine));
    expect(tried.length).toBe(4);
    expect(far.slice(0, 9)).toEqual(expect.arrayContaining(tried));
    for (const machine of [...links.peers()].slice(0, 2)) directory.linked.add(machine);
    changes = 0;
    links.beat();
    expect(changes).toBe(0);
  });

  test('many may visit, but not all; neighbours always', () => {
    const small = new MeshLinks({ directory, clock, random: systemRandom, linksMax: 4 });
    const visitors = log.places.slice(1).filter((machine) => !small.isNeighbour(machine));
    const may = visitors.map((machine) => {
      const is = small.linkUp(machine);
      if (is) directory.linked.add(machine);
      return is;
    });
    expect(may.filter(Boolean)).toHaveLength(VISITORS_MAX);
    expect(may.indexOf(false)).toBe(VISITORS_MAX);
    for (const machine of small.peers()) expect(small.linkUp(machine)).toBe(true);
  });
});

describe('prekeys that are not known', () => {
  test('are asked for at once and then ever less often, and anew when one is learnt', () => {
    const asks = new PrekeyAsks({ directory, random: { ...systemRandom, fraction: () => 0 } });
    expect(asks.next(log)).toBeUndefined();
    const [neighbour] = links.peers();
    directory.linked.add(neighbour!);
    const beats = Array.from({ length: 70 }, () => asks.next(log));
    const asked = beats.flatMap((machine, at) => (machine === undefined ? [] : at));
    expect(asked).toEqual([1, 5, 13, 29, 49, 69]);
    expect(new Set(beats.filter((one) => one !== undefined))).toEqual(new Set([neighbour]));
  });
});
