import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { GAP_HOLD_MS } from '../../protocol/limits.ts';
import { verifyReceipt } from '../../protocol/receipt.ts';
import { HandPeer } from './hand-peer.ts';
import { hostileWorld, id, malParty, type HostileWorld } from './postoffice-world.ts';
import { startMachine, turn } from './wire.ts';

let world: HostileWorld;
beforeEach(async () => {
  world = await hostileWorld();
});
afterEach(async () => {
  await world.desk.stop();
});

const inbox = async () => (await world.desk.admin.peek('ada@myproject', 100)).pending;
const refused = (code: string, retry: boolean) => ({ t: 'refuse', n: 1, code, retry });

describe('a parcel', () => {
  test('of a member, to an agent that lives here, arrives', async () => {
    const answer = await world.answerTo(world.sealed(world.message(1)));
    const receipt = verifyReceipt('receipt' in answer ? answer.receipt! : new Uint8Array(0));
    expect(receipt).toMatchObject({
      by: world.desk.peerId,
      ns: world.ns,
      id: id(1),
      sender: malParty.id,
      recipient: world.adaParty.id,
      state: 'delivered',
    });
    expect(await inbox()).toMatchObject([
      { content: 'evil 1', from: 'mal@myproject', from_machine: 'stranger' },
    ]);
  });

  test.for<[what: string, envelope: () => Uint8Array, code: string, retry: boolean]>([
    [
      'from an agent that does not live there',
      () => world.sealed(world.message(1, { from: { id: id(0xf1), name: 'ghost' } })),
      'peer_unreachable',
      true,
    ],
    [
      'from its agent under another name',
      () => world.sealed(world.message(1, { from: { ...malParty, name: 'boss' } })),
      'peer_unreachable',
      true,
    ],
    [
      'from its agent under another id',
      () => world.sealed(world.message(1, { from: { ...malParty, id: id(0xf1) } })),
      'peer_unreachable',
      true,
    ],
    [
      'from an agent of this machine',
      () => world.sealed(world.message(1, { from: world.adaParty })),
      'peer_unreachable',
      true,
    ],
    [
      'to an agent that does not live here',
      () => world.sealed(world.message(1, { to: { id: id(0xf1), name: 'ada' } })),
      'unknown_recipient',
      false,
    ],
    ['to its own agent', () => world.sealed(world.message(1, { to: malParty })), 'unknown_recipient', false],
    [
      'to an agent of another namespace',
      () => world.sealed(world.message(1, { to: world.secParty })),
      'unknown_recipient',
      false,
    ],
    [
      'of a namespace that it is not in',
      () => world.sealed(world.message(1, { to: world.secParty }), { ns: world.secretNs }),
      'peer_unreachable',
      true,
    ],
    [
      'of a namespace that it is not in, to an agent of one that it is in',
      () => world.sealed(world.message(1), { ns: world.secretNs }),
      'peer_unreachable',
      true,
    ],
    [
      'of a namespace that nobody knows',
      () => world.sealed(world.message(1), { ns: 'f'.repeat(64) }),
      'not_member',
      false,
    ],
    [
      'for another machine',
      () => world.sealed(world.message(1), { to: world.mal.prekey! }),
      'envelope_invalid',
      false,
    ],
    [
      'signed by a machine that is no member',
      () => world.sealed(world.message(1), {}, new HandPeer(world.wire, 8).signer),
      'peer_unreachable',
      true,
    ],
    [
      'signed by this machine itself, from an agent of another',
      () => world.sealed(world.message(1), {}, world.desk.signer),
      'peer_unreachable',
      true,
    ],
    [
      'with its last bit flipped',
      // The last byte tells the prekey's sequence.
      () => world.sealed(world.message(1)).map((byte, at, all) => (at === all.length - 1 ? byte ^ 1 : byte)),
      'prekey_unknown',
      true,
    ],
    ['that is no envelope', () => new Uint8Array(100), 'envelope_invalid', false],
    ['that is empty', () => new Uint8Array(0), 'envelope_invalid', false],
    ['of nested arrays', () => new Uint8Array(200_000).fill(0x81), 'envelope_invalid', false],
    [
      'with a receipt that is none',
      () => world.sealed({ k: 'receipts', receipts: [new Uint8Array(10)] }),
      'frame_malformed',
      false,
    ],
    [
      'that takes back for an agent that does not live there',
      () => world.sealed({ k: 'unsend', id: id(1), from: world.adaParty, to: world.adaParty }),
      'peer_unreachable',
      true,
    ],
    [
      'that voids to an unknown agent',
      () => world.sealed({ k: 'void', id: id(1), seq: 1, from: malParty, to: malParty }),
      'unknown_recipient',
      false,
    ],
  ])('%s is refused', async ([, envelope, code, retry]) => {
    expect(await world.answerTo(envelope())).toEqual(refused(code, retry));
    expect(await inbox()).toEqual([]);
    expect((await world.desk.admin.peek('sec@secret', 10)).total).toBe(0);
  });

  test('sent again, under its number and others, is acknowledged and shown once', async () => {
    const envelope = world.sealed(world.message(1));
    for (const n of [1, 1, 2, 77]) expect(await world.answerTo(envelope, n)).toMatchObject({ t: 'ack', n });
    expect(await inbox()).toHaveLength(1);
    expect((await world.ada.inbox({ all_agents: false })).pending).toHaveLength(1);
    await world.ada.confirm();
    expect(await world.answerTo(envelope, 78)).toMatchObject({ t: 'ack' });
    expect(await inbox()).toEqual([]);
  });

  test('that comes before the claim of its sender is taken later', async () => {
    const late = { id: id(0xf7), name: 'late' };
    const envelope = world.sealed(world.message(1, { from: late }));
    expect(await world.answerTo(envelope)).toEqual(refused('peer_unreachable', true));
    world.announce([malParty, late]);
    expect(await world.answerTo(envelope, 2)).toMatchObject({ t: 'ack' });
    world.announce([malParty]);
    expect(await world.answerTo(world.sealed(world.message(2, { from: late, seq: 2 })), 3)).toMatchObject({
      t: 'refuse',
      retry: true,
    });
  });

  test('right behind the claim of its sender is taken', async () => {
    const late = { id: id(0xf7), name: 'late' };
    world.announce([late]);
    expect(await world.answerTo(world.sealed(world.message(1, { from: late })))).toMatchObject({ t: 'ack' });
  });

  test('ahead of a gap is held, and shown with what is missing when the gap is given up', async () => {
    expect(await world.answerTo(world.sealed(world.message(1, { seq: 3 })))).toMatchObject({ t: 'ack' });
    expect(await inbox()).toEqual([]);
    const waiting = world.ada.wait({ timeout_seconds: 300 });
    await world.clock.advance(GAP_HOLD_MS);
    expect((await waiting).message).toMatchObject({ content: 'evil 1', missing_before: 2 });
    await world.answerTo(world.sealed(world.message(2, { seq: 1 })), 2);
    expect(await inbox()).toMatchObject([{ content: 'evil 1' }, { content: 'evil 2', late: true }]);
  });
});

