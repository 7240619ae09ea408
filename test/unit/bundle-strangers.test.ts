import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { importBundle, type ImportParts } from '../../daemon/bundle/import.ts';
import { BundleReader, BundleWriter, type BundleContent } from '../../protocol/bundle.ts';
import { sealEnvelope } from '../../protocol/envelope.ts';
import { readPrekey } from '../../protocol/prekey.ts';
import type { Signer } from '../../protocol/signing.ts';
import { exported, imported, piecesOf } from './bundle-world.ts';
import { HandPeer } from './hand-peer.ts';
import { id } from './postoffice-world.ts';
import { membersOf, pendingOf, refusal, rungOf, three, type Three } from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

/** Bundles of others than members, of other namespaces, and those that tell a machine that it is out. */

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

const contentsOf = (bytes: Uint8Array): BundleContent[] => new BundleReader().push(bytes);

function made(ns: string, signer: Signer, contents: readonly BundleContent[]): Buffer {
  const writer = new BundleWriter();
  const parts = [writer.start({ ns, from: signer.peerId, made_at: 1 })];
  for (const content of contents) parts.push(writer.item(content)!);
  return Buffer.concat([...parts, writer.end({ unsealed: 0, left_out: 0 }, signer)]);
}

async function carry(from: TestMachine, to: TestMachine) {
  const view = await imported(to, await exported(from));
  await turn();
  return view;
}

describe('a removal', () => {
  test('arrives by bundle, and the machine that is out is told so', async () => {
    const { team, desk, laptop, tower, ada, bob } = world;
    await team.say(ada, 'bob', 'before');
    await team.say(ada, 'cid', 'not by way of the laptop');
    const before = await exported(desk);
    await desk.admin.removeMember('myproject', 'laptop');
    await turn();
    expect(await rungOf(ada, 'before')).toBe('refused');
    await expect(carry(desk, laptop)).rejects.toThrow(/was removed from myproject by desk/);
    expect((await laptop.admin.namespaces())[0]).toMatchObject({ role: 'removed' });
    // And again, with a bundle from before as well.
    await expect(carry(desk, laptop)).rejects.toEqual(refusal('not_member'));
    await expect(imported(laptop, before)).rejects.toEqual(refusal('not_member'));
    await expect(laptop.bundles.export('myproject')).rejects.toEqual(refusal('not_member'));
    await expect(pendingOf(bob)).resolves.toEqual([]);
    expect(await laptop.kv.range({ from: 'mailbox-', to: 'mailbox-~' })).toEqual([]);
    await carry(desk, tower);
    expect(await membersOf(tower)).toEqual(['desk', 'tower']);
  });

  test('ends what the removed machine sent before the others heard of it', async () => {
    const { team, desk, laptop, tower, bob, cid } = world;
    await team.say(bob, 'cid', 'from the old days');
    const bytes = await exported(laptop);
    await desk.admin.removeMember('myproject', 'laptop');
    await carry(desk, tower);
    expect(await imported(tower, bytes)).toMatchObject({
      messages: { taken: 0, refused: 1 },
      refusals: { not_member: expect.any(Number) },
    });
    expect(await pendingOf(cid)).toEqual([]);
  });

  test('is undone by a bundle that tells of a new admission', async () => {
    const { team, desk, laptop, ada, bob } = world;
    await desk.admin.removeMember('myproject', 'laptop');
    await expect(carry(desk, laptop)).rejects.toEqual(refusal('not_member'));
    await team.mend(desk, laptop);
    await admit(desk, laptop);
    team.cut(desk, laptop);
    await team.say(ada, 'bob', 'back again');
    expect(await carry(desk, laptop)).toMatchObject({ messages: { taken: 1 } });
    expect(await pendingOf(bob)).toEqual(['back again']);
  });
});

