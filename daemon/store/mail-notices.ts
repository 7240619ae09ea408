import type { Message, Party } from '../../protocol/letter.ts';
import { key, readTally, type Known } from './mail-records.ts';
import type { Tx } from './journal.ts';
import type { MailRecord, NoticeKind, Released } from './mail-store.ts';
import { peerOf } from './mail-threads.ts';

/** Id and time of a notice that is about to be written. */
export type NewNotice = () => { id: string; nowMs: number };

/** The id of no agent: notices are from the machine itself. */
const NOBODY = '00000000-0000-7000-8000-000000000000';

/**
 * Puts a notice about one of its messages into an agent's inbox: from patchcord on this machine, never from an
 * agent. It is read like a message and answered by nobody.
 */
export async function notify(
  tx: Tx,
  agent: string,
  about: MailRecord,
  notice: { kind: NoticeKind; text: string; make: NewNotice },
): Promise<Released> {
  const { kind, text, make } = notice;
  const { message, ns, machine } = about;
  const name = message.from.id === agent ? message.from.name : message.to.name;
  const { id, nowMs } = make();
  // The message can be looked up for as long as the notice.
  tx.put(key.history(agent, about.number), { ...about, endedAtMs: nowMs } satisfies MailRecord);
  return write(
    tx,
    { id: agent, name },
    {
      id,
      nowMs,
      ns,
      machine,
      text,
      thread: message.thread,
      notice: { kind, about: message.id, peer: peerOf(agent, about) },
    },
  );
}

/** Puts a notice about another agent's presence into an agent's inbox; `about` is that one's address. */
export async function notifyOfPresence(
  tx: Tx,
  agent: Party,
  told: { ns: string; machine: string; about: string; text: string; make: NewNotice },
): Promise<Released> {
  const { ns, machine, about, text, make } = told;
  const notice = { kind: 'watch', about, peer: NOBODY } as const;
  return write(tx, agent, { ...make(), ns, machine, text, thread: undefined, notice });
}

async function write(
  tx: Tx,
  to: Party,
  parts: {
    id: string;
    nowMs: number;
    ns: string;
    machine: string;
    text: string;
    thread: Message['thread'];
    notice: NonNullable<MailRecord['notice']>;
  },
): Promise<Released> {
  const { id, nowMs, ns, machine, text, thread, notice } = parts;
  const agent = to.id;
  const tally = await readTally(tx, agent);
  const record: MailRecord = {
    number: tally.number + 1,
    direction: 'received',
    ns,
    message: {
      k: 'message',
      id,
      seq: 1,
      from: { id: NOBODY, name: 'patchcord' },
      to,
      content: text,
      sent_at: nowMs,
      ...(thread ? { thread } : {}),
    },
    machine,
    status: 'pending',
    acceptedAtMs: nowMs,
    notice,
  };
  tx.put(key.history(agent, record.number), record);
  tx.put(key.pending(agent, record.number), true);
  tx.put(key.known(agent, id), { peer: NOBODY, number: record.number } satisfies Known);
  tx.put(key.tally(agent), { ...tally, number: record.number, pending: tally.pending + 1 });
  return { agent, messageId: id };
}

/** Tells the sender what a message came to, when that is an end that it would not otherwise hear of. */
export async function notifyOfEnd(
  tx: Tx,
  agent: string,
  before: MailRecord,
  after: MailRecord,
  make: NewNotice,
  /** The request to take it back ended without an answer. */
  unanswered = false,
): Promise<Released[]> {
  const { id, to } = after.message;
  const which = `Your message ${id} to ${to.name}`;
  if (before.status !== after.status && after.status === 'refused') {
    const why = after.refusal === undefined ? '' : ` (${after.refusal})`;
    const text = `${which} was refused${why}${doubt(after)}. recall() has its text.`;
    return [await notify(tx, agent, after, { kind: 'refused', text, make })];
  }
  if (before.status !== after.status && after.status === 'expired') {
    const text = `${which} expired: its machine has not answered for it in time${doubt(after)}.`;
    return [await notify(tx, agent, after, { kind: 'expired', text, make })];
  }
  if (before.unsendAsked && !after.unsendAsked) {
    const unsent = after.status === 'unsent';
    const text = unsent
      ? `${which} was taken back, as you asked: it was not read.`
      : unanswered
        ? `${which} could not be taken back: its machine has not confirmed it. It was delivered, and may have been read.`
        : `${which} could not be taken back: it was ${after.status === 'delivered' ? 'shown' : after.status} already.`;
    return [await notify(tx, agent, after, { kind: 'unsend', text, make })];
  }
  return [];
}

function doubt({ mayHaveArrived }: MailRecord): string {
  return mayHaveArrived ? ': it had been on its way, and may have been shown' : ': it will not be shown';
}
