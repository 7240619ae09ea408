import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decode, encode } from '../../protocol/codec.ts';
import { signWhereabouts } from '../../protocol/discovery/whereabouts.ts';
import type { Frame } from '../../protocol/frame.ts';
import type { Letter } from '../../protocol/letter.ts';
import { AGENTS_PER_MACHINE_MAX, CONTENT_LENGTH_MAX } from '../../protocol/limits.ts';
import { STATEMENTS_PER_MACHINE_MAX } from '../../protocol/membership/acceptance.ts';
import { heads } from '../../protocol/membership/log.ts';
import {
  foundNamespace,
  recoveryKeyFromSeed,
  signStatement,
  type SignedStatement,
} from '../../protocol/membership/statement.ts';
import { signReceipt } from '../../protocol/receipt.ts';
import type { Shared } from '../../protocol/shared.ts';
import type { Signer } from '../../protocol/signing.ts';
import { HandPeer } from './hand-peer.ts';
import { circle, unharmed, type Circle } from './hostile-peer-world.ts';
import type { Body } from './membership-fixture.ts';
import { id, malParty } from './postoffice-world.ts';
import { turn } from './wire.ts';

/** What one member, one that was, or one that never was does by hand, and that nobody is the worse for it. */

let world: Circle;
beforeEach(async () => {
  world = await circle();
});
afterEach(async () => {
  await world.desk.stop();
  await world.laptop.stop();
});

interface Envelope {
  head: Uint8Array;
  wrap: Uint8Array;
  body: Uint8Array;
}
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const open = (envelope: Uint8Array) => decode(envelope) as Envelope;
const letter = (fields: object): Letter => ({ ...world.message(1), ...fields });
const receipt = (more: object = {}, signer: Signer = world.mal.signer) => {
  const about = { id: id(0x51), sender: world.adaParty.id, recipient: malParty.id };
  return signReceipt({ ns: world.ns, ...about, state: 'read', at: 1, ...more }, signer);
};

/** A parcel of mal to the desk, and how it is answered: `CODE`, `CODE retry`, or `ack`. */
const PARCELS: [what: string, envelope: () => Uint8Array, answer: string][] = [
  [
    'signed with another key than its own',
    () => world.sealed(world.message(1), {}, { ...world.out.signer, peerId: world.mal.peerId }),
    'signature_invalid',
  ],
  [
    'with the wrap of another envelope',
    () => {
      const [one, two] = [1, 2].map((number) => open(world.sealed(world.message(number))));
      return encode({ ...one!, wrap: two!.wrap });
    },
    'envelope_invalid',
  ],
  [
    'with the body of another envelope',
    () => {
      const [one, two] = [1, 2].map((number) => open(world.sealed(world.message(number))));
      return encode({ ...one!, body: two!.body });
    },
    'envelope_invalid',
  ],
  [
    'whose head names another namespace',
    () => {
      const parts = open(world.sealed(world.message(1)));
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const head = decode(parts.head) as object;
      return encode({ ...parts, head: encode({ ...head, ns: world.otherNs }) });
    },
    'envelope_invalid',
  ],
  [
    'whose wrap names this machine instead of the one it was sealed to',
    () => {
      const parts = open(world.sealed(world.message(1), { to: world.mal.prekey! }));
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const wrap = decode(parts.wrap) as object;
      const { seq: prekey } = world.mal.prekeyOf(world.desk.peerId);
      return encode({ ...parts, wrap: encode({ ...wrap, to: world.desk.peerId, prekey }) });
    },
    'envelope_invalid',
  ],
  ['cut short', () => world.sealed(world.message(1)).subarray(0, -1), 'envelope_invalid'],
  ['with a byte more', () => new Uint8Array([...world.sealed(world.message(1)), 0]), 'envelope_invalid'],
  ['of place 0 in its line', () => world.sealed(letter({ seq: 0 })), 'frame_malformed'],
  ['of a place beyond all', () => world.sealed(letter({ seq: 2 ** 40 })), 'frame_malformed'],
  [
    'with a text beyond all',
    () => world.sealed(letter({ content: 'x'.repeat(CONTENT_LENGTH_MAX + 1) })),
    'frame_malformed',
  ],
  ['with a field that no message has', () => world.sealed(letter({ verified: true })), 'frame_malformed'],
  ['of a kind that is none', () => world.sealed(letter({ k: 'order' })), 'frame_malformed'],
  ["that voids a place in another's line", () => world.sealed(forBob('void')), 'peer_unreachable retry'],
  [
    "that takes back another's message in its name",
    () => world.sealed(forBob('unsend')),
    'peer_unreachable retry',
  ],
  [
    'with a message in the name of an agent that was removed',
    () => world.sealed(letter({ from: world.oldParty })),
    'peer_unreachable retry',
  ],
  ['of no receipts', () => world.sealed({ k: 'receipts', receipts: [] }), 'frame_malformed'],
  [
    'of too many receipts',
    () => world.sealed({ k: 'receipts', receipts: Array<Uint8Array>(101).fill(receipt()) }),
    'frame_malformed',
  ],
  [
    'with a receipt for what was never sent',
    () => world.sealed({ k: 'receipts', receipts: [receipt()] }),
    'ack',
  ],
  [
    'with a receipt that claims to be of another machine',
    () => {
      const signer = { ...world.mal.signer, peerId: world.laptop.peerId };
      return world.sealed({ k: 'receipts', receipts: [receipt({}, signer)] });
    },
    'signature_invalid',
  ],
  [
    'with a receipt in another namespace',
    () => world.sealed({ k: 'receipts', receipts: [receipt({ ns: world.secretNs })] }),
    'ack',
  ],
];

