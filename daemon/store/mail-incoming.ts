import { decideArrival, decideGaps, gapDueAt, type Held, type Line } from '../../protocol/delivery/line.ts';
import type { Message, Unsend, Void } from '../../protocol/letter.ts';
import { climb, isHomeState, type Receipt, type ReceiptState } from '../../protocol/receipt.ts';
import type { Tx } from './journal.ts';
import { notifyOfEnd, type NewNotice } from './mail-notices.ts';
import {
  below,
  forgetLater,
  key,
  notWaiting,
  readEpoch,
  readLine,
  readTally,
  unqueue,
  type HeldRecord,
  type Home,
  type Known,
  type Resync,
  type StoredLine,
} from './mail-records.ts';
import { watchAnswer } from './mail-obligations.ts';
import type { Arrived, MailRecord, OutboxEntry, ReceiptTaken, Released } from './mail-store.ts';
import { isGone, joinThread, leaveThread } from './mail-threads.ts';
import { tellMove } from './mail-reading.ts';
import { hasRoomFor, leaveUnread, withUnread } from './mail-unread.ts';

/** What arrives from other machines, each function within one transaction. */

export type Placed =
  | { taken: true; state: ReceiptState; released: Released[]; gapDueAtMs: number | undefined }
  | { taken: false; code: 'mailbox_full' | 'invalid_id'; retry: boolean };

export async function place(tx: Tx, arrival: Arrived<Message | Void>): Promise<Placed> {
  const { letter, nowMs } = arrival;
  const [agent, sender] = [letter.to.id, letter.from.id];
  const known = await tx.get<Known>(key.known(agent, letter.id));
  if (known && known.peer !== sender) return { taken: false, code: 'invalid_id', retry: false };
  const placed = known !== undefined && known.void?.placed !== false ? known : undefined;
  const isVoid = letter.k === 'void' || known !== undefined;
  if (letter.k === 'message' && !isVoid && !(await hasRoomFor(tx, letter))) {
    return { taken: false, code: 'mailbox_full', retry: true };
  }
  const line = await readLine(tx, agent, sender);
  const { id, seq, epoch } = letter;
  const verdict = decideArrival(line, { seq, epoch, id, known: placed !== undefined }, nowMs);
  if (verdict.verdict === 'full') return { taken: false, code: 'mailbox_full', retry: true };
  const released: Released[] = [];
  if (verdict.verdict === 'duplicate') {
    return { taken: true, state: await knownState(tx, letter), released, gapDueAtMs: undefined };
  }
  for (const { held, missingBefore: missing } of 'closed' in verdict ? verdict.closed : []) {
    const missingBefore = isGap(line, held, await readEpoch(tx)) ? missing : 0;
    await releaseHeld(tx, agent, sender, held.seq, { nowMs, missingBefore }, released);
  }
  const state = placed ? await knownState(tx, letter) : isVoid ? 'unsent' : 'delivered';
  const { ns, machine, handOff } = arrival;
  const taken: HeldRecord = { letter: isVoid ? asVoid(letter) : letter, ns, machine };
  if (verdict.verdict === 'hold') {
    tx.put(key.held(agent, sender, seq), taken);
    const mark: Known = { peer: sender, number: 0, heldSeq: seq };
    if (!placed) tx.put(key.known(agent, id), isVoid ? { ...mark, void: { placed: true } } : mark);
  } else {
    await release(tx, taken, { nowMs, late: verdict.verdict === 'late', handOff }, released);
    const freed = verdict.verdict === 'release' ? verdict.freed : [];
    for (const held of freed) await releaseHeld(tx, agent, sender, held.seq, { nowMs }, released);
  }
  putLine(tx, agent, sender, await begunIn(tx, line, verdict.line));
  return { taken: true, state, released, gapDueAtMs: gapDueAt(verdict.line) };
}

/** Whether what is missing was missing: in a line from before this machine lost what it had, that may be what it lost. */
function isGap(line: StoredLine, { sinceMs }: Held, own: number): boolean {
  return (line.own ?? 0) === own || sinceMs < own;
}

