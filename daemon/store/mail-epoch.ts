import type { Message } from '../../protocol/letter.ts';
import { OUTBOX_MAX } from '../../protocol/limits.ts';
import type { Tx } from './journal.ts';
import { askAgain, moveToDoubt } from './mail-doubts.ts';
import { giveUpGaps } from './mail-incoming.ts';
import {
  below,
  key,
  nextPlace,
  placedAt,
  queue,
  readEpoch,
  unqueue,
  type EpochWork,
  type Known,
  type Resync,
} from './mail-records.ts';
import type { MailRecord, OutboxEntry } from './mail-store.ts';

/**
 * A new epoch of this machine, and what this one does about that of another; each function within one transaction.
 * Whoever may have lost what it acknowledged begins an epoch. Its own lines begin again at 1, so that no place is
 * given twice; its peers send again what they do not know to be read, in lines that begin again too, for it may not
 * know any more where they stood.
 */

/** Records that one step reads: a message may have 200 KB. */
const STEP_RECORDS = 32;
const NEXT = '\x00';

/**
 * From here on the machine is in the new epoch, and its peers are to send again. For one that runs and has not gone
 * back to an earlier state that is all: the places of what waits in its outbox are still its own. `above` is an epoch
 * that it was in and does not know of.
 */
export async function enterEpoch(tx: Tx, nowMs: number, above = 0): Promise<number> {
  const lines = (await tx.range<Resync>(below('resync/'))).map(([, { line }]) => line);
  // The clock names it and does not order it: it is above all that this machine knows to have used.
  const epoch = Math.max(nowMs, 1 + Math.max(await readEpoch(tx), above, ...lines));
  tx.put(key.epoch, epoch);
  return epoch;
}

/** The next start begins a new epoch before anything is shown or sent. */
export async function leaveEpoch(tx: Tx, inDoubt: boolean): Promise<void> {
  if (!(await tx.get(key.epochWork))) tx.put(key.epochWork, { inDoubt } satisfies EpochWork);
}

/** From here on the machine is in the new epoch; stepEpoch does the rest. */
export async function beginEpoch(
  tx: Tx,
  { inDoubt, nowMs, above }: { inDoubt: boolean; nowMs: number; above?: number },
): Promise<void> {
  const before = await tx.get<EpochWork>(key.epochWork);
  await enterEpoch(tx, nowMs, above);
  const work: EpochWork = { inDoubt: inDoubt || (before?.inDoubt ?? false), step: 'outbox' };
  tx.put(key.epochWork, work);
}

/** Does one step of a new epoch; false when there is nothing left to do. */
export async function stepEpoch(
  tx: Tx,
  run: { self: string; boot: string; nowMs: number },
): Promise<boolean> {
  const work = await tx.get<EpochWork>(key.epochWork);
  if (!work) return false;
  const { inDoubt, after } = work;
  const goOn = (last: string | undefined, then: EpochWork['step']) => {
    const next: EpochWork =
      last === undefined ? { inDoubt, ...(then && { step: then }) } : { ...work, after: last };
    if (next.step === undefined) tx.delete(key.epochWork);
    else tx.put(key.epochWork, next);
  };
  switch (work.step) {
    case undefined:
      await beginEpoch(tx, { inDoubt, nowMs: run.nowMs });
      break;
    case 'outbox':
      goOn(await placeAgain(tx, after), 'doubts');
      break;
    case 'doubts':
      // Those of an earlier epoch: what was told of them may be lost.
      goOn((await askAgain(tx, after, run)).last, inDoubt ? 'gaps' : undefined);
      break;
    case 'gaps':
      // What is held back may have been shown as well.
      await giveUpGaps(tx, run.nowMs, Number.MAX_SAFE_INTEGER);
      goOn(undefined, 'pending');
      break;
    case 'pending':
      goOn(await moveToDoubt(tx, after, run), undefined);
      break;
  }
  return true;
}

