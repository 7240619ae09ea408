import { encode } from '../../protocol/codec.ts';
import { sealEnvelope } from '../../protocol/envelope.ts';
import type { Frame } from '../../protocol/frame.ts';
import { newId } from '../../protocol/ids.ts';
import { heads, type NamespaceLog } from '../../protocol/membership/log.ts';
import { PREV_MAX, signStatement, type Chained } from '../../protocol/membership/statement.ts';
import { sealShared, type Shared } from '../../protocol/shared.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { directoryOn, logOn } from './disk.ts';
import type { SimNode } from './node.ts';
import type { SeededRandom } from './random.ts';
import type { World } from './world.ts';

/**
 * What `west` says beside what its machine says: it tries to look into the blue namespace, to write into it, to
 * speak for agents that live elsewhere, and to decide in the red one, where it is a member and no admin. All of it
 * has to come to nothing; whether it did, the ledger and the last reckoning tell.
 */
export async function meddle(world: World, random: SeededRandom): Promise<void> {
  const { west, north, south, center } = world.nodes;
  const target = random.pick([north, south, center]);
  const red = await logOn(west, world.redId);
  const frames = [
    ...forgedMail(world, target, random),
    ...(red ? forgedStatements(world, red, random) : []),
    ...(await forgedSecrets(world, target, random)),
    ...questions(world),
  ];
  west.network?.send(target.signer.peerId, frames);
}

/** One of each namespace, by machine. */
const AGENTS_AT: Record<string, readonly [blue: string, red: string]> = {
  north: ['blue-eva-quill', 'ana-quill'],
  south: ['blue-fay-quill', 'red-cleo-quill'],
  center: ['blue-joy-quill', 'red-ida-quill'],
};

/** Mail into a foreign namespace, to an agent of one, and of an agent that lives elsewhere. */
function forgedMail(world: World, target: SimNode, random: SeededRandom): Frame[] {
  const { west } = world.nodes;
  const ids = world.agentIds;
  const prekey = target.prekey();
  if (!prekey) return [];
  const context = { signer: west.signer, randomBytes: random.bytes, bootSecret: random.bytes(32) };
  const id = newId(0, random.bytes);
  const forged = (ns: string, from: { id: string; name: string }, to: { id: string; name: string }) => {
    const message = { k: 'message' as const, id, seq: 1, from, to, content: 'forged', sent_at: 0 };
    return sealEnvelope(ns, prekey, message, context);
  };
  const [blue, red] = AGENTS_AT[target.name]!;
  const own = { id: ids.get('red-dan-quill@red-team')!, name: 'red-dan-quill' };
  const blueTo = { id: ids.get(`${blue}@blue-team`)!, name: blue };
  const redTo = { id: ids.get(`${red}@red-team`)!, name: red };
  const ben = { id: ids.get('red-ben-quill@red-team')!, name: 'red-ben-quill' };
  const n = 1_000_000_000 + random.between(0, 1_000_000);
  return [
    { t: 'parcel', n, envelope: forged(world.blueId, own, blueTo) },
    { t: 'parcel', n: n + 1, envelope: forged(world.redId, own, blueTo) },
    { t: 'parcel', n: n + 2, envelope: forged(world.redId, ben, redTo) },
    // Its own agent, under the name of another.
    { t: 'parcel', n: n + 3, envelope: forged(world.redId, { ...own, name: ben.name }, redTo) },
  ];
}

type Said = Chained extends infer S
  ? S extends Chained
    ? Omit<S, 'v' | 'ns' | 'prev' | 'by' | 'at'>
    : never
  : never;

/** Decisions that are not its own to make, each signed by it, and one that claims to be an admin's. */
function forgedStatements(world: World, red: NamespaceLog, random: SeededRandom): Frame[] {
  const { west, north, south } = world.nodes;
  const { signer } = west;
  const by = signer.peerId;
  const place = { v: 1, ns: red.id, prev: heads(red).slice(0, PREV_MAX), by, at: 0 } as const;
  const sign = (said: Said, at: { ns: string; prev: string[] } = place) =>
    signStatement({ ...place, ...at, ...said }, signer).bytes;
  const stranger = signerFromSeed(random.bytes(32)).peerId;
  const admit = { k: 'admit', machine: stranger, label: 'stranger', role: 'admin' } as const;
  const removal = { ...place, k: 'remove', machine: south.signer.peerId, by: north.signer.peerId };
  const statements = [
    sign(admit),
    sign({ k: 'remove', machine: random.pick([north, south]).signer.peerId }),
    sign({ k: 'promote', machine: by }),
    sign({ k: 'rotate', epoch: (red.key?.epoch ?? 0) + 1, key_hash: random.bytes(32) }),
    sign({ k: 'release', agent: world.agentIds.get('red-cleo-quill@red-team')! }),
    sign({ ...admit, machine: by }, { ns: world.blueId, prev: [world.blueId] }),
    encode({ body: encode(removal), sig: random.bytes(64) }),
  ];
  // Stored, as any member may claim; but the name is held.
  if (random.chance(0.3)) {
    const agent = random.pick([world.agentIds.get('red-dan-quill@red-team')!, newId(0, random.bytes)]);
    statements.push(sign({ k: 'claim', agent, name: random.pick(['ana-quill', 'red-cleo-quill']) }));
  }
  return [red.id, world.blueId].map((ns) => ({ t: 'log', ns, statements, more: random.chance(0.5) }));
}

/** Keys that no log names, and boxes that none of them should open. */
async function forgedSecrets(world: World, target: SimNode, random: SeededRandom): Promise<Frame[]> {
  const { west } = world.nodes;
  const { redId, blueId } = world;
  const held = (await directoryOn(west)).keys.find(({ ns }) => ns === redId)?.key ?? random.bytes(32);
  const epoch = (await logOn(west, redId))?.key?.epoch ?? 1;
  const nobody: Shared = { k: 'roster', revision: 1_000_000, roster: { platform: 'forged', agents: [] } };
  const from = west.signer.peerId;
  const box = (ns: string, at: number, key: Uint8Array, by = from): Frame => {
    const sealed = sealShared(nobody, { ns, epoch: at, from: by }, key, random.bytes);
    return { t: 'shared', ns, epoch: at, box: sealed };
  };
  return [
    { t: 'key', ns: redId, key: random.bytes(32) },
    { t: 'key', ns: blueId, key: random.bytes(32) },
    box(redId, epoch, random.bytes(32)),
    box(redId, epoch + 1, held),
    box(redId, epoch + 1_000, random.bytes(32)),
    // As if the target itself had said it.
    box(redId, epoch, held, target.signer.peerId),
    box(blueId, epoch, held),
  ];
}

function questions({ blueId }: World): Frame[] {
  return [
    { t: 'want', ns: blueId },
    { t: 'heads', ns: blueId, hashes: [blueId], ask: true },
  ];
}