/** What became of a message that is known, now that it came again, or is taken back. */
async function knownState(tx: Tx, letter: Message | Void): Promise<ReceiptState> {
  const agent = letter.to.id;
  const known = await tx.get<Known>(key.known(agent, letter.id));
  if (!known) throw new Error('it was known a moment ago');
  return letter.k === 'void' ? withdraw(tx, agent, letter.id, known) : stateOf(tx, agent, known);
}

/** The line after an arrival, with the epoch of this machine in which it took in the first place of it. */
async function begunIn(tx: Tx, before: StoredLine, after: Line): Promise<StoredLine> {
  const isNew = (after.epoch ?? 0) > (before.epoch ?? 0) || (before.next === 1 && after.next > 1);
  const own = isNew ? await readEpoch(tx) : 0;
  return own > 0 ? { ...after, own } : after;
}

/** Takes a message back, or makes sure that it will never be shown when it has not arrived yet. */
export async function placeUnsend(tx: Tx, { letter, nowMs }: Arrived<Unsend>): Promise<ReceiptState> {
  const agent = letter.to.id;
  const known = await tx.get<Known>(key.known(agent, letter.id));
  if (known) return known.peer === letter.from.id ? withdraw(tx, agent, letter.id, known) : 'unsent';
  const mark: Known = { peer: letter.from.id, number: 0, void: { placed: false } };
  tx.put(key.known(agent, letter.id), mark);
  forgetLater(tx, agent, letter.id, nowMs);
  return 'unsent';
}

/**
 * Lets the sent message climb, and takes out of the outbox what the receipt answers. Undefined when it changes
 * nothing. The receipt's signature is the caller's to check.
 */
export async function placeReceipt(
  tx: Tx,
  ns: string,
  receipt: Receipt,
  newNotice: NewNotice,
): Promise<Omit<ReceiptTaken, 'receipt'> | undefined> {
  const known = await tx.get<Known>(key.known(receipt.sender, receipt.id));
  if (!known?.number || known.peer !== receipt.recipient) return undefined;
  const record = await tx.get<MailRecord>(key.history(receipt.sender, known.number));
  if (record?.direction !== 'sent' || record.ns !== ns || receipt.ns !== ns || record.machine !== receipt.by)
    return undefined;
  if (record.status === 'pending' || !isHomeState(receipt.state)) return undefined;
  // It signed before that the message is there: what it refuses now is a copy, or the taking back.
  if (receipt.state === 'refused' && record.status === 'delivered') return undefined;
  // What it had then it may have lost since, and was sent again.
  const lostBefore = (await tx.get<Resync>(key.resync(receipt.by)))?.epoch ?? 0;
  if (receipt.state === 'delivered' && (receipt.epoch ?? 0) < lostBefore) return undefined;
  const status = climb(record.status, receipt.state);
  const settled = await answered(tx, record, receipt);
  if (status === record.status && !settled) return undefined;
  const { outbox, unsendAsked, ...rest } = notWaiting(record);
  const left = settled || outbox === undefined ? {} : { outbox, ...(unsendAsked && { unsendAsked }) };
  const after: MailRecord = { ...rest, ...left, status };
  tx.put(key.history(receipt.sender, known.number), after);
  if (status !== record.status && isGone(after)) await leaveThread(tx, receipt.sender, after);
  return { settled, released: await notifyOfEnd(tx, receipt.sender, record, after, newNotice) };
}

/**
 * Takes the outbox entry about a sent message out, when the state that its home machine names answers it: for the
 * message itself every state does, for its taking back only how that ended. What was given another place since the copy
 * that the receipt speaks of has to go all the same: its recipient would wait for what fills that place.
 */
async function answered(
  tx: Tx,
  { machine, outbox }: MailRecord,
  { state, line = 0 }: Receipt,
): Promise<ReceiptTaken['settled']> {
  if (outbox === undefined) return undefined;
  const entry = await tx.get<OutboxEntry>(key.outbox(machine, outbox));
  if (!entry || (entry.letter.k !== 'message' && state === 'delivered')) return undefined;
  const { letter } = entry;
  if ((letter.k === 'message' || letter.k === 'void') && line < (letter.epoch ?? 0)) return undefined;
  await unqueue(tx, machine, outbox);
  return { machine, number: outbox };
}

