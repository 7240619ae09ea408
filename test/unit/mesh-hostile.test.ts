import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import type { Session } from '../../mcp/messenger.ts';
import { sealEnvelope } from '../../protocol/envelope.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import { envelopeHash, signHeldReceipt } from '../../protocol/held-receipt.ts';
import { RETRY_MAX_MS } from '../../protocol/limits.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import type { HandPeer } from './hand-peer.ts';
import { id } from './postoffice-world.ts';
import { rungOf, Team } from './team.ts';
import { turn, type TestMachine } from './wire.ts';

/** Members that carry envelopes for others, and claim what is not so. */
let team: Team;
let desk: TestMachine;
let ns: string;
afterEach(async () => {
  await team.stopAll();
});

const stranger = signerFromSeed(new Uint8Array(32).fill(77));
const heldReceipt = (by: Signer, envelope: Uint8Array) =>
  new Uint8Array(signHeldReceipt({ ns, envelope: envelopeHash(envelope) }, by));
type Parcel = FrameOf<'parcel'>;

describe('a member that was asked to carry an envelope', () => {
  let ada: Session;
  let mal: HandPeer;
  let bob: HandPeer;
  let tower: HandPeer;
  beforeEach(async () => {
    team = new Team();
    desk = await team.start(1, 'desk');
    ({ id: ns } = await desk.admin.createNamespace('myproject'));
    [mal, bob, tower] = [await team.hand(9), await team.hand(8), await team.hand(7)];
    for (const [peer, label] of [
      [mal, 'mal'],
      [bob, 'laptop'],
      [tower, 'tower'],
    ] as const)
      await peer.join((await desk.admin.invite('myproject')).ticket, { label });
    bob.host(ns, [{ id: id(5), name: 'bob' }]);
    ada = await team.open(desk, 'ada');
    team.cut(desk, bob);
    team.cut(desk, tower);
    await turn();
  });

  /** What ada's message is called when mal has answered all that it was given. */
  async function rungAfter(answer: (parcel: Parcel) => Uint8Array | undefined) {
    const sent = await team.say(ada, 'bob', 'hello');
    expect(sent).toMatchObject({ status: 'sent' });
    for (const parcel of mal.all('parcel')) {
      const held = answer(parcel);
      mal.say(desk.peerId, { t: 'ack', n: parcel.n, ...(held && { held }) });
    }
    await turn();
    await team.clock.advance(100);
    expect(mal.all('parcel').length).toBeGreaterThan(0);
    return rungOf(ada, 'hello');
  }

  test.each<[what: string, held: (parcel: Parcel) => Uint8Array | undefined]>([
    ['nothing', () => undefined],
    ['what a stranger signed', ({ envelope }) => heldReceipt(stranger, envelope)],
    [
      'what the recipient signed, who is not to be a mailbox',
      ({ envelope }) => heldReceipt(bob.signer, envelope),
    ],
    ['a receipt of another envelope', () => heldReceipt(tower.signer, new Uint8Array(9))],
    ['noise', () => new Uint8Array(9)],
  ])('does not make it held by %s', async (_what, held) => {
    expect(await rungAfter(held)).toBe('queued');
  });

  test('does not make its sender the holder by giving it back', async () => {
    const sent = await team.say(ada, 'bob', 'hello');
    expect(sent).toMatchObject({ status: 'sent' });
    const parcel = mal.all('parcel')[0]!;
    mal.say(desk.peerId, { ...parcel, n: 999 });
    const given = await mal.answer(999);
    expect(given).toMatchObject({ t: 'ack', held: expect.any(Uint8Array) });
    if (given.t === 'ack') mal.say(desk.peerId, { t: 'ack', n: parcel.n, held: given.held });
    await team.clock.advance(100);
    expect(await rungOf(ada, 'hello')).toBe('queued');
  });

  test('may say that another member has it, and that one is named', async () => {
    expect(await rungAfter(({ envelope }) => heldReceipt(tower.signer, envelope))).toBe('held');
    const { messages } = await ada.recall({ limit: 9, from_agent: '', thread_id: '' });
    expect(messages.find(({ content }) => content === 'hello')?.held_by).toEqual(['tower']);
    // And is not asked again, as if it had said nothing.
    const before = mal.all('parcel').length;
    await team.clock.advance(5 * RETRY_MAX_MS);
    expect(mal.all('parcel').length).toBe(before);
  });
});

