import type { Journal, Tx } from './journal.ts';
import { below, dayOf, digits, forgetLater, key, numberOf, readTally } from './mail-records.ts';
import type { MailRecord } from './mail-store.ts';

/** Records that one batch looks at, and after how much text it ends sooner. */
const SWEPT_MAX = 200;
const SWEPT_LENGTH_MAX = 1024 * 1024;
/** Records that are read at a time. */
const PAGE = 20;

/**
 * Removes from the history what is too old, and in time the marks that kept it from being shown twice. Each method
 * that writes is one atomic, synced batch over at most 200 records.
 *
 * Invariants: what is unread, deferred or in the outbox stays, whatever its age; of the numbers up to a tally's
 * `floor` the history has exactly those that `kept` names; the mark of a removed message stays for COPY_AGE_MS_MAX.
 */
export interface MailSweep {
  /** Agents that have a history. */
  agents(): Promise<string[]>;
  /** Looks at what comes after the number `after`; start at 0 and call again with `next` until there is none. */
  history(
    agent: string,
    time: SweepTime,
    after: number,
  ): Promise<{ removed: number; next: number | undefined }>;
  /** Forgets the marks that are due; start at '' and call again with `next` until there is none. */
  forget(nowMs: number, after: string): Promise<{ removed: number; next: string | undefined }>;
  /** Gives the space of what was removed back. */
  compact(): Promise<void>;
}

export interface SweepTime {
  /** What is older than this may go. */
  beforeMs: number;
  nowMs: number;
}

export function createMailSweep(journal: Journal): MailSweep {
  return {
    agents: async () => {
      const entries = await journal.range(below('tally/'));
      return entries.map(([tallyKey]) => tallyKey.slice('tally/'.length));
    },
    history: (agent, time, after) =>
      journal.transact(async (tx) => {
        const { floor = 0 } = await readTally(tx, agent);
        if (after >= floor) return sweepFront(tx, agent, time);
        return sweepKept(tx, agent, time, { after, floor });
      }),
    forget: (nowMs, after) => journal.transact((tx) => forget(tx, nowMs, after)),
    compact: async () => {
      for (const kind of ['history', 'pending', 'kept', 'known', 'forget'])
        await journal.compact(below(`${kind}/`));
    },
  };
}

/** What was still needed when the sweep passed it may be done with now. */
async function sweepKept(
  tx: Tx,
  agent: string,
  time: SweepTime,
  { after, floor }: { after: number; floor: number },
): Promise<{ removed: number; next: number }> {
  const { to } = below(`kept/${agent}/`);
  const entries = await tx.range({ from: key.kept(agent, after + 1), to, limit: SWEPT_MAX });
  let removed = 0;
  for (const number of entries.map(([keptKey]) => numberOf(keptKey))) {
    const record = await tx.get<MailRecord>(key.history(agent, number));
    if (record && staysFor(record, time)) continue;
    tx.delete(key.kept(agent, number));
    if (record) remove(tx, agent, record, time.nowMs);
    removed += 1;
  }
  return { removed, next: entries.length < SWEPT_MAX ? floor : numberOf(entries.at(-1)![0]) };
}

/** Goes on from the floor, up to the first that is not old. */
async function sweepFront(
  tx: Tx,
  agent: string,
  time: SweepTime,
): Promise<{ removed: number; next: number | undefined }> {
  const tally = await readTally(tx, agent);
  const first = tally.floor ?? 0;
  const { to } = below(`history/${agent}/`);
  let [removed, floor, length, isAtEnd] = [0, first, 0, false];
  while (!isAtEnd && floor - first < SWEPT_MAX && length < SWEPT_LENGTH_MAX) {
    const page = await tx.range<MailRecord>({ from: key.history(agent, floor + 1), to, limit: PAGE });
    isAtEnd = page.length < PAGE;
    for (const [, record] of page) {
      isAtEnd ||= !isPassed(record, time);
      if (!isPassed(record, time)) break;
      floor = record.number;
      length += record.message.content.length;
      if (staysFor(record, time)) {
        tx.put(key.kept(agent, record.number), true);
      } else {
        remove(tx, agent, record, time.nowMs);
        removed += 1;
      }
    }
  }
  if (floor > first) tx.put(key.tally(agent), { ...tally, floor });
  return { removed, next: isAtEnd ? undefined : floor };
}

/** Old, or of a time that this machine's clock has not reached: behind such a one the rest would never go. */
function isPassed({ acceptedAtMs }: MailRecord, { beforeMs, nowMs }: SweepTime): boolean {
  return acceptedAtMs < beforeMs || acceptedAtMs > nowMs;
}

function staysFor(record: MailRecord, { beforeMs }: SweepTime): boolean {
  return isNeeded(record) || lastChangeMs(record) >= beforeMs;
}

/** Unread, deferred, or not answered for: never removed for its age. */
function isNeeded({ direction, status, outbox }: MailRecord): boolean {
  return (
    outbox !== undefined || (direction === 'received' && (status === 'pending' || status === 'deferred'))
  );
}

function lastChangeMs({ acceptedAtMs, shownAtMs = 0, endedAtMs = 0 }: MailRecord): number {
  return Math.max(acceptedAtMs, shownAtMs, endedAtMs);
}

function remove(tx: Tx, agent: string, record: MailRecord, nowMs: number): void {
  const { number, direction, message, notice, status } = record;
  tx.delete(key.history(agent, number));
  // No copy of what was written here comes from elsewhere.
  if (direction === 'sent' || notice) return tx.delete(key.known(agent, message.id));
  if (status === 'unsent')
    tx.put(key.known(agent, message.id), { peer: message.from.id, number: 0, void: { placed: true } });
  forgetLater(tx, agent, message.id, nowMs);
}

/** A cursor, though what lies before it is gone: LevelDB would step over every deleted record again. */
async function forget(
  tx: Tx,
  nowMs: number,
  after: string,
): Promise<{ removed: number; next: string | undefined }> {
  const { from } = below('forget/');
  const to = `${from}${digits(dayOf(nowMs) + 1)}`;
  const due = await tx.range({ from: after > from ? after : from, to, limit: SWEPT_MAX });
  for (const [forgetKey] of due) {
    const [, , agent = '', messageId = ''] = forgetKey.split('/');
    tx.delete(forgetKey);
    tx.delete(key.known(agent, messageId));
  }
  return { removed: due.length, next: due.length < SWEPT_MAX ? undefined : due.at(-1)![0] };
}
