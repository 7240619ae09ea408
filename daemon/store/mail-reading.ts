import { receiptOf, type Receipt, type ReceiptState } from '../../protocol/receipt.ts';
import type { Tx } from './journal.ts';
import { unknownMessage } from './mail-outgoing.ts';
import {
  below,
  key,
  numberOf,
  queue,
  readEpoch,
  readRecords,
  readTally,
  type Home,
  type Known,
} from './mail-records.ts';
import { leaveUnread } from './mail-unread.ts';
import type { MailRecord, Mark } from './mail-store.ts';

/** What agents do with what they received, each function within one transaction. */

export type SignReceipt = (receipt: Omit<Receipt, 'v' | 'by'>, epoch: number) => Uint8Array;

/** Receipts that fit one letter. */
const RECEIPTS_PER_LETTER_MAX = 100;
/** Receipts that one batch queues. */
const OWED_MAX = 400;

/** See MailStore.show. */
export async function show(
  tx: Tx,
  agent: string,
  limit: number,
  except: ReadonlySet<number>,
  nowMs: number,
): Promise<MailRecord[]> {
  if (limit === 0) return [];
  const entries = await tx.range({ ...below(`pending/${agent}/`), limit: limit + except.size });
  const numbers = entries.map(([entryKey]) => numberOf(entryKey)).filter((number) => !except.has(number));
  const records = await readRecords(tx, agent, numbers.slice(0, limit));
  for (const record of records) {
    if (record.shownAtMs !== undefined) continue;
    tx.put(key.history(agent, record.number), { ...record, shownAtMs: nowMs } satisfies MailRecord);
    await tellMove(tx, agent, record);
  }
  return records;
}

/** The agent is told of the move; later messages need not say it again. */
export async function tellMove(
  tx: Tx,
  agent: string,
  { message, machine, movedFrom }: MailRecord,
): Promise<void> {
  if (movedFrom === undefined) return;
  const homeKey = key.home(agent, message.from.name);
  const home = await tx.get<Home>(homeKey);
  if (home?.machine !== machine || home.movedFrom !== movedFrom) return;
  tx.put(homeKey, { machine } satisfies Home);
}

/** See MailStore.confirm. */
export async function confirm(
  tx: Tx,
  agent: string,
  numbers: readonly number[],
  nowMs: number,
): Promise<{ owed: boolean }> {
  const read: MailRecord[] = [];
  for (const number of numbers) {
    const record = await tx.get<MailRecord>(key.history(agent, number));
    if (record?.direction !== 'received' || record.status !== 'pending') continue;
    read.push(record);
    const { doubt: _, ...rest } = record;
    tx.put(key.history(agent, number), { ...rest, status: 'read' } satisfies MailRecord);
  }
  if (read.length > 0) await leaveUnread(tx, agent, read);
  // Nobody sent a notice.
  const sent = read.filter(({ notice }) => !notice);
  for (const { machine, number } of sent) tx.put(key.owed(machine, agent, number), nowMs);
  return { owed: sent.length > 0 };
}

/** See MailStore.tellRead. */
export async function tellRead(
  tx: Tx,
  context: { sign: SignReceipt; boot: string; nowMs: number },
): Promise<{ machines: string[]; more: boolean }> {
  const owed = await tx.range<number>({ ...below('owed/'), limit: OWED_MAX });
  const read: Told[] = [];
  for (const [owedKey, atMs] of owed) {
    tx.delete(owedKey);
    const [, , agent = ''] = owedKey.split('/');
    const record = await tx.get<MailRecord>(key.history(agent, numberOf(owedKey)));
    if (record) read.push({ record, atMs });
  }
  return { machines: await tell(tx, read, 'read', context), more: owed.length === OWED_MAX };
}

/**
 * Marks a received message deferred or replied. A deferred one's sender is told by a receipt; a replied one's
 * by the reply.
 */
export async function mark(
  tx: Tx,
  agent: string,
  { messageId, status }: Mark,
  context: { sign: SignReceipt; boot: string; nowMs: number },
): Promise<string[]> {
  const known = await tx.get<Known>(key.known(agent, messageId));
  const record = known?.number ? await tx.get<MailRecord>(key.history(agent, known.number)) : undefined;
  if (record?.direction !== 'received' || record.status === 'unsent') throw unknownMessage(messageId);
  if (record.status === status) return [];
  if (record.status === 'pending') await leaveUnread(tx, agent, [record]);
  const tally = { ...(await readTally(tx, agent)) };
  if (record.status === 'deferred') {
    tx.delete(key.deferred(agent, record.number));
    tally.deferred -= 1;
  }
  if (status === 'deferred') {
    tx.put(key.deferred(agent, record.number), true);
    tally.deferred += 1;
  }
  tx.put(key.tally(agent), tally);
  const { doubt: _, ...rest } = record;
  tx.put(key.history(agent, record.number), { ...rest, status } satisfies MailRecord);
  const toSelf = record.message.from.id === agent;
  if (toSelf || (status === 'replied' && record.status !== 'pending')) return [];
  // A reply tells of itself, unless it is taken back.
  const told = { record, atMs: context.nowMs };
  return tell(tx, [told], status === 'deferred' ? 'deferred' : 'read', context);
}

/** A received message, and since when it is what its sender is to be told. */
interface Told {
  record: MailRecord;
  atMs: number;
}

/** Queues receipts to the home machines of the records' senders. */
async function tell(
  tx: Tx,
  about: readonly Told[],
  state: ReceiptState,
  { sign, boot, nowMs }: { sign: SignReceipt; boot: string; nowMs: number },
): Promise<string[]> {
  const letters = new Map<string, { ns: string; machine: string; receipts: Uint8Array[] }>();
  const epoch = await readEpoch(tx);
  for (const { record, atMs } of about) {
    const { ns, machine, message, notice } = record;
    // Nobody sent it.
    if (notice) continue;
    const receipt = sign(receiptOf(ns, message, state, atMs), epoch);
    const place = `${machine} ${ns}`;
    const letter = letters.get(place) ?? { ns, machine, receipts: [] };
    letter.receipts.push(receipt);
    letters.set(place, letter);
  }
  for (const { ns, machine, receipts } of letters.values()) {
    for (let at = 0; at < receipts.length; at += RECEIPTS_PER_LETTER_MAX) {
      const part = receipts.slice(at, at + RECEIPTS_PER_LETTER_MAX);
      await queue(tx, { machine, ns, letter: { k: 'receipts', receipts: part }, boot, atMs: nowMs });
    }
  }
  return [...new Set([...letters.values()].map(({ machine }) => machine))];
}