/** A letter of mal that says it is bob's. */
function forBob(k: 'void' | 'unsend'): Letter {
  const parties = { id: id(1), from: world.bobParty, to: world.adaParty };
  return k === 'void' ? { k, seq: 1, ...parties } : { k, ...parties };
}

describe('a parcel of a member', () => {
  test.for(PARCELS)('%s is refused, or changes nothing', async ([, envelope, expected]) => {
    const answer = await unharmed(world, () => world.answerTo(envelope()));
    const told = answer.t === 'ack' ? 'ack' : `${answer.code}${answer.retry ? ' retry' : ''}`;
    expect(told).toBe(expected);
  });

  test('to another machine, told to a third, is refused there', async () => {
    const sending = world.ada.send({ to_agent: 'mal', content: 'for mal', thread: '' });
    const { envelope } = await world.mal.heard('parcel');
    await world.clock.advance(100);
    await sending;
    await unharmed(world, async () => {
      world.mal.say(world.laptop.peerId, { t: 'parcel', n: 9, envelope });
      expect(await world.mal.answer(9)).toMatchObject({ code: 'envelope_invalid', retry: false });
    });
  });

  test("does not take back another's message, nor void it", async () => {
    const { message_id: messageId } = await world.bob.send({ to_agent: 'ada', content: 'mine', thread: '' });
    await turn();
    const about = { id: messageId!, from: malParty, to: world.adaParty };
    const first = await unharmed(world, () => world.answerTo(world.sealed({ k: 'unsend', ...about }), 1));
    expect(first.t).toBe('ack');
    const second = await unharmed(world, () =>
      world.answerTo(world.sealed({ k: 'void', seq: 1, ...about }), 2),
    );
    expect(second).toMatchObject({ code: 'invalid_id', retry: false });
    expect((await world.ada.inbox({ all_agents: false })).pending).toMatchObject([{ content: 'mine' }]);
  });

  test('in a name that it claimed too late is refused for good', async () => {
    const { mal, ns } = world;
    const spy = { id: id(0x5b), name: 'ada' };
    mal.sayAll(mal.logFrame(ns, mal.forge(ns, { k: 'claim', agent: spy.id, name: spy.name })));
    await turn();
    const answer = await unharmed(world, () => world.answerTo(world.sealed(letter({ from: spy }))));
    expect(answer).toMatchObject({ code: 'name_taken', retry: false });
  });

  test('is not needed for an answer: those to what was never sent settle nothing', async () => {
    await unharmed(world, () => {
      for (const machine of [world.desk, world.laptop]) {
        world.mal.say(
          machine.peerId,
          { t: 'ack', n: 1 },
          { t: 'ack', n: 1, receipt: receipt() },
          { t: 'refuse', n: 2, code: 'unknown_recipient', retry: false },
        );
      }
    });
    expect(world.warned()).toEqual([]);
  });
});

