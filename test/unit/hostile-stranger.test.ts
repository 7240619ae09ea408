import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { encode } from '../../protocol/codec.ts';
import { sealEnvelope } from '../../protocol/envelope.ts';
import { decodeFrameBody, type Frame } from '../../protocol/frame.ts';
import { joinCommitment } from '../../protocol/join-check.ts';
import type { Letter } from '../../protocol/letter.ts';
import { heads, statements } from '../../protocol/membership/log.ts';
import { readStatement, type SignedStatement } from '../../protocol/membership/statement.ts';
import { signReceipt } from '../../protocol/receipt.ts';
import { encodeJoin, formatTicket, type JoinAnswer, type JoinRequest } from '../../protocol/ticket.ts';
import type { HandPeer } from './hand-peer.ts';
import { circle, unharmed, type Circle } from './hostile-peer-world.ts';
import { id } from './postoffice-world.ts';
import { refusal } from './team.ts';
import { startMachine, turn } from './wire.ts';

/** What machines do that were removed, that never were members, or that invite to what is not theirs. */

let world: Circle;
beforeEach(async () => {
  world = await circle();
});
afterEach(async () => {
  await world.desk.stop();
  await world.laptop.stop();
});

/** An envelope of `peer` to the desk, whose prekey old was told too. */
function sealedBy(peer: HandPeer, letter: Letter): Uint8Array {
  return sealEnvelope(world.ns, world.old.prekeyOf(world.desk.peerId), letter, {
    signer: peer.signer,
    randomBytes: systemRandom.bytes,
    bootSecret: new Uint8Array(32).fill(1),
  });
}
const lettersOf = (): Letter[] => {
  const parties = { from: world.oldParty, to: world.adaParty };
  const about = { id: id(0x71), sender: world.adaParty.id, recipient: world.oldParty.id };
  const signed = signReceipt({ ns: world.ns, ...about, state: 'read', at: 1 }, world.old.signer);
  return [
    { k: 'message', id: id(0x70), seq: 1, content: 'x', sent_at: 1, ...parties },
    { k: 'void', id: id(0x70), seq: 1, ...parties },
    { k: 'unsend', id: id(0x70), ...parties },
    { k: 'receipts', receipts: [signed] },
  ];
};

/** What a removed machine can still make with what it had: the log up to then, and the key of that time. */
const FRAMES: [what: string, frame: (peer: HandPeer) => Frame][] = [
  [
    'a claim from when it was in',
    (peer) => peer.logFrame(world.ns, peer.forge(world.ns, { k: 'claim', agent: id(0x72), name: 'late' })),
  ],
  [
    'a claim backdated to when it was in',
    (peer) => {
      const signed = peer.forge(
        world.ns,
        { k: 'claim', agent: id(0x72), name: 'late' },
        { prev: beforeRemoval(peer) },
      );
      return peer.logFrame(world.ns, signed);
    },
  ],
  ['all statements that it has', (peer) => peer.logFrame(world.ns, ...statements(peer.logOf(world.ns)))],
  ['its heads', (peer) => ({ t: 'heads', ns: world.ns, hashes: heads(peer.logOf(world.ns)), ask: true })],
  ['a key', (peer) => ({ t: 'key', ns: world.ns, key: peer.keys.get(world.ns)! })],
  ['a roster', (peer) => peer.box(world.ns, peer.roster([{ id: id(0x72) }]), { epoch: 1 })],
  ['a roster of the epoch of now', (peer) => peer.box(world.ns, peer.roster([]), { epoch: 3 })],
  ['a want', () => ({ t: 'want', ns: world.ns })],
  [
    'a digest',
    () => ({ t: 'digest', prekey: 0, namespaces: [{ ns: world.ns, log: new Uint8Array(32), roster: 1 }] }),
  ],
  ['an acknowledgement', () => ({ t: 'ack', n: 1 })],
  ['a refusal', () => ({ t: 'refuse', n: 1, code: 'forbidden', retry: false })],
];