const eveParty = { id: id(0xe0), name: 'eve' };

/** A second member whose machine says what the test wants; eve lives on it. */
async function joinEve(seed = 8): Promise<HandPeer> {
  const eve = new HandPeer(world.wire, seed);
  await eve.start();
  await eve.join((await world.desk.admin.invite('myproject')).ticket);
  eve.host(world.ns, [eveParty]);
  await turn();
  return eve;
}

/** What the desk answers to an envelope that eve brings. */
function relayed(eve: HandPeer, envelope: Uint8Array, n = 1) {
  eve.say(world.desk.peerId, { t: 'parcel', n, envelope });
  return eve.answer(n);
}

/** What mal was told by letter: states of his messages, by id. */
async function toldMal(): Promise<[id: string, state: string][]> {
  await turn();
  return world.mal.all('parcel').flatMap(({ envelope }) => {
    const { letter } = world.mal.open(envelope);
    const receipts = letter.k === 'receipts' ? letter.receipts.map((bytes) => verifyReceipt(bytes)) : [];
    return receipts.map((receipt): [string, string] => {
      expect(receipt).toMatchObject({ by: world.desk.peerId, ns: world.ns, sender: malParty.id });
      return [receipt.id, receipt.state];
    });
  });
}

describe('a parcel that another member passes on', () => {
  test('is taken and acknowledged by nothing but its number; its sender is told by letter', async () => {
    const eve = await joinEve();
    expect(await relayed(eve, world.sealed(world.message(1)), 5)).toEqual({ t: 'ack', n: 5 });
    expect(await inbox()).toMatchObject([
      { content: 'evil 1', from: 'mal@myproject', from_peer_id: world.mal.peerId },
    ]);
    expect(await toldMal()).toEqual([[id(1), 'delivered']]);
    expect(eve.all('parcel')).toEqual([]);
  });

  test('waits for its sender with what it is told, when that one is away', async () => {
    const eve = await joinEve();
    world.wire.cut(world.desk.peerId, world.mal.peerId);
    const envelope = world.sealed(world.message(1));
    expect(await relayed(eve, envelope)).toEqual({ t: 'ack', n: 1 });
    expect(await toldMal()).toEqual([]);
    world.wire.mend(world.desk.peerId, world.mal.peerId);
    expect(await toldMal()).toEqual([[id(1), 'delivered']]);
  });

  test('is the same as what came from its own machine: shown once, whoever brings it how often', async () => {
    const eve = await joinEve();
    const envelope = world.sealed(world.message(1));
    expect(await world.answerTo(envelope)).toMatchObject({ t: 'ack' });
    for (const n of [1, 2, 3]) expect(await relayed(eve, envelope, n)).toEqual({ t: 'ack', n });
    expect((await inbox()).map(({ content }) => content)).toEqual(['evil 1']);
    expect((await toldMal()).every(([about, state]) => about === id(1) && state === 'delivered')).toBe(true);
    await world.ada.inbox({ all_agents: false });
    await world.ada.confirm();
    expect(await relayed(eve, envelope, 4)).toEqual({ t: 'ack', n: 4 });
    expect((await toldMal()).at(-1)).toEqual([id(1), 'read']);
    expect(await inbox()).toEqual([]);
  });

  test('takes back, and brings receipts, as if its own machine had come', async () => {
    const eve = await joinEve();
    await world.answerTo(world.sealed(world.message(1)));
    const unsend = { k: 'unsend' as const, id: id(1), from: malParty, to: world.adaParty };
    expect(await relayed(eve, world.sealed(unsend))).toEqual({ t: 'ack', n: 1 });
    expect(await inbox()).toEqual([]);
    expect(await toldMal()).toEqual([[id(1), 'unsent']]);
  });

  test.for<[what: string, envelope: (eve: HandPeer) => Uint8Array, code: string, retry: boolean]>([
    [
      'signed by a machine that is no member',
      () => world.sealed(world.message(1), {}, new HandPeer(world.wire, 7).signer),
      'peer_unreachable',
      true,
    ],
    [
      'of a namespace that its signer is not in',
      () => world.sealed(world.message(1, { to: world.secParty }), { ns: world.secretNs }),
      'peer_unreachable',
      true,
    ],
    [
      'of a namespace that its signer is not in, to an agent of the one that they share',
      () => world.sealed(world.message(1), { ns: world.secretNs }),
      'peer_unreachable',
      true,
    ],
    [
      'signed by the one that brings it, in the name of another',
      (eve) => world.sealed(world.message(1), {}, eve.signer),
      'peer_unreachable',
      true,
    ],
    [
      'signed by another, in the name of the one that brings it',
      () => world.sealed(world.message(1, { from: eveParty })),
      'peer_unreachable',
      true,
    ],
    [
      'that was sealed to another machine',
      () => world.sealed(world.message(1), { to: world.mal.prekey! }),
      'envelope_invalid',
      false,
    ],
    [
      'with its last bit flipped',
      () => world.sealed(world.message(1)).map((byte, at, all) => (at === all.length - 1 ? byte ^ 1 : byte)),
      'prekey_unknown',
      true,
    ],
    [
      'with a bit of its body flipped',
      () => world.sealed(world.message(1)).map((byte, at, all) => (at === all.length >> 1 ? byte ^ 1 : byte)),
      'envelope_invalid',
      false,
    ],
  ])('%s is refused, and nobody is told', async ([, envelope, code, retry]) => {
    const eve = await joinEve();
    expect(await relayed(eve, envelope(eve))).toEqual(refused(code, retry));
    expect(await inbox()).toEqual([]);
    expect((await world.desk.admin.peek('sec@secret', 10)).total).toBe(0);
    expect(await toldMal()).toEqual([]);
  });

  test('whose signer was removed is refused', async () => {
    const eve = await joinEve();
    const envelope = world.sealed(world.message(1));
    await world.desk.admin.removeMember('myproject', world.mal.peerId);
    await turn();
    expect(await relayed(eve, envelope)).toEqual(refused('not_member', false));
    expect(await inbox()).toEqual([]);
  });

  test('is refused for good to the one that brings it, and to its sender by letter', async () => {
    const eve = await joinEve();
    const envelope = world.sealed(world.message(1, { to: { id: id(0xf1), name: 'ada' } }));
    expect(await relayed(eve, envelope)).toEqual(refused('unknown_recipient', false));
    expect(await toldMal()).toEqual([[id(1), 'refused']]);
  });

  test("does not use up the sender's id, nor does its bringer get it", async () => {
    const eve = await joinEve();
    await world.answerTo(world.sealed(world.message(1)));
    const stolen = world.sealed(world.message(1, { from: eveParty, content: 'stolen id' }), {}, eve.signer);
    expect(await relayed(eve, stolen)).toMatchObject(refused('invalid_id', false));
    expect((await inbox()).map(({ content }) => content)).toEqual(['evil 1']);
  });

  test('that was sealed to a third machine is not opened, whatever it is', async () => {
    const eve = await joinEve();
    expect(await relayed(eve, world.sealed(world.message(1), { to: eve.prekey! }))).toMatchObject({
      t: 'refuse',
      code: 'envelope_invalid',
    });
    expect(await inbox()).toEqual([]);
  });
});

