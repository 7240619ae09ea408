import { afterEach, expect, test } from 'vitest';
import { systemClock, systemRandom } from '../../daemon/clock.ts';
import { AddressDirectory } from '../../daemon/discovery/address-directory.ts';
import { silentLog } from '../../daemon/log.ts';
import {
  openRecord,
  RECORD_KIND,
  recordKey,
  recordProtocol,
  sealRecord,
} from '../../protocol/discovery/record.ts';
import { readWhereabouts, signWhereabouts, tellable } from '../../protocol/discovery/whereabouts.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { eventually } from '../processes/eventually.ts';
import { Machine, stopAll } from './network-machine.ts';

/** Members of a large namespace that move, over real sockets. Nobody tells anybody over a link where a machine is. */

const circle = { ns: 'a'.repeat(64), epoch: 0, key: systemRandom.bytes(32) };
const protocol = recordProtocol(circle);
const members = new Set<string>();
const isMember = (machine: string): boolean => members.has(machine);
const directories: AddressDirectory[] = [];

afterEach(async () => {
  for (const directory of directories.splice(0)) directory.stop();
  await stopAll();
  members.clear();
});

/** A machine, and where it believes others to be. */
interface Member extends Machine {
  readonly seed: Uint8Array;
  readonly known: Map<string, { at: number; addresses: readonly string[] }>;
  /** It wants a link with that one. */
  want(peerId: string): void;
}

async function member(seed = systemRandom.bytes(32)): Promise<Member> {
  const signer = signerFromSeed(seed);
  members.add(signer.peerId);
  const machine = new Machine({ seed });
  machine.admits = isMember;
  await machine.start();
  const { network } = machine;
  const known: Member['known'] = new Map();
  const wanted = new Set<string>();
  const update = (): void =>
    network.setPeers(new Map([...wanted].map((peerId) => [peerId, known.get(peerId)?.addresses ?? []])));
  const word = signWhereabouts(tellable(network.addresses(), signer.peerId), Date.now(), signer);
  const directory = new AddressDirectory({
    network,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    circles: () => [{ ...circle, isMember }],
    own: () => word,
    addressesOf: (peerId) => known.get(peerId)?.addresses ?? [],
    heard(_ns, bytes) {
      const said = readWhereabouts(bytes, (peerId, at) => at > (known.get(peerId)?.at ?? -1));
      if (said) known.set(said.machine, said);
      update();
    },
  });
  directory.start();
  directories.push(directory);
  return Object.assign(machine, {
    seed,
    known,
    want(peerId: string) {
      wanted.add(peerId);
      update();
    },
  });
}

/** So many machines, each linked with the one before and the one after only. */
async function line(count: number): Promise<Member[]> {
  const all: Member[] = [];
  for (let index = 0; index < count; index += 1) all.push(await member());
  for (const [index, machine] of all.entries()) {
    const next = all[index + 1];
    if (next) await join(machine, next);
  }
  return all;
}

async function join(a: Member, b: Member): Promise<void> {
  a.known.set(b.peerId, { at: 0, addresses: b.network.addresses() });
  a.want(b.peerId);
  b.want(a.peerId);
  await Promise.all([a.linked(b), b.linked(a)]);
}

/** The records of a member that another one finds. */
async function found(by: Machine, of: string): Promise<number[]> {
  const key = recordKey(circle, of);
  const list: number[] = [];
  await by.network.findRecord!(protocol, key, (value) =>
    list.push(openRecord({ key, value }, circle, isMember).at),
  );
  return list;
}

/** Those records when there are some: a table knows of a link only once the other side's table answers. */
const foundAtLast = (by: Machine, of: string): Promise<number[]> =>
  eventually(
    'the record is found',
    () => found(by, of),
    (list) => list.length > 0,
  );

test('a machine that moved is found by a member that is not linked with it and was told nothing', async () => {
  const all = await line(6);
  const [seeker, before, mover] = [all[0]!, all[4]!, all[5]!];
  const old = mover.network.addresses();
  await foundAtLast(seeker, mover.peerId);
  directories.pop()!.stop();
  await mover.network.stop();
  seeker.known.set(mover.peerId, { at: Date.now(), addresses: old });
  seeker.want(mover.peerId);

  const moved = await member(mover.seed);
  expect(moved.network.addresses()).not.toEqual(old);
  await join(moved, before);
  await seeker.linked(moved);
  expect(seeker.known.get(mover.peerId)?.addresses).toEqual(moved.network.addresses());
}, 60_000);

/** A machine that says of everybody that he is a member, and of everything that it is a record. */
async function lax(): Promise<Machine> {
  const machine = new Machine();
  await machine.start();
  begin(machine);
  return machine;
}