/** What nobody had said yet when that machine was removed. */
function beforeRemoval(peer: HandPeer): string[] {
  const removal = statements(peer.logOf(world.ns)).find(
    ({ statement }) => statement.k === 'remove' && statement.machine === peer.peerId,
  );
  return removal && 'prev' in removal.statement ? removal.statement.prev : heads(peer.logOf(world.ns));
}

/** What a machine is told of the namespace that is new to it, by the types of the frames. */
function listen(peer: HandPeer): () => string[] {
  const { ns } = world;
  const known = new Set(statements(peer.logOf(ns)).map(({ hash }) => hash));
  const since = peer.frames.length;
  const isNews = ({ frame }: { frame: Frame }): boolean => {
    if (frame.t === 'digest') return frame.namespaces.some((one) => one.ns === ns);
    if (!('ns' in frame) || frame.ns !== ns) return false;
    // It may be told again that it was removed.
    return frame.t !== 'log' || frame.statements.some((bytes) => !known.has(readStatement(bytes).hash));
  };
  return () =>
    peer.frames
      .slice(since)
      .filter(isNews)
      .map(({ frame }) => frame.t);
}

describe('a machine that was removed, with a link for another namespace', () => {
  test.for(FRAMES)('tells %s, and is not heard', async ([, make]) => {
    const { old } = world;
    const frame = make(old);
    const news = listen(old);
    await unharmed(world, () => old.sayAll(frame));
    expect(news()).toEqual([]);
  });

  test.for([0, 1, 2, 3])('sends a parcel (%i) and is refused', async (index) => {
    const { old, desk } = world;
    const envelope = sealedBy(old, lettersOf()[index]!);
    await unharmed(world, async () => {
      old.say(desk.peerId, { t: 'parcel', n: 3, envelope });
      expect(await old.answer(3)).toEqual({ t: 'refuse', n: 3, code: 'not_member', retry: false });
    });
  });

  test('hears nothing more of the namespace', async () => {
    const { old, desk, clock } = world;
    const heard = old.frames.length;
    const news = listen(old);
    await desk.admin.addAgent('new@myproject');
    await desk.messenger.open({ agent: 'new@myproject', client: 'x' });
    await desk.admin.removeMember('myproject', world.mal.peerId);
    await clock.advance(60_000);
    expect(old.frames.length).toBeGreaterThan(heard);
    expect(news()).toEqual([]);
  });
});

describe('a machine that was removed, past the door', () => {
  test.for(FRAMES)('tells %s, and is not heard', async ([, make]) => {
    const { gone } = world;
    const frame = make(gone);
    const heard = gone.frames.length;
    await unharmed(world, () => {
      for (const machine of [world.desk, world.laptop]) gone.slip(machine.peerId, frame);
    });
    expect(gone.frames).toHaveLength(heard);
  });

  test.for([0, 1, 2, 3])('sends a parcel (%i) and is refused', async (index) => {
    const { gone, desk } = world;
    const envelope = sealedBy(gone, lettersOf()[index]!);
    await unharmed(world, async () => {
      gone.slip(desk.peerId, { t: 'parcel', n: 3, envelope });
      await turn();
      expect(world.warned()).toEqual(['refused a parcel: not_member']);
    });
  });

  test('tells a prekey, and it is not kept', async () => {
    const { gone, desk } = world;
    const kept = desk.kv.keys('prekey/').length;
    await unharmed(world, () => gone.slip(desk.peerId, { t: 'prekey', prekey: gone.newPrekey(2).bytes }));
    expect(desk.kv.keys('prekey/')).toHaveLength(kept);
  });
});

