import { isOwed } from '../../protocol/delivery/obligation.ts';
import type { ThreadState } from '../../protocol/delivery/thread.ts';
import { DUE_MAX } from '../../protocol/limits.ts';
import type { Tx } from './journal.ts';
import { notify, type NewNotice } from './mail-notices.ts';
import { below, dueTime, key, numberOf } from './mail-records.ts';
import type { MailRecord, Reminded } from './mail-store.ts';
import { isClosed, peerOf, readThread } from './mail-threads.ts';

/** Answers that are owed, each function within one transaction. protocol/delivery/obligation.ts decides. */

/** When an answer to a message is asked for, by this machine's clock. */
export function dueAtMs({ message, acceptedAtMs }: MailRecord): number | undefined {
  return message.reply_within === undefined ? undefined : acceptedAtMs + message.reply_within;
}

/** Remembers when to look whether a message was answered. Returns that time, if an answer is asked for. */
export function watchAnswer(tx: Tx, agent: string, record: MailRecord): number | undefined {
  const atMs = dueAtMs(record);
  if (atMs !== undefined) tx.put(key.due(atMs, agent, record.number), true);
  return atMs;
}

/** Whether an answer to a message is still owed. */
export function isAnswerOwed(agent: string, record: MailRecord, thread: ThreadState | undefined): boolean {
  const { message, status, letGo } = record;
  if (message.reply_within === undefined) return false;
  return isOwed({
    status,
    isLetGo: letGo === true,
    isSettled: thread !== undefined && isClosed(agent, record, thread),
  });
}

/** See MailStore.remind. */
export async function remind(tx: Tx, nowMs: number, newNotice: NewNotice): Promise<Reminded> {
  const { from, to } = below('due/');
  const entries = await tx.range({ from, to, limit: DUE_MAX + 1 });
  const isDue = ([dueKey]: [string, unknown]) => dueKey < `due/${dueTime(nowMs + 1)}`;
  const due = entries.filter(isDue).slice(0, DUE_MAX);
  const released: Reminded['released'] = [];
  for (const [dueKey] of due) {
    tx.delete(dueKey);
    const [, , agent = ''] = dueKey.split('/');
    const record = await tx.get<MailRecord>(key.history(agent, numberOf(dueKey)));
    if (!record) continue;
    const { thread } = record.message;
    const known = thread && (await readThread(tx, agent, peerOf(agent, record), thread.slug));
    if (isAnswerOwed(agent, record, known)) released.push(await sayOwed(tx, agent, record, newNotice));
  }
  const later = entries[due.length];
  const more = later !== undefined && isDue(later);
  const dueAtMs = later && !more ? Number(later[0].split('/')[1]) : undefined;
  return { released, more, dueAtMs };
}

function sayOwed(tx: Tx, agent: string, record: MailRecord, make: NewNotice) {
  const { message, status } = record;
  const { id, from, to } = message;
  if (record.direction === 'sent') {
    const text =
      `No answer came in the time that you gave for message ${id} to ${to.name}; it is ${status}. ` +
      `If you want none any more: reply(message_id="${id}", resolve=true). recall() has its text.`;
    return notify(tx, agent, record, { kind: 'unanswered', text, make });
  }
  const text =
    `${from.name} asked for an answer to message ${id}, and the time for it is over. ` +
    `To answer: reply(message_id="${id}", content="..."). recall() has its text.`;
  return notify(tx, agent, record, { kind: 'reminder', text, make });
}
