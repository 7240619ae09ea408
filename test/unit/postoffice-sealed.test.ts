import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Log } from '../../daemon/log.ts';
import { decode } from '../../protocol/codec.ts';
import { readAddress } from '../../protocol/envelope.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import type { Message, Party } from '../../protocol/letter.ts';
import {
  BEAT_INTERVAL_MS,
  PREKEY_STALE_MS,
  PREKEY_VALID_MS,
  RETRY_BASE_MS,
  RETRY_MAX_MS,
} from '../../protocol/limits.ts';
import { signPrekey } from '../../protocol/prekey.ts';
import { HandPeer } from './hand-peer.ts';
import { hostileWorld, id, malParty, type HostileWorld } from './postoffice-world.ts';
import { startMachine, turn } from './wire.ts';

let world: HostileWorld;
/** What the desk's log says, with its fields. */
let logged: { text: string; fields: object }[];
const log: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, text) => void logged.push({ text, fields }),
  error: (fields, text) => void logged.push({ text, fields }),
};
beforeEach(async () => {
  logged = [];
  world = await hostileWorld(log);
  logged = [];
});
afterEach(async () => {
  await world.desk.stop();
});

const send = async (to: string, content: string, thread = '') => {
  const sending = world.ada.send({ to_agent: to, content, thread });
  await world.clock.advance(100);
  return sending;
};
const parcels = (peer = world.mal) => peer.all('parcel');
const prekeys = (peer = world.mal) => parcels(peer).map(({ envelope }) => readAddress(envelope).prekey);
const messageIn = (peer: HandPeer, { envelope }: FrameOf<'parcel'>): Message => {
  const { letter } = peer.open(envelope);
  if (letter.k !== 'message') throw new Error(`a ${letter.k}`);
  return letter;
};
const tell = async (prekey: ReturnType<HandPeer['newPrekey']>, peer = world.mal) => {
  peer.tell(world.desk.peerId, prekey);
  await turn();
};

/** Another member, whose machine hosts one agent. */
async function join(party: Party, seed = 8, prekey?: 'told'): Promise<HandPeer> {
  const peer = new HandPeer(world.wire, seed);
  if (!prekey) peer.prekey = undefined;
  await peer.start();
  await peer.join((await world.desk.admin.invite('myproject')).ticket);
  peer.host(world.ns, [party]);
  await turn();
  return peer;
}
const eveParty = { id: id(0xe0), name: 'eve' };

describe('mail for a machine whose prekey is not known', () => {
  test('waits for it, and then goes in order', async () => {
    const eve = await join(eveParty);
    for (const content of ['one', 'two', 'three']) await send('eve', content);
    await world.clock.advance(2 * RETRY_MAX_MS);
    expect(parcels(eve)).toEqual([]);
    await tell(eve.newPrekey(1), eve);
    expect(parcels(eve).map((parcel) => messageIn(eve, parcel).content)).toEqual(['one', 'two', 'three']);
  });

  test('that was taken back meanwhile never left', async () => {
    const eve = await join(eveParty);
    const { message_id: messageId } = await send('eve', 'too hasty');
    expect(await world.ada.unsend({ message_id: messageId! })).toMatchObject({ status: 'unsent' });
    await tell(eve.newPrekey(1), eve);
    expect(parcels(eve).map(({ envelope }) => eve.open(envelope).letter.k)).toEqual(['void']);
  });

  test('does not go to a link that is gone when the prekey comes', async () => {
    const eve = await join(eveParty);
    await send('eve', 'one');
    world.wire.cut(world.desk.peerId, eve.peerId);
    world.wire.mend(world.desk.peerId, eve.peerId);
    await turn();
    expect(parcels(eve)).toEqual([]);
    await tell(eve.newPrekey(1), eve);
    expect(parcels(eve)).toHaveLength(1);
  });

  test('goes at once on a later link, and after a restart', async () => {
    world.wire.cut(world.desk.peerId, world.mal.peerId);
    await send('mal', 'one');
    world.mal.prekey = undefined;
    await world.desk.stop();
    world.desk = await startMachine(world.wire, {
      seed: 1,
      label: 'desk',
      clock: world.clock,
      kv: world.desk.kv,
      log,
    });
    world.wire.mend(world.desk.peerId, world.mal.peerId);
    await turn();
    expect(parcels().map((parcel) => messageIn(world.mal, parcel).content)).toEqual(['one']);
  });
});

