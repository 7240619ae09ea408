import { encodeLetter, type Message } from '../../../protocol/letter.ts';
import type { Tx } from '../journal.ts';
import { dueAtMs, watchAnswer } from '../mail-obligations.ts';
import { below, digits, key, numberOf, type Known, type StoredTally } from '../mail-records.ts';
import type { MailRecord, OutboxEntry } from '../mail-store.ts';
import type { Findings } from './findings.ts';
import { mendLines, type Places } from './line-care.ts';
import { setCount } from './outbox-care.ts';
import { namesBelow, pagesOf } from './pages.ts';

/** No start of the daemon has this id: whether what it is said of has left before, nobody knows. */
const NO_BOOT = '00000000-0000-7000-8000-000000000000';

/** A range of history numbers that are known to be gone: `gone/AGENT/N` says up to which, and since when. */
export interface Gone {
  to: number;
  atMs: number;
}

/** What one agent's history holds, as far as the checks after it need it. */
interface Story extends Places {
  pending: number;
  doubt: number;
  deferred: number;
  pendingSizeBytes: number;
  info: number;
  steer: number;
  /** Unread messages by sender. */
  unread: Map<string, number>;
  last: number;
  /** Ranges of numbers that are neither there nor known to be gone. */
  holes: Range[];
}

interface Range {
  from: number;
  to: number;
}

/** The numbers in each index of an agent; what a record accounts for is taken out. */
type Indexes = Record<'pending' | 'doubt' | 'deferred' | 'kept', Set<number>>;

/** Everybody who has mail here. */
export async function agentsWithMail(tx: Tx): Promise<string[]> {
  const kinds = [
    'history/',
    'tally/',
    'pending/',
    'deferred/',
    'known/',
    'held/',
    'line-in/',
    'gap/',
    'doubt/',
    'unread/',
  ];
  const names = await Promise.all(kinds.map((prefix) => namesBelow(tx, prefix)));
  return [...new Set(names.flat())].sort();
}

/**
 * Makes the records of one agent's mail agree: history is believed, indexes and counts follow it. What is missing from
 * the history is named. A message that was not read and is gone loses its dedupe mark, so that it is taken again when
 * its sender sends it again; one that was read keeps it, so that it is never shown again.
 */
export async function mendMail(tx: Tx, agent: string, found: Findings, nowMs: number): Promise<void> {
  const tally = await tx.get<StoredTally>(key.tally(agent));
  const indexes: Indexes = {
    pending: await readIndex(tx, 'pending', agent),
    doubt: await readIndex(tx, 'doubt', agent),
    deferred: await readIndex(tx, 'deferred', agent),
    kept: await readIndex(tx, 'kept', agent),
  };
  const floor = tally ? (tally.floor ?? 0) : await floorOf(tx, agent, indexes.kept);
  const story = await readHistory(tx, agent, { indexes, floor, nowMs }, found);
  // What is left in the indexes has no record.
  for (const kind of ['pending', 'doubt', 'deferred', 'kept'] as const)
    for (const number of indexes[kind]) tx.delete(key[kind](agent, number));
  for (const number of indexes.kept) story.holes.push({ from: number, to: number });
  const known = await mendKnown(tx, agent, indexes.pending.union(indexes.doubt), found);
  await mendLines(tx, agent, story, found, nowMs);
  for (const sender of new Set([...story.unread.keys(), ...(await namesBelow(tx, `unread/${agent}/`))])) {
    const count = story.unread.get(sender) ?? 0;
    await setCount(tx, key.unread(agent, sender), count, `a count of agent ${agent}`, found);
  }
  const number = Math.max(story.last, tally?.number ?? known);
  if (tally && number > story.last) story.holes.push({ from: story.last + 1, to: number });
  await nameHoles(tx, agent, story.holes, found, nowMs);
  const { pending, deferred, doubt, pendingSizeBytes, info, steer } = story;
  const counts: StoredTally = { pending, deferred, doubt, pendingSizeBytes, info, steer, floor, number };
  if (tally ? isSameTally(tally, counts) : number === 0) return;
  tx.put(key.tally(agent), counts);
  found.add('mended', `the counts of agent ${agent}`);
}

