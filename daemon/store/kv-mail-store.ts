import type { ErrorCode } from '../../protocol/errors.ts';
import type { Addressed } from '../../protocol/letter.ts';
import { receiptOf, signReceipt, type ReceiptState } from '../../protocol/receipt.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Journal, Tx } from './journal.ts';
import { giveUpGaps, place, placeReceipt, placeUnsend } from './mail-incoming.ts';
import type { NewNotice } from './mail-notices.ts';
import {
  accept,
  expire,
  markHeld,
  postponed,
  refuseAll,
  settle,
  takeBack,
  unsendAsked,
} from './mail-outgoing.ts';
import { confirm, mark, show, tellRead, type SignReceipt } from './mail-reading.ts';
import { giveUpDoubts, takeAsked } from './mail-doubts.ts';
import { beginEpoch, resync, stepEpoch } from './mail-epoch.ts';
import { remind } from './mail-obligations.ts';
import {
  below,
  digits,
  key,
  numberOf,
  outboxPage,
  queueReceipt,
  readEpoch,
  readRecords,
  readTally,
  type Known,
  type Resync,
} from './mail-records.ts';
import type { Arrived, MailRecord, MailStore, ReceiptTaken } from './mail-store.ts';
import { readThread, resetChains } from './mail-threads.ts';

/** The mail of one machine, in a journal over any ordered key-value store. */
export function createKvMailStore(journal: Journal, signer: Signer, newNotice: NewNotice): MailStore {
  const sign: SignReceipt = (receipt, epoch) =>
    signReceipt(epoch === 0 ? receipt : { ...receipt, epoch }, signer);
  return {
    ...writes(journal, sign, newNotice),
    ...readings(journal, sign),
    ...epochs(journal, signer.peerId),
    ...reads(journal),
  };
}

type Writes =
  | 'accept'
  | 'mark'
  | 'settle'
  | 'postponed'
  | 'refuse'
  | 'refuseAll'
  | 'receive'
  | 'markHeld'
  | 'expire'
  | 'unsendAsked'
  | 'tell'
  | 'receiveUnsend'
  | 'receiveReceipts'
  | 'giveUpGaps'
  | 'remind'
  | 'resetChains'
  | 'takeBack';

function writes(journal: Journal, sign: SignReceipt, newNotice: NewNotice): Pick<MailStore, Writes> {
  const transact = <T>(decide: (tx: Tx) => Promise<T>) => journal.transact(decide);
  /** What answers a letter: signed when it is asked for, or at once when it is queued. */
  const answer = async (tx: Tx, arrival: Arrived<Addressed>, state: ReceiptState) => {
    const said = receiptOf(arrival.ns, arrival.letter, state, arrival.nowMs);
    const epoch = await readEpoch(tx);
    let signed: Uint8Array | undefined;
    const receipt = (): Uint8Array => (signed ??= sign(said, epoch));
    return { receipt, told: await tellRelayed(tx, arrival, receipt) };
  };
  return {
    accept: (outgoing, meanwhile) =>
      journal.transact(async (tx) => {
        const { mark: marked, boot, nowMs, from } = outgoing;
        const accepted = await accept(tx, outgoing);
        const kept = accepted.copies.some((copy) => !('error' in copy));
        if (marked && kept) await mark(tx, from.id, marked, { sign, boot, nowMs });
        return accepted;
      }, meanwhile),
    mark: (agent, marked, boot, nowMs) =>
      transact(async (tx) => ({ machines: await mark(tx, agent, marked, { sign, boot, nowMs }) })),
    refuseAll: (machine, ns, code, after, neverLeft) =>
      transact((tx) => refuseAll(tx, { machine, ns, code, after, neverLeft }, newNotice)),
    expire: (machine, beforeMs, after, neverLeft) =>
      transact((tx) => expire(tx, { machine, beforeMs, after, neverLeft }, newNotice)),
    unsendAsked: (agent, messageId) => transact((tx) => unsendAsked(tx, agent, messageId)),
    markHeld: (machine, number, mailbox) => transact((tx) => markHeld(tx, machine, number, mailbox)),
    tell: (machine, ns, receipt, boot) =>
      transact(async (tx) => {
        const told = await queueReceipt(tx, { machine, ns, receipt, boot, atMs: newNotice().nowMs });
        return { machines: told ? [machine] : [] };
      }),
    settle: (machine, number, receipt) =>
      transact((tx) => settle(tx, machine, number, { receipt }, newNotice)),
    postponed: (machine, number, code) => transact((tx) => postponed(tx, machine, number, code)),
    refuse: (machine, number, refusal: ErrorCode, mayHaveArrived = false) =>
      transact((tx) => settle(tx, machine, number, { refusal, mayHaveArrived }, newNotice)),
    receive: async (arrival) => {
      const decide = async (tx: Tx) => {
        const placed = await place(tx, arrival);
        return placed.taken ? { ...placed, ...(await answer(tx, arrival, placed.state)) } : placed;
      };
      const received = await journal.transact(decide, (placed) => void (placed.taken && placed.receipt()));
      if (!received.taken) return received;
      const { released, gapDueAtMs, receipt, told } = received;
      return { taken: true, released, gapDueAtMs, receipt: receipt(), told };
    },
    receiveUnsend: (arrival) =>
      transact(async (tx) => {
        const state = await placeUnsend(tx, arrival);
        const { receipt, told } = await answer(tx, arrival, state);
        return { state, receipt: receipt(), told };
      }),
    receiveReceipts: (ns, receipts) =>
      transact(async (tx) => {
        const taken: ReceiptTaken[] = [];
        for (const receipt of receipts) {
          const change = await placeReceipt(tx, ns, receipt, newNotice);
          if (change) taken.push({ receipt, ...change });
        }
        return taken;
      }),
    giveUpGaps: (nowMs) => transact((tx) => giveUpGaps(tx, nowMs)),
    remind: (nowMs) => transact((tx) => remind(tx, nowMs, newNotice)),
    resetChains: (agent, slug) => transact((tx) => resetChains(tx, agent, slug)),
    takeBack: (request) => transact((tx) => takeBack(tx, request)),
  };
}