describe('a refusal because the prekey is not kept', () => {
  test('postpones the parcel, which is sealed anew to the next prekey', async () => {
    await send('mal', 'dear mal');
    const [first] = parcels();
    world.mal.forget(1);
    await tell(world.mal.newPrekey(2));
    world.mal.say(world.desk.peerId, { t: 'refuse', n: first!.n, code: 'prekey_unknown', retry: true });
    await turn();
    expect(prekeys()).toEqual([1]);
    await world.clock.advance(RETRY_BASE_MS);
    expect(prekeys()).toEqual([1, 2]);
    expect(parcels()[1]!.n).toBe(first!.n);
    expect(messageIn(world.mal, parcels()[1]!).content).toBe('dear mal');
  });

  test('is what this machine answers, and asks for the parcel again', async () => {
    const current = world.mal.prekeyOf(world.desk.peerId);
    for (const seq of [current.seq + 1, 99]) {
      const envelope = world.sealed(world.message(1), { to: { ...current, seq } });
      expect(await world.answerTo(envelope, seq)).toEqual({
        t: 'refuse',
        n: seq,
        code: 'prekey_unknown',
        retry: true,
      });
    }
    expect(await world.answerTo(world.sealed(world.message(1)), 3)).toMatchObject({ t: 'ack' });
  });

  test('does not come for the prekey of the day before', async () => {
    const before = world.mal.prekeyOf(world.desk.peerId);
    await world.clock.advance(25 * 3_600_000);
    const now = world.mal.prekeyOf(world.desk.peerId);
    expect(now.seq).toBe(before.seq + 1);
    expect(await world.answerTo(world.sealed(world.message(1), { to: before }), 1)).toMatchObject({
      t: 'ack',
    });
    expect(await world.answerTo(world.sealed(world.message(2), { to: now }), 2)).toMatchObject({ t: 'ack' });
  });
});

