import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../mcp/messenger.ts';
import { readAddress } from '../../protocol/envelope.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import { envelopeHash, signHeldReceipt } from '../../protocol/held-receipt.ts';
import { OFFER_HASHES_MAX, RETRY_BASE_MS, RETRY_MAX_MS } from '../../protocol/limits.ts';
import { signReceipt } from '../../protocol/receipt.ts';
import type { Signer } from '../../protocol/signing.ts';
import { HandPeer } from './hand-peer.ts';
import { pendingOf, rungOf, Team } from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

/** Ada's desk and bob's laptop are as they should be; the only mailbox between them says what the test wants. */
let team: Team;
let ns: string;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;
let bob: Session;
let mal: HandPeer;

beforeEach(async () => {
  team = new Team();
  desk = await team.start(1, 'desk');
  laptop = await team.start(2, 'laptop');
  ({ id: ns } = await desk.admin.createNamespace('myproject'));
  await admit(desk, laptop);
  mal = await team.hand(9, desk);
  ada = await team.open(desk, 'ada');
  bob = await team.open(laptop, 'bob');
  await bob.confirm();
  await turn();
});
afterEach(async () => {
  await team.stopAll();
});

type Parcel = FrameOf<'parcel'>;

/** Parcels for the laptop that the desk left at the mailbox. */
const deposits = () =>
  mal.frames.flatMap(({ from, frame }) =>
    from === desk.peerId && frame.t === 'parcel' && readAddress(frame.envelope).to === laptop.peerId
      ? [frame]
      : [],
  );
const heldReceipt = (envelope: Uint8Array, more: { ns?: string; signer?: Signer } = {}) =>
  signHeldReceipt({ ns: more.ns ?? ns, envelope: envelopeHash(envelope) }, more.signer ?? mal.signer);
const rung = (content: string) => rungOf(ada, content);
const recalled = async (content: string) => {
  const { messages } = await ada.recall({ limit: 100, from_agent: '', thread_id: '' });
  return messages.find((one) => one.content === content)!;
};

/** Ada sends while bob is away; what the mailbox was given. */
async function deposited(...contents: string[]): Promise<Parcel[]> {
  team.cut(desk, laptop);
  const before = deposits().length;
  for (const content of contents) await team.say(ada, 'bob', content);
  return deposits().slice(before);
}

async function hold(...parcels: Parcel[]): Promise<void> {
  for (const { n, envelope } of parcels) mal.say(desk.peerId, { t: 'ack', n, held: heldReceipt(envelope) });
  await turn();
}

/** What the laptop answers to a parcel of the mailbox. */
function passOn(envelope: Uint8Array, n: number) {
  mal.say(laptop.peerId, { t: 'parcel', n, envelope });
  return mal.answer(n);
}

describe('a mailbox that says what is not so', () => {
  test('that is honest is believed', async () => {
    const [parcel] = await deposited('one');
    expect(await rung('one')).toBe('queued');
    await hold(parcel!);
    expect(await recalled('one')).toMatchObject({ status: 'held', held_by: ['stranger'] });
    await team.clock.advance(10 * RETRY_MAX_MS);
    expect(deposits()).toHaveLength(1);
  });

  const forgedReceipt = async (state: 'delivered' | 'read') => {
    const { message_id: id } = await recalled('one');
    const agents = [...(await desk.admin.agents()), ...(await laptop.admin.agents())];
    const idOf = (agent: string) => agents.find((one) => one.agent === agent)!.id;
    const parties = { sender: idOf('ada@myproject'), recipient: idOf('bob@myproject') };
    return signReceipt({ ns, id, ...parties, state, at: 1 }, mal.signer);
  };

  test.for<[what: string, ack: (parcel: Parcel, other: Parcel) => Promise<object> | object]>([
    ['with no receipt at all', () => ({})],
    ['with bytes that are no receipt', () => ({ held: new Uint8Array(50) })],
    ['with a receipt for another envelope', (_one, other) => ({ held: heldReceipt(other.envelope) })],
    [
      'with a receipt of another member',
      ({ envelope }) => ({ held: heldReceipt(envelope, { signer: laptop.signer }) }),
    ],
    [
      'with a receipt of nobody that is known',
      ({ envelope }) => ({ held: heldReceipt(envelope, { signer: new HandPeer(team.wire, 7).signer }) }),
    ],
    [
      'with a receipt of another namespace',
      ({ envelope }) => ({ held: heldReceipt(envelope, { ns: 'f'.repeat(64) }) }),
    ],
    [
      'with a receipt with a bit flipped',
      ({ envelope }) => ({
        held: heldReceipt(envelope).map((byte, at, list) => (at === list.length - 1 ? byte ^ 1 : byte)),
      }),
    ],
    ['with a receipt that it was delivered', async () => ({ receipt: await forgedReceipt('delivered') })],
    ['with a receipt that it was read', async () => ({ receipt: await forgedReceipt('read') })],
  ])('%s is not believed, and is asked again', async ([, ack]) => {
    const [parcel, other] = await deposited('one', 'two');
    mal.say(desk.peerId, { t: 'ack', n: parcel!.n, ...(await ack(parcel!, other!)) });
    await turn();
    expect(await rung('one')).toBe('queued');
    expect((await recalled('one')).held_by).toBeUndefined();
    await team.clock.advance(2 * RETRY_BASE_MS);
    const again = deposits().filter(({ n }) => n === parcel!.n);
    expect(again.length).toBeGreaterThan(1);
    expect(again.every(({ envelope }) => Buffer.from(envelope).equals(parcel!.envelope))).toBe(true);
    await hold(parcel!);
    expect(await rung('one')).toBe('held');
  });

  test('never makes more of it than held, whatever it repeats', async () => {
    const [parcel] = await deposited('one');
    await hold(parcel!, parcel!, parcel!);
    mal.say(desk.peerId, { t: 'refuse', n: parcel!.n, code: 'unknown_recipient', retry: false });
    mal.say(desk.peerId, { t: 'ack', n: parcel!.n, receipt: await forgedReceipt('read') });
    await turn();
    expect(await recalled('one')).toMatchObject({ status: 'held', held_by: ['stranger'] });
    expect(desk.kv.keys('outbox/')).toHaveLength(1);
  });

  test('that repeats what another mailbox signed holds nothing', async () => {
    const [parcel] = await deposited('one');
    await hold(parcel!);
    const eve = await team.hand(8, desk);
    const { n } = await eve.heard('parcel');
    expect(n).toBe(parcel!.n);
    eve.say(desk.peerId, { t: 'ack', n, held: heldReceipt(parcel!.envelope) });
    await turn();
    expect((await recalled('one')).held_by).toEqual(['stranger']);
    expect(await rung('one')).toBe('held');
  });
});

