import { formatAddress, parseRecipients, threadSlug } from '../../protocol/address.ts';
import type { ReplyCall, SendCall } from '../../protocol/calls.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { newId, parseId } from '../../protocol/ids.ts';
import { CONTENT_LENGTH_MAX, GATE_SHOWN_MAX, RECIPIENTS_MAX } from '../../protocol/limits.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { ReceiptState } from '../../protocol/receipt.ts';
import type { ReplyResult, SendReceipt, SendResult, UnsendResult } from '../../protocol/views.ts';
import type { Clock, Random } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import { assertNamed, homeOf, resolve, type Listing } from '../directory/listings.ts';
import type { LocalAgent } from '../directory/directory-store.ts';
import type { Postoffice } from '../postoffice/postoffice.ts';
import type { Accepted, MailStore } from '../store/mail-store.ts';
import type { Desk } from './desk.ts';
import { isoTime, messageView } from './views.ts';

/** A send to a machine that is linked tells how far it came within this time; it is queued safely before. */
const BETTER_RUNG_MS = 50;

export interface SendingParts {
  mail: MailStore;
  postoffice: Postoffice;
  directory: Directory;
  clock: Clock;
  random: Random;
}

export async function send(
  parts: SendingParts,
  agent: LocalAgent,
  desk: Desk,
  call: SendCall,
): Promise<SendResult> {
  const { directory } = parts;
  const log = speakingIn(directory, agent);
  const content = checkedContent(call.content);
  const recipients = parseRecipients(call.to_agent, log.name);
  if (recipients.length > RECIPIENTS_MAX) {
    throw new PatchcordError(
      'invalid_input',
      `At most ${RECIPIENTS_MAX} recipients at once.`,
      'Send in several calls.',
    );
  }
  const thread = threadSlug(call.thread);
  const gate = await blocked(parts, agent, desk);
  if (gate) return gate;

  const resolved = recipients.map((recipient) => {
    const to = formatAddress(recipient);
    try {
      if (recipient.namespace !== log.name) throw otherNamespace(to, log.name);
      return { to, listing: resolve(directory, log, recipient.name) };
    } catch (error) {
      return { to, error: asPatchcordError(error) };
    }
  });
  const known = resolved.filter((entry): entry is { to: string; listing: Listing } => 'listing' in entry);
  const refused = resolved.find((entry) => 'error' in entry);
  if (known.length === 0 && refused?.error) throw refused.error;
  const several = recipients.length > 1;
  const copies = known.map(({ listing }) => copyFor(parts, listing));
  const group = several ? newId(parts.clock.now(), parts.random.bytes) : undefined;
  const accepted = await parts.postoffice.accept({
    ns: agent.ns,
    from: { id: agent.id, name: agent.name },
    copies,
    content,
    nowMs: parts.clock.now(),
    ...(thread ? { thread } : {}),
    ...(group ? { group } : {}),
  });
  const sent = await Promise.all(
    known.map((entry, index) => receiptFor(parts, agent, entry, accepted.copies[index]!)),
  );
  const receipts = resolved.map((entry): SendReceipt => {
    if (entry.error) return { to: entry.to, error: entry.error.view() };
    return sent[known.indexOf(entry)]!;
  });
  const failures = receipts.filter(({ error }) => error).length;
  return {
    status: failures === 0 ? 'sent' : failures < receipts.length ? 'partial' : 'failed',
    ...(several ? {} : { message_id: copies[0]!.id }),
    ...(group ? { group_id: group } : {}),
    ...(accepted.thread ? { thread: accepted.thread.slug, thread_id: accepted.thread.root } : {}),
    receipts,
  };
}

export async function reply(parts: SendingParts, agent: LocalAgent, call: ReplyCall): Promise<ReplyResult> {
  const { mail, directory, postoffice } = parts;
  const log = directory.logs.get(agent.ns)!;
  const record = await mail.find(agent.id, parseId(call.message_id));
  if (!record || (record.direction === 'received' && record.status === 'unsent')) {
    throw new PatchcordError(
      'unknown_message',
      `No message ${call.message_id.trim()} in the inbox of ${agent.name}@${log.name}.`,
      'Use the message_id that inbox() or wait_for_message() showed.',
    );
  }
  if (record.direction !== 'received') {
    throw new PatchcordError(
      'not_addressee',
      'That message was sent by you, not to you.',
      'Use send_message instead.',
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
    to: record.notice ? message.from.name : formatAddress({ name: message.from.name, namespace: log.name }),
    ...(message.thread ? { thread: message.thread.slug, thread_id: message.thread.root } : {}),
  };
  // Nothing to tell: the mark alone, which the sender learns by a receipt.
  if (content === '' && (toSelf || !call.resolve)) {
    await postoffice.mark(agent.id, mark);
    return answer;
  }
  speakingIn(directory, agent);
  const home = homeOf(directory, agent.ns, message.from.id);
  if (!home && !directory.shares(agent.ns, record.machine)) throw goneSender(answer.to);
  const copy = {
    id: newId(parts.clock.now(), parts.random.bytes),
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
    nowMs: parts.clock.now(),
    ...(message.thread ? { thread: message.thread.slug } : {}),
    ...(call.resolve ? { resolve: true } : {}),
  });
  const [placed] = accepted.copies;
  if (placed && 'error' in placed)
    throw new PatchcordError(placed.error, 'The outbox for that machine is full.', 'Try later.');
  const state = toSelf ? 'deferred' : await reachedState(parts, agent, copy.id, copy.machine);
  const thread = accepted.thread && { thread: accepted.thread.slug, thread_id: accepted.thread.root };
  return { ...answer, reply_id: copy.id, state, ...thread };
}

