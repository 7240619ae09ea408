import { EMPTY_LINE, type Line } from '../../protocol/delivery/line.ts';
import type { Chain } from '../../protocol/delivery/hops.ts';
import type { ThreadState } from '../../protocol/delivery/thread.ts';
import { sha256Hex } from '../../protocol/digest.ts';
import { COPY_AGE_MS_MAX } from '../../protocol/limits.ts';
import { encodeLetter, type Letter, type Message, type Void } from '../../protocol/letter.ts';
import { readOwnReceipt, type Receipt } from '../../protocol/receipt.ts';
import { namesBelow } from './care/pages.ts';
import type { Appended, MailRecord, OutboxEntry, Tally } from './mail-store.ts';
import type { Tx } from './journal.ts';

/** Entries of the outbox or the history that are read at a time. */
const PAGE = 32;

/**
 * Where the mail lies. One line a kind of record; AGENT is an agent id, N a number of 12 digits. SLUG and NAME are
 * hashed: values are sealed, keys are not.
 *
 *     history/AGENT/N           MailRecord
 *     pending/AGENT/N           true: unread, in the order of release
 *     deferred/AGENT/N          true
 *     doubt/AGENT/N             time: unread here, perhaps read before a restore; not shown
 *     unread/AGENT/SENDER       number: how many of that sender are pending
 *     kept/AGENT/N              true: of the history, passed by the sweep because it is still needed
 *     known/AGENT/ID            Known: where a message is; also the dedupe mark
 *     forget/DAY/AGENT/ID       true: from that day on the mark may go
 *     held/AGENT/SENDER/N       HeldRecord: beyond a gap, by sequence
 *     line-in/AGENT/SENDER      StoredLine
 *     gap/AGENT/SENDER          true: the line holds something back
 *     home/AGENT/NAME           Home: of a sender's name, not of its id
 *     line-out/AGENT/RECIPIENT  LineOut
 *     thread/AGENT/PEER/SLUG    StoredThread: what one agent and another say under a slug
 *     thread-root/AGENT/SLUG    string: lowest id of the threads that have the slug
 *     reset/AGENT               number: up to this history number a person has said to go on
 *     reset/AGENT/SLUG          number: the same, for threads of one slug
 *     due/TIME/AGENT/N          true: an answer is asked for by then
 *     tally/AGENT               StoredTally
 *     outbox/MACHINE/N          OutboxEntry
 *     outbox-count/MACHINE      number
 *     outbox-size/MACHINE       number: bytes
 *     outbox-number             OutboxNumbers
 *     told/MACHINE/WHAT         number: the letter in the outbox that holds this one receipt
 *     owed/MACHINE/AGENT/N      time: a message of that machine was read then, and it is still to be told
 *     watch/AGENT/ID            Watch: see watch-store.ts
 *     epoch                     number: this machine's; absent in the first
 *     epoch-work                EpochWork: what a new epoch still has to do
 *     resync/MACHINE            Resync: what a machine's new epoch asks of this one
 */
export const key = {
  history: (agent: string, number: number) => `history/${agent}/${digits(number)}`,
  pending: (agent: string, number: number) => `pending/${agent}/${digits(number)}`,
  kept: (agent: string, number: number) => `kept/${agent}/${digits(number)}`,
  deferred: (agent: string, number: number) => `deferred/${agent}/${digits(number)}`,
  doubt: (agent: string, number: number) => `doubt/${agent}/${digits(number)}`,
  known: (agent: string, messageId: string) => `known/${agent}/${messageId}`,
  forget: (day: number, agent: string, messageId: string) => `forget/${digits(day)}/${agent}/${messageId}`,
  unread: (agent: string, sender: string) => `unread/${agent}/${sender}`,
  held: (agent: string, sender: string, seq: number) => `held/${agent}/${sender}/${digits(seq)}`,
  lineIn: (agent: string, sender: string) => `line-in/${agent}/${sender}`,
  gap: (agent: string, sender: string) => `gap/${agent}/${sender}`,
  lineOut: (agent: string, recipient: string) => `line-out/${agent}/${recipient}`,
  home: (agent: string, sender: string) => `home/${agent}/${hashed(sender)}`,
  thread: (agent: string, peer: string, slug: string) => `thread/${agent}/${peer}/${hashed(slug)}`,
  threadRoot: (agent: string, slug: string) => `thread-root/${agent}/${hashed(slug)}`,
  reset: (agent: string, slug?: string) =>
    slug === undefined ? `reset/${agent}` : `reset/${agent}/${hashed(slug)}`,
  due: (atMs: number, agent: string, number: number) => `due/${dueTime(atMs)}/${agent}/${digits(number)}`,
  tally: (agent: string) => `tally/${agent}`,
  outbox: (machine: string, number: number) => `outbox/${machine}/${digits(number)}`,
  outboxCount: (machine: string) => `outbox-count/${machine}`,
  outboxSize: (machine: string) => `outbox-size/${machine}`,
  outboxNumber: 'outbox-number',
  told: (machine: string, { ns, id, sender, recipient, state, line }: Receipt) =>
    `told/${machine}/${hashed([ns, id, sender, recipient, state, ...(line ? [line] : [])].join(' '))}`,
  owed: (machine: string, agent: string, number: number) => `owed/${machine}/${agent}/${digits(number)}`,
  epoch: 'epoch',
  epochWork: 'epoch-work',
  resync: (machine: string) => `resync/${machine}`,
};

