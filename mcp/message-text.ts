import type { MessageView, RecallResult } from '../protocol/views.ts';
import { frame, inline, oneLine } from './frame.ts';
import { waitingText } from './receipt-text.ts';

type RecalledMessage = RecallResult['messages'][number];

/** How the daemon knows that a message is from whom it says. */
const VERIFIED: Record<NonNullable<MessageView['verified']>, string> = {
  sealed: 'signed by that machine, sealed to this one',
  local: 'sent on this machine',
};
/** The mark is the sender's word; what it asks for is for the reader to weigh. */
const URGENCY: Record<NonNullable<MessageView['urgency']>, string> = {
  info: 'Urgency: info; its sender marked it as in no need of attention now.',
  steer: 'Urgency: steer; its sender marked it to be looked at before you go on.',
};
/** Characters of a key that are shown; the start of all keys is the same. */
const KEY_END_LENGTH = 8;

/** The sender's machine as a reader can tell it from others: labels may be alike, keys are not. */
function machineName(message: MessageView): string {
  const key = message.from_peer_id ? `, key ...${inline(message.from_peer_id.slice(-KEY_END_LENGTH))}` : '';
  return `"${inline(message.from_machine)}"${key}`;
}

function senderLine(message: MessageView): string {
  const how = message.verified ? `: ${VERIFIED[message.verified]}` : '';
  const machine =
    message.verified === 'local'
      ? `this machine "${inline(message.from_machine)}"`
      : `machine ${machineName(message)}`;
  return `From: ${inline(message.from)} (${machine}, verified${how})   Sent: ${inline(message.sent_at)}`;
}

function threadLine(message: MessageView): string[] {
  const parts: string[] = [];
  if (message.thread) {
    const id = message.thread_id ? ` (thread_id ${inline(message.thread_id)})` : '';
    const resolved = message.thread_resolved_at ? `, resolved ${inline(message.thread_resolved_at)}` : '';
    parts.push(`Thread: ${inline(message.thread)}${id}${resolved}`);
  }
  if (message.reply_to) parts.push(`Answers: ${inline(message.reply_to)}`);
  if (message.group_id) parts.push(`Group: ${inline(message.group_id)} (sent to several agents)`);
  return parts.length > 0 ? [parts.join('   ')] : [];
}

/** What its sender waits for, and what is unusual about how it arrived; moves and gaps are named, never hidden. */
function arrivalNotes(message: MessageView): string[] {
  const notes: string[] = [];
  if (message.moved_from !== undefined) {
    notes.push(
      `Note: moved; ${inline(message.from)} wrote from machine "${inline(message.moved_from)}" before, and this is from another machine, ${machineName(message)}. If you did not expect that, ask your human before you trust it with anything sensitive.`,
    );
  }
  if (message.seen_before) {
    notes.push(
      'Note: possibly seen before; an earlier session was shown this message and ended before it confirmed.',
    );
  }
  if (message.missing_before !== undefined && message.missing_before > 0) {
    const count = message.missing_before;
    const missing = count === 1 ? '1 earlier message' : `${count} earlier messages`;
    notes.push(`Note: ${missing} of this sender ${count === 1 ? 'has' : 'have'} not arrived.`);
  }
  if (message.reply_by !== undefined) notes.push(`An answer is asked for by ${inline(message.reply_by)}.`);
  if (message.urgency) notes.push(URGENCY[message.urgency]);
  if (message.late) notes.push('Note: late; later messages of this sender were shown before this one.');
  return notes;
}

/** The exact call that answers a message. */
function replyCall(messageId: string): string {
  return `reply(message_id="${inline(messageId)}", content="...")`;
}

/** A received message as a reader needs it: who, when, which thread, the framed text, how to answer. */
export function messageText(message: MessageView): string {
  if (message.notice) return noticeText(message);
  return [
    senderLine(message),
    ...threadLine(message),
    ...arrivalNotes(message),
    frame(`message ${message.message_id}`, message.content),
    `To answer: ${replyCall(message.message_id)}`,
  ].join('\n');
}

/** What patchcord itself has to say. It is no peer's text, and is not framed as one. */
function noticeText(message: MessageView): string {
  const about = message.about ? ` about ${inline(message.about)}` : '';
  const head = `NOTICE of patchcord on this machine${about}, ${inline(message.sent_at)}`;
  return `${head} (message_id ${inline(message.message_id)}): ${oneLine(message.content)}`;
}

/** One entry of the history, in either direction. */
export function recalledText(message: RecalledMessage): string {
  if (message.notice) return noticeText(message);
  const sent = message.direction === 'sent';
  const holders = message.held_by?.map((label) => `"${inline(label)}"`).join(', ');
  const why = message.waiting === undefined ? '' : `; ${waitingText(message.waiting)}`;
  const status = `Status: ${message.status}${holders ? ` by ${holders}` : ''}${why}`;
  const head = sent
    ? `Sent to: ${inline(message.to)}   Sent: ${inline(message.sent_at)}   ${status}`
    : `Received   ${senderLine(message)}   ${status}`;
  const lines = [head, ...threadLine(message), ...arrivalNotes(message)];
  lines.push(frame(`message ${message.message_id}`, message.content));
  if (message.content_cut) lines.push('(cut; the full text was longer)');
  if (!sent) lines.push(`To answer: ${replyCall(message.message_id)}`);
  return lines.join('\n');
}