describe('another namespace', () => {
  test('that this machine never joined is named, and nothing is taken', async () => {
    const { team, desk, laptop } = world;
    await desk.admin.createNamespace('secret');
    await team.open(desk, 'sec', 'secret');
    const bytes = await exported(desk, 'secret');
    await expect(imported(laptop, bytes)).rejects.toEqual(refusal('unknown_namespace'));
    await expect(imported(laptop, bytes)).rejects.toMatchObject({
      remedy: expect.stringContaining('join once'),
    });
    expect((await laptop.admin.namespaces()).map(({ namespace }) => namespace)).toEqual(['myproject']);
    await expect(laptop.bundles.export('secret')).rejects.toEqual(refusal('unknown_namespace'));
  });

  test('lends nothing to a bundle of this one', async () => {
    const { team, desk, laptop, ns } = world;
    await desk.admin.createNamespace('secret');
    await team.mend(desk, laptop);
    await admit(desk, laptop, 'secret');
    const sec = await team.open(desk, 'sec', 'secret');
    const tom = await team.open(laptop, 'tom', 'secret');
    await team.clock.advance(1_000);
    team.cut(desk, laptop);
    await team.say(sec, 'tom', 'hush');
    const secret = await exported(desk, 'secret');
    // A bundle of one namespace says nothing of another.
    const mine = contentsOf(await exported(desk));
    expect(mine.filter(({ t }) => t === 'mail')).toEqual([]);
    const mixed = made(ns, desk.signer, contentsOf(secret));
    const view = await imported(laptop, mixed);
    expect(view).toMatchObject({ namespace: 'myproject', messages: { taken: 0, refused: 1, held: 0 } });
    expect(view.statements).toMatchObject({ new: 0, known: 0 });
    expect(await pendingOf(tom)).toEqual([]);
    expect(await imported(laptop, secret)).toMatchObject({ messages: { taken: 1 } });
  });
});

describe('a stranger’s bundle', () => {
  test('gives no letter to an agent here, and no prekey', async () => {
    const { team, desk, laptop, ns } = world;
    const mal = new HandPeer(team.wire, 9);
    const contents = contentsOf(await exported(laptop));
    const prekeys = contents.flatMap((one) => (one.t === 'prekey' ? [readPrekey(one.prekey)] : []));
    const target = prekeys.find(({ machine }) => machine === laptop.peerId)!;
    const bobId = (await laptop.admin.agents())[0]!.id;
    const adaId = (await desk.admin.agents())[0]!.id;
    const letter = {
      k: 'message',
      id: id(1),
      seq: 1,
      from: { id: adaId, name: 'ada' },
      to: { id: bobId, name: 'bob' },
      content: 'evil',
      sent_at: 1,
    } as const;
    const envelope = sealEnvelope(ns, target, letter, {
      signer: mal.signer,
      randomBytes: systemRandom.bytes,
      bootSecret: new Uint8Array(32),
    });
    const view = await imported(
      laptop,
      made(ns, mal.signer, [
        { t: 'prekey', prekey: mal.newPrekey(5).bytes },
        { t: 'mail', envelope, withdraw: new Uint8Array(32) },
      ]),
    );
    expect(view).toMatchObject({
      prekeys: 0,
      messages: { taken: 0, refused: 1, held: 0 },
      refusals: { not_member: 1, peer_unreachable: 1 },
    });
    expect(await pendingOf(world.bob)).toEqual([]);
  });

  test('has nothing held for those who are no members', async () => {
    const { team, laptop, tower, desk, ns } = world;
    await team.say(world.ada, 'bob', 'for bob');
    const mail = contentsOf(await exported(desk)).filter(({ t }) => t === 'mail');
    await desk.admin.removeMember('myproject', 'laptop');
    await carry(desk, tower);
    const view = await imported(tower, made(ns, laptop.signer, mail));
    expect(view).toMatchObject({ messages: { held: 0, refused: 1 } });
  });
});

describe('a bundle that is too large', () => {
  test('counts up to the limit, and is read to its end, so that whoever sends it hears the answer', async () => {
    const { desk, ns } = world;
    const bytes = await exported(desk);
    const directory = {
      self: { peerId: desk.peerId },
      logs: new Map([[ns, await world.team.log(desk, ns)]]),
      changeLog: async (_ns: string, decide: (log: unknown) => void) => decide(directory.logs.get(ns)),
      assertMember: () => {},
      labelOf: () => 'desk',
    };
    const parts = { directory, postoffice: { carried: () => ({}) }, clock: world.team.clock };
    const reader = new BundleReader({ items: 4, sizeBytes: 1 << 30 });
    let sentBytes = 0;
    async function* sent(): AsyncGenerator<Uint8Array> {
      for await (const piece of piecesOf(bytes, 100)) {
        yield piece;
        sentBytes += piece.length;
      }
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const view = await importBundle(parts as unknown as ImportParts, sent(), reader);
    expect(view).toMatchObject({ ending: 'too_large', statements: { new: 0, known: 3, refused: 0 } });
    expect(sentBytes).toBe(bytes.length);
  });
});