/** What is nothing may be absent. */
function isSameTally(one: StoredTally, other: StoredTally): boolean {
  const fields = [
    'pending',
    'deferred',
    'doubt',
    'pendingSizeBytes',
    'info',
    'steer',
    'floor',
    'number',
  ] as const;
  return fields.every((field) => (one[field] ?? 0) === (other[field] ?? 0));
}

/** How far the sweep has come, when its record is gone: the first number that is not kept is behind it. */
async function floorOf(tx: Tx, agent: string, kept: ReadonlySet<number>): Promise<number> {
  for await (const page of pagesOf(tx, below(`history/${agent}/`)))
    for (const [historyKey] of page) if (!kept.has(numberOf(historyKey))) return numberOf(historyKey) - 1;
  return Math.max(0, ...kept);
}

async function readIndex(tx: Tx, kind: keyof Indexes, agent: string): Promise<Set<number>> {
  const numbers = new Set<number>();
  for await (const page of pagesOf(tx, below(`${kind}/${agent}/`)))
    for (const [entryKey] of page) numbers.add(numberOf(entryKey));
  return numbers;
}

/** A message whose history record is gone while it still waits in the outbox is in the history again. */
export async function restoreSent(tx: Tx, found: Findings): Promise<void> {
  for await (const page of pagesOf<OutboxEntry>(tx, below('outbox/'))) {
    for (const [entryKey, entry] of page) {
      const { agent, letter, ns, atMs, held } = entry;
      if (agent === undefined || letter.k !== 'message') continue;
      const known = await tx.get<Known>(key.known(agent, letter.id));
      if (!known?.number || (await tx.get(key.history(agent, known.number)))) continue;
      const record: MailRecord = {
        number: known.number,
        direction: 'sent',
        ns,
        message: letter,
        machine: entryKey.split('/')[1]!,
        status: held ? 'held' : 'queued',
        acceptedAtMs: atMs,
        outbox: entry.number,
        ...(held && { held }),
      };
      tx.put(key.history(agent, known.number), record);
      found.add('mended', `history of agent ${agent}, from its outbox`);
    }
  }
}

async function readHistory(
  tx: Tx,
  agent: string,
  { indexes, floor, nowMs }: { indexes: Indexes; floor: number; nowMs: number },
  found: Findings,
): Promise<Story> {
  const story: Story = {
    pending: 0,
    doubt: 0,
    deferred: 0,
    pendingSizeBytes: 0,
    info: 0,
    steer: 0,
    unread: new Map(),
    last: floor,
    holes: [],
    sent: new Map(),
    received: new Map(),
  };
  /** An index is there exactly when the record says so. */
  const follow = (kind: keyof Indexes, number: number, belongs: boolean, value: unknown = true) => {
    if (indexes[kind].delete(number) === belongs) return;
    if (belongs) tx.put(key[kind](agent, number), value);
    else tx.delete(key[kind](agent, number));
    found.add('mended', `an index of agent ${agent}`);
  };
  for await (const page of pagesOf<MailRecord>(tx, below(`history/${agent}/`))) {
    for (const [, record] of page) {
      const { number, status, message, direction, doubt } = record;
      if (number > story.last + 1) story.holes.push({ from: story.last + 1, to: number - 1 });
      story.last = Math.max(story.last, number);
      const isUnread = status === 'pending';
      const isDeferred = status === 'deferred' && direction === 'received';
      if (isUnread) count(story, record);
      if (isDeferred) story.deferred += 1;
      follow('pending', number, isUnread && !doubt);
      follow('doubt', number, isUnread && doubt === true, nowMs);
      follow('deferred', number, isDeferred);
      follow('kept', number, number <= floor);
      if (direction === 'sent') keepHighest(story.sent, message.to.id, message);
      else if (!record.notice && message.from.id !== agent)
        keepHighest(story.received, message.from.id, message);
    }
    await Promise.all(page.map(([, record]) => mendRecord(tx, agent, record, found, nowMs)));
  }
  return story;
}

/** Counts what is unread, as mail-unread.ts does. */
function count(story: Story, { message, notice, doubt }: MailRecord): void {
  if (doubt) story.doubt += 1;
  else story.pending += 1;
  if (notice) return;
  const { from, content, urgency } = message;
  if (urgency !== undefined && !doubt) story[urgency] += 1;
  story.pendingSizeBytes += Buffer.byteLength(content);
  story.unread.set(from.id, (story.unread.get(from.id) ?? 0) + 1);
}