describe('an envelope on its way', () => {
  let peers: HandPeer[];
  /** Linked with the desk, and nearer to `far` than it is. */
  let mal: HandPeer;
  let far: HandPeer;
  beforeEach(async () => {
    team = new Team(4);
    desk = await team.start(1, 'desk');
    ({ id: ns } = await desk.admin.createNamespace('myproject'));
    peers = [];
    // Seven members, three a row: the desk is in the first, the far one in the second and another column.
    for (let number = 1; number <= 6; number++) peers.push(await team.hand(10 + number, desk));
    [mal, far] = [peers[0]!, peers[3]!];
    for (const peer of peers) if (peer !== mal) team.cut(desk, peer);
    await team.clock.advance(100);
  });

  const kept = () => desk.kv.keys(`mailbox-place/${far.peerId}/`).length;

  function sealed(number: number): Uint8Array {
    const party = { id: id(1), name: 'mal' };
    const letter = { k: 'message', id: id(number), seq: number, from: party, to: party } as const;
    return sealEnvelope(
      ns,
      far.newPrekey(1),
      { ...letter, content: 'x', sent_at: 1 },
      { signer: mal.signer, randomBytes: systemRandom.bytes, bootSecret: new Uint8Array(32) },
    );
  }

  /** Leaves an envelope for the far member at the desk, which has nowhere to pass it on but back. */
  async function leave(n: number): Promise<Uint8Array> {
    const envelope = sealed(n);
    mal.say(desk.peerId, { t: 'parcel', n, envelope, withdraw: new Uint8Array(32).fill(n) });
    const answer = await mal.answer(n);
    expect(answer).toMatchObject({ t: 'ack', held: expect.any(Uint8Array) });
    await turn();
    return envelope;
  }

  const onward = () => mal.all('parcel').filter(({ n }) => n >= 2 ** 50);

  /** Moves on until the desk has tried to pass on so often; by less at a time than it waits for an answer. */
  async function tried(times: number): Promise<void> {
    for (let second = 0; onward().length < times && second < 100; second++) await team.clock.advance(1_000);
    expect(onward().length).toBe(times);
  }

  test('is kept here until a member has signed for it', async () => {
    const envelope = await leave(1);
    expect(kept()).toBe(1);
    const other = peers[5]!;
    const answers: ((n: number) => Parameters<HandPeer['say']>[1] | undefined)[] = [
      (n) => ({ t: 'ack', n }),
      (n) => ({ t: 'ack', n, held: heldReceipt(stranger, envelope) }),
      (n) => ({ t: 'ack', n, held: heldReceipt(desk.signer, envelope) }),
      (n) => ({ t: 'ack', n, held: heldReceipt(far.signer, envelope) }),
      (n) => ({ t: 'ack', n, held: heldReceipt(mal.signer, new Uint8Array(7)) }),
      (n) => ({ t: 'ack', n, held: new Uint8Array(7) }),
      (n) => ({ t: 'refuse', n, code: 'not_member', retry: false }),
      () => undefined,
    ];
    for (const [at, answer] of answers.entries()) {
      await tried(at + 1);
      const frame = answer(onward()[at]!.n);
      if (frame) mal.say(desk.peerId, frame);
      await team.clock.advance(100);
      expect(kept()).toBe(1);
    }
    await tried(answers.length + 1);
    // Its withdrawal goes with it, so that its sender can take it back wherever it is.
    expect(onward().at(-1)!.withdraw).toEqual(new Uint8Array(32).fill(1));
    mal.say(desk.peerId, { t: 'ack', n: onward().at(-1)!.n, held: heldReceipt(other.signer, envelope) });
    await team.clock.advance(100);
    expect(kept()).toBe(0);
  });

  test('is not answered for by a late answer to what was given up, and comes once more', async () => {
    const envelope = await leave(1);
    const first = onward()[0]!.n;
    await tried(2);
    expect(kept()).toBe(1);
    mal.say(desk.peerId, { t: 'ack', n: first, held: heldReceipt(mal.signer, envelope) });
    await team.clock.advance(100);
    expect(kept()).toBe(1);
    mal.say(desk.peerId, { t: 'ack', n: onward().at(-1)!.n, held: heldReceipt(mal.signer, envelope) });
    await team.clock.advance(100);
    expect(kept()).toBe(0);
  });

  test('is not said to be kept here while it is passed on: two that give it to each other both keep it', async () => {
    const envelope = await leave(1);
    expect(onward()).toHaveLength(1);
    mal.say(desk.peerId, { t: 'parcel', n: 5, envelope, withdraw: new Uint8Array(32).fill(1) });
    expect(await mal.answer(5)).toMatchObject({ t: 'refuse', retry: true });
    // When it is not passed on after all, it is kept as before.
    await team.clock.advance(5_000);
    mal.say(desk.peerId, { t: 'parcel', n: 6, envelope, withdraw: new Uint8Array(32).fill(1) });
    expect(await mal.answer(6)).toMatchObject({ t: 'ack', held: expect.any(Uint8Array) });
    expect(kept()).toBe(1);
  });

  test('is not given back by the way on which it came, and goes on when there is another', async () => {
    await leave(1);
    expect(kept()).toBe(1);
    const other = peers[2]!;
    await team.mend(desk, other);
    const envelope = sealed(2);
    mal.say(desk.peerId, { t: 'parcel', n: 2, envelope, withdraw: new Uint8Array(32).fill(2) });
    const given = await other.heard('parcel', (frame) => Buffer.from(frame.envelope).equals(envelope));
    other.say(desk.peerId, { t: 'ack', n: given.n, held: heldReceipt(other.signer, envelope) });
    // Whoever left it gets the signature of who has it, and nothing of it was stored here.
    const answer = await mal.answer(2);
    expect(answer).toEqual({ t: 'ack', n: 2, held: heldReceipt(other.signer, envelope) });
    expect(kept()).toBe(1);
  });
});
