import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BundleReader, BundleWriter, type BundleContent } from '../../protocol/bundle.ts';
import type { BundleImportView } from '../../protocol/bundle-view.ts';
import { readAddress } from '../../protocol/envelope.ts';
import { MAILBOX_RETENTION_MS, PREKEY_STALE_MS, PREKEY_VALID_MS } from '../../protocol/limits.ts';
import { exported, imported, itemStarts } from './bundle-world.ts';
import { agentsOf, membersOf, pendingOf, rungOf, three, type Three } from './team.ts';
import { turn, type TestMachine } from './wire.ts';

/** Whole machines that never meet after they have joined: everything goes by bundles. */

let world: Three;
beforeEach(async () => {
  world = await three();
  const { team, desk, laptop, tower } = world;
  team.cut(desk, laptop);
  team.cut(desk, tower);
  team.cut(laptop, tower);
  await turn();
});
afterEach(async () => world.team.stopAll());

function fieldOf(content: BundleContent): Uint8Array {
  if (content.t === 'statement') return content.statement;
  return content.t === 'prekey' ? content.prekey : content.envelope;
}

/** One bundle from one machine to another. */
async function carry(from: TestMachine, to: TestMachine): Promise<BundleImportView> {
  const view = await imported(to, await exported(from));
  await turn();
  return view;
}

const NOTHING = { taken: 0, known: 0, refused: 0, held: 0 };
/** The store of a machine, to see whether anything has changed. */
const kvOf = async (machine: TestMachine): Promise<string[]> =>
  (await machine.kv.range({ from: '', to: '\x7f' })).map(
    ([key, value]) => `${key} ${Buffer.from(value).toString('hex')}`,
  );
const queuedFor = async (machine: TestMachine, other: TestMachine): Promise<number> =>
  (await machine.admin.status()).links.find(({ peer_id }) => peer_id === other.peerId)!.queued;

