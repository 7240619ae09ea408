import { countedFrom, extended } from '../../protocol/delivery/hops.ts';
import {
  EMPTY_THREAD,
  isBeyond,
  isSettled,
  joined,
  kindOf,
  takenBack,
  type Place,
  type Resolve,
  type Said,
  type Side,
  type ThreadState,
} from '../../protocol/delivery/thread.ts';
import type { Message } from '../../protocol/letter.ts';
import { GAP_HELD_MAX } from '../../protocol/limits.ts';
import type { Tx } from './journal.ts';
import { key, readTally, type StoredThread } from './mail-records.ts';
import type { MailRecord, ThreadRecord } from './mail-store.ts';

/**
 * Threads of two agents, each function within one transaction. protocol/delivery/thread.ts decides; the messages of one
 * side and kind are chained by `threadBefore`, so that the newest can be taken back.
 */

type Reader = Pick<Tx, 'get'>;

/** How many hops a message counts as that does not say. */
const HOPS_UNSAID = 1;

export function readThread(
  from: Reader,
  agent: string,
  peer: string,
  slug: string,
): Promise<ThreadState | undefined> {
  return from.get<StoredThread>(key.thread(agent, peer, slug));
}

/** Whether a resolve of its thread came after a message. */
export function isClosed(agent: string, record: MailRecord, thread: ThreadState): boolean {
  return isSettled(thread, sideOf(agent, record.message), placeOf(record));
}

/** The agent with whom a message was exchanged, or whom a notice is about. */
export function peerOf(agent: string, { message, notice }: Pick<MailRecord, 'message' | 'notice'>): string {
  if (notice) return notice.peer;
  return message.from.id === agent ? message.to.id : message.from.id;
}

/** The thread that a message is sent in: of all that have the slug the one with the lowest id, or a new one. */
export async function threadToSend(
  tx: Reader,
  agent: string,
  slug: string,
  id: string,
): Promise<ThreadRecord> {
  return { slug, root: (await tx.get<string>(key.threadRoot(agent, slug))) ?? id };
}

/** Adds a message to its thread, if it has one. Returns the record as it is to be stored. */
export async function joinThread(tx: Tx, agent: string, record: MailRecord): Promise<MailRecord> {
  const { thread } = record.message;
  if (!thread) return record;
  const { slug, root } = thread;
  const rootKey = key.threadRoot(agent, slug);
  const lowest = await tx.get<string>(rootKey);
  if (lowest === undefined || root < lowest) tx.put(rootKey, root);
  const threadKey = key.thread(agent, peerOf(agent, record), slug);
  const known: StoredThread = (await tx.get<StoredThread>(threadKey)) ?? EMPTY_THREAD;
  const { state, isNewest, before } = joined(known, sideOf(agent, record.message), saidOf(record));
  const link = { hops: record.message.hops ?? HOPS_UNSAID, number: record.number };
  const chain = extended(known.chain, link, await resetAt(tx, agent, slug));
  tx.put(threadKey, { ...state, chain } satisfies StoredThread);
  if (before === undefined) return record;
  return isNewest ? { ...record, threadBefore: before } : chainLate(tx, agent, record, before);
}

/** Puts a late message into its place in the chain, unless so many are beyond it that it hardly ever counts again. */
async function chainLate(tx: Tx, agent: string, record: MailRecord, newest: number): Promise<MailRecord> {
  let number = newest;
  for (let step = 0; step < GAP_HELD_MAX; step += 1) {
    const later = await tx.get<MailRecord>(key.history(agent, number));
    if (!later) return record;
    const { threadBefore: before } = later;
    const earlier = before === undefined ? undefined : await tx.get<MailRecord>(key.history(agent, before));
    if (before !== undefined && earlier && isBeyond(placeOf(earlier), placeOf(record))) number = before;
    else {
      tx.put(key.history(agent, number), { ...later, threadBefore: record.number } satisfies MailRecord);
      return before === undefined ? record : { ...record, threadBefore: before };
    }
  }
  return record;
}

/** A message was taken back, or never arrived: the newest before it counts again. */
export async function leaveThread(tx: Tx, agent: string, record: MailRecord): Promise<void> {
  const { thread } = record.message;
  if (!thread) return;
  const threadKey = key.thread(agent, peerOf(agent, record), thread.slug);
  const known = await tx.get<StoredThread>(threadKey);
  const by = sideOf(agent, record.message);
  const kind = kindOf(saidOf(record));
  if (known?.[by][kind]?.number !== record.number) return;
  // Each record is passed over once: what was taken back stays so.
  let before = record.threadBefore;
  let newest: MailRecord | undefined;
  while (before !== undefined && !newest) {
    const one: MailRecord | undefined = await tx.get<MailRecord>(key.history(agent, before));
    if (one && !isGone(one)) newest = one;
    before = one?.threadBefore;
  }
  tx.put(threadKey, { ...known, ...takenBack(known, by, kind, newest && saidOf(newest)) });
}

/** Whether it is certain that a message reached nobody. */
export function isGone({ status, mayHaveArrived }: MailRecord): boolean {
  return status === 'unsent' || ((status === 'refused' || status === 'expired') && !mayHaveArrived);
}

/** The hops that a message has behind it: of what it answers, or of its thread. */
export async function hopsBehind(
  tx: Reader,
  agent: string,
  message: { peer: string; replyTo: MailRecord | undefined; slug: string | undefined },
): Promise<number> {
  const { peer, replyTo, slug } = message;
  if (replyTo) {
    const link = { hops: replyTo.message.hops ?? HOPS_UNSAID, number: replyTo.number };
    return countedFrom(link, await resetAt(tx, agent, replyTo.message.thread?.slug));
  }
  if (slug === undefined) return 0;
  const thread = await tx.get<StoredThread>(key.thread(agent, peer, slug));
  return countedFrom(thread?.chain, await resetAt(tx, agent, slug));
}

/** See MailStore.resetChains. */
export async function resetChains(tx: Tx, agent: string, slug: string | undefined): Promise<void> {
  tx.put(key.reset(agent, slug), (await readTally(tx, agent)).number);
}

async function resetAt(tx: Reader, agent: string, slug: string | undefined): Promise<number> {
  const all = (await tx.get<number>(key.reset(agent))) ?? 0;
  if (slug === undefined) return all;
  return Math.max(all, (await tx.get<number>(key.reset(agent, slug))) ?? 0);
}

function sideOf(agent: string, message: Message): Side {
  return message.from.id === agent ? 'own' : 'peer';
}

function saidOf(record: MailRecord): Said | Resolve {
  const { message, number, acceptedAtMs: atMs } = record;
  const said = { place: placeOf(record), root: message.thread!.root, number };
  return message.resolve ? { ...said, seen: message.seen ?? { seq: 0 }, atMs } : said;
}

/** Notes to oneself travel on no line: their place is that in the history. */
function placeOf({ message, number }: MailRecord): Place {
  if (message.from.id === message.to.id) return { seq: number };
  return { ...(message.epoch === undefined ? {} : { epoch: message.epoch }), seq: message.seq };
}
