import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Letter } from '../../protocol/letter.ts';
import { RETENTION_MS } from '../../protocol/limits.ts';
import type { MessageView } from '../../protocol/views.ts';
import { HandPeer } from './hand-peer.ts';
import { hostileWorld, id } from './postoffice-world.ts';
import { peeked, pendingOf, rungOf, three, type Three } from './team.ts';
import { turn } from './wire.ts';

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

  test('is withdrawn when it expires: it is not shown after its sender was told', async () => {
    const { team } = all;
    await team.stop(all.laptop);
    await team.say(all.ada, 'bob', 'old');
    await team.clock.advance(RETENTION_MS + 20 * 60_000);
    expect(await rungOf(all.ada, 'old')).toBe('expired');
    expect(all.tower.kv.keys('mailbox-envelope/')).toEqual([]);
    await laptopOn();
    await team.clock.advance(60_000);
    expect(await peeked(all.laptop, 'bob')).toEqual([]);
  });
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