describe('a mailbox that refuses', () => {
  test.for([
    ['for now', true],
    ['for good', false],
  ] as const)('%s leaves it queued, and is asked again', async ([, retry]) => {
    const [parcel] = await deposited('one');
    for (let time = 0; time < 3; time++) {
      const before = deposits().length;
      mal.say(desk.peerId, { t: 'refuse', n: parcel!.n, code: 'mailbox_full', retry });
      await turn();
      expect(await rung('one')).toBe('queued');
      await team.clock.advance(2 * RETRY_MAX_MS);
      expect(deposits().length).toBeGreaterThan(before);
    }
    await hold(parcel!);
    expect(await rung('one')).toBe('held');
  });

  test('does not keep what it refused from those who take it', async () => {
    team.cut(desk, laptop);
    const tower = await team.start(3, 'tower');
    await admit(desk, tower);
    await team.say(ada, 'bob', 'one');
    const [parcel] = deposits();
    mal.say(desk.peerId, { t: 'refuse', n: parcel!.n, code: 'mailbox_full', retry: true });
    await team.clock.advance(RETRY_MAX_MS);
    expect(await recalled('one')).toMatchObject({ status: 'held', held_by: ['tower'] });
  });

  test('and is removed is asked no more, though another namespace still links it', async () => {
    await desk.admin.createNamespace('other');
    await mal.join((await desk.admin.invite('other')).ticket);
    const [parcel] = await deposited('one');
    mal.say(desk.peerId, { t: 'refuse', n: parcel!.n, code: 'mailbox_full', retry: true });
    await turn();
    const before = deposits().length;
    await desk.admin.removeMember('myproject', mal.peerId);
    await team.clock.advance(2 * RETRY_MAX_MS);
    expect(deposits()).toHaveLength(before);
    expect(mal.network.linked.has(desk.peerId)).toBe(true);
  });

  test('and silence are no reason not to deliver', async () => {
    await deposited('one', 'two');
    await team.clock.advance(RETRY_MAX_MS);
    await team.mend(desk, laptop);
    await team.clock.advance(RETRY_MAX_MS);
    expect(await pendingOf(bob)).toEqual(['one', 'two']);
    expect(await rung('one')).toBe('delivered');
  });
});

