import type { ErrorCode } from '../../protocol/errors.ts';
import { signReceipt, type Receipt } from '../../protocol/receipt.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Journal, Tx } from './journal.ts';
import { giveUpGaps, place, placeReceipt, placeUnsend } from './mail-incoming.ts';
import { accept, refuseAll, settle, takeBack } from './mail-outgoing.ts';
import { confirm, mark, show, type SignReceipt } from './mail-reading.ts';
import { below, digits, key, numberOf, outboxPage, readTally, type Known } from './mail-records.ts';
import type { MailRecord, MailStore, Received, ThreadRecord } from './mail-store.ts';

/** The mail of one machine, in a journal over any ordered key-value store. */
export function createKvMailStore(journal: Journal, signer: Signer): MailStore {
  const sign: SignReceipt = (receipt) => signReceipt(receipt, signer);
  return { ...writes(journal, sign), ...reads(journal) };
}

type Writes =
  | 'accept'
  | 'mark'
  | 'settle'
  | 'refuse'
  | 'refuseAll'
  | 'receive'
  | 'receiveUnsend'
  | 'receiveReceipts'
  | 'giveUpGaps'
  | 'show'
  | 'confirm'
  | 'takeBack';

function writes(journal: Journal, sign: SignReceipt): Pick<MailStore, Writes> {
  const transact = <T>(decide: (tx: Tx) => Promise<T>) => journal.transact(decide);
  return {
    accept: (outgoing) =>
      transact(async (tx) => {
        const { mark: marked, boot, nowMs, from } = outgoing;
        const accepted = await accept(tx, outgoing);
        const kept = accepted.copies.some((copy) => !('error' in copy));
        if (marked && kept) await mark(tx, from.id, marked, { sign, boot, nowMs });
        return accepted;
      }),
    mark: (agent, marked, boot, nowMs) =>
      transact(async (tx) => ({ machines: await mark(tx, agent, marked, { sign, boot, nowMs }) })),
    refuseAll: (machine, ns, code, after, neverLeft) =>
      transact((tx) => refuseAll(tx, { machine, ns, code, after, neverLeft })),
    settle: (machine, number, receipt) => transact((tx) => settle(tx, machine, number, { receipt })),
    refuse: (machine, number, refusal: ErrorCode) =>
      transact((tx) => settle(tx, machine, number, { refusal })),
    receive: (arrival) =>
      transact(async (tx): Promise<Received> => {
        const placed = await place(tx, arrival);
        if (!placed.taken) return placed;
        const { state, released, gapDueAtMs } = placed;
        return { taken: true, released, gapDueAtMs, receipt: sign(receiptOf(arrival, state)) };
      }),
    receiveUnsend: (arrival) =>
      transact(async (tx) => {
        const state = await placeUnsend(tx, arrival);
        return { state, receipt: sign(receiptOf(arrival, state)) };
      }),
    receiveReceipts: (ns, receipts) =>
      transact(async (tx) => {
        const changed: Receipt[] = [];
        for (const receipt of receipts) if (await placeReceipt(tx, ns, receipt)) changed.push(receipt);
        return changed;
      }),
    giveUpGaps: (nowMs) => transact((tx) => giveUpGaps(tx, nowMs)),
    show: (agent, limit, except, nowMs) => transact((tx) => show(tx, agent, limit, except, nowMs)),
    confirm: (agent, numbers, boot, nowMs) =>
      transact(async (tx) => ({ machines: await confirm(tx, agent, numbers, { sign, boot, nowMs }) })),
    takeBack: (request) => transact((tx) => takeBack(tx, request)),
  };
}

function reads(journal: Journal): Omit<MailStore, Writes> {
  const listed = async (status: 'pending' | 'deferred', agent: string, limit: number) => {
    const entries = await journal.range({ ...below(`${status}/${agent}/`), limit });
    const records = await Promise.all(
      entries.map(([entryKey]) => journal.get<MailRecord>(key.history(agent, numberOf(entryKey)))),
    );
    // What left the list between the two reads is not shown.
    return records.filter((record): record is MailRecord => record?.status === status);
  };
  return {
    outboxPage: (machine, after, limit, sizeBytesMax) =>
      outboxPage(journal, machine, after, limit, sizeBytesMax),
    outboxEntry: (machine, number) => journal.get(key.outbox(machine, number)),
    outboxCount: async (machine) => (await journal.get<number>(key.outboxCount(machine))) ?? 0,
    outboxMachines: async () => {
      const entries = await journal.range(below('outbox-count/'));
      return entries.map(([entryKey]) => entryKey.slice('outbox-count/'.length));
    },
    pending: (agent, limit) => listed('pending', agent, limit),
    deferred: (agent, limit) => listed('deferred', agent, limit),
    tally: async (agent) => {
      const { pending, deferred } = await readTally(journal, agent);
      return { pending, deferred };
    },
    find: async (agent, messageId) => {
      const known = await journal.get<Known>(key.known(agent, messageId));
      return known?.number ? journal.get<MailRecord>(key.history(agent, known.number)) : undefined;
    },
    history: async (agent, limit, before) => {
      const range = below(`history/${agent}/`);
      const to = before === undefined ? range.to : `history/${agent}/${digits(before)}`;
      const entries = await journal.range<MailRecord>({ from: range.from, to, reverse: true, limit });
      return entries.map(([, record]) => record);
    },
    thread: (agent, slug) => journal.get<ThreadRecord>(key.thread(agent, slug)),
  };
}

function receiptOf(
  {
    ns,
    letter,
    nowMs,
  }: { ns: string; letter: { id: string; from: { id: string }; to: { id: string } }; nowMs: number },
  state: Receipt['state'],
): Omit<Receipt, 'v' | 'by'> {
  return { ns, id: letter.id, sender: letter.from.id, recipient: letter.to.id, state, at: nowMs };
}
