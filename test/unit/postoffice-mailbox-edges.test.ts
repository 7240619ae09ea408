import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readAddress } from '../../protocol/envelope.ts';
import { envelopeHash, signHeldReceipt } from '../../protocol/held-receipt.ts';
import type { Letter } from '../../protocol/letter.ts';
import { RETENTION_MS, RETRY_MAX_MS } from '../../protocol/limits.ts';
import type { MessageView } from '../../protocol/views.ts';
import { HandPeer } from './hand-peer.ts';
import { hostileWorld, id } from './postoffice-world.ts';
import { peeked, pendingOf, rungOf, three, type Three } from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

let all: Three;
beforeEach(async () => {
  all = await three();
});
afterEach(async () => {
  await all.team.stopAll();
});

async function recalled(content: string): Promise<MessageView> {
  const { messages } = await all.ada.recall({ limit: 100, from_agent: '', thread_id: '' });
  return messages.find((one) => one.content === content)!;
}
async function laptopOn(): Promise<void> {
  all.laptop = await all.team.again(all.laptop);
  all.bob = await all.team.open(all.laptop, 'bob');
}

describe('what a mailbox may have', () => {
  test('is not said to be taken back before its recipient says so', async () => {
    const { team } = all;
    await team.stop(all.laptop);
    for (const content of ['one', 'two']) await team.say(all.ada, 'bob', content);
    const { message_id: messageId } = await recalled('one');
    expect(await all.ada.unsend({ message_id: messageId })).toMatchObject({ status: 'requested' });
    expect(await rungOf(all.ada, 'one')).toBe('held');
    await team.stop(all.desk);
    await laptopOn();
    expect(await pendingOf(all.bob)).toEqual(['two']);
    all.desk = await team.again(all.desk);
    all.ada = await team.open(all.desk, 'ada');
    await team.clock.advance(60_000);
    expect(await rungOf(all.ada, 'one')).toBe('unsent');
  });

  test('is asked back as well when it has not said that it has it', async () => {
    const { team, desk, laptop } = all;
    await team.stop(all.tower);
    const mal = await team.hand(9, desk);
    team.cut(desk, laptop);
    await team.say(all.ada, 'bob', 'one');
    const [parcel] = mal.all('parcel');
    const { message_id: messageId } = await recalled('one');
    expect(await all.ada.unsend({ message_id: messageId })).toMatchObject({ status: 'requested' });
    mal.say(laptop.peerId, { t: 'parcel', n: 2 ** 40, envelope: parcel!.envelope });
    expect(await mal.answer(2 ** 40)).toMatchObject({ t: 'ack' });
    expect(await rungOf(all.ada, 'one')).toBe('queued');
  });

  test(
    'is withdrawn when it expires: it is not shown after its sender was told',
    { timeout: 60_000 },
    async () => {
      const { team } = all;
      await team.stop(all.laptop);
      await team.say(all.ada, 'bob', 'old');
      await team.clock.advance(RETENTION_MS + 20 * 60_000);
      expect(await rungOf(all.ada, 'old')).toBe('expired');
      expect(all.tower.kv.keys('mailbox-envelope/')).toEqual([]);
      await laptopOn();
      await team.clock.advance(60_000);
      expect(await peeked(all.laptop, 'bob')).toEqual([]);
    },
  );
});

test('a taking-back is answered at once by a letter that comes before the answer to it', async () => {
  await all.team.say(all.ada, 'bob', 'one');
  const { message_id: messageId } = await recalled('one');
  await all.bob.inbox({ all_agents: false });
  const reading = all.bob.confirm();
  let status: string | undefined;
  void all.ada.unsend({ message_id: messageId }).then((result) => ({ status } = result));
  await reading;
  await turn();
  await turn();
  expect([status, await rungOf(all.ada, 'one')]).toEqual(['already_read', 'read']);
});

test('what is passed on again and again does not let the outbox grow', async () => {
  const { team, desk, laptop, tower } = all;
  await team.stop(tower);
  const mal = await team.hand(9, desk);
  team.cut(desk, laptop);
  await team.say(all.ada, 'bob', 'one');
  const [parcel] = mal.all('parcel');
  for (let n = 0; n < 50; n++) {
    mal.say(laptop.peerId, { t: 'parcel', n: 2 ** 40 + n, envelope: parcel!.envelope });
    expect(await mal.answer(2 ** 40 + n)).toMatchObject({ t: 'ack' });
  }
  expect(laptop.kv.keys('outbox/')).toHaveLength(1);
});

