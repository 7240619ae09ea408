import { formatAddress } from '../../protocol/address.ts';
import type { ReplyCall } from '../../protocol/calls.ts';
import { rootOf } from '../../protocol/delivery/thread.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { newId, parseId } from '../../protocol/ids.ts';
import type { ReplyResult } from '../../protocol/views.ts';
import { homeOf } from '../directory/listings.ts';
import type { LocalAgent } from '../directory/directory-store.ts';
import type { MailRecord, Mark } from '../store/mail-store.ts';
import { isAnswerOwed } from '../store/mail-obligations.ts';
import { peerOf } from '../store/mail-threads.ts';
import { hopsWarning, loopGuard } from './loop-guard.ts';
import {
  checkedContent,
  reachedState,
  speakingIn,
  urgencyOf,
  type SendingParts,
  type Speaker,
} from './sending.ts';

export async function reply(parts: SendingParts, speaker: Speaker, call: ReplyCall): Promise<ReplyResult> {
  const { directory, postoffice } = parts;
  const { agent } = speaker;
  const record = await foundRecord(parts, agent, call.message_id);
  if (record.direction !== 'received') {
    const saysNothing = !call.defer && call.content.trim() === '';
    if (call.resolve && saysNothing && record.message.reply_within !== undefined)
      return letGo(parts, speaker, record);
    throw new PatchcordError(
      'not_addressee',
      'That message was sent by you, not to you.',
      'Use send_message instead. Where you asked for an answer, reply(resolve=true) without content ends that.',
    );
  }
  // Putting it off is the agent's own affair; anything else would be said to somebody.
  if (record.notice && (!call.defer || call.resolve || call.content.trim() !== '')) {
    throw new PatchcordError(
      'not_addressee',
      'That is a notice of patchcord, not a message of an agent: nobody would read an answer.',
      'To write to an agent use send_message; reply(defer=true) without content keeps the notice for later.',
    );
  }
  const silent = call.defer || call.resolve;
  const content = checkedContent(call.content, silent);
  const { message } = record;
  const toSelf = message.from.id === agent.id;
  const status = call.defer ? 'deferred' : 'replied';
  const mark = { messageId: message.id, status } as const;
  const answer: ReplyResult = {
    status: call.defer ? 'deferred' : call.resolve ? 'resolved' : 'replied',
    to: record.notice
      ? message.from.name
      : formatAddress({ name: message.from.name, namespace: directory.logs.get(agent.ns)!.name }),
    ...(await threadOf(parts, agent, record)),
  };
  // Nothing to tell: the mark alone, which the sender learns by a receipt.
  if (content === '' && (toSelf || !call.resolve)) {
    await postoffice.mark(agent.id, mark);
    return answer;
  }
  return answered(parts, speaker, { record, answer, content, mark, urgency: urgencyOf(call) });
}

/** Sends the answer to a message, or says that its thread is closed. */
async function answered(
  parts: SendingParts,
  { agent, byPerson }: Speaker,
  told: {
    record: MailRecord;
    answer: ReplyResult;
    content: string;
    mark: Mark;
    urgency: ReturnType<typeof urgencyOf>;
  },
): Promise<ReplyResult> {
  const { directory, postoffice, clock, random, hopsMax } = parts;
  const { record, answer, content, mark, urgency } = told;
  const { message } = record;
  const log = speakingIn(directory, agent);
  const home = homeOf(directory, agent.ns, message.from.id);
  if (!home && !directory.shares(agent.ns, record.machine)) throw goneSender(answer.to);
  const copy = {
    id: newId(clock.now(), random.bytes),
    to: { id: message.from.id, name: home?.name ?? message.from.name },
    machine: home?.machine ?? record.machine,
  };
  const accepted = await postoffice.accept({
    ns: agent.ns,
    from: { id: agent.id, name: agent.name },
    copies: [copy],
    content,
    replyTo: message.id,
    mark,
    byPerson,
    hopsMax,
    nowMs: clock.now(),
    ...(message.thread ? { thread: message.thread.slug } : {}),
    ...(answer.status === 'resolved' ? { resolve: true } : {}),
    ...urgency,
  });
  const [placed] = accepted.copies;
  if (placed && 'error' in placed) {
    const self = formatAddress({ name: agent.name, namespace: log.name });
    throw placed.error === 'loop_guard'
      ? loopGuard(self, hopsMax, message.thread?.slug)
      : new PatchcordError(placed.error, 'The outbox for that machine is full.', 'Try later.');
  }
  const toSelf = message.from.id === agent.id;
  const state = toSelf ? 'deferred' : await reachedState(parts, agent, copy.id, copy.machine);
  const thread = accepted.thread && { thread: accepted.thread.slug, thread_id: accepted.thread.root };
  const warning = byPerson ? undefined : hopsWarning(accepted.hopsLeft);
  return { ...answer, reply_id: copy.id, state, ...thread, ...(warning === undefined ? {} : { warning }) };
}

/**
 * The sender of a message that asks for an answer wants none any more: tells the other side by a letter that says
 * nothing else, and closes the thread if there is one.
 */
async function letGo(
  parts: SendingParts,
  { agent, byPerson }: Speaker,
  record: MailRecord,
): Promise<ReplyResult> {
  const { directory, mail, postoffice, clock, random } = parts;
  const { message, machine } = record;
  const log = speakingIn(directory, agent);
  const to = formatAddress({ name: message.to.name, namespace: log.name });
  const thread = message.thread && (await mail.thread(agent.id, message.to.id, message.thread.slug));
  const answer: ReplyResult = { status: 'resolved', to, ...(await threadOf(parts, agent, record)) };
  if (!isAnswerOwed(agent.id, record, thread)) return answer;
  const home = homeOf(directory, agent.ns, message.to.id);
  const copy = {
    id: newId(clock.now(), random.bytes),
    to: message.to,
    machine: home?.machine ?? machine,
  };
  const { copies } = await postoffice.accept({
    ns: agent.ns,
    from: { id: agent.id, name: agent.name },
    copies: [copy],
    content: '',
    replyTo: message.id,
    resolve: true,
    byPerson,
    nowMs: clock.now(),
    ...(message.thread ? { thread: message.thread.slug } : {}),
  });
  const [placed] = copies;
  if (placed && 'error' in placed)
    throw new PatchcordError(placed.error, 'The outbox for that machine is full.', 'Try later.');
  return { ...answer, reply_id: copy.id };
}

async function foundRecord({ mail, directory }: SendingParts, agent: LocalAgent, text: string) {
  const record = await mail.find(agent.id, parseId(text));
  if (record && (record.direction !== 'received' || record.status !== 'unsent')) return record;
  throw new PatchcordError(
    'unknown_message',
    `No message ${text.trim()} in the inbox of ${agent.name}@${directory.logs.get(agent.ns)!.name}.`,
    'Use the message_id that inbox() or wait_for_message() showed.',
  );
}

/** The thread of a message, by the id that it has now. */
async function threadOf(
  { mail }: SendingParts,
  agent: LocalAgent,
  record: MailRecord,
): Promise<Pick<ReplyResult, 'thread' | 'thread_id'>> {
  const { thread } = record.message;
  if (!thread) return {};
  const known = await mail.thread(agent.id, peerOf(agent.id, record), thread.slug);
  return { thread: thread.slug, thread_id: (known && rootOf(known)) ?? thread.root };
}

function goneSender(to: string): PatchcordError {
  return new PatchcordError(
    'unknown_recipient',
    `The machine of ${to} was removed from the namespace.`,
    'Use reply(defer=true) to keep the message, or recall() to find it later.',
  );
}