/** Gives the messages of a page of the outbox places in the lines of the new epoch; returns its last key. */
async function placeAgain(tx: Tx, after: string | undefined): Promise<string | undefined> {
  const range = below('outbox/');
  const from = after === undefined ? range.from : after + NEXT;
  const page = await tx.range<OutboxEntry>({ from, to: range.to, limit: STEP_RECORDS });
  for (const [entryKey, entry] of page) {
    const [, machine = ''] = entryKey.split('/');
    const { letter } = entry;
    if (letter.k !== 'message') continue;
    const message = placedAt(letter, await nextPlace(tx, letter.from.id, letter.to.id, machine));
    tx.put(entryKey, { ...entry, letter: message } satisfies OutboxEntry);
    const known = await tx.get<Known>(key.known(letter.from.id, letter.id));
    const record = known?.number && (await tx.get<MailRecord>(key.history(letter.from.id, known.number)));
    if (record)
      tx.put(key.history(letter.from.id, record.number), { ...record, message } satisfies MailRecord);
  }
  return page.at(-1)?.[0];
}

/** See MailStore.resync. */
export async function resync(
  tx: Tx,
  run: {
    machine: string;
    epoch: number;
    boot: string;
    nowMs: number;
    neverLeft: (entry: OutboxEntry) => boolean;
    shares: (ns: string) => boolean;
  },
): Promise<{ replaced: number[]; queued: number; state: 'more' | 'full' | 'done' }> {
  const { machine, epoch, nowMs } = run;
  const known = await tx.get<Resync>(key.resync(machine));
  const range = below('history/');
  let work = known;
  if (!work || work.epoch < epoch) {
    const line = Math.max(nowMs, (known?.line ?? 0) + 1, (await readEpoch(tx)) + 1);
    work = { epoch, line, after: below('doubt/').from };
  }
  const replaced: number[] = [];
  let queued = 0;
  if (work.after === undefined) return { replaced, queued, state: 'done' };
  if (((await tx.get<number>(key.outboxCount(machine))) ?? 0) + STEP_RECORDS > OUTBOX_MAX) {
    tx.put(key.resync(machine), work);
    return { replaced, queued, state: 'full' };
  }
  if (work.after < range.from) {
    const isAsked = (record: MailRecord) => record.machine === machine && run.shares(record.ns);
    const asked = await askAgain(tx, work.after, { ...run, of: isAsked });
    tx.put(key.resync(machine), { ...work, after: asked.last ?? range.from } satisfies Resync);
    return { replaced, queued: asked.queued, state: 'more' };
  }
  // Before the records, whose places depend on it.
  tx.put(key.resync(machine), work);
  const page = await tx.range<MailRecord>({ from: work.after + NEXT, to: range.to, limit: STEP_RECORDS });
  for (const [historyKey, record] of page) {
    if (record.direction !== 'sent' || record.machine !== machine || !run.shares(record.ns)) continue;
    const left = await sendAgain(tx, historyKey, record, work.line, run);
    if (left === undefined) continue;
    queued += 1;
    if (left.replaced !== undefined) replaced.push(left.replaced);
  }
  const last = page.at(-1)?.[0];
  const { after: _, ...done } = work;
  tx.put(key.resync(machine), last === undefined ? done : { ...work, after: last });
  return { replaced, queued, state: last === undefined ? 'done' : 'more' };
}

/** Queues a message again that is not known to be read; undefined when there is nothing to do about it. */
async function sendAgain(
  tx: Tx,
  historyKey: string,
  record: MailRecord,
  line: number,
  { boot, nowMs, neverLeft }: { boot: string; nowMs: number; neverLeft: (entry: OutboxEntry) => boolean },
): Promise<{ replaced?: number } | undefined> {
  const { machine, ns, message, outbox } = record;
  const entry = outbox === undefined ? undefined : await tx.get<OutboxEntry>(key.outbox(machine, outbox));
  if (entry ? entry.letter.k !== 'message' : record.status !== 'delivered') return undefined;
  if (entry && (message.epoch ?? 0) >= line) return undefined;
  if (entry) await unqueue(tx, machine, entry.number);
  const place = await nextPlace(tx, message.from.id, message.to.id, machine);
  const letter: Message = placedAt(message, place);
  if (!entry || !neverLeft(entry)) letter.again = true;
  const atMs = entry?.atMs ?? nowMs;
  const again = { machine, ns, letter, agent: message.from.id, boot, atMs, again: true as const };
  const { number } = (await queue(tx, again)).entry;
  tx.put(historyKey, { ...record, message: letter, outbox: number } satisfies MailRecord);
  return entry ? { replaced: entry.number } : {};
}