/** Of the newest numbering of lines alone: older ones say nothing of it. */
function keepHighest(highest: Map<string, Message>, other: string, message: Message): void {
  const before = highest.get(other);
  const [epoch, epochBefore] = [message.epoch ?? 0, before?.epoch ?? 0];
  if (!before || epoch > epochBefore || (epoch === epochBefore && message.seq > before.seq))
    highest.set(other, message);
}

async function mendRecord(
  tx: Tx,
  agent: string,
  record: MailRecord,
  found: Findings,
  nowMs: number,
): Promise<void> {
  const { message, number, machine } = record;
  if (!(await tx.get(key.known(agent, message.id)))) {
    const peer = record.direction === 'sent' ? message.to.id : message.from.id;
    tx.put(key.known(agent, message.id), { peer, number } satisfies Known);
    found.add('mended', `a dedupe mark of agent ${agent}`);
  }
  const atMs = dueAtMs(record);
  if (atMs !== undefined && atMs > nowMs && !(await tx.get(key.due(atMs, agent, number)))) {
    watchAnswer(tx, agent, record);
    found.add('mended', `an index of agent ${agent}`);
  }
  if (record.outbox === undefined || (await tx.get(key.outbox(machine, record.outbox)))) return;
  const { outbox, unsendAsked, ...rest } = record;
  const waits = record.status === 'queued' || record.status === 'held';
  if (!waits || unsendAsked) {
    tx.put(key.history(agent, number), rest satisfies MailRecord);
    found.add('lost', `a request of agent ${agent} to take a message back`);
    return;
  }
  const entry: OutboxEntry = {
    number: outbox,
    ns: record.ns,
    letter: message,
    agent,
    boot: NO_BOOT,
    sizeBytes: encodeLetter(message).length,
    atMs: record.acceptedAtMs,
    ...(record.held && { held: record.held }),
  };
  tx.put(key.outbox(machine, outbox), entry);
  found.add('mended', `outbox of agent ${agent}, from its history`);
}

/** Returns the highest number that a mark names. */
async function mendKnown(tx: Tx, agent: string, gone: ReadonlySet<number>, found: Findings): Promise<number> {
  let highest = 0;
  for await (const page of pagesOf<Known>(tx, below(`known/${agent}/`))) {
    for (const [knownKey, known] of page) {
      highest = Math.max(highest, known.number);
      const isHeldGone =
        known.heldSeq !== undefined &&
        !known.void &&
        !(await tx.get(key.held(agent, known.peer, known.heldSeq)));
      if (!isHeldGone && !gone.has(known.number)) continue;
      tx.delete(knownKey);
      found.add('lost', `an unread message of agent ${agent}, which can be sent again`);
      found.wantsResend = true;
    }
  }
  return highest;
}

/** Says once which numbers of the history are gone, and remembers that it was said. */
async function nameHoles(
  tx: Tx,
  agent: string,
  holes: readonly Range[],
  found: Findings,
  nowMs: number,
): Promise<void> {
  const told: Range[] = [];
  for await (const page of pagesOf<Gone>(tx, below(`gone/${agent}/`)))
    for (const [goneKey, { to }] of page) told.push({ from: numberOf(goneKey), to });
  for (const hole of holes) {
    for (const { from, to } of without(hole, told)) {
      tx.put(`gone/${agent}/${digits(from)}`, { to, atMs: nowMs } satisfies Gone);
      const which = from === to ? `number ${from}` : `numbers ${from} to ${to}`;
      found.add('lost', `history of agent ${agent}, ${which}`, to - from + 1);
      found.wantsResend = true;
    }
  }
}

/** What is left of a range without others. */
function without(range: Range, others: readonly Range[]): Range[] {
  let left = [range];
  for (const other of others) {
    left = left.flatMap(({ from, to }) =>
      [
        { from, to: Math.min(to, other.from - 1) },
        { from: Math.max(from, other.to + 1), to },
      ].filter((part) => part.from <= part.to),
    );
    if (left.length === 0) break;
  }
  return left;
}