describe('between two machines', () => {
  test('a message goes with one bundle, and its receipts with those back', async () => {
    const { team, desk, laptop, ada, bob } = world;
    await team.say(ada, 'bob', 'by stick');
    const there = await carry(desk, laptop);
    expect(there).toMatchObject({ ending: 'whole', from: 'desk', namespace: 'myproject', damaged: 0 });
    expect(there).toMatchObject({ messages: { ...NOTHING, taken: 1 }, refusals: {} });
    // Nobody has signed for it before the way back.
    expect(await rungOf(ada, 'by stick')).toBe('queued');

    const back = await carry(laptop, desk);
    expect(back).toMatchObject({ messages: NOTHING, receipts: { new: 1, known: 0 } });
    expect(await rungOf(ada, 'by stick')).toBe('delivered');
    expect(await queuedFor(desk, laptop)).toBe(0);

    expect(await pendingOf(bob)).toEqual(['by stick']);
    await bob.confirm();
    expect(await carry(laptop, desk)).toMatchObject({ receipts: { new: 1, known: 1 } });
    expect(await rungOf(ada, 'by stick')).toBe('read');
  });

  test('order holds, in both directions at once', async () => {
    const { team, desk, laptop, ada, bob } = world;
    for (const content of ['one', 'two', 'three']) await team.say(ada, 'bob', content);
    await team.say(bob, 'ada', 'hello from the island');
    const [out, back] = [await exported(desk), await exported(laptop)];
    await imported(laptop, out);
    await imported(desk, back);
    await turn();
    expect(await pendingOf(bob)).toEqual(['one', 'two', 'three']);
    expect(await pendingOf(ada)).toEqual(['hello from the island']);
  });

  test('an export changes nothing and can be repeated', async () => {
    const { team, desk, laptop, ada, bob } = world;
    await team.say(ada, 'bob', 'once');
    const before = await kvOf(desk);
    const [first, second] = [await exported(desk), await exported(desk)];
    expect(await kvOf(desk)).toEqual(before);
    await imported(laptop, first);
    // Sealed anew, and still the same message.
    expect(await imported(laptop, second)).toMatchObject({ messages: { ...NOTHING, known: 1 } });
    expect(await pendingOf(bob)).toEqual(['once']);
  });

  test('the same bundle twice changes nothing', async () => {
    const { team, desk, laptop, ada } = world;
    for (const content of ['one', 'two']) await team.say(ada, 'bob', content);
    const { message_id: messageId } = await team.say(ada, 'bob', 'never mind');
    const early = await exported(desk);
    await Promise.all([ada.unsend({ message_id: messageId! }), team.clock.advance(10_000)]);
    const bundles = [early, await exported(desk)];
    for (const bytes of bundles) await imported(laptop, bytes);
    await turn();
    const before = await kvOf(laptop);
    for (const bytes of [...bundles, ...bundles.toReversed()]) {
      const view = await imported(laptop, bytes);
      expect(view.messages).toEqual({ ...NOTHING, known: 3 });
      expect(view.statements).toMatchObject({ new: 0, refused: 0 });
      expect(view.prekeys).toBe(0);
    }
    await turn();
    expect(await kvOf(laptop)).toEqual(before);

    const back = await exported(laptop);
    await imported(desk, back);
    await turn();
    const settled = await kvOf(desk);
    await imported(desk, back);
    await turn();
    expect(await kvOf(desk)).toEqual(settled);
  });

  test('what went into a bundle can only be asked back', async () => {
    const { team, desk, laptop, ada, bob } = world;
    const { message_id: messageId } = await team.say(ada, 'bob', 'too hasty');
    const bytes = await exported(desk);
    const [answer] = await Promise.all([ada.unsend({ message_id: messageId! }), team.clock.advance(10_000)]);
    expect(answer.status).toBe('requested');
    await imported(laptop, bytes);
    expect(await carry(desk, laptop)).toMatchObject({ messages: { taken: 1 } });
    expect(await pendingOf(bob)).toEqual([]);
    await carry(laptop, desk);
    expect(await rungOf(ada, 'too hasty')).toBe('unsent');
  });

  test('an agent that was added after they parted is known by the log', async () => {
    const { team, desk, laptop, ada } = world;
    const dan = await team.open(laptop, 'dan');
    await expect(team.say(ada, 'dan', 'who?')).rejects.toThrow(/No agent dan/);
    expect(await carry(laptop, desk)).toMatchObject({ statements: { new: 1, refused: 0 } });
    expect(await agentsOf(ada)).toContain('dan (away)');
    await team.say(ada, 'dan', 'welcome');
    await carry(desk, laptop);
    expect(await pendingOf(dan)).toEqual(['welcome']);
  });

  test('a network that comes back repeats nothing', async () => {
    const { team, desk, laptop, ada, bob } = world;
    await team.say(ada, 'bob', 'twice sent');
    await carry(desk, laptop);
    await team.mend(desk, laptop);
    await team.clock.advance(5_000);
    expect(await pendingOf(bob)).toEqual(['twice sent']);
    expect(await queuedFor(laptop, desk)).toBe(0);
    expect(await queuedFor(desk, laptop)).toBe(0);
    expect(await rungOf(ada, 'twice sent')).toBe('delivered');
  });

  test('an answer that a broken link lost is given again', async () => {
    const { team, desk, laptop, ada } = world;
    await team.say(ada, 'bob', 'half way');
    const kv = await exported(desk);
    await team.mend(desk, laptop);
    await team.clock.advance(1_000);
    expect(await rungOf(ada, 'half way')).toBe('delivered');
    expect(await queuedFor(laptop, desk)).toBe(0);
    team.cut(desk, laptop);
    expect(await imported(laptop, kv)).toMatchObject({ messages: { ...NOTHING, known: 1 } });
    expect(await queuedFor(laptop, desk)).toBe(1);
  });

  test('prekeys go along, so that mail can be sealed after weeks apart', async () => {
    const { team, desk, laptop, ada, bob } = world;
    await team.clock.advance(PREKEY_VALID_MS + PREKEY_STALE_MS + 1);
    await team.say(ada, 'bob', 'after a month');
    const reader = new BundleReader();
    expect(reader.push(await exported(desk)).filter(({ t }) => t === 'mail')).toEqual([]);
    expect(reader.end).toMatchObject({ unsealed: 1, left_out: 0 });
    expect(await carry(laptop, desk)).toMatchObject({ prekeys: 1 });
    expect(await carry(desk, laptop)).toMatchObject({ messages: { taken: 1 } });
    expect(await pendingOf(bob)).toEqual(['after a month']);
  });
});