function hashed(text: string): string {
  return sha256Hex(text);
}

const DAY_MS = 24 * 3_600_000;

/** The day since 1970 in UTC. */
export function dayOf(timeMs: number): number {
  return Math.floor(Math.max(0, timeMs) / DAY_MS);
}

/** The range of all keys below a prefix that ends in a slash. */
export function below(prefix: string): { from: string; to: string } {
  return { from: prefix, to: `${prefix.slice(0, -1)}0` };
}

export function digits(number: number): string {
  return String(number).padStart(12, '0');
}

/** So many digits that times sort as numbers do. */
export function dueTime(atMs: number): string {
  return String(atMs).padStart(16, '0');
}

export function numberOf(keyText: string): number {
  return Number(keyText.slice(keyText.lastIndexOf('/') + 1));
}

/** What became of a message id at one agent. */
export interface Known {
  /** The other side, so that nobody can use up another's ids. */
  peer: string;
  /** Its number in the history; 0 when it is not there (held back, or void). */
  number: number;
  /** Its place in the line while it is held back. */
  heldSeq?: number;
  /** It was taken back before it was visible. `placed` once its place in the line is taken. */
  void?: { placed: boolean };
}

export interface HeldRecord {
  letter: Message | Void;
  ns: string;
  machine: string;
}

/** Where a sender's name wrote from last. */
export interface Home {
  machine: string;
  /** Where it wrote from before, until a message that says so was shown. */
  movedFrom?: string;
}

/** The last place given in a line: its sequence number, and the epoch unless it is the first. */
export type LineOut = number | { epoch: number; seq: number };

export interface StoredLine extends Line {
  /**
   * The epoch of this machine in which it took in the line's first place; absent in the first. A gap in a line of an
   * earlier one is no gap: what filled it was lost here.
   */
  own?: number;
}

/** A new epoch that has begun, step by step; each step is one batch, which a crash leaves done or not done. */
export interface EpochWork {
  /** What is unread may have been read. */
  inDoubt: boolean;
  /** Absent when it is still to begin. */
  step?: 'outbox' | 'doubts' | 'gaps' | 'pending';
  /** The last key that the step has seen. */
  after?: string;
}

/** A machine that may have lost what it acknowledged is sent it again. */
export interface Resync {
  /** The epoch that it told. */
  epoch: number;
  /** The lines to its agents begin again in this epoch, or a later one. */
  line: number;
  /** The last key that was looked at, of what is in doubt and then of the history; absent when all was. */
  after?: string;
}

/** A thread of two agents, and the longest chain of answers that is known in it. */
export interface StoredThread extends ThreadState {
  chain?: Chain;
}

/** The record without why it waited: it came further, or goes no further. */
export function notWaiting({ waiting: _waiting, ...record }: MailRecord): MailRecord {
  return record;
}

/** Counts of one agent, and the last history number given. */
export interface StoredTally extends Tally {
  number: number;
  /** Bytes of the text of what is unread. */
  pendingSizeBytes?: number;
  /** Of the history up to this number there is only what `kept` names; the sweep has passed it. */
  floor?: number;
}