type Readings = 'show' | 'confirm' | 'look' | 'tellRead';

function readings(journal: Journal, sign: SignReceipt): Pick<MailStore, Readings> {
  const transact = <T>(decide: (tx: Tx) => Promise<T>) => journal.transact(decide);
  return {
    show: (agent, limit, except, nowMs) => transact((tx) => show(tx, agent, limit, except, nowMs)),
    confirm: (agent, numbers, nowMs) => transact((tx) => confirm(tx, agent, numbers, nowMs)),
    look: ({ agent, read, limit, except, nowMs }) =>
      transact(async (tx) => {
        const { owed } = await confirm(tx, agent, read, nowMs);
        return { records: await show(tx, agent, limit, except, nowMs), owed };
      }),
    tellRead: (boot, nowMs) => transact((tx) => tellRead(tx, { sign, boot, nowMs })),
  };
}

type Epochs =
  | 'receiveAsked'
  | 'giveUpDoubts'
  | 'epoch'
  | 'newEpoch'
  | 'settleEpoch'
  | 'resyncedEpoch'
  | 'unfinishedResyncs'
  | 'resync';

function epochs(journal: Journal, self: string): Pick<MailStore, Epochs> {
  return {
    receiveAsked: (arrival) => journal.transact((tx) => takeAsked(tx, arrival)),
    giveUpDoubts: (nowMs, after) => journal.transact((tx) => giveUpDoubts(tx, nowMs, after)),
    epoch: () => readEpoch(journal),
    newEpoch: async ({ boot, ...begin }) => {
      let begun = false;
      await journal.transactAlone(async (tx) => {
        if (begun) return stepEpoch(tx, { self, boot, nowMs: begin.nowMs });
        begun = true;
        await beginEpoch(tx, begin);
        return true;
      });
      return readEpoch(journal);
    },
    settleEpoch: async (boot, nowMs) => {
      await journal.transactAlone((tx) => stepEpoch(tx, { self, boot, nowMs }));
      return readEpoch(journal);
    },
    resyncedEpoch: async (machine) => {
      const known = await journal.get<Resync>(key.resync(machine));
      return known && known.after === undefined ? known.epoch : 0;
    },
    unfinishedResyncs: async () => {
      const all = await journal.range<Resync>(below('resync/'));
      return all
        .filter(([, { after }]) => after !== undefined)
        .map(([entryKey, { epoch }]) => ({ machine: entryKey.slice('resync/'.length), epoch }));
    },
    resync: (request) => journal.transact((tx) => resync(tx, request)),
  };
}

function reads(journal: Journal): Omit<MailStore, Writes | Readings | Epochs> {
  const listed = async (status: 'pending' | 'deferred', agent: string, limit: number) => {
    const entries = await journal.range({ ...below(`${status}/${agent}/`), limit });
    const numbers = entries.map(([entryKey]) => numberOf(entryKey));
    const records = await readRecords(journal, agent, numbers);
    // What left the list between the two reads is not shown.
    return records.filter((record) => record.status === status);
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
      const { pending, deferred, doubt = 0, info = 0, steer = 0 } = await readTally(journal, agent);
      return {
        pending,
        deferred,
        ...(doubt > 0 && { doubt }),
        ...(info > 0 && { info }),
        ...(steer > 0 && { steer }),
      };
    },
    find: async (agent, messageId) => {
      const known = await journal.get<Known>(key.known(agent, messageId));
      return known?.number ? journal.get<MailRecord>(key.history(agent, known.number)) : undefined;
    },
    knows: async (agent, messageId) => (await journal.get(key.known(agent, messageId))) !== undefined,
    history: async (agent, limit, before) => {
      const range = below(`history/${agent}/`);
      const to = before === undefined ? range.to : `history/${agent}/${digits(before)}`;
      const entries = await journal.range<MailRecord>({ from: range.from, to, reverse: true, limit });
      return entries.map(([, record]) => record);
    },
    thread: (agent, peer, slug) => readThread(journal, agent, peer, slug),
  };
}

/** What a mailbox passed on is answered to the sender's machine, wherever that is; false when that answer waits. */
async function tellRelayed(
  tx: Tx,
  { relayedIn, machine, ns, nowMs }: Pick<Arrived<unknown>, 'relayedIn' | 'machine' | 'ns' | 'nowMs'>,
  receipt: () => Uint8Array,
): Promise<boolean> {
  if (relayedIn === undefined) return false;
  return queueReceipt(tx, { machine, ns, receipt: receipt(), boot: relayedIn, atMs: nowMs });
}
