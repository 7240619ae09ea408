import type { MailRecord } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { digest, type NamespaceLog } from '../../protocol/membership/log.ts';
import { isBefore } from '../../protocol/membership/history.ts';
import { namespaceKeyHash } from '../../protocol/shared.ts';
import { directoryOn, logOn, mailOn } from './disk.ts';
import type { Newcomer } from './newcomer.ts';
import type { SimNode } from './node.ts';
import type { Twins } from './twins.ts';
import { BLUE, RED, type World } from './world.ts';

/** What every machine has to agree on when all is quiet, read from the disks. */

/**
 * A machine that learns of a removal may finish what it had begun, such as storing a message that it had checked
 * before; writes take milliseconds.
 */
const BEGUN_MS = 200;

export interface Story {
  newcomer: Newcomer;
  twins: Twins | undefined;
}

/** Members agree on one log, one key and who holds which name; the hostile `west` has changed nothing. */
export async function reckonMembers(world: World, { newcomer, twins }: Story): Promise<void> {
  const { north, south, east, center } = world.nodes;
  const red = await agreed(world, RED, world.redMembers);
  const blue = await agreed(world, BLUE, [south, north, center, ...(world.eastIsBlue ? [east] : [])]);
  const wrong = (what: string) => world.ledger.problem('membership', what);
  if (!red || !blue) return;
  const holders = new Map(
    [...red.claims].map(([name, { machine }]) => [
      name,
      world.all.find((n) => n.signer.peerId === machine)!.name,
    ]),
  );
  const expected = new Map([
    ['ana-quill', 'north'],
    ['red-ben-quill', 'north'],
    ['red-cleo-quill', 'south'],
    ['red-dan-quill', 'west'],
    ['red-ida-quill', 'center'],
  ]);
  for (const [name, home] of expected) {
    if (holders.get(name) !== home) wrong(`${name} is held by ${holders.get(name)}`);
  }
  const others = [...holders.keys()].filter((name) => !expected.has(name)).sort();
  const named = [...(twins ? [twins.agents[0].address.split('@')[0]!] : []), world.afterwards].sort();
  if (others.join() !== named.join()) wrong(`names in ${RED}: ${others.join()}`);
  if ((red.key?.epoch ?? 0) <= newcomer.epochBefore)
    wrong(`the key is that of epoch ${red.key?.epoch} still`);
  const told = await logOn(east, world.redId);
  if (!told?.removed.has(east.signer.peerId)) wrong('east does not know that it was removed');
}

/** The log of a namespace, once for all its members. */
async function agreed(
  world: World,
  name: string,
  members: readonly SimNode[],
): Promise<NamespaceLog | undefined> {
  const ns = name === RED ? world.redId : world.blueId;
  const wrong = (what: string) => world.ledger.problem('membership', `${name}: ${what}`);
  const logs = await Promise.all(members.map((node) => logOn(node, ns)));
  const [first] = logs;
  if (!first) {
    wrong(`${members[0]!.name} has no log`);
    return undefined;
  }
  const peers = members.map(({ signer }) => signer.peerId).sort();
  for (const [index, log] of logs.entries()) {
    const { name: machine } = members[index]!;
    if (!log || digest(log) !== digest(first)) wrong(`${machine} has another log`);
    else if ([...log.members.keys()].sort().join() !== peers.join()) wrong(`${machine} has other members`);
    else if (log.rekeyDue) wrong(`a new key is due on ${machine}`);
    const key = (await directoryOn(members[index]!)).keys.find((one) => one.ns === ns)?.key;
    const hash = key && Buffer.from(namespaceKeyHash(key));
    if (!first.key || !hash?.equals(first.key.keyHash)) wrong(`${machine} does not hold the key of the log`);
  }
  return first;
}