export async function readTally(tx: Pick<Tx, 'get' | 'range'>, agent: string): Promise<StoredTally> {
  const tally = await tx.get<StoredTally>(key.tally(agent));
  return tally ?? { pending: 0, deferred: 0, number: await lastNumber(tx, `history/${agent}/`) };
}

/**
 * The highest number below a prefix. A counter that is not there begins behind it: were it lost, what is written next
 * would take the place of what is there.
 */
export async function lastNumber(tx: Pick<Tx, 'range'>, prefix: string): Promise<number> {
  const [last] = await tx.range({ ...below(prefix), reverse: true, limit: 1 });
  return last ? numberOf(last[0]) : 0;
}

async function lastOutboxNumber(tx: Pick<Tx, 'range'>): Promise<number> {
  const machines = await namesBelow(tx, 'outbox/');
  const numbers = machines.map((machine) => lastNumber(tx, `outbox/${machine}/`));
  return Math.max(0, ...(await Promise.all(numbers)));
}

/** Numbers that lie this close together are read as one range, with what is between them. */
const SPAN_MAX = 2;

/** Records of the history, by rising number; those that are not there are left out. */
export async function readRecords(
  from: Pick<Tx, 'get' | 'range'>,
  agent: string,
  numbers: readonly number[],
): Promise<MailRecord[]> {
  const [first = 0, last = -1] = [numbers[0], numbers.at(-1)];
  if (last - first >= numbers.length * SPAN_MAX) {
    const found = await Promise.all(
      numbers.map((number) => from.get<MailRecord>(key.history(agent, number))),
    );
    return found.filter((record) => record !== undefined);
  }
  const wanted = new Set(numbers);
  const records: MailRecord[] = [];
  for (let at = first; at <= last; at += PAGE) {
    const to = key.history(agent, Math.min(at + PAGE, last + 1));
    const page = await from.range<MailRecord>({ from: key.history(agent, at), to });
    records.push(...page.map(([, record]) => record).filter(({ number }) => wanted.has(number)));
  }
  return records;
}

export async function readLine(tx: Tx, agent: string, sender: string): Promise<StoredLine> {
  return (await tx.get<StoredLine>(key.lineIn(agent, sender))) ?? EMPTY_LINE;
}

/** The epoch of this machine; 0 is the first. */
export async function readEpoch(tx: Pick<Tx, 'get'>): Promise<number> {
  return (await tx.get<number>(key.epoch)) ?? 0;
}

/** Gives the next place in the line of two agents, of which the second lives on `machine`. */
export async function nextPlace(
  tx: Tx,
  from: string,
  to: string,
  machine: string,
): Promise<{ seq: number; epoch?: number }> {
  const given = (await tx.get<LineOut>(key.lineOut(from, to))) ?? 0;
  const last = typeof given === 'number' ? { epoch: 0, seq: given } : given;
  const again = (await tx.get<Resync>(key.resync(machine)))?.line ?? 0;
  const epoch = Math.max(last.epoch, again, await readEpoch(tx));
  const seq = epoch > last.epoch ? 1 : last.seq + 1;
  tx.put(key.lineOut(from, to), (epoch === 0 ? seq : { epoch, seq }) satisfies LineOut);
  return epoch === 0 ? { seq } : { seq, epoch };
}

/** A message with another place than it had. */
export function placedAt(message: Message, place: { seq: number; epoch?: number }): Message {
  const { epoch: _, ...rest } = message;
  return { ...rest, ...place };
}

/**
 * Lets the mark of a message that is in no history go, once no copy of the message can come any more; until then it
 * keeps the message from being shown a second time.
 */
export function forgetLater(tx: Tx, agent: string, messageId: string, nowMs: number): void {
  tx.put(key.forget(dayOf(nowMs + COPY_AGE_MS_MAX) + 1, agent, messageId), true);
}