const stranger = () => new HandPeer(world.wire, 77).peerId;
const forge = (body: Body, more: { prev?: readonly string[] } = {}) => world.mal.forge(world.ns, body, more);
const damaged = (signed: SignedStatement): Uint8Array =>
  signed.bytes.map((byte, at, all) => (at === all.length - 1 ? byte ^ 1 : byte));
const common = () => ({ v: 1, ns: world.ns, prev: heads(world.mal.logOf(world.ns)), at: 1 }) as const;
const named = (more: { ns?: string }, signer: Signer): SignedStatement =>
  signStatement({ ...common(), k: 'rename-namespace', name: 'x', by: signer.peerId, ...more }, signer);

/** Statements that a member has no right to, or that are none; each is named in the log and never stored. */
const STATEMENTS: [what: string, statement: () => SignedStatement | Uint8Array, code: string][] = [
  [
    'that admits',
    () => forge({ k: 'admit', machine: stranger(), label: 'pal', role: 'member' }),
    'not_admin',
  ],
  [
    'that admits an admin',
    () => forge({ k: 'admit', machine: stranger(), label: 'pal', role: 'admin' }),
    'not_admin',
  ],
  ['that removes another', () => forge({ k: 'remove', machine: world.laptop.peerId }), 'not_admin'],
  ['that removes an admin', () => forge({ k: 'remove', machine: world.desk.peerId }), 'not_admin'],
  ['that promotes itself', () => forge({ k: 'promote', machine: world.mal.peerId }), 'not_admin'],
  ['that promotes another', () => forge({ k: 'promote', machine: world.laptop.peerId }), 'not_admin'],
  ['that renames another', () => forge({ k: 'rename', machine: world.desk.peerId, label: 'x' }), 'not_admin'],
  ['that renames the namespace', () => forge({ k: 'rename-namespace', name: 'mine' }), 'not_admin'],
  ['that makes a key', () => forge({ k: 'rotate', epoch: 4, key_hash: new Uint8Array(32) }), 'not_admin'],
  [
    'that makes a checkpoint',
    () => forge({ k: 'checkpoint', digest: 'a'.repeat(64), members: 'b'.repeat(64) }),
    'not_admin',
  ],
  [
    'from before it was admitted',
    () => forge({ k: 'claim', agent: id(0x5c), name: 'ada' }, { prev: [world.ns] }),
    'not_member',
  ],
  [
    'that founds another namespace',
    () =>
      foundNamespace(
        {
          name: 'myproject',
          founder: { machine: world.mal.peerId, label: 'mal' },
          nonce: new Uint8Array(16),
        },
        1,
        recoveryKeyFromSeed(new Uint8Array(32).fill(99)),
      ),
    'statement_invalid',
  ],
  ['of another namespace', () => named({ ns: world.otherNs }, world.mal.signer), 'statement_invalid'],
  [
    'of another, signed by itself',
    () => named({}, { ...world.mal.signer, peerId: world.desk.peerId }),
    'signature_invalid',
  ],
  [
    'of the genesis key, signed by itself',
    () => named({}, { ...world.mal.signer, peerId: world.mal.logOf(world.ns).genesisKey }),
    'signature_invalid',
  ],
  [
    'with a flipped bit',
    () => damaged(forge({ k: 'claim', agent: id(0x5d), name: 'x' })),
    'signature_invalid',
  ],
  [
    'with a byte missing',
    () => forge({ k: 'claim', agent: id(0x5d), name: 'x' }).bytes.slice(0, -1),
    'frame_malformed',
  ],
  ['that is longer than any', () => new Uint8Array(9_000), 'statement_invalid'],
  ['that is empty', () => new Uint8Array(0), 'frame_malformed'],
  [
    'that is something else',
    () => encode({ body: encode({ k: 'x' }), sig: new Uint8Array(64) }),
    'statement_invalid',
  ],
  ['that is a receipt', () => receipt(), 'statement_invalid'],
];