describe('a mailbox that loses, repeats and delays', () => {
  test('what it drops is delivered when the two meet', async () => {
    await hold(...(await deposited('one', 'two')));
    await team.mend(desk, laptop);
    await team.clock.advance(RETRY_MAX_MS);
    expect(await pendingOf(bob)).toEqual(['one', 'two']);
    expect([await rung('one'), await rung('two')]).toEqual(['delivered', 'delivered']);
    expect(desk.kv.keys('outbox/')).toEqual([]);
  });

  test('what it passes on twice, and after it was delivered, is shown once', async () => {
    const parcels = await deposited('one', 'two');
    await hold(...parcels);
    let n = 2 ** 40;
    for (const { envelope } of [...parcels, ...parcels])
      expect(await passOn(envelope, ++n)).toEqual({ t: 'ack', n });
    expect(await pendingOf(bob)).toEqual(['one', 'two']);
    await bob.confirm();
    await team.mend(desk, laptop);
    await team.clock.advance(RETRY_MAX_MS);
    for (const { envelope } of parcels) expect(await passOn(envelope, ++n)).toEqual({ t: 'ack', n });
    await team.clock.advance(RETRY_MAX_MS);
    expect(await pendingOf(bob)).toEqual([]);
    expect([await rung('one'), await rung('two')]).toEqual(['read', 'read']);
    expect([...desk.kv.keys('outbox/'), ...laptop.kv.keys('outbox/')]).toEqual([]);
  });

  test('what it passes on out of order is shown in order', async () => {
    const parcels = await deposited('one', 'two', 'three');
    let n = 2 ** 40;
    for (const { envelope } of parcels.toReversed()) await passOn(envelope, ++n);
    const { pending } = await bob.inbox({ all_agents: false });
    expect(pending.map(({ content, late }) => [content, late])).toEqual([
      ['one', undefined],
      ['two', undefined],
      ['three', undefined],
    ]);
  });

  test('what it holds back for days does no harm when it comes', async () => {
    const [parcel] = await deposited('one');
    await hold(parcel!);
    await team.mend(desk, laptop);
    await team.clock.advance(RETRY_MAX_MS);
    expect(await pendingOf(bob)).toEqual(['one']);
    await bob.confirm();
    await team.clock.advance(2 * 24 * 3_600_000);
    expect(await passOn(parcel!.envelope, 2 ** 40)).toEqual({ t: 'ack', n: 2 ** 40 });
    await team.clock.advance(RETRY_MAX_MS);
    expect(await pendingOf(bob)).toEqual([]);
    expect(await rung('one')).toBe('read');
  });

  test('what it changed, or kept for another, is refused', async () => {
    const [parcel] = await deposited('one');
    const damaged = parcel!.envelope.map((byte, at, list) => (at === list.length >> 1 ? byte ^ 1 : byte));
    expect(await passOn(damaged, 2 ** 40)).toMatchObject({ t: 'refuse', retry: false });
    mal.say(desk.peerId, { t: 'parcel', n: 2 ** 40 + 1, envelope: parcel!.envelope });
    expect(await mal.answer(2 ** 40 + 1)).toMatchObject({ t: 'refuse' });
    expect(await pendingOf(bob)).toEqual([]);
    expect(await rung('one')).toBe('queued');
  });
});

describe('a mailbox that offers junk', () => {
  const hashes = (count: number) => Array.from({ length: count }, (_none, at) => new Uint8Array(32).fill(at));
  const takes = () => mal.all('take');

  test('is asked for it, and nothing else comes of it', async () => {
    const before = [...laptop.kv.keys('')];
    mal.say(laptop.peerId, { t: 'offer', ns, hashes: hashes(OFFER_HASHES_MAX) });
    await turn();
    expect(takes()).toMatchObject([{ ns, have: [] }]);
    expect(takes()[0]!.want).toHaveLength(OFFER_HASHES_MAX);
    await team.clock.advance(RETRY_MAX_MS);
    expect(takes()).toHaveLength(1);
    expect([...laptop.kv.keys('')]).toEqual(before);
  });

  test('is told which of them are there already', async () => {
    const [parcel] = await deposited('one');
    await passOn(parcel!.envelope, 2 ** 40);
    const junk = hashes(1);
    const known = envelopeHash(parcel!.envelope);
    mal.say(laptop.peerId, { t: 'offer', ns, hashes: [...junk, known] });
    await turn();
    expect(takes()).toEqual([{ t: 'take', ns, want: junk, have: [known] }]);
  });

  test('and sends it is refused for each', async () => {
    for (const [at, envelope] of [new Uint8Array(0), new Uint8Array(5_000).fill(0x81)].entries()) {
      expect(await passOn(envelope, 2 ** 40 + at)).toMatchObject({ t: 'refuse', retry: false });
    }
    expect(await pendingOf(bob)).toEqual([]);
    await team.say(ada, 'bob', 'still here');
    expect(await pendingOf(bob)).toEqual(['still here']);
  });
});

describe('a recipient that asks for what is not its own', () => {
  test('gets nothing, and takes nothing from others', async () => {
    const tower = await team.start(3, 'tower');
    await admit(desk, tower);
    team.cut(laptop, tower);
    await deposited('one');
    await team.clock.advance(RETRY_MAX_MS);
    expect(tower.kv.keys('mailbox-envelope/')).toHaveLength(1);
    const hash = Buffer.from(tower.kv.keys('mailbox-place/')[0]!.split('/')[2]!, 'hex');
    const before = mal.frames.length;
    mal.say(tower.peerId, { t: 'take', ns, want: [new Uint8Array(hash)], have: [] });
    mal.say(tower.peerId, { t: 'take', ns, want: [], have: [new Uint8Array(hash)] });
    mal.say(tower.peerId, { t: 'withdraw', secrets: [new Uint8Array(hash), new Uint8Array(32)] });
    await team.clock.advance(RETRY_MAX_MS);
    expect(
      mal.frames.slice(before).some(({ from, frame }) => from === tower.peerId && frame.t === 'parcel'),
    ).toBe(false);
    expect(tower.kv.keys('mailbox-envelope/')).toHaveLength(1);
  });
});
