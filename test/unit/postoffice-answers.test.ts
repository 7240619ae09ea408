import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Message } from '../../protocol/letter.ts';
import { RETRY_BASE_MS, RETRY_MAX_MS } from '../../protocol/limits.ts';
import { signReceipt, type Receipt } from '../../protocol/receipt.ts';
import { HandPeer } from './hand-peer.ts';
import { hostileWorld, id, type HostileWorld } from './postoffice-world.ts';
import { turn } from './wire.ts';

let world: HostileWorld;
beforeEach(async () => {
  world = await hostileWorld();
});
afterEach(async () => {
  await world.desk.stop();
});

function messageIn(envelope: Uint8Array): Message {
  const { letter } = world.mal.open(envelope);
  if (letter.k !== 'message') throw new Error(`a ${letter.k}`);
  return letter;
}

describe('an answer to a parcel of ours', () => {
  /** Sends one message of world.ada to world.mal and gives the parcel that arrived. */
  async function sent() {
    const result = world.ada.send({ to_agent: 'mal', content: 'dear mal', thread: '' });
    const parcel = await world.mal.heard('parcel');
    await world.clock.advance(100);
    const { message_id: messageId } = await result;
    return { parcel, messageId: messageId!, letter: messageIn(parcel.envelope) };
  }
  const rung = async (messageId: string) => {
    await turn();
    const { messages } = await world.ada.recall({ limit: 100, from_agent: '', thread_id: '' });
    return messages.find((one) => one.message_id === messageId)?.status;
  };
  const receiptFor = (
    letter: Message,
    more: Partial<Omit<Receipt, 'v' | 'by'>> = {},
    signer = world.mal.signer,
  ) =>
    signReceipt(
      {
        ns: world.ns,
        id: letter.id,
        sender: letter.from.id,
        recipient: letter.to.id,
        state: 'delivered',
        at: 1,
        ...more,
      },
      signer,
    );
  const parcels = () => world.mal.all('parcel').length;

  test('with the right receipt settles it', async () => {
    const { parcel, messageId, letter } = await sent();
    expect(await rung(messageId)).toBe('queued');
    world.mal.say(world.desk.peerId, { t: 'ack', n: parcel.n, receipt: receiptFor(letter) });
    expect(await rung(messageId)).toBe('delivered');
    await world.clock.advance(10 * RETRY_MAX_MS);
    expect(parcels()).toBe(1);
  });

  test.for<[what: string, receipt: (letter: Message) => Uint8Array | undefined]>([
    ['without a receipt', () => undefined],
    [
      'with a receipt of another machine',
      (letter) => receiptFor(letter, {}, new HandPeer(world.wire, 8).signer),
    ],
    ['with a receipt for another message', (letter) => receiptFor(letter, { id: id(0xdd) })],
    ['with a receipt of another namespace', (letter) => receiptFor(letter, { ns: world.secretNs })],
    ['with a receipt for another recipient', (letter) => receiptFor(letter, { recipient: id(0xdd) })],
    ['with a receipt for another sender', (letter) => receiptFor(letter, { sender: id(0xdd) })],
    ['with a receipt that it is queued', (letter) => receiptFor(letter, { state: 'queued' })],
    ['with a receipt that it is held', (letter) => receiptFor(letter, { state: 'held' })],
    ['with a receipt that it expired', (letter) => receiptFor(letter, { state: 'expired' })],
    [
      'with a broken receipt',
      (letter) => receiptFor(letter).map((byte, at, all) => (at === all.length - 1 ? byte ^ 1 : byte)),
    ],
    ['with bytes that are no receipt', () => new Uint8Array(50)],
  ])('%s is passed over, and the parcel comes again', async ([, receipt]) => {
    const { parcel, messageId, letter } = await sent();
    const bytes = receipt(letter);
    world.mal.say(world.desk.peerId, { t: 'ack', n: parcel.n, ...(bytes ? { receipt: bytes } : {}) });
    expect(await rung(messageId)).toBe('queued');
    await world.clock.advance(RETRY_BASE_MS);
    expect(parcels()).toBe(2);
    world.mal.say(world.desk.peerId, { t: 'ack', n: parcel.n, receipt: receiptFor(letter) });
    expect(await rung(messageId)).toBe('delivered');
  });

  test.for<[what: string, copies: number, outcome: string, notice: string]>([
    ['of the only copy says that it did not arrive', 1, 'unsent', 'it will not be shown'],
    // The machine may have taken the first one, and its answer was lost: nobody answers a sender that is out.
    ['of a later copy leaves open whether an earlier one arrived', 2, 'requested', 'may have been shown'],
  ])('that it is refused, %s', async ([, copies, outcome, notice]) => {
    const { parcel, messageId } = await sent();
    if (copies > 1) await world.clock.advance(RETRY_BASE_MS);
    expect(parcels()).toBe(copies);
    world.mal.say(world.desk.peerId, { t: 'refuse', n: parcel.n, code: 'not_member', retry: false });
    expect(await rung(messageId)).toBe('refused');
    const { pending } = await world.ada.inbox({ all_agents: false });
    expect(pending.map(({ content }) => content)).toEqual([expect.stringContaining(notice)]);
    expect(await world.ada.unsend({ message_id: messageId })).toMatchObject({ status: outcome });
  });

  test('by another machine is passed over', async () => {
    const { parcel, messageId, letter } = await sent();
    const eve = new HandPeer(world.wire, 8);
    await eve.start();
    await eve.join((await world.desk.admin.invite('myproject')).ticket);
    eve.say(world.desk.peerId, { t: 'ack', n: parcel.n, receipt: receiptFor(letter) });
    eve.say(world.desk.peerId, { t: 'refuse', n: parcel.n, code: 'unknown_recipient', retry: false });
    expect(await rung(messageId)).toBe('queued');
  });

  test('to a number that was never sent is passed over', async () => {
    const { messageId, letter, parcel } = await sent();
    world.mal.say(
      world.desk.peerId,
      { t: 'ack', n: parcel.n + 1, receipt: receiptFor(letter) },
      { t: 'refuse', n: 0, code: 'forbidden', retry: false },
    );
    expect(await rung(messageId)).toBe('queued');
  });

  test('that refuses for good ends it, and says so', async () => {
    const { parcel, messageId } = await sent();
    world.mal.say(world.desk.peerId, { t: 'refuse', n: parcel.n, code: 'unknown_recipient', retry: false });
    expect(await rung(messageId)).toBe('refused');
    await world.clock.advance(10 * RETRY_MAX_MS);
    expect(parcels()).toBe(1);
  });

  test('that refuses for good brings a notice, which may be put off and tells nobody', async () => {
    const { parcel } = await sent();
    world.mal.say(world.desk.peerId, { t: 'refuse', n: parcel.n, code: 'unknown_recipient', retry: false });
    await turn();
    const { pending } = await world.ada.inbox({ all_agents: false });
    expect(pending).toMatchObject([{ notice: 'refused', from: 'patchcord' }]);
    const call = { message_id: pending[0]!.message_id, content: '', defer: true, resolve: false };
    const refused = expect.objectContaining({ code: 'not_addressee' });
    await expect(world.ada.reply({ ...call, content: 'why?' })).rejects.toEqual(refused);
    await expect(world.ada.reply({ ...call, resolve: true })).rejects.toEqual(refused);
    await expect(world.ada.reply({ ...call, defer: false })).rejects.toEqual(refused);
    expect(await world.ada.reply(call)).toEqual({ status: 'deferred', to: 'patchcord' });
    const after = await world.ada.inbox({ all_agents: false });
    expect([after.pending, after.deferred.map(({ notice }) => notice)]).toEqual([[], ['refused']]);
    await world.clock.advance(RETRY_MAX_MS);
    expect(world.desk.kv.keys('outbox/')).toEqual([]);
    expect(parcels()).toBe(1);
  });

  test('that refuses for now brings it again', async () => {
    const { parcel, messageId, letter } = await sent();
    for (let time = 0; time < 3; time++) {
      const before = parcels();
      world.mal.say(world.desk.peerId, { t: 'refuse', n: parcel.n, code: 'mailbox_full', retry: true });
      await turn();
      await world.clock.advance(RETRY_MAX_MS);
      expect(parcels()).toBeGreaterThan(before);
    }
    world.mal.say(world.desk.peerId, { t: 'ack', n: parcel.n, receipt: receiptFor(letter) });
    expect(await rung(messageId)).toBe('delivered');
  });

  test('that it was read, or unsent, is believed', async () => {
    const { parcel, messageId, letter } = await sent();
    world.mal.say(world.desk.peerId, {
      t: 'ack',
      n: parcel.n,
      receipt: receiptFor(letter, { state: 'read' }),
    });
    expect(await rung(messageId)).toBe('read');
  });

  test('receipts of whoever is not the home of the recipient change nothing', async () => {
    const { messageId, letter } = await sent();
    const eve = new HandPeer(world.wire, 8);
    await eve.start();
    await eve.join((await world.desk.admin.invite('myproject')).ticket);
    const forged = [receiptFor(letter, { state: 'read' }, eve.signer)];
    eve.say(world.desk.peerId, {
      t: 'parcel',
      n: 4,
      envelope: world.sealed({ k: 'receipts', receipts: forged }, {}, eve.signer),
    });
    expect(await eve.answer(4)).toEqual({ t: 'ack', n: 4 });
    expect(await rung(messageId)).toBe('queued');
    const read = [receiptFor(letter, { state: 'read' })];
    expect(await world.answerTo(world.sealed({ k: 'receipts', receipts: read }), 5)).toEqual({
      t: 'ack',
      n: 5,
    });
    expect(await rung(messageId)).toBe('read');
  });

  test('nothing is sent while there is no link, and everything from the lowest number after', async () => {
    const first = await sent();
    world.wire.cut(world.desk.peerId, world.mal.peerId);
    for (const content of ['two', 'three']) await world.ada.send({ to_agent: 'mal', content, thread: '' });
    await world.clock.advance(RETRY_MAX_MS);
    expect(parcels()).toBe(1);
    world.wire.mend(world.desk.peerId, world.mal.peerId);
    await turn();
    const contents = world.mal.all('parcel').map(({ envelope }) => messageIn(envelope).content);
    expect(contents).toEqual(['dear mal', 'dear mal', 'two', 'three']);
    expect(world.mal.all('parcel')[1]!.n).toBe(first.parcel.n);
  });

  test('a message that was taken back before it left never leaves', async () => {
    world.wire.cut(world.desk.peerId, world.mal.peerId);
    const { message_id: messageId } = await world.ada.send({
      to_agent: 'mal',
      content: 'too hasty',
      thread: '',
    });
    expect(await world.ada.unsend({ message_id: messageId! })).toMatchObject({ status: 'unsent' });
    world.wire.mend(world.desk.peerId, world.mal.peerId);
    await turn();
    expect(world.mal.all('parcel').map(({ envelope }) => world.mal.open(envelope).letter.k)).toEqual([
      'void',
    ]);
  });

  test('one that may have left is asked back, and answered by what the other machine says', async () => {
    const { messageId, letter } = await sent();
    const unsending = world.ada.unsend({ message_id: messageId });
    const parcel = await world.mal.heard(
      'parcel',
      ({ envelope }) => world.mal.open(envelope).letter.k === 'void',
    );
    world.mal.say(world.desk.peerId, {
      t: 'ack',
      n: parcel.n,
      receipt: receiptFor(letter, { state: 'read' }),
    });
    expect(await unsending).toMatchObject({ status: 'already_read' });
    expect(await rung(messageId)).toBe('read');
  });

  test('one that is not answered in time is requested', async () => {
    const { messageId } = await sent();
    const unsending = world.ada.unsend({ message_id: messageId });
    await world.mal.heard('parcel', ({ envelope }) => world.mal.open(envelope).letter.k === 'void');
    await world.clock.advance(5_000);
    expect(await unsending).toMatchObject({ status: 'requested' });
  });
});