/** Whoever knew that `east` is out told it nothing but that, and took nothing more from it. */
export async function reckonRemoval(world: World): Promise<void> {
  const { east } = world.nodes;
  for (const node of world.redMembers) {
    const { history } = (await logOn(node, world.redId))!.inner;
    const removals = history.removals.get(east.signer.peerId) ?? [];
    const hashes = removals.map((position) => history.entries[position]!.signed.hash);
    const times = hashes.map((hash) => node.firstStoredMs.get(`statement/${world.redId}/${hash}`));
    const knewMs = Math.min(...times.filter((atMs) => atMs !== undefined));
    if (knewMs === Infinity) continue;
    const mayTell = (hash: string) => {
      const position = history.positions.get(hash);
      if (position === undefined) return false;
      return removals.some((removal) => removal === position || isBefore(history, position, removal));
    };
    reckonTold(world, node, knewMs, mayTell);
    await reckonTaken(world, node, knewMs);
  }
}

function reckonTold(world: World, node: SimNode, knewMs: number, mayTell: (hash: string) => boolean): void {
  for (const { atMs, from, frame, isRed, statements } of world.sentToEast) {
    const lateMs = atMs - knewMs;
    if (from !== node.signer.peerId || lateMs <= 0 || (world.eastIsBlue && !isRed)) continue;
    if (frame === 'log' && statements.every(mayTell)) continue;
    world.ledger.problem('membership', `${node.name} sent ${frame} to east, ${lateMs} ms after it knew`);
  }
}

async function reckonTaken(world: World, node: SimNode, knewMs: number): Promise<void> {
  const { peerId } = world.nodes.east.signer;
  const { agents } = await directoryOn(node);
  for (const { id, name } of agents.filter(({ ns }) => ns === world.redId)) {
    for (const { message, machine, direction, notice } of await mailOn(node).history(id, 1_000_000)) {
      if (direction !== 'received' || machine !== peerId || notice) continue;
      const lateMs = node.firstStoredMs.get(`known/${id}/${message.id}`)! - knewMs;
      if (lateMs <= BEGUN_MS) continue;
      world.ledger.problem('membership', `${name} took ${message.id} of east, ${lateMs} ms too late`);
    }
  }
}

/** No disk holds in the clear what is sealed, and none what its machine must not have. */
export async function reckonStores(world: World): Promise<void> {
  const { west, east } = world.nodes;
  for (const node of world.all) {
    const secrets = [
      ...(node === west || (node === east && !world.eastIsBlue) ? ['blue-', world.blueId] : []),
      ...(node === east ? [world.afterwards] : []),
    ];
    const seal = createRecordSeal(node.storeKey, world.random.fork('reader').bytes);
    const records = await node.disk.range({ from: '', to: '\x7f' });
    if (records.length === 0) world.ledger.problem('internal', `${node.name} has nothing on its disk`);
    for (const [key, value] of records) {
      const where = `${node.name} has ${key.slice(0, 60)}`;
      const raw = key + Buffer.from(value).toString('latin1');
      if (/-quill|-canary|-slug/.test(raw)) world.ledger.problem('leaked', `${where} in the clear`);
      if (secrets.length === 0) continue;
      const text = key + textOf(seal.open(key, value));
      for (const secret of secrets) {
        if (text.includes(secret)) world.ledger.problem('leaked', `${where}, which holds ${secret}`);
      }
    }
  }
  const shared = [`roster/${world.redId}/`, `namespace-key/${world.redId}`].flatMap((prefix) =>
    east.disk.keys(prefix),
  );
  for (const key of shared) world.ledger.problem('leaked', `east still has ${key}`);
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    part instanceof Uint8Array ? Buffer.from(part).toString('latin1') : part,
  );
}

/** The whole history of every agent, by address; agents of one address together. */
export async function readHistories(world: World): Promise<Map<string, MailRecord[]>> {
  const histories = new Map<string, MailRecord[]>();
  for (const node of world.all) {
    for (const { id, name, ns } of (await directoryOn(node)).agents) {
      const address = `${name}@${ns === world.redId ? RED : BLUE}`;
      const history = await mailOn(node).history(id, 1_000_000);
      histories.set(address, [...(histories.get(address) ?? []), ...history]);
    }
  }
  return histories;
}