/** Gives up what is overdue in every line that holds something back; `untilMs` is now unless it is not to wait. */
export async function giveUpGaps(
  tx: Tx,
  nowMs: number,
  untilMs = nowMs,
): Promise<{ released: Released[]; dueAtMs: number | undefined }> {
  const released: Released[] = [];
  let dueAtMs: number | undefined;
  const own = await readEpoch(tx);
  for (const [gapKey] of await tx.range(below('gap/'))) {
    const [, agent = '', sender = ''] = gapKey.split('/');
    const line = await readLine(tx, agent, sender);
    const decision = decideGaps(line, untilMs);
    for (const { held, missingBefore: missing } of decision.freed) {
      const missingBefore = isGap(line, held, own) ? missing : 0;
      await releaseHeld(tx, agent, sender, held.seq, { nowMs, missingBefore }, released);
    }
    putLine(tx, agent, sender, decision.line);
    if (decision.dueAtMs !== undefined) dueAtMs = Math.min(dueAtMs ?? Infinity, decision.dueAtMs);
  }
  return { released, dueAtMs };
}

/** The one transition out of unread that is not reading: only what no session was ever shown. */
async function withdraw(tx: Tx, agent: string, messageId: string, known: Known): Promise<ReceiptState> {
  if (known.void) return 'unsent';
  if (known.heldSeq !== undefined) {
    const heldKey = key.held(agent, known.peer, known.heldSeq);
    const held = await tx.get<HeldRecord>(heldKey);
    if (held) tx.put(heldKey, { ...held, letter: asVoid(held.letter) });
    tx.put(key.known(agent, messageId), { ...known, void: { placed: true } } satisfies Known);
    return 'unsent';
  }
  const historyKey = key.history(agent, known.number);
  const record = await tx.get<MailRecord>(historyKey);
  if (!record) return 'read';
  // In doubt means that it may have been shown.
  if (record.status !== 'pending' || record.shownAtMs !== undefined || record.doubt)
    return stateOfRecord(record);
  await takeAway(tx, agent, record);
  return 'unsent';
}

/** What was unread is gone, and nobody will see it. */
export async function takeAway(tx: Tx, agent: string, record: MailRecord): Promise<void> {
  const { doubt, ...rest } = record;
  const after: MailRecord = { ...rest, status: 'unsent', message: { ...record.message, content: '' } };
  tx.put(key.history(agent, record.number), after);
  await leaveThread(tx, agent, after);
  await leaveUnread(tx, agent, [{ ...rest, ...(doubt && { doubt }) }]);
}

async function stateOf(tx: Tx, agent: string, known: Known): Promise<ReceiptState> {
  if (known.void) return 'unsent';
  if (known.heldSeq !== undefined) return 'delivered';
  const record = await tx.get<MailRecord>(key.history(agent, known.number));
  return record ? stateOfRecord(record) : 'delivered';
}

function stateOfRecord(record: MailRecord): ReceiptState {
  return record.status === 'pending' ? 'delivered' : record.status;
}

async function releaseHeld(
  tx: Tx,
  agent: string,
  sender: string,
  seq: number,
  circumstances: { nowMs: number; missingBefore?: number },
  released: Released[],
): Promise<void> {
  const heldKey = key.held(agent, sender, seq);
  const held = await tx.get<HeldRecord>(heldKey);
  if (!held) return;
  tx.delete(heldKey);
  await release(tx, held, circumstances, released);
}