describe('a statement of a member', () => {
  test.for(STATEMENTS)('%s is refused', async ([, make, code]) => {
    const made = make();
    const bytes = made instanceof Uint8Array ? made : made.bytes;
    await unharmed(world, async () => {
      world.mal.sayAll({ t: 'log', ns: world.ns, statements: [bytes], more: false });
      await turn();
      // Desk and laptop say it, each for itself.
      expect(world.warned()).toEqual([`refused a statement: ${code}`, `refused a statement: ${code}`]);
    });
  });

  test.for<[what: string, body: () => Body]>([
    ['claims a name that another holds', () => ({ k: 'claim', agent: id(0x5e), name: 'bob' })],
    [
      "claims another name for another's agent",
      () => ({ k: 'claim', agent: world.bobParty.id, name: 'rob' }),
    ],
    [
      "claims the name of another's agent for it",
      () => ({ k: 'claim', agent: world.bobParty.id, name: 'bob' }),
    ],
    ["releases another's agent", () => ({ k: 'release', agent: world.bobParty.id })],
    ['releases an agent of the admin', () => ({ k: 'release', agent: world.adaParty.id })],
  ])('that %s is stored, and changes nothing', async ([, body]) => {
    const { mal, ns } = world;
    await unharmed(world, () => mal.sayAll(mal.logFrame(ns, forge(body()))), /^statement\//);
    expect(world.warned()).toEqual([]);
  });

  test('whose predecessors nobody knows is not stored; the other is asked once for each', async () => {
    const { mal, ns, desk } = world;
    const orphan = forge({ k: 'claim', agent: id(0x5f), name: 'x' }, { prev: ['0'.repeat(64)] });
    const asked = () =>
      mal.frames.filter(({ from, frame }) => from === desk.peerId && frame.t === 'heads').length;
    const before = asked();
    await unharmed(world, () => {
      for (let count = 0; count < 20; count++) mal.say(desk.peerId, mal.logFrame(ns, orphan));
    });
    expect(asked() - before).toBe(20);
  });

  test('among good ones does not keep those out', async () => {
    const { mal, ns, desk } = world;
    const good = mal.state(ns, { k: 'claim', agent: id(0x60), name: 'good' });
    const bad = forge({ k: 'promote', machine: mal.peerId });
    const frame: Frame = {
      t: 'log',
      ns,
      more: false,
      statements: [bad.bytes, new Uint8Array(3), good.bytes, damaged(good)],
    };
    mal.say(desk.peerId, frame);
    await turn();
    expect((await desk.admin.namespaces())[0]!.agents).toContain('good@myproject');
    expect(
      (await desk.admin.members('myproject')).find(({ peer_id: peer }) => peer === mal.peerId)!.role,
    ).toBe('member');
  });

  test('that gives it the label of another machine: whoever names that label must say which', async () => {
    const { mal, ns, desk } = world;
    mal.sayAll(mal.logFrame(ns, mal.state(ns, { k: 'rename', machine: mal.peerId, label: 'laptop' })));
    await turn();
    const ambiguous = { code: 'invalid_input' };
    await expect(desk.admin.removeMember('myproject', 'laptop')).rejects.toMatchObject(ambiguous);
    await expect(desk.admin.promote('myproject', 'laptop')).rejects.toMatchObject(ambiguous);
    await desk.admin.removeMember('myproject', mal.peerId);
    const left = (await desk.admin.members('myproject')).map(({ peer_id: peer }) => peer);
    expect(left.toSorted()).toEqual([desk.peerId, world.laptop.peerId].toSorted());
  });

  test('is one of so many, and then it can still be removed', { timeout: 60_000 }, async () => {
    const { mal, ns, desk, laptop } = world;
    const list: SignedStatement[] = [];
    let prev = heads(mal.logOf(ns));
    for (let count = 0; count < STATEMENTS_PER_MACHINE_MAX + 50; count++) {
      const next = forge({ k: 'rename', machine: mal.peerId, label: `n${count}` }, { prev });
      prev = [next.hash];
      list.push(next);
    }
    for (let at = 0; at < list.length; at += 400) {
      mal.say(desk.peerId, mal.logFrame(ns, ...list.slice(at, at + 400)));
      for (let round = 0; round < 20; round++) await turn();
    }
    const authored = desk.kv.keys(`statement/${ns}/`).length;
    expect(authored).toBeGreaterThan(STATEMENTS_PER_MACHINE_MAX);
    expect(authored).toBeLessThan(STATEMENTS_PER_MACHINE_MAX + 50);
    expect(world.warned().filter((line) => line === 'refused a statement: too_many').length).toBeGreaterThan(
      0,
    );
    await desk.admin.removeMember('myproject', mal.peerId);
    for (let round = 0; round < 20; round++) await turn();
    for (const machine of [desk, laptop])
      expect((await machine.admin.members('myproject')).map(({ peer_id: peer }) => peer)).not.toContain(
        mal.peerId,
      );
  });

  test('as one of many that admit machines of its own lets none of them in', async () => {
    const { mal, ns } = world;
    const sybils = Array.from({ length: 50 }, (_none, index) => new HandPeer(world.wire, 100 + index).peerId);
    const admits = sybils.map((machine) => forge({ k: 'admit', machine, label: 'pal', role: 'admin' }));
    await unharmed(world, () => mal.sayAll(mal.logFrame(ns, ...admits)));
    expect(new Set(world.warned())).toEqual(new Set(['refused a statement: not_admin']));
  });
});

const roster = (agents: number): Shared =>
  world.mal.roster(Array.from({ length: agents }, (_none, index) => ({ id: id(0x1000 + index) })));
const places = ['/ip4/198.51.100.1/tcp/1'];
const addresses = (...machines: Uint8Array[]): Shared => ({ k: 'addresses', machines });
/** Where a machine is, by its own word. */
const word = (by: { signer: Signer }, at = 1) => signWhereabouts(places, at, by.signer).bytes;
/** Said of another machine, and signed by this one. */
function falseWord(of: string): Uint8Array {
  const body = encode({ v: 1, machine: of, at: 2 ** 50, addresses: places });
  return encode({ body, sig: world.mal.signer.sign('patchcord whereabouts v1', body) });
}
const box = (shared: Shared, more: Parameters<HandPeer['box']>[2] = {}) =>
  world.mal.box(world.ns, shared, more);

/** What a member says to all that is not so, or not for it to say. */
const FRAMES: [what: string, frame: () => Frame][] = [
  ['a key that is another', () => ({ t: 'key', ns: world.ns, key: new Uint8Array(32).fill(3) })],
  [
    'a key of a namespace that it is not in',
    () => ({ t: 'key', ns: world.secretNs, key: new Uint8Array(32) }),
  ],
  ['a prekey of another machine', () => ({ t: 'prekey', prekey: world.out.prekey!.bytes })],
  ['a prekey of a sequence that is over', () => ({ t: 'prekey', prekey: world.mal.newPrekey(1).bytes })],
  ['a prekey that is none', () => ({ t: 'prekey', prekey: new Uint8Array(40) })],
  ['a box of the epoch before', () => box(roster(1), { epoch: 1 })],
  ['a box of an epoch to come', () => box(roster(1), { epoch: 99 })],
  ['a box under another key', () => box(roster(1), { key: new Uint8Array(32).fill(3) })],
  ['a box of another machine', () => box(roster(0), { from: world.laptop.peerId })],
  [
    'a box of another namespace',
    () => ({
      ...world.mal.box(world.otherNs, roster(1), { epoch: 3, key: world.mal.keys.get(world.ns)! }),
      ns: world.ns,
    }),
  ],
  ['a box for a namespace that it is not in', () => ({ ...box(roster(1)), ns: world.secretNs })],
  ['a box cut short', () => ({ ...box(roster(1)), box: box(roster(1)).box.subarray(0, -1) })],
  ['an empty box', () => ({ ...box(roster(1)), box: new Uint8Array(0) })],
  ['a roster of too many agents', () => box(roster(AGENTS_PER_MACHINE_MAX + 1))],
  ['a roster of a revision that is over', () => box(world.mal.roster([], 1))],
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  ['something else in a box', () => box({ k: 'orders', do: 'this' } as unknown as Shared)],
  ['addresses of who is no member', () => box(addresses(word(world.out), word(world.old)))],
  ['an address of another member, made up', () => box(addresses(falseWord(world.laptop.peerId)))],
  ['an address of this machine, made up', () => box(addresses(falseWord(world.desk.peerId)))],
  ['an old word of a member on where it is', () => box(addresses(word(world.laptop)))],
  ['an address that is cut short', () => box(addresses(word(world.mal).subarray(1)))],
  ['an address as long as a box', () => box(addresses(new Uint8Array(2_000)))],
  [
    'statements of a namespace that it is not in',
    () => ({ ...world.mal.logFrame(world.ns, forge({ k: 'release', agent: id(1) })), ns: world.secretNs }),
  ],
  [
    'a greeting in the middle',
    () => ({ t: 'hello', v: 1, boot: id(3), window_frames: 1, window_bytes: 2 ** 20 }),
  ],
  ['a want for a namespace that it is not in', () => ({ t: 'want', ns: world.secretNs })],
  ['a digest of namespaces that it is not in', () => digest(world.secretNs, 'f'.repeat(64))],
];

function digest(...list: string[]): Frame {
  const namespaces = list.map((ns) => ({ ns, log: new Uint8Array(32), roster: 9 }));
  return { t: 'digest', prekey: 1, namespaces };
}

describe('a frame of a member', () => {
  test.for(FRAMES)('with %s changes nothing', async ([, make]) => {
    world.mal.host(world.ns, [malParty]);
    await turn();
    const frame = make();
    const heard = world.mal.frames.length;
    await unharmed(world, () => world.mal.sayAll(frame));
    // It may be asked what it holds, and is told nothing of what it is not in.
    for (const { frame: told } of world.mal.frames.slice(heard))
      expect('ns' in told ? told.ns : world.ns).toBe(world.ns);
  });

  test('asking again and again is answered as often, and no more', async () => {
    const { mal, desk, ns } = world;
    const heard = mal.frames.length;
    const hashes = [...Array(64).keys()].map((number) => number.toString(16).padStart(64, '0'));
    await unharmed(world, () => {
      for (let count = 0; count < 100; count++) mal.say(desk.peerId, { t: 'heads', ns, hashes, ask: true });
    });
    const told = mal.frames.slice(heard).map(({ frame }) => frame.t);
    expect(told.filter((type) => type === 'log').length).toBe(100);
    expect(told.length).toBeLessThanOrEqual(300);
  });
});