describe('a stranger past the door', () => {
  test('tells a prekey, and it is not kept', async () => {
    const { out, desk } = world;
    await unharmed(world, () => out.slip(desk.peerId, { t: 'prekey', prekey: out.newPrekey(2).bytes }));
    expect(out.frames).toEqual([]);
  });

  test('asks for what it has heard of, and is not answered', async () => {
    const { out, desk, ns } = world;
    const frames: Frame[] = [
      { t: 'want', ns },
      { t: 'heads', ns, hashes: [ns], ask: true },
      { t: 'digest', prekey: 1, namespaces: [{ ns, log: new Uint8Array(32), roster: 1 }] },
      { t: 'key', ns, key: new Uint8Array(32) },
    ];
    await unharmed(world, () => {
      for (const frame of frames) out.slip(desk.peerId, frame);
    });
    expect(out.frames).toEqual([]);
  });
});

const standing = (known: string[], offer?: Uint8Array[]): JoinRequest => ({
  v: 1,
  k: 'standing',
  ns: world.ns,
  known,
  ...(offer && { offer }),
});
const join = (more: object = {}): JoinRequest => ({
  v: 1,
  k: 'join',
  ns: world.ns,
  label: 'x',
  proof: new Uint8Array(32),
  ...more,
});

/** Requests outside of links, of a machine that has no ticket, and how they are refused. */
const REQUESTS: [what: string, peer: () => HandPeer, request: () => JoinRequest, code: string][] = [
  ['a stranger that joins without a proof', () => world.out, () => join(), 'ticket_refused'],
  ['one that was removed and joins without a proof', () => world.gone, () => join(), 'ticket_refused'],
  [
    'a stranger that begins a check without a proof',
    () => world.out,
    () => join({ commit: joinCommitment(new Uint8Array(32)) }),
    'ticket_refused',
  ],
  [
    'a stranger that opens a commitment it never made',
    () => world.out,
    () => ({ v: 1, k: 'reveal', ns: world.ns, nonce: new Uint8Array(32) }),
    'ticket_refused',
  ],
  ['a stranger that asks where it stands', () => world.out, () => standing([world.ns]), 'not_member'],
  [
    'a stranger that offers statements by which it is one',
    () => world.out,
    () => standing([world.ns], [foreign({ k: 'admit', machine: world.out.peerId }).bytes]),
    'not_member',
  ],
  [
    'one that was removed and asks for a namespace that it never was in',
    () => world.gone,
    () => ({ ...standing([world.ns]), ns: world.secretNs }),
    'not_member',
  ],
];

/** A statement by a machine that has no say. */
function foreign(more: object): SignedStatement {
  const body = { label: 'x', role: 'admin', ...more };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return world.gone.forge(world.ns, body as never, { prev: beforeRemoval(world.gone) });
}

describe('outside of links', () => {
  test.for(REQUESTS)('%s is refused', async ([, peer, request, code]) => {
    const answer = await unharmed(world, () => peer().ask(world.desk.peerId, request()));
    expect(answer).toEqual({ k: 'refused', code });
  });

  test.for<[what: string, offer: () => Uint8Array[]]>([
    ['junk', () => [new Uint8Array(0), new Uint8Array(100), encode('x')]],
    ['its own admission by itself', () => [foreign({ k: 'admit', machine: world.gone.peerId }).bytes]],
    ['a removal of the admin', () => [removalOf(world.desk.peerId).bytes]],
    ['what everybody has', () => statements(world.gone.logOf(world.ns)).map(({ bytes }) => bytes)],
  ])('one that was removed shows %s, and stays removed', async ([, offer]) => {
    const { gone, desk } = world;
    const answer = await unharmed(world, () => gone.ask(desk.peerId, standing([world.ns], offer())));
    expect(answer.k).toBe('standing');
    expect((await desk.admin.members('myproject')).map(({ peer_id: peer }) => peer)).not.toContain(
      gone.peerId,
    );
  });

  test('one that was removed learns of its removal, and of nothing after it', async () => {
    const { gone, old, desk, ns } = world;
    await desk.admin.addAgent('after@myproject');
    await turn();
    const told = await unharmed(world, () => old.ask(desk.peerId, standing([ns])));
    const list = (told.k === 'standing' ? told.statements : []).map((bytes) => readStatement(bytes));
    const last = list.at(-1)!.statement;
    expect(last).toMatchObject({ k: 'remove', machine: old.peerId });
    const names = list.map(({ statement }) => (statement.k === 'claim' ? statement.name : ''));
    expect(names).not.toContain('after');
    expect(list.some(({ statement }) => statement.k === 'remove' && statement.machine === gone.peerId)).toBe(
      false,
    );
  });

  test('what is no request is refused', async () => {
    for (const bytes of [new Uint8Array(0), encode({ k: 'standing' }), encodeJoin({ k: 'pending' })]) {
      const answer = await world.out.network.requestJoin(world.desk.peerId, [], bytes);
      expect(Buffer.from(answer).includes('ticket_refused')).toBe(true);
    }
  });
});

