import { PatchcordError, type ErrorCode } from '../../protocol/errors.ts';
import { HOPS_WARNED, OUTBOX_MAX, OUTBOX_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import { next } from '../../protocol/delivery/hops.ts';
import { takenIn } from '../../protocol/delivery/thread.ts';
import { isAddressed, type Message } from '../../protocol/letter.ts';
import { climb, type Receipt, type ReceiptState } from '../../protocol/receipt.ts';
import type { Tx } from './journal.ts';
import { notifyOfEnd, type NewNotice } from './mail-notices.ts';
import { watchAnswer } from './mail-obligations.ts';
import {
  key,
  nextPlace,
  notWaiting,
  outboxPage,
  queue,
  readLine,
  readTally,
  unqueue,
  type Known,
} from './mail-records.ts';
import type {
  Accepted,
  Appended,
  Expired,
  MailRecord,
  Outgoing,
  OutboxEntry,
  RefusedAll,
  Settled,
  TakeBack,
  ThreadRecord,
} from './mail-store.ts';
import { hopsBehind, isGone, joinThread, leaveThread, threadToSend } from './mail-threads.ts';

/** What this machine's agents send, each function within one transaction. */

/** What one refuseAll looks at. The entries of a batch are in memory together, so their bytes are bounded too. */
const REFUSED_MAX = 500;
const EXPIRED_MAX = 100;
const REFUSED_SIZE_BYTES_MAX = 4 * 1024 * 1024;

export async function accept(tx: Tx, outgoing: Outgoing): Promise<Accepted> {
  const { from, replyTo, resolve, content, replyWithinMs, nowMs } = outgoing;
  const [first] = outgoing.copies;
  const thread =
    outgoing.thread && first ? await threadToSend(tx, from.id, outgoing.thread, first.id) : undefined;
  const known = replyTo === undefined ? undefined : await tx.get<Known>(key.known(from.id, replyTo));
  const answered = known?.number ? await tx.get<MailRecord>(key.history(from.id, known.number)) : undefined;
  const accepted: Accepted = { thread, copies: [], queued: [] };
  for (const copy of outgoing.copies) {
    const { hops, queued, ...kept } = await acceptCopy(tx, outgoing, copy, { thread, answered });
    accepted.copies.push(kept);
    if (queued) accepted.queued.push(queued);
    const left = (outgoing.hopsMax ?? Infinity) - hops;
    if (left < HOPS_WARNED) accepted.hopsLeft = Math.max(0, Math.min(left, accepted.hopsLeft ?? left));
  }
  const isKept = accepted.copies.some((copy) => !('error' in copy));
  // Nothing said, and the thread closed, about a message of one's own: no answer to it is wanted any more.
  if (isKept && answered?.direction === 'sent' && resolve && content === '') {
    tx.put(key.history(from.id, answered.number), { ...answered, letGo: true } satisfies MailRecord);
  }
  if (isKept && replyWithinMs !== undefined) accepted.dueAtMs = nowMs + replyWithinMs;
  return accepted;
}

async function acceptCopy(
  tx: Tx,
  outgoing: Outgoing,
  copy: Outgoing['copies'][number],
  context: { thread: ThreadRecord | undefined; answered: MailRecord | undefined },
): Promise<Accepted['copies'][number] & { hops: number; queued?: Appended | undefined }> {
  const { from, nowMs, boot, ns, hopsMax = Infinity } = outgoing;
  const { thread, answered } = context;
  const toSelf = copy.to.id === from.id;
  const place = { peer: copy.to.id, replyTo: answered, slug: thread?.slug };
  const hops = next(outgoing.byPerson ? 0 : await hopsBehind(tx, from.id, place));
  if (hops > hopsMax && outgoing.content !== '') return { id: copy.id, error: 'loop_guard', hops };
  const waiting = (await tx.get<number>(key.outboxCount(copy.machine))) ?? 0;
  const waitingBytes = (await tx.get<number>(key.outboxSize(copy.machine))) ?? 0;
  const isFull =
    waiting >= OUTBOX_MAX || waitingBytes + Buffer.byteLength(outgoing.content) > OUTBOX_SIZE_BYTES_MAX;
  if (!toSelf && isFull) return { id: copy.id, error: 'outbox_full', hops };
  const numbered = toSelf ? { seq: 1 } : await nextPlace(tx, from.id, copy.to.id, copy.machine);
  const tally = await readTally(tx, from.id);
  const seen = toSelf ? { seq: tally.number } : takenIn(await readLine(tx, from.id, copy.to.id));
  const message: Message = {
    k: 'message',
    id: copy.id,
    ...numbered,
    from,
    to: copy.to,
    content: outgoing.content,
    sent_at: nowMs,
    hops,
    ...(thread ? { thread: { slug: thread.slug, root: thread.root } } : {}),
    ...(outgoing.replyTo ? { reply_to: outgoing.replyTo } : {}),
    ...(outgoing.resolve ? { resolve: true, seen } : {}),
    ...(outgoing.replyWithinMs === undefined ? {} : { reply_within: outgoing.replyWithinMs }),
    ...(outgoing.urgency ? { urgency: outgoing.urgency } : {}),
    ...(outgoing.group ? { group: outgoing.group } : {}),
  };
  let queued: Appended | undefined;
  if (!toSelf) {
    queued = await queue(tx, {
      machine: copy.machine,
      ns,
      letter: message,
      agent: from.id,
      boot,
      atMs: nowMs,
    });
  }
  const record = await joinThread(tx, from.id, {
    number: tally.number + 1,
    direction: toSelf ? 'received' : 'sent',
    ns,
    message,
    machine: copy.machine,
    status: toSelf ? 'deferred' : 'queued',
    acceptedAtMs: nowMs,
    ...(queued ? { outbox: queued.entry.number } : {}),
  });
  tx.put(key.history(from.id, record.number), record);
  tx.put(key.known(from.id, copy.id), { peer: copy.to.id, number: record.number } satisfies Known);
  tx.put(key.tally(from.id), {
    ...tally,
    number: record.number,
    deferred: tally.deferred + (toSelf ? 1 : 0),
  });
  if (toSelf) tx.put(key.deferred(from.id, record.number), true);
  watchAnswer(tx, from.id, record);
  return { id: copy.id, number: queued?.entry.number, hops, queued };
}

/** See MailStore.postponed. */
export async function postponed(tx: Tx, machine: string, number: number, code: ErrorCode): Promise<Settled> {
  const entry = await tx.get<OutboxEntry>(key.outbox(machine, number));
  if (!entry?.agent || entry.letter.k !== 'message') return {};
  const { agent, letter } = entry;
  const known = await tx.get<Known>(key.known(agent, letter.id));
  const record = known && (await tx.get<MailRecord>(key.history(agent, known.number)));
  if (!record || record.status !== 'queued' || record.waiting === code) return {};
  tx.put(key.history(agent, record.number), { ...record, waiting: code } satisfies MailRecord);
  return { about: { agent, messageId: letter.id, kind: 'message', state: 'queued' } };
}

/** A mailbox holds a copy of the entry; a message climbs to `held`. */
export async function markHeld(tx: Tx, machine: string, number: number, mailbox: string): Promise<Settled> {
  const entry = await tx.get<OutboxEntry>(key.outbox(machine, number));
  if (!entry || entry.held?.includes(mailbox)) return {};
  const held = [...(entry.held ?? []), mailbox];
  tx.put(key.outbox(machine, number), { ...entry, held } satisfies OutboxEntry);
  const { agent, letter } = entry;
  if (!agent || letter.k !== 'message') return {};
  const known = await tx.get<Known>(key.known(agent, letter.id));
  const record = known && (await tx.get<MailRecord>(key.history(agent, known.number)));
  if (!record || record.status === 'pending') return {};
  const status = climb(record.status, 'held');
  tx.put(key.history(agent, record.number), { ...notWaiting(record), status, held } satisfies MailRecord);
  return { about: { agent, messageId: letter.id, kind: 'message', state: status } };
}

/** The outbox entry is answered: by a receipt, by a refusal for good, or by a bare acknowledgement. */
export async function settle(
  tx: Tx,
  machine: string,
  number: number,
  answer: {
    receipt?: Receipt | undefined;
    refusal?: MailRecord['refusal'];
    expired?: true;
    mayHaveArrived?: boolean;
  },
  newNotice: NewNotice,
): Promise<Settled> {
  const entry = await unqueue(tx, machine, number);
  if (!entry?.agent || !isAddressed(entry.letter)) return {};
  const { agent, letter } = entry;
  const known = await tx.get<Known>(key.known(agent, letter.id));
  const record = known && (await tx.get<MailRecord>(key.history(agent, known.number)));
  if (!record || record.status === 'pending') return {};
  // What becomes of a request to take a message back is not what becomes of the message.
  const isAsking = letter.k === 'unsend';
  const local = answer.expired ? 'expired' : answer.refusal === undefined ? undefined : 'refused';
  const ended: ReceiptState | undefined = isAsking ? undefined : local;
  const said: ReceiptState = answer.receipt?.state ?? ended ?? record.status;
  const status = climb(record.status, said);
  const { outbox, unsendAsked, ...rest } = notWaiting(record);
  const after: MailRecord = { ...rest, status };
  if (outbox !== undefined && outbox !== number) after.outbox = outbox;
  if (unsendAsked && letter.k === 'message') after.unsendAsked = unsendAsked;
  if (status === 'refused' && answer.refusal) after.refusal = answer.refusal;
  // A void takes the place of a message that has left: its end says nothing of that one.
  if (status === ended && (answer.mayHaveArrived || letter.k === 'void')) after.mayHaveArrived = true;
  tx.put(key.history(agent, record.number), after);
  if (status !== record.status && isGone(after)) await leaveThread(tx, agent, after);
  const released = await notifyOfEnd(tx, agent, record, after, newNotice, isAsking && !answer.receipt);
  return {
    about: { agent, messageId: letter.id, kind: letter.k, state: (isAsking && local) || said },
    ...(released.length > 0 && { released }),
  };
}

/** Settles as refused what one page of the outbox holds of a namespace. */
export async function refuseAll(
  tx: Tx,
  request: {
    machine: string;
    ns: string;
    code: ErrorCode;
    after: number;
    neverLeft: (entry: OutboxEntry) => boolean;
  },
  newNotice: NewNotice,
): Promise<RefusedAll> {
  const { machine, ns, code, after, neverLeft } = request;
  const page = await outboxPage(tx, machine, after, REFUSED_MAX, REFUSED_SIZE_BYTES_MAX);
  const entries = page.filter((entry) => entry.ns === ns);
  const settled: Settled[] = [];
  for (const entry of entries) {
    const answer = { refusal: code, mayHaveArrived: !neverLeft(entry) };
    settled.push(await settle(tx, machine, entry.number, answer, newNotice));
  }
  return { numbers: entries.map(({ number }) => number), settled, next: page.at(-1)?.number };
}

/**
 * Settles as expired what one page of the outbox holds from before a time. Not all of it lies in the order of age:
 * what takes a message back is as old as the message.
 */
export async function expire(
  tx: Tx,
  request: {
    machine: string;
    beforeMs: number;
    after: number;
    neverLeft: (entry: OutboxEntry) => boolean;
  },
  newNotice: NewNotice,
): Promise<Expired> {
  const { machine, beforeMs, after, neverLeft } = request;
  const page = await outboxPage(tx, machine, after, EXPIRED_MAX, REFUSED_SIZE_BYTES_MAX);
  const settled: Expired['settled'] = [];
  for (const entry of page) {
    if (entry.atMs >= beforeMs) continue;
    const answer = { expired: true, mayHaveArrived: !neverLeft(entry) } as const;
    settled.push({ ...(await settle(tx, machine, entry.number, answer, newNotice)), entry });
  }
  return { settled, next: page.at(-1)?.number };
}

/** See MailStore.unsendAsked. */
export async function unsendAsked(
  tx: Tx,
  agent: string,
  messageId: string,
): Promise<ReceiptState | undefined> {
  const known = await tx.get<Known>(key.known(agent, messageId));
  const record = known?.number ? await tx.get<MailRecord>(key.history(agent, known.number)) : undefined;
  if (!record || record.status === 'pending') return undefined;
  if (record.outbox === undefined) return record.status;
  tx.put(key.history(agent, record.number), { ...record, unsendAsked: true } satisfies MailRecord);
  return undefined;
}

export async function takeBack(
  tx: Tx,
  request: {
    agent: string;
    messageId: string;
    neverLeft: (machine: string, entry: OutboxEntry) => boolean;
    boot: string;
  },
): Promise<TakeBack> {
  const { agent, messageId, boot } = request;
  const known = await tx.get<Known>(key.known(agent, messageId));
  const record = known?.number ? await tx.get<MailRecord>(key.history(agent, known.number)) : undefined;
  if (!record || (record.direction === 'received' && record.status === 'unsent'))
    throw unknownMessage(messageId);
  if (record.direction !== 'sent') {
    if (record.message.from.id === agent) return { status: 'already_read' };
    throw new PatchcordError(
      'not_sender',
      'That message is not yours to take back.',
      'unsend works for messages you sent.',
    );
  }
  switch (record.status) {
    case 'pending':
    case 'read':
    case 'deferred':
    case 'replied':
      return { status: 'already_read' };
    case 'unsent':
    case 'refused':
    case 'expired':
      return { status: record.mayHaveArrived ? 'unknown' : 'unsent' };
    case 'queued':
    case 'held':
    case 'delivered':
      break;
  }
  // As old as the message: taking it back does not make it live longer.
  const { message, machine, ns, acceptedAtMs: atMs } = record;
  const letter = { id: message.id, from: message.from, to: message.to };
  const entry =
    record.outbox === undefined ? undefined : await tx.get<OutboxEntry>(key.outbox(machine, record.outbox));
  if (!entry) {
    const unsending = { machine, ns, letter: { k: 'unsend' as const, ...letter }, agent, boot, atMs };
    const { number } = (await queue(tx, unsending)).entry;
    tx.put(key.history(agent, record.number), { ...record, outbox: number } satisfies MailRecord);
    return { status: 'asked', machine, number };
  }
  if (entry.letter.k !== 'message') return { status: 'asked', machine, number: entry.number };
  const { seq, epoch } = message;
  const voided = { k: 'void' as const, seq, ...(epoch !== undefined && { epoch }), ...letter };
  if (request.neverLeft(machine, entry)) {
    tx.put(key.outbox(machine, entry.number), { ...entry, letter: voided } satisfies OutboxEntry);
    const after: MailRecord = { ...notWaiting(record), status: 'unsent' };
    tx.put(key.history(agent, record.number), after);
    await leaveThread(tx, agent, after);
    return { status: 'unsent' };
  }
  // A new number: an acknowledgement of the old one says nothing about the void.
  await unqueue(tx, machine, entry.number);
  const { number } = (await queue(tx, { machine, ns, letter: voided, agent, boot, atMs })).entry;
  tx.put(key.history(agent, record.number), { ...notWaiting(record), outbox: number } satisfies MailRecord);
  return { status: 'asked', machine, number, replaced: entry.number };
}

export function unknownMessage(messageId: string): PatchcordError {
  return new PatchcordError(
    'unknown_message',
    `No message ${messageId} here.`,
    'Use a message_id exactly as inbox(), wait_for_message() or recall() showed it.',
  );
}
