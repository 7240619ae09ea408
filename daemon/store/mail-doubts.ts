import type { ErrorCode } from '../../protocol/errors.ts';
import type { Doubts, Told } from '../../protocol/letter.ts';
import { DOUBT_MS, OUTBOX_MAX } from '../../protocol/limits.ts';
import type { Tx } from './journal.ts';
import { takeAway } from './mail-incoming.ts';
import { below, key, numberOf, queue, readTally, type Known } from './mail-records.ts';
import type { Asked, MailRecord, Released } from './mail-store.ts';
import { leaveUnread, withUrgent } from './mail-unread.ts';

/**
 * What a restored machine has unread and may have shown, each function within one transaction. Only the sender's
 * machine can know, from the receipts that it got: it is asked, and until it answers the message is not shown.
 */

/** Messages that one batch moves. */
const PAGE = 32;
const NEXT = '\x00';

/** Puts a page of what is unread in doubt, and asks the machines that sent it; returns the page's last key. */
export async function moveToDoubt(
  tx: Tx,
  after: string | undefined,
  { self, boot, nowMs }: { self: string; boot: string; nowMs: number },
): Promise<string | undefined> {
  const { listed, last } = await pageUnder(tx, 'pending/', after);
  const asked: MailRecord[] = [];
  for (const { agent, entryKey, record } of listed) {
    const { machine, message, notice, number } = record;
    if (notice || machine === self) {
      // Nobody else knows.
      tx.put(key.history(agent, number), {
        ...record,
        shownAtMs: record.shownAtMs ?? nowMs,
      } satisfies MailRecord);
      continue;
    }
    tx.delete(entryKey);
    tx.put(key.doubt(agent, number), nowMs);
    tx.put(key.history(agent, number), { ...record, doubt: true } satisfies MailRecord);
    const tally = await readTally(tx, agent);
    const counts = { ...tally, pending: tally.pending - 1, doubt: (tally.doubt ?? 0) + 1 };
    tx.put(key.tally(agent), withUrgent(counts, message.urgency, -1));
    asked.push(record);
  }
  await ask(tx, asked, boot, nowMs);
  return last;
}

/**
 * Asks again about a page of what is in doubt: the question or its answer may be lost here, or at the machine that was
 * asked. `of` says which of it.
 */
export async function askAgain(
  tx: Tx,
  after: string | undefined,
  { of = () => true, boot, nowMs }: { of?: (record: MailRecord) => boolean; boot: string; nowMs: number },
): Promise<{ queued: number; last: string | undefined }> {
  const { listed, last } = await pageUnder(tx, 'doubt/', after);
  const asked = listed.map(({ record }) => record).filter(of);
  return { queued: await ask(tx, asked, boot, nowMs), last };
}

interface Listed {
  agent: string;
  entryKey: string;
  record: MailRecord;
}

/** The messages that a page of a list of numbers by agent names, and the page's last key. */
async function pageUnder(
  tx: Tx,
  list: 'pending/' | 'doubt/',
  after: string | undefined,
): Promise<{ listed: Listed[]; last: string | undefined }> {
  const range = below(list);
  const from = after === undefined ? range.from : after + NEXT;
  const page = await tx.range({ from, to: range.to, limit: PAGE });
  const listed: Listed[] = [];
  for (const [entryKey] of page) {
    const [, agent = ''] = entryKey.split('/');
    const record = await tx.get<MailRecord>(key.history(agent, numberOf(entryKey)));
    if (record) listed.push({ agent, entryKey, record });
  }
  return { listed, last: page.at(-1)?.[0] };
}

/** Queues one letter for each machine and namespace; returns how many. */
async function ask(tx: Tx, records: readonly MailRecord[], boot: string, nowMs: number): Promise<number> {
  const letters = new Map<string, { machine: string; ns: string; messages: Doubts['messages'] }>();
  for (const { machine, ns, message } of records) {
    const letter = letters.get(`${machine} ${ns}`) ?? { machine, ns, messages: [] };
    letter.messages.push({ id: message.id, from: message.from.id, to: message.to.id });
    letters.set(`${machine} ${ns}`, letter);
  }
  for (const { machine, ns, messages } of letters.values()) {
    await queue(tx, { machine, ns, letter: { k: 'doubts', messages }, boot, atMs: nowMs });
  }
  return letters.size;
}