function removalOf(machine: string): SignedStatement {
  return world.gone.forge(world.ns, { k: 'remove', machine }, { prev: beforeRemoval(world.gone) });
}

/** A ticket by which a machine is led to mal; it answers what the test wants. */
function lure(ns: string, answer: () => JoinAnswer): string {
  world.mal.onJoin = () => encodeJoin(answer());
  return formatTicket({
    ns,
    peer: world.mal.peerId,
    addresses: ['/ip4/127.0.0.1/tcp/1'],
    secret: new Uint8Array(16),
    expires_at: world.clock.now() + 60_000,
  });
}

describe('an inviter that is none', () => {
  const log = () => statements(world.mal.logOf(world.ns)).map(({ bytes }) => bytes);
  const admitted = (list: Uint8Array[]): JoinAnswer => ({ k: 'admitted', statements: list, machines: [] });

  test.for<[what: string, answer: () => JoinAnswer]>([
    ['with nothing', () => admitted([])],
    ['with junk', () => admitted([new Uint8Array(9), encode('x')])],
    ['without the genesis', () => admitted(log().slice(1))],
    ['with a log in which the joiner is not admitted', () => admitted(log())],
    [
      'with an admission of its own making',
      () => {
        const forged = world.mal.forge(world.ns, {
          k: 'admit',
          machine: tower,
          label: 'tower',
          role: 'member',
        });
        return admitted([...log(), forged.bytes]);
      },
    ],
    ['with a nonce that nobody asked for', () => ({ k: 'check', nonce: new Uint8Array(32) })],
    ['with where it stands', () => ({ k: 'standing', statements: log(), known: [world.ns] })],
    ['to wait', () => ({ k: 'pending' })],
  ])('answers %s: the joiner is in no namespace after it', async ([, answer]) => {
    const machine = await startMachine(world.wire, { seed: 3, label: 'tower', clock: world.clock });
    tower = machine.peerId;
    await unharmed(world, async () => {
      await expect(machine.admin.join(lure(world.ns, answer))).rejects.toEqual(refusal('ticket_refused'));
    });
    expect(await machine.admin.namespaces()).toEqual([]);
    expect(machine.kv.keys('statement/')).toEqual([]);
    expect(machine.kv.keys('namespace-key/')).toEqual([]);
    await machine.stop();
  });
  let tower: string;

  test('answers with bytes that are none, and the join fails by name', async () => {
    const machine = await startMachine(world.wire, { seed: 3, label: 'tower', clock: world.clock });
    const ticket = lure(world.ns, () => ({ k: 'pending' }));
    world.mal.onJoin = () => new Uint8Array(0);
    await expect(machine.admin.join(ticket)).rejects.toEqual(refusal('frame_malformed'));
    expect(await machine.admin.namespaces()).toEqual([]);
    await machine.stop();
  });

  test('answers once, and with junk when it is asked for the rest: nothing is left of it', async () => {
    const machine = await startMachine(world.wire, { seed: 3, label: 'tower', clock: world.clock });
    const ticket = lure(world.ns, () => admitted(log()));
    const first = world.mal.onJoin;
    let asked = 0;
    world.mal.onJoin = (...request) => ((asked += 1) === 1 ? first(...request) : new Uint8Array(0));
    await expect(machine.admin.join(ticket)).rejects.toEqual(refusal('frame_malformed'));
    expect(await machine.admin.namespaces()).toEqual([]);
    expect(machine.kv.keys('statement/')).toEqual([]);
    await machine.stop();
  });

  test('keeps a joiner busy with answers without end, up to a bound', async () => {
    const machine = await startMachine(world.wire, { seed: 3, label: 'tower', clock: world.clock });
    let asked = 0;
    const ticket = lure(world.ns, () => {
      asked += 1;
      return asked === 1 ? admitted(log()) : { k: 'standing', statements: log(), known: ['0'.repeat(64)] };
    });
    await expect(machine.admin.join(ticket)).rejects.toEqual(refusal('ticket_refused'));
    expect(asked).toBeLessThanOrEqual(101);
    await machine.stop();
  });
});