export async function unsend(parts: SendingParts, agent: LocalAgent, text: string): Promise<UnsendResult> {
  const messageId = parseId(text);
  const record = await parts.mail.find(agent.id, messageId);
  if (!record) {
    throw new PatchcordError(
      'unknown_message',
      `No message ${messageId} of yours.`,
      'Use the message_id that send_message returned, or find it with recall().',
    );
  }
  return { status: await parts.postoffice.takeBack(agent.id, record), message_id: messageId };
}

/** While messages from others are unseen, a send shows them instead: the answer may change what one says. */
async function blocked(parts: SendingParts, agent: LocalAgent, desk: Desk): Promise<SendResult | undefined> {
  const total = await desk.unseen();
  if (total === 0) return undefined;
  const records = await parts.mail.pending(agent.id, GATE_SHOWN_MAX);
  const pending = await Promise.all(
    records.map((record) => messageView(record, { ...parts, viewer: agent.id })),
  );
  return { status: 'blocked', receipts: [], pending, pending_total: total };
}

function checkedContent(text: string, mayBeEmpty = false): string {
  const content = text.trim();
  if (content === '' && !mayBeEmpty) {
    throw new PatchcordError('content_empty', 'The message is empty.', 'Put the text into content.');
  }
  if (content.length > CONTENT_LENGTH_MAX) {
    throw new PatchcordError(
      'content_too_long',
      `The message has ${content.length} characters; at most ${CONTENT_LENGTH_MAX} fit.`,
      'Send it in parts.',
    );
  }
  if (!content.isWellFormed()) {
    throw new PatchcordError(
      'invalid_input',
      'The message holds half of a surrogate pair.',
      'Send valid Unicode text.',
    );
  }
  return content;
}

/** The namespace in which an agent may speak now. Throws `not_member` or `name_taken`. */
function speakingIn(directory: Directory, agent: LocalAgent): NamespaceLog {
  const log = directory.logs.get(agent.ns)!;
  directory.assertMember(log);
  assertNamed(directory, agent);
  return log;
}

function goneSender(to: string): PatchcordError {
  return new PatchcordError(
    'unknown_recipient',
    `The machine of ${to} was removed from the namespace.`,
    'Use reply(defer=true) to keep the message, or recall() to find it later.',
  );
}

function otherNamespace(to: string, own: string): PatchcordError {
  return new PatchcordError(
    'unknown_recipient',
    `No agent ${to}: you speak in the namespace ${own} only.`,
    'inbox(all_agents=true) lists everyone you can reach.',
  );
}

function copyFor(parts: SendingParts, { id: to, name, machine }: Listing) {
  const id = newId(parts.clock.now(), parts.random.bytes);
  return { id, to: { id: to, name }, machine };
}

async function receiptFor(
  parts: SendingParts,
  agent: LocalAgent,
  { to, listing }: { to: string; listing: Listing },
  copy: Accepted['copies'][number],
): Promise<SendReceipt> {
  if ('error' in copy) {
    return {
      to,
      error: new PatchcordError(copy.error, `Too much waits for ${to}.`, 'Try again later.').view(),
    };
  }
  const toSelf = listing.id === agent.id;
  const state = toSelf ? 'deferred' : await reachedState(parts, agent, copy.id, listing.machine);
  const lastSeen = listing.lastSeenMs === 0 ? null : isoTime(listing.lastSeenMs);
  return { to, message_id: copy.id, state, online: listing.online, last_seen: lastSeen };
}

/** The rung that a message has reached by now, or within a moment when its machine is linked. */
async function reachedState(
  { mail, postoffice }: SendingParts,
  agent: LocalAgent,
  messageId: string,
  machine: string,
): Promise<ReceiptState> {
  const settled = postoffice.reaches(machine)
    ? postoffice.settlements.next(agent.id, messageId, BETTER_RUNG_MS)
    : undefined;
  const record = await mail.find(agent.id, messageId);
  if (record && record.status !== 'queued' && record.status !== 'pending') {
    settled?.forget();
    return record.status;
  }
  return (await settled?.promise)?.state ?? 'queued';
}