describe('a namespace that the peer is not in', () => {
  test('is never spoken of, whatever the peer asks', async () => {
    const { mal, desk, secretNs, secParty } = world;
    const told = () =>
      JSON.stringify(
        mal.frames.map(({ frame }) => frame),
        (_key, value: unknown) =>
          value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
      );
    mal.say(
      desk.peerId,
      { t: 'want', ns: secretNs },
      { t: 'heads', ns: secretNs, hashes: [secretNs], ask: true },
      { t: 'heads', ns: secretNs, hashes: ['f'.repeat(64)], ask: true },
      { t: 'digest', prekey: 0, namespaces: [{ ns: secretNs, log: new Uint8Array(32), roster: 0 }] },
    );
    await world.clock.advance(60_000);
    expect(mal.all('digest').length).toBeGreaterThan(0);
    for (const hidden of [secretNs, 'secret', 'sec@', secParty.id]) expect(told()).not.toContain(hidden);
    expect(mal.all('want')).toEqual([]);
  });
});

describe('a member that is no admin', () => {
  test('does not take over an agent of another machine by announcing or claiming its id', async () => {
    const laptop = await startMachine(world.wire, { seed: 2, label: 'laptop', clock: world.clock });
    await laptop.admin.join((await world.desk.admin.invite('myproject')).ticket);
    const bob = await laptop.messenger.open({ agent: 'bob@myproject', client: 'test' });
    await turn();
    const bobId = (await laptop.admin.agents())[0]!.id;
    const { mal, ns } = world;
    mal.sayAll(mal.logFrame(ns, mal.forge(ns, { k: 'claim', agent: bobId, name: 'bob2' })));
    mal.sayAll(mal.box(ns, mal.roster([malParty, { id: bobId }])));
    await world.answerTo(world.sealed(world.message(1)));
    await bob.send({ to_agent: 'ada', content: 'from bob', thread: '' });
    await turn();
    for (const { message_id: messageId, from } of (await world.ada.inbox({ all_agents: false })).pending) {
      const before = mal.all('parcel').length;
      const replying = world.ada.reply({
        message_id: messageId,
        content: `to ${from}`,
        defer: false,
        resolve: false,
      });
      await world.clock.advance(100);
      await replying;
      const parcels = mal.all('parcel').slice(before);
      const hasIt = parcels.some(({ envelope }) => mal.open(envelope).letter.k === 'message');
      expect([from, hasIt]).toEqual([from, from === 'mal@myproject']);
    }
    expect((await bob.inbox({ all_agents: false })).pending).toMatchObject([{ content: 'to bob@myproject' }]);
    await laptop.stop();
  });
});