const bytes = (length: number) => new Uint8Array(length);
const NS = 'a'.repeat(64);
const hashes = (count: number) =>
  Array.from({ length: count }, (_none, index) => index.toString(16).padStart(64, '0'));

const EMPTY = { ns: NS, log: bytes(32), roster: 0 };

/** Frames that the link itself does not take: it ends with them. */
const MALFORMED: [what: string, frame: object, code: string][] = [
  [
    'heads with more hashes than it may name',
    { t: 'heads', ns: NS, hashes: hashes(65), ask: true },
    'frame_malformed',
  ],
  ['heads with none', { t: 'heads', ns: NS, hashes: [], ask: true }, 'frame_malformed'],
  [
    'heads with a key hash of another length',
    { t: 'heads', ns: NS, hashes: [NS], ask: true, key: bytes(31) },
    'frame_malformed',
  ],
  ['a log of no statements', { t: 'log', ns: NS, statements: [], more: false }, 'frame_malformed'],
  [
    'a log of too many',
    { t: 'log', ns: NS, statements: Array(1_001).fill(bytes(1)), more: false },
    'frame_malformed',
  ],
  ['a log of the first form', { t: 'log', ns: NS, statements: [bytes(1)] }, 'frame_malformed'],
  ['a key of another length', { t: 'key', ns: NS, key: bytes(16) }, 'frame_malformed'],
  ['a box of epoch 0', { t: 'shared', ns: NS, epoch: 0, box: bytes(9) }, 'frame_malformed'],
  ['a roster in the open', { t: 'roster', ns: NS, revision: 1, roster: {} }, 'frame_unknown'],
  ['addresses in the open', { t: 'addresses', ns: NS, machines: [] }, 'frame_unknown'],
  [
    'a digest of too many namespaces',
    { t: 'digest', prekey: 0, namespaces: Array.from({ length: 1_001 }, () => EMPTY) },
    'frame_malformed',
  ],
  ['a refusal with an unknown code', { t: 'refuse', n: 1, code: 'because', retry: false }, 'frame_malformed'],
  [
    'a refusal with the name of a method',
    { t: 'refuse', n: 1, code: 'toString', retry: false },
    'frame_malformed',
  ],
  ['an acknowledgement of nothing', { t: 'ack' }, 'frame_malformed'],
  ['a parcel of a negative number', { t: 'parcel', n: -1, envelope: bytes(1) }, 'frame_malformed'],
  ['a field that is none', { t: 'want', ns: NS, please: true }, 'frame_malformed'],
  ['a namespace that is none', { t: 'want', ns: '../../etc' }, 'frame_malformed'],
];

describe('a frame that is none', () => {
  test.for(MALFORMED)('with %s is refused', ([, frame, code]) => {
    expect(() => decodeFrameBody(encode(frame))).toThrow(expect.objectContaining({ code }));
  });
});