function begin({ network }: Machine): void {
  const everything = { hasMember: () => true, addressesOf: () => [], check: () => 1 };
  network.setTables!([{ protocol, kind: RECORD_KIND, ...everything }]);
}

const wordOf = (seed: Uint8Array, at: number, ...addresses: string[]) =>
  signWhereabouts(addresses, at, signerFromSeed(seed)).bytes;

test('a member of another namespace is linked, and is not heard in the table', async () => {
  const [victim] = await line(2);
  victim!.admits = () => true;
  const stranger = await lax();
  stranger.name(victim!);
  await stranger.linked(victim!);
  await foundAtLast(victim!, victim!.peerId);
  const seed = systemRandom.bytes(32);
  const { peerId } = signerFromSeed(seed);
  const key = recordKey(circle, peerId);
  const value = sealRecord(wordOf(seed, 1, '/ip4/192.0.2.1/tcp/1'), circle, systemRandom.bytes);
  members.add(peerId);

  expect(await found(stranger, victim!.peerId)).toEqual([]);
  expect(await stranger.network.putRecord!(protocol, { key, value })).toBe(0);
  expect(await found(victim!, peerId)).toEqual([]);

  // The same as a member, so that it was the membership.
  members.add(stranger.peerId);
  stranger.network.drop(victim!.peerId, 'again');
  await foundAtLast(stranger, victim!.peerId);
  expect(await stranger.network.putRecord!(protocol, { key, value })).toBeGreaterThan(0);
  expect(await foundAtLast(victim!, peerId)).toContain(1);
}, 60_000);

test('a hostile member neither replaces a word by an older one nor leaves what does not belong there', async () => {
  const [seeker, holder, owner] = await line(3);
  const hostile = await lax();
  members.add(hostile.peerId);
  hostile.name(seeker!, holder!);
  await Promise.all([hostile.linked(seeker!), hostile.linked(holder!)]);
  const key = recordKey(circle, owner!.peerId);
  const sealed = (word: Uint8Array, by = circle) => sealRecord(word, by, systemRandom.bytes);
  const put = (value: Uint8Array, under = key) => hostile.network.putRecord!(protocol, { key: under, value });
  const nowhere = '/ip4/192.0.2.1/tcp/1';
  const own = systemRandom.bytes(32);
  // It is heard, and holds the word.
  await foundAtLast(hostile, owner!.peerId);
  // Whoever has seen the newest takes no older one.
  const [newest] = await foundAtLast(seeker!, owner!.peerId);
  await foundAtLast(holder!, owner!.peerId);
  expect(newest).toBeGreaterThan(1);

  expect(await put(sealed(wordOf(owner!.seed, 1, nowhere)))).toBe(0);
  expect(await put(sealed(wordOf(own, 2 ** 45, nowhere)))).toBe(0);
  expect(
    await put(sealed(wordOf(own, 2 ** 45, nowhere)), recordKey(circle, signerFromSeed(own).peerId)),
  ).toBe(0);
  expect(await put(sealed(wordOf(owner!.seed, 2 ** 45), { ...circle, key: own }))).toBe(0);
  expect(await put(systemRandom.bytes(4_000))).toBe(0);
  expect(await put(own, new TextEncoder().encode('/pk/anybody'))).toBe(0);

  // What it holds itself it gives to whoever asks, who takes none of it.
  for (const seeking of [seeker!, holder!])
    expect(new Set(await foundAtLast(seeking, owner!.peerId))).toEqual(new Set([newest]));
}, 60_000);

test('a member whose table begins after the link holds records as well', async () => {
  const one = await member();
  const late = new Machine();
  members.add(late.peerId);
  await late.start();
  late.name(one);
  await Promise.all([one.linked(late), late.linked(one)]);
  const key = recordKey(circle, one.peerId);
  const put = () =>
    one.network.putRecord!(protocol, {
      key,
      value: sealRecord(wordOf(one.seed, 2 ** 45), circle, systemRandom.bytes),
    });
  // Long enough for the first try to have met nobody.
  for (let times = 0; times < 50; times += 1) expect(await put()).toBe(0);

  begin(late);
  await eventually('it takes a record', put, (holders) => holders === 1);
}, 60_000);

test('a table that is off is not answered', async () => {
  const [one, other] = await line(2);
  await foundAtLast(one!, other!.peerId);
  for (const directory of directories.splice(0)) directory.stop();
  other!.network.setTables!([]);
  const stranger = await lax();
  members.add(stranger.peerId);
  stranger.name(other!);
  await stranger.linked(other!);
  expect(await found(stranger, other!.peerId)).toEqual([]);
  expect(await found(other!, one!.peerId)).toEqual([]);
}, 60_000);