describe('prekeys that a machine tells', () => {
  test('the newest is sealed to', async () => {
    await send('mal', 'one');
    await tell(world.mal.newPrekey(5));
    await send('mal', 'two');
    expect(prekeys()).toEqual([1, 5]);
  });

  test('a lower sequence is refused and named in the log, also after a restart', async () => {
    await tell(world.mal.newPrekey(5));
    expect(logged).toEqual([]);
    const rolledBack = world.mal.newPrekey(4);
    const named = { text: 'refused a prekey', fields: { machine: world.mal.peerId, code: 'prekey_refused' } };
    await tell(rolledBack);
    expect(logged).toEqual([named]);
    await send('mal', 'one');
    expect(prekeys()).toEqual([5]);
    await world.desk.stop();
    world.desk = await startMachine(world.wire, {
      seed: 1,
      label: 'desk',
      clock: world.clock,
      kv: world.desk.kv,
      log,
    });
    world.mal.prekey = undefined;
    await turn();
    await tell(rolledBack);
    expect(logged.at(-1)).toEqual(named);
    expect(prekeys().at(-1)).toBe(5);
  });

  test('another key under the sequence that is held is refused', async () => {
    const first = world.mal.newPrekey(5);
    await tell(first);
    await tell(first);
    expect(logged).toEqual([]);
    await tell(world.mal.newPrekey(5));
    expect(logged.map(({ fields }) => fields)).toMatchObject([{ code: 'prekey_refused' }]);
  });

  test('of another member are believed: their owner signed them', async () => {
    const eve = await join(eveParty, 8, 'told');
    await tell(world.mal.newPrekey(5), eve);
    expect(logged).toEqual([]);
    await send('mal', 'one');
    expect(prekeys()).toEqual([5]);
  });

  test('of another member, older than what is held, are refused', async () => {
    const eve = await join(eveParty, 8, 'told');
    const older = world.mal.newPrekey(4);
    await tell(world.mal.newPrekey(5));
    await tell(older, eve);
    expect(logged.map(({ fields }) => fields)).toMatchObject([
      { machine: eve.peerId, code: 'prekey_refused' },
    ]);
    await send('mal', 'one');
    expect(prekeys()).toEqual([5]);
  });

  test.for<[what: string, other: () => Promise<HandPeer>]>([
    ['of a stranger', async () => new HandPeer(world.wire, 7)],
    [
      'of a machine that was removed',
      async () => {
        const gone = await join({ id: id(0xe1), name: 'gone' }, 7);
        await world.desk.admin.removeMember('myproject', gone.peerId);
        await turn();
        return gone;
      },
    ],
  ])('%s are refused', async ([, other]) => {
    const eve = await join(eveParty, 8, 'told');
    const stranger = await other();
    logged = [];
    await tell(stranger.newPrekey(5), eve);
    expect(logged.map(({ fields }) => fields)).toMatchObject([{ machine: eve.peerId, code: 'forbidden' }]);
  });

  test('of the machine itself, told by another, are passed over', async () => {
    const eve = await join(eveParty, 8, 'told');
    await tell(eve.prekeyOf(world.desk.peerId), eve);
    expect(logged).toEqual([]);
  });

  test.for<[what: string, bytes: (bytes: Uint8Array) => Uint8Array, code: string]>([
    [
      'a flipped bit',
      (bytes) => bytes.map((byte, at) => (at === 700 ? byte ^ 1 : byte)),
      'signature_invalid',
    ],
    ['a byte missing', (bytes) => bytes.subarray(0, -1), 'frame_malformed'],
    ['nothing in it', () => new Uint8Array(0), 'frame_malformed'],
  ])('with %s is refused', async ([, damage, code]) => {
    const { bytes } = world.mal.newPrekey(5);
    world.mal.say(world.desk.peerId, { t: 'prekey', prekey: damage(bytes) });
    await turn();
    expect(logged.map(({ fields }) => fields)).toMatchObject([{ code }]);
    await send('mal', 'one');
    expect(prekeys()).toEqual([1]);
  });

  test.for<[what: string, key: (key: Uint8Array) => Uint8Array]>([
    ['an ML-KEM key past the modulus', (key) => key.fill(0xff, 0, 3)],
    ['an X25519 key of low order', (key) => key.fill(0, 1_184)],
  ])('with %s is refused: nothing could be sealed to it', async ([, spoil]) => {
    const { seq, key, made_at, valid_until } = world.mal.newPrekey(5);
    const spoilt = { seq, key: spoil(new Uint8Array(key)), made_at, valid_until };
    await tell(signPrekey(spoilt, world.mal.signer));
    expect(logged).toMatchObject([{ text: 'refused a prekey' }]);
  });

  test('one that was missed is asked for by the next digest, and only then', async () => {
    await world.clock.advance(BEAT_INTERVAL_MS);
    const own = world.mal.all('digest').at(-1)!;
    expect(own.prekey).toBe(world.mal.prekeyOf(world.desk.peerId).seq);
    // The log is the same on both sides; of rosters mal has announced one.
    const namespaces = [{ ...own.namespaces[0]!, roster: 1 }];
    const wanted = () => world.mal.all('want').length;
    const before = wanted();
    world.mal.say(world.desk.peerId, { t: 'digest', prekey: 1, namespaces });
    await turn();
    expect(wanted()).toBe(before);
    world.mal.say(world.desk.peerId, { t: 'digest', prekey: 2, namespaces });
    await turn();
    expect(wanted()).toBe(before + 1);
  });

  test('a lower one in a digest is not asked for', async () => {
    await tell(world.mal.newPrekey(5));
    await world.clock.advance(BEAT_INTERVAL_MS);
    const namespaces = [{ ...world.mal.all('digest').at(-1)!.namespaces[0]!, roster: 1 }];
    const before = world.mal.all('want').length;
    world.mal.say(world.desk.peerId, { t: 'digest', prekey: 4, namespaces });
    await turn();
    expect(world.mal.all('want')).toHaveLength(before);
  });
});

describe('a prekey past its validity', () => {
  /** Told now, and made so long ago that it became stale that long ago. */
  const staleFor = (ms: number, seq: number) =>
    tell(world.mal.newPrekey(seq, world.clock.now() - PREKEY_VALID_MS - ms));

  test('is used for 30 days for want of a newer one', async () => {
    await staleFor(PREKEY_STALE_MS - 200, 2);
    await send('mal', 'one');
    expect(prekeys()).toEqual([2]);
  });

  test('and not longer: then mail waits for a newer one', async () => {
    await staleFor(PREKEY_STALE_MS + 1, 2);
    await send('mal', 'one');
    await world.clock.advance(3 * RETRY_MAX_MS);
    expect(parcels()).toEqual([]);
    await tell(world.mal.newPrekey(3, world.clock.now()));
    await world.clock.advance(RETRY_MAX_MS);
    expect(prekeys()).toEqual([3]);
  });

  test('the last millisecond counts', async () => {
    await staleFor(PREKEY_STALE_MS, 2);
    const sending = world.ada.send({ to_agent: 'mal', content: 'one', thread: '' });
    await turn();
    expect(prekeys()).toEqual([2]);
    await world.clock.advance(100);
    await sending;
    await world.clock.advance(RETRY_MAX_MS);
    expect(prekeys()).toEqual([2]);
  });
});