/** See MailStore.receiveAsked. */
export async function takeAsked(
  tx: Tx,
  { letter, ...asked }: Asked<Doubts | Told>,
): Promise<{ refusal?: ErrorCode; released: Released[] }> {
  if (letter.k === 'told') return { released: await takeTold(tx, { ...asked, letter }) };
  const waiting = (await tx.get<number>(key.outboxCount(asked.machine))) ?? 0;
  if (waiting >= OUTBOX_MAX) return { refusal: 'outbox_full', released: [] };
  await answerDoubts(tx, { ...asked, letter });
  return { released: [] };
}

async function answerDoubts(tx: Tx, { ns, machine, letter, boot, nowMs }: Asked<Doubts>): Promise<void> {
  const messages: Told['messages'] = [];
  for (const { id, from, to } of letter.messages) {
    const known = await tx.get<Known>(key.known(from, id));
    const record = known?.number ? await tx.get<MailRecord>(key.history(from, known.number)) : undefined;
    const isIts =
      record?.direction === 'sent' &&
      record.machine === machine &&
      record.ns === ns &&
      record.message.to.id === to;
    messages.push({ id, to, state: isIts ? knownOf(record) : 'unread' });
  }
  await queue(tx, { machine, ns, letter: { k: 'told', messages }, boot, atMs: nowMs });
}

/** What was expired or refused here may have been read or not: then it is shown again rather than never. */
function knownOf({ status }: MailRecord): Told['messages'][number]['state'] {
  if (status === 'unsent') return 'unsent';
  return status === 'read' || status === 'deferred' || status === 'replied' ? 'read' : 'unread';
}

async function takeTold(tx: Tx, { ns, machine, letter, nowMs }: Asked<Told>): Promise<Released[]> {
  const released: Released[] = [];
  for (const { id, to, state } of letter.messages) {
    const known = await tx.get<Known>(key.known(to, id));
    const record = known?.number ? await tx.get<MailRecord>(key.history(to, known.number)) : undefined;
    if (!record?.doubt || record.machine !== machine || record.ns !== ns) continue;
    if (state === 'unread') released.push(await showAgain(tx, to, record, nowMs));
    else if (state === 'unsent') await takeAway(tx, to, record);
    else {
      await leaveUnread(tx, to, [record]);
      const { doubt: _, ...rest } = record;
      tx.put(key.history(to, record.number), { ...rest, status: 'read' } satisfies MailRecord);
    }
  }
  return released;
}

/** See MailStore.giveUpDoubts. */
export async function giveUpDoubts(
  tx: Tx,
  nowMs: number,
  after: string | undefined,
): Promise<{ released: Released[]; dueAtMs: number | undefined; next: string | undefined }> {
  const range = below('doubt/');
  const from = after === undefined ? range.from : after + NEXT;
  const page = await tx.range<number>({ from, to: range.to, limit: PAGE });
  const released: Released[] = [];
  let dueAtMs: number | undefined;
  for (const [entryKey, sinceMs] of page) {
    const [, agent = ''] = entryKey.split('/');
    const isDue = nowMs >= sinceMs + DOUBT_MS;
    const record = isDue ? await tx.get<MailRecord>(key.history(agent, numberOf(entryKey))) : undefined;
    if (record) released.push(await showAgain(tx, agent, record, nowMs));
    // A clock that was set back does not make it wait longer than that.
    else if (!isDue) dueAtMs = Math.min(dueAtMs ?? Infinity, Math.min(sinceMs, nowMs) + DOUBT_MS);
  }
  return { released, dueAtMs, next: page.at(-1)?.[0] };
}

/** It can be shown, marked as seen before, for it may have been. */
async function showAgain(tx: Tx, agent: string, record: MailRecord, nowMs: number): Promise<Released> {
  const { doubt: _, ...rest } = record;
  tx.delete(key.doubt(agent, record.number));
  tx.put(key.pending(agent, record.number), true);
  const tally = await readTally(tx, agent);
  const counts = { ...tally, doubt: (tally.doubt ?? 1) - 1, pending: tally.pending + 1 };
  tx.put(key.tally(agent), withUrgent(counts, record.message.urgency, 1));
  const shownAtMs = record.shownAtMs ?? nowMs;
  tx.put(key.history(agent, record.number), { ...rest, shownAtMs } satisfies MailRecord);
  return { agent, messageId: record.message.id };
}