/** See MailStore.outboxPage. */
export async function outboxPage(
  from: Pick<Tx, 'range'>,
  machine: string,
  after: number,
  limit: number,
  sizeBytesMax: number,
): Promise<OutboxEntry[]> {
  const page: OutboxEntry[] = [];
  const { to } = below(`outbox/${machine}/`);
  let sizeBytes = 0;
  let last = after;
  while (page.length < limit) {
    const want = Math.min(PAGE, limit - page.length);
    const entries = await from.range<OutboxEntry>({ from: key.outbox(machine, last + 1), to, limit: want });
    for (const [, entry] of entries) {
      page.push(entry);
      sizeBytes += entry.sizeBytes;
      if (sizeBytes >= sizeBytesMax) return page;
      last = entry.number;
    }
    if (entries.length < want) return page;
  }
  return page;
}

/** The numbers given in the outbox. */
export interface OutboxNumbers {
  last: number;
  /** The last one of each machine that got one lately, newest first. */
  recent: [machine: string, number: number][];
}

/** Machines whose last number is remembered. */
const RECENT_MAX = 8;

async function nextNumber(
  tx: Tx,
  machine: string,
): Promise<{ number: number; previous: number | undefined }> {
  const given = await tx.get<OutboxNumbers>(key.outboxNumber);
  const number = (given?.last ?? (await lastOutboxNumber(tx))) + 1;
  const previous = given?.recent.find(([name]) => name === machine)?.[1];
  const others = (given?.recent ?? []).filter(([name]) => name !== machine).slice(0, RECENT_MAX - 1);
  tx.put(key.outboxNumber, { last: number, recent: [[machine, number], ...others] } satisfies OutboxNumbers);
  return { number, previous };
}

/** Appends a letter to the outbox of a machine. */
export async function queue(
  tx: Tx,
  letter: { machine: string } & Omit<OutboxEntry, 'number' | 'sizeBytes' | 'held'>,
): Promise<Appended> {
  const { machine, ...rest } = letter;
  const { number, previous } = await nextNumber(tx, machine);
  const sizeBytes = encodeLetter(letter.letter).length;
  const said = onlyReceipt(letter.letter);
  if (said) tx.put(key.told(machine, said), number);
  const entry: OutboxEntry = { ...rest, number, sizeBytes };
  tx.put(key.outbox(machine, number), entry);
  tx.put(key.outboxCount(machine), ((await tx.get<number>(key.outboxCount(machine))) ?? 0) + 1);
  tx.put(key.outboxSize(machine), ((await tx.get<number>(key.outboxSize(machine))) ?? 0) + sizeBytes);
  return { machine, entry, previous };
}

/**
 * Queues one receipt, unless the same already waits for that machine, whenever it was signed; false then. Whoever
 * passes one letter on again and again must not make the outbox grow.
 */
export async function queueReceipt(
  tx: Tx,
  answer: { machine: string; ns: string; receipt: Uint8Array; boot: string; atMs: number },
): Promise<boolean> {
  const { receipt, ...place } = answer;
  const waiting = await tx.get<number>(key.told(answer.machine, readOwnReceipt(receipt)));
  if (waiting !== undefined && (await tx.get(key.outbox(answer.machine, waiting)))) return false;
  await queue(tx, { ...place, letter: { k: 'receipts', receipts: [receipt] } });
  return true;
}

function onlyReceipt(letter: Letter): Receipt | undefined {
  const [receipt, ...others] = letter.k === 'receipts' ? letter.receipts : [];
  return receipt && others.length === 0 ? readOwnReceipt(receipt) : undefined;
}

/** Takes an entry out of the outbox and returns it. */
export async function unqueue(tx: Tx, machine: string, number: number): Promise<OutboxEntry | undefined> {
  const entry = await tx.get<OutboxEntry>(key.outbox(machine, number));
  if (!entry) return undefined;
  tx.delete(key.outbox(machine, number));
  const said = onlyReceipt(entry.letter);
  if (said && (await tx.get<number>(key.told(machine, said))) === number) {
    tx.delete(key.told(machine, said));
  }
  const count = ((await tx.get<number>(key.outboxCount(machine))) ?? 1) - 1;
  const sizeBytes = ((await tx.get<number>(key.outboxSize(machine))) ?? 0) - entry.sizeBytes;
  if (count > 0) tx.put(key.outboxCount(machine), count);
  else tx.delete(key.outboxCount(machine));
  if (count > 0 && sizeBytes > 0) tx.put(key.outboxSize(machine), sizeBytes);
  else tx.delete(key.outboxSize(machine));
  return entry;
}