/** Makes a message visible: history, inbox, thread, and the message that it answers. A void only takes its place. */
async function release(
  tx: Tx,
  { letter, ns, machine }: HeldRecord,
  circumstances: {
    nowMs: number;
    late?: boolean;
    missingBefore?: number;
    handOff?: Arrived<unknown>['handOff'];
  },
  released: Released[],
): Promise<void> {
  const [agent, sender] = [letter.to.id, letter.from.id];
  if (letter.k === 'void') {
    const known = await tx.get<Known>(key.known(agent, letter.id));
    // It came again: what became of the first is what counts.
    if (known && !known.void) return;
    tx.put(key.known(agent, letter.id), { peer: sender, number: 0, void: { placed: true } } satisfies Known);
    forgetLater(tx, agent, letter.id, circumstances.nowMs);
    return;
  }
  if (await isLetGo(tx, agent, letter)) {
    tx.put(key.known(agent, letter.id), { peer: sender, number: 0 } satisfies Known);
    return;
  }
  const { nowMs, late, missingBefore, handOff } = circumstances;
  const movedFrom = await arriveFrom(tx, agent, letter.from.name, machine);
  const tally = await readTally(tx, agent);
  const number = tally.number + 1;
  const record = await joinThread(tx, agent, {
    number,
    direction: 'received',
    ns,
    message: letter,
    machine,
    status: 'pending',
    acceptedAtMs: nowMs,
    ...(letter.again ? { shownAtMs: nowMs } : {}),
    ...(late ? { late } : {}),
    ...(missingBefore ? { missingBefore } : {}),
    ...(movedFrom === undefined ? {} : { movedFrom }),
  });
  // Behind what is unread already nothing is handed on, lest it be seen first.
  const isHanded = tally.pending === 0 && handOff?.(agent, number, letter.urgency ?? 'normal') === true;
  if (isHanded && record.shownAtMs === undefined) await tellMove(tx, agent, record);
  tx.put(key.history(agent, number), isHanded ? { ...record, shownAtMs: record.shownAtMs ?? nowMs } : record);
  tx.put(key.pending(agent, number), true);
  tx.put(key.known(agent, letter.id), { peer: sender, number } satisfies Known);
  tx.put(key.tally(agent), await withUnread(tx, { ...tally, number }, letter));
  if (letter.reply_to) await markReplied(tx, agent, letter);
  const dueAtMs = watchAnswer(tx, agent, record);
  released.push({
    agent,
    messageId: letter.id,
    ...(dueAtMs === undefined ? {} : { dueAtMs }),
    ...(isHanded ? { handed: record } : {}),
  });
}

/**
 * Notes that the sender of a message wants no answer any more, when a letter says so. True when it says nothing else:
 * a thread that it closes is news.
 */
async function isLetGo(tx: Tx, agent: string, letter: Message): Promise<boolean> {
  if (!letter.resolve || letter.content !== '' || !letter.reply_to) return false;
  const known = await tx.get<Known>(key.known(agent, letter.reply_to));
  if (!known?.number || known.peer !== letter.from.id) return false;
  const record = await tx.get<MailRecord>(key.history(agent, known.number));
  if (record?.direction !== 'received') return false;
  tx.put(key.history(agent, known.number), { ...record, letGo: true } satisfies MailRecord);
  return !letter.thread;
}

/** Remembers where a sender's name writes from, and returns where it wrote from before when that is news. */
async function arriveFrom(
  tx: Tx,
  agent: string,
  sender: string,
  machine: string,
): Promise<string | undefined> {
  const home = await tx.get<Home>(key.home(agent, sender));
  if (home?.machine === machine) return home.movedFrom;
  const movedFrom = home?.machine;
  const moved: Home = { machine, ...(movedFrom === undefined ? {} : { movedFrom }) };
  tx.put(key.home(agent, sender), moved);
  return movedFrom;
}

async function markReplied(tx: Tx, agent: string, letter: Message): Promise<void> {
  const known = await tx.get<Known>(key.known(agent, letter.reply_to!));
  if (!known?.number || known.peer !== letter.from.id) return;
  const record = await tx.get<MailRecord>(key.history(agent, known.number));
  if (record?.direction !== 'sent' || record.status === 'pending') return;
  const status = climb(record.status, 'replied');
  tx.put(key.history(agent, known.number), { ...notWaiting(record), status } satisfies MailRecord);
}

function putLine(tx: Tx, agent: string, sender: string, line: StoredLine): void {
  tx.put(key.lineIn(agent, sender), line);
  if (line.held.length > 0) tx.put(key.gap(agent, sender), true);
  else tx.delete(key.gap(agent, sender));
}

function asVoid(letter: Message | Void): Void {
  const { id, seq, epoch, from, to } = letter;
  return { k: 'void', id, seq, from, to, ...(epoch !== undefined && { epoch }) };
}
