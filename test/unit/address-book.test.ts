import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Directory } from '../../daemon/directory/directory.ts';
import { DirectoryStore } from '../../daemon/directory/directory-store.ts';
import { silentLog } from '../../daemon/log.ts';
import { readWhereabouts, signWhereabouts, tellable } from '../../protocol/discovery/whereabouts.ts';
import { openShared } from '../../protocol/shared.ts';
import { StoreCare } from '../../daemon/store/care/store-care.ts';
import { systemRandom } from '../../daemon/clock.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import type { HandPeer } from './hand-peer.ts';
import { circle, type Circle } from './hostile-peer-world.ts';
import { HandClock, turn } from './wire.ts';

/** How addresses travel: by the owner's signed word, from member to member. */

let world: Circle;
beforeEach(async () => {
  world = await circle();
});
afterEach(async () => {
  await world.desk.stop();
  await world.laptop.stop();
});

const HOME = '/ip4/192.0.2.7/tcp/4001';
const CAFE = '/ip4/198.51.100.9/tcp/4001';

/** What the desk's store says of where a machine is. */
async function bookOf(machine: string): Promise<string[] | undefined> {
  const kv = world.desk.kv;
  const care = new StoreCare({
    kv,
    seal: createRecordSeal(new Uint8Array(32).fill(1), systemRandom.bytes),
    tallyFile: undefined,
    clock: new HandClock(),
    log: silentLog,
    opened: undefined,
  });
  await care.open();
  const directory = new Directory({
    self: { peerId: world.desk.peerId, label: 'desk', platform: 'test' },
    store: new DirectoryStore(care.journal),
    log: silentLog,
    onLogChanged: () => {},
  });
  await directory.load();
  return directory.addresses.get(machine);
}

const say = (to: string, ...machines: Uint8Array[]) =>
  world.mal.say(to, world.mal.box(world.ns, { k: 'addresses', machines }));

/** The words on where machines are that mal was told, in the order of their coming. */
function told(peer: HandPeer, from = 0): { machine: string; addresses: string[] }[] {
  return peer.frames.slice(from).flatMap(({ from: sender, frame }) => {
    if (frame.t !== 'shared' || frame.ns !== world.ns) return [];
    const key = peer.keys.get(frame.ns)!;
    const shared = openShared(frame.box, { ns: frame.ns, epoch: frame.epoch, from: sender }, key);
    if (shared.k !== 'addresses') return [];
    return shared.machines.map((bytes) => readWhereabouts(bytes, () => true)!);
  });
}

describe('the address book', () => {
  test('takes a word from whoever brings it, a newer one for an older, never the other way', async () => {
    const { desk, laptop, mal } = world;
    const at = Date.now() * 2;
    const [first, second] = [
      signWhereabouts([HOME], at, laptop.signer),
      signWhereabouts([CAFE], at + 1, laptop.signer),
    ];
    say(desk.peerId, second.bytes);
    await turn();
    expect(await bookOf(laptop.peerId)).toEqual([`${CAFE}/p2p/${laptop.peerId}`]);
    say(desk.peerId, first.bytes);
    say(desk.peerId, signWhereabouts([HOME], at + 1, laptop.signer).bytes);
    await turn();
    expect(await bookOf(laptop.peerId)).toEqual([`${CAFE}/p2p/${laptop.peerId}`]);
    expect(mal.peerId).not.toBe(laptop.peerId);
  });

  test('passes on what is news, once', async () => {
    const { desk, laptop, mal } = world;
    const before = mal.frames.length;
    const word = signWhereabouts([CAFE], Date.now() * 2, mal.signer).bytes;
    say(desk.peerId, word);
    await turn();
    await turn();
    // The laptop has it from the desk, and does not send it back to its owner.
    expect(told(mal, before).filter(({ machine }) => machine === mal.peerId)).toEqual([]);
    const laptopWord = signWhereabouts([CAFE], Date.now() * 2, laptop.signer).bytes;
    say(desk.peerId, laptopWord);
    say(desk.peerId, laptopWord);
    await turn();
    await turn();
    expect(told(mal, before).filter(({ machine }) => machine === laptop.peerId).length).toBeLessThanOrEqual(
      1,
    );
  });

  test('a machine whose clock was set back speaks up when it hears of its own later word', async () => {
    const { desk, mal } = world;
    const before = mal.frames.length;
    const later = Date.now() * 3;
    say(desk.peerId, signWhereabouts([CAFE], later, desk.signer).bytes);
    await turn();
    const own = told(mal, before).filter(({ machine }) => machine === desk.peerId);
    expect(own).toMatchObject([{ addresses: [`/ip4/127.0.0.1/tcp/4001/p2p/${desk.peerId}`] }]);
    // Two machines with one key do not outbid each other.
    for (let count = 1; count < 100; count++) {
      say(desk.peerId, signWhereabouts([CAFE], later + 1_000 * count, desk.signer).bytes);
    }
    await turn();
    expect(told(mal, before).filter(({ machine }) => machine === desk.peerId)).toHaveLength(1);
  });
});

describe('tellable', () => {
  test('tells loopback addresses only if there are no others, and none twice', () => {
    const local = ['/ip4/127.0.0.1/tcp/1/p2p/me', '/ip6/::1/tcp/1/p2p/me'];
    expect(tellable(local, 'me')).toEqual(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1']);
    expect(tellable([...local, `${HOME}/p2p/me`, `${HOME}/p2p/me`], 'me')).toEqual([HOME]);
  });

  test('tells as many as fit', () => {
    const many = Array.from({ length: 100 }, (_none, index) => `/ip4/10.0.0.${index}/tcp/4001`);
    expect(tellable(many, 'me')).toEqual(many.slice(0, 16));
    const long = many.map((address) => `${address}/ws${'x'.repeat(400)}`);
    expect(tellable(long, 'me')).toEqual(long.slice(0, 1));
    expect(signWhereabouts(tellable(many, 'me'), 1, world.desk.signer).bytes.length).toBeLessThan(1_000);
  });
});