describe('what an envelope shows to whoever carries it', () => {
  interface Open {
    head: Uint8Array;
    wrap: Uint8Array;
    body: Uint8Array;
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const parts = ({ envelope }: FrameOf<'parcel'>) => decode(envelope) as Open;
  const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

  test.for(['', 'deploy'])('one body for all recipients, with a wrap each (thread %j)', async (thread) => {
    const eve = await join(eveParty, 8, 'told');
    world.announce([malParty, { id: id(0xf3), name: 'max' }]);
    await turn();
    await send('mal, max, eve', 'to all of you', thread);
    const copies = [...parcels(), ...parcels(eve)];
    expect(copies).toHaveLength(3);
    const opened = copies.map(parts);
    for (const { head, body } of opened) {
      expect(same(head, opened[0]!.head)).toBe(true);
      expect(same(body, opened[0]!.body)).toBe(true);
    }
    expect(new Set(opened.map(({ wrap }) => Buffer.from(wrap).toString('hex'))).size).toBe(3);
    const letters = [...parcels().map((one) => messageIn(world.mal, one)), messageIn(eve, parcels(eve)[0]!)];
    expect(letters.map(({ to, content }) => [to.name, content])).toEqual([
      ['mal', 'to all of you'],
      ['max', 'to all of you'],
      ['eve', 'to all of you'],
    ]);
    expect(new Set(letters.map((letter) => letter.id)).size).toBe(3);
  });

  test('another body for the same text sent again', async () => {
    await send('mal', 'again');
    await send('mal', 'again');
    const [one, two] = parcels().map(parts);
    expect(same(one!.body, two!.body)).toBe(false);
    expect(same(one!.head, two!.head)).toBe(false);
  });

  test('another wrap each time that it is sent', async () => {
    await send('mal', 'once');
    await world.clock.advance(RETRY_BASE_MS);
    const [one, two] = parcels().map(parts);
    expect(same(one!.body, two!.body)).toBe(true);
    expect(same(one!.wrap, two!.wrap)).toBe(false);
  });

  test('nothing of content, thread, names, ids or sender', async () => {
    const canary = 'canary-of-the-content-7f3a';
    const { message_id: messageId } = await send('mal', `${canary} `.repeat(40), 'canary-thread');
    await send('mal', canary);
    expect(parcels().length).toBeGreaterThanOrEqual(2);
    for (const parcel of parcels()) {
      expect(messageIn(world.mal, parcel).content).toContain(canary);
      const bytes = Buffer.from(parcel.envelope);
      const hidden = [canary, 'canary-thread', messageId!, world.adaParty.id, malParty.id, world.desk.peerId];
      for (const secret of hidden) expect([secret, bytes.includes(secret)]).toEqual([secret, false]);
      const key = Buffer.from(world.desk.peerId);
      expect(bytes.includes(key)).toBe(false);
      // The namespace and the recipient's machine are what a carrier must see, and may.
      expect(bytes.includes(world.mal.peerId)).toBe(true);
      expect(readAddress(parcel.envelope)).toEqual({ ns: world.ns, to: world.mal.peerId, prekey: 1 });
    }
  });

  test('a size class, the same for short texts and short names', async () => {
    for (const content of ['x', 'yes', 'a text that is somewhat longer than the others', 'y'.repeat(100)])
      await send('mal', content);
    expect(new Set(parcels().map(({ envelope }) => envelope.length)).size).toBe(1);
    await send('mal', 'z'.repeat(5_000));
    expect(parcels().at(-1)!.envelope.length).toBeGreaterThan(5_000);
  });

  test('and what is sent between two agents of this machine never leaves it', async () => {
    const eve = await join(eveParty, 8, 'told');
    await world.desk.messenger.open({ agent: 'bob@myproject', client: 'test' });
    await send('bob', 'here');
    expect([...parcels(), ...parcels(eve)]).toEqual([]);
    expect((await world.desk.admin.peek('bob@myproject', 10)).pending).toMatchObject([{ content: 'here' }]);
  });
});