test.for<[kind: 'message' | 'unsend', told: number]>([
  ['message', 1],
  ['unsend', 0],
])('a %s that is refused for good each time it is passed on is told of %i times', async ([kind, told]) => {
  const world = await hostileWorld();
  const eve = new HandPeer(world.wire, 8);
  await eve.start();
  await eve.join((await world.desk.admin.invite('myproject')).ticket);
  const nobody = { id: id(0xdd), name: 'nobody' };
  const message = world.message(1, { to: nobody });
  const letter: Letter =
    kind === 'message' ? message : { k: 'unsend', id: message.id, from: message.from, to: nobody };
  for (let n = 0; n < 5; n++) {
    eve.say(world.desk.peerId, { t: 'parcel', n: 2 ** 40 + n, envelope: world.sealed(letter) });
    expect(await eve.answer(2 ** 40 + n)).toMatchObject({ t: 'refuse', code: 'unknown_recipient' });
  }
  expect(world.desk.kv.keys('outbox/')).toHaveLength(told);
  await world.desk.stop();
});

test('a mailbox that is full for some is given what waits for others', async () => {
  const { team, desk, ns } = all;
  await team.stop(all.tower);
  await team.stop(all.laptop);
  const machines: TestMachine[] = [];
  const names = ['dan', 'eve', 'fay'];
  for (const [at, name] of names.entries()) {
    const machine = await team.start(11 + at, name);
    await admit(desk, machine);
    await team.open(machine, name);
    machines.push(machine);
  }
  const mal = await team.hand(9, desk);
  const full = new Set(machines.slice(0, 2).map(({ peerId }) => peerId));
  for (const machine of machines) await team.stop(machine);
  for (const name of names) await team.say(all.ada, name, `to ${name}`);
  const answer = (parcel: { n: number; envelope: Uint8Array }): void => {
    const { n, envelope } = parcel;
    const held = signHeldReceipt({ ns, envelope: envelopeHash(envelope) }, mal.signer);
    if (!full.has(readAddress(envelope).to)) mal.say(desk.peerId, { t: 'ack', n, held });
    else mal.say(desk.peerId, { t: 'refuse', n, code: 'mailbox_full', retry: true });
  };
  let answered = 0;
  const pass = async (rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      const parcels = mal.all('parcel').slice(answered);
      answered += parcels.length;
      for (const parcel of parcels) answer(parcel);
      await team.clock.advance(RETRY_MAX_MS);
    }
  };
  await pass(5);
  expect(await rungOf(all.ada, 'to fay')).toBe('held');
  full.clear();
  await pass(5);
  expect(await Promise.all(names.map((name) => rungOf(all.ada, `to ${name}`)))).toEqual([
    'held',
    'held',
    'held',
  ]);
});

test('a mailbox that is full is passed over for one that has room, and asked again later', async () => {
  const { team, desk, laptop, tower } = all;
  await team.stop(tower);
  const peers: HandPeer[] = [];
  for (const seed of [21, 22, 23, 24]) peers.push(await team.hand(seed, desk));
  team.cut(desk, laptop);
  const answer = async (full: (peer: HandPeer) => boolean) => {
    for (const peer of peers) {
      for (const { n, envelope } of peer.all('parcel')) {
        const held = signHeldReceipt({ ns: all.ns, envelope: envelopeHash(envelope) }, peer.signer);
        if (full(peer)) peer.say(desk.peerId, { t: 'refuse', n, code: 'mailbox_full', retry: true });
        else peer.say(desk.peerId, { t: 'ack', n, held });
      }
    }
    await turn();
  };
  await team.say(all.ada, 'bob', 'one');
  const chosen = peers.filter((peer) => peer.all('parcel').length > 0);
  expect(chosen).toHaveLength(3);
  await answer((peer) => chosen.includes(peer));
  const fourth = peers.find((peer) => !chosen.includes(peer))!;
  expect(fourth.all('parcel')).toHaveLength(1);
  expect(await rungOf(all.ada, 'one')).toBe('queued');
  await answer((peer) => chosen.includes(peer));
  expect(await rungOf(all.ada, 'one')).toBe('held');
  const asked = () => chosen.map((peer) => peer.all('parcel').length);
  const before = asked();
  await team.clock.advance(RETRY_MAX_MS);
  expect(asked()).toEqual(before.map((count) => count + 1));
});

test('a prekey that a machine learns is told to those that its owner has no link with', async () => {
  const { team, desk, tower } = all;
  const attic = await team.start(4, 'attic');
  team.cut(desk, attic);
  await desk.admin.promote('myproject', 'tower');
  await turn();
  await admit(tower, attic);
  await team.open(attic, 'dan');
  await team.stop(attic);
  expect((await team.say(all.ada, 'dan', 'hello')).receipts).toMatchObject([{ state: 'held' }]);
});