describe('through a third machine', () => {
  test('mail and receipts reach machines that never meet', async () => {
    const { team, desk, laptop, tower, ada, bob } = world;
    await team.say(ada, 'bob', 'by way of the tower');
    expect(await carry(desk, tower)).toMatchObject({ messages: { ...NOTHING, held: 1 } });
    expect(await rungOf(ada, 'by way of the tower')).toBe('queued');
    expect(await carry(tower, laptop)).toMatchObject({ messages: { ...NOTHING, taken: 1 } });
    expect(await pendingOf(bob)).toEqual(['by way of the tower']);
    await bob.confirm();
    expect(await carry(laptop, tower)).toMatchObject({ messages: { ...NOTHING, held: 2 } });
    expect(await carry(tower, desk)).toMatchObject({ receipts: { new: 2 } });
    expect(await rungOf(ada, 'by way of the tower')).toBe('read');
  });

  test('which keeps one copy of a letter, however often it is exported', async () => {
    const { team, desk, laptop, tower, ada, bob } = world;
    await team.say(ada, 'bob', 'again');
    await carry(desk, tower);
    expect(await carry(desk, tower)).toMatchObject({ messages: { ...NOTHING, known: 1 } });
    await team.again(desk);
    expect(await carry(desk, tower)).toMatchObject({ messages: { ...NOTHING, known: 1 } });
    expect(await carry(tower, laptop)).toMatchObject({ messages: { ...NOTHING, taken: 1 } });
    expect(await pendingOf(bob)).toEqual(['again']);
  });

  test('whose bundle brings nobody its own letters', async () => {
    const { team, desk, laptop, tower, ada } = world;
    await team.say(ada, 'bob', 'round trip');
    await carry(desk, tower);
    const before = await kvOf(desk);
    expect(await carry(tower, desk)).toMatchObject({ messages: { ...NOTHING, known: 1 } });
    expect(await imported(desk, await exported(desk))).toMatchObject({ messages: { ...NOTHING, known: 1 } });
    expect((await kvOf(desk)).length).toBe(before.length);
    await carry(tower, laptop);
  });

  test('that meets the recipient on a link passes it on there', async () => {
    const { team, desk, laptop, tower, ada, bob } = world;
    await team.mend(laptop, tower);
    await team.say(ada, 'bob', 'stick, then wire');
    await carry(desk, tower);
    await team.clock.advance(1_000);
    expect(await pendingOf(bob)).toEqual(['stick, then wire']);
  });

  test('holds no more than a mailbox may, and lets go in time', async () => {
    const { team, desk, tower, ada } = world;
    await team.say(ada, 'bob', 'for a week');
    await carry(desk, tower);
    await team.clock.advance(MAILBOX_RETENTION_MS + 2 * 24 * 3_600_000);
    expect((await kvOf(tower)).filter((record) => record.startsWith('mailbox-envelope'))).toEqual([]);
  });

  test('learns neither content nor sender', async () => {
    const { team, desk, laptop, ada } = world;
    await team.say(ada, 'bob', 'nobody else’s business');
    const bytes = await exported(desk);
    expect(bytes.includes('business')).toBe(false);
    const mail = new BundleReader().push(bytes).filter((one) => one.t === 'mail');
    expect(mail.map(({ envelope }) => readAddress(envelope).to)).toEqual([laptop.peerId]);
    for (const { envelope } of mail) expect(Buffer.from(envelope).includes(desk.peerId)).toBe(false);
  });
});

describe('a bundle that is not as it was made', () => {
  test('counts as far as it goes when it was cut, and whole afterwards', async () => {
    const { team, desk, laptop, ada, bob } = world;
    for (const content of ['one', 'two', 'three']) await team.say(ada, 'bob', content);
    const bytes = await exported(desk);
    // Within the second of three letters.
    const cut = bytes.subarray(0, itemStarts(bytes).at(-3)! - 10);
    const view = await imported(laptop, cut);
    expect(view).toMatchObject({ ending: 'cut', messages: { ...NOTHING, taken: 1 } });
    expect(await pendingOf(bob)).toEqual(['one']);
    expect(await imported(laptop, bytes)).toMatchObject({
      ending: 'whole',
      messages: { ...NOTHING, taken: 2, known: 1 },
    });
  });

  test('shows nothing false with a flipped bit, wherever it is', async () => {
    const { team, desk, laptop, ada, bob } = world;
    for (const content of ['one', 'two']) await team.say(ada, 'bob', content);
    const bytes = await exported(desk);
    const from = itemStarts(bytes)[1]!;
    for (let at = from; at < bytes.length; at += 211) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      const view = await imported(laptop, flipped, 4_096);
      expect(view.ending).not.toBe('whole');
    }
    await team.clock.advance(60_000);
    expect((await pendingOf(bob)).toSorted()).toEqual(['one', 'two']);
    expect(await membersOf(laptop)).toEqual(['desk', 'laptop', 'tower']);
    expect(await imported(laptop, bytes)).toMatchObject({ ending: 'whole', messages: { known: 2 } });
  });

  test('gives nothing that somebody put a good check on', async () => {
    const { team, desk, laptop, ada, ns } = world;
    await team.say(ada, 'bob', 'genuine');
    const writer = new BundleWriter();
    const parts = [writer.start({ ns, from: desk.peerId, made_at: team.clock.now() })];
    for (const content of new BundleReader().push(await exported(desk))) {
      const field = fieldOf(content);
      field[field.length - 20]! ^= 1;
      parts.push(writer.item(content)!);
    }
    parts.push(writer.end({ unsealed: 0, left_out: 0 }, desk.signer));
    const before = await kvOf(laptop);
    const view = await imported(laptop, Buffer.concat(parts));
    expect(view).toMatchObject({ ending: 'whole', messages: { ...NOTHING, refused: 1 }, prekeys: 0 });
    expect(view.statements).toMatchObject({ new: 0, known: 0 });
    expect(view.statements.refused).toBeGreaterThan(3);
    expect(await kvOf(laptop)).toEqual(before);
  });
});
