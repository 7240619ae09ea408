import { waitingText } from '../../mcp/receipt-text.ts';
import { formatAddress, parseRecipients, threadSlug, type Address } from '../../protocol/address.ts';
import type { SendCall } from '../../protocol/calls.ts';
import { disturbs, holdsBack } from '../../protocol/delivery/wakes.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { newId, parseId } from '../../protocol/ids.ts';
import { parseDuration } from '../../protocol/duration.ts';
import {
  CONTENT_LENGTH_MAX,
  GATE_SHOWN_MAX,
  RECIPIENTS_MAX,
  REPLY_WITHIN_MS_MAX,
  REPLY_WITHIN_MS_MIN,
} from '../../protocol/limits.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { ReceiptState } from '../../protocol/receipt.ts';
import type { SendReceipt, SendResult, UnsendResult } from '../../protocol/views.ts';
import type { Clock, Random } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import { assertNamed, resolve, type Listing } from '../directory/listings.ts';
import type { LocalAgent } from '../directory/directory-store.ts';
import type { Postoffice } from '../postoffice/postoffice.ts';
import type { StoreCare } from '../store/care/store-care.ts';
import type { Accepted, MailStore, Outgoing } from '../store/mail-store.ts';
import type { AgentActivity } from './activity.ts';
import type { Desk } from './desk.ts';
import { loopGuard } from './loop-guard.ts';
import { isoTime, messageView } from './views.ts';

/** A send to a machine that is linked tells how far it came within this time; it is queued safely before. */
const BETTER_RUNG_MS = 50;

const DND_NOTE =
  'the recipient does not want to be disturbed: this wakes it only when that ends, and it sees it when it looks; urgency="steer" would wake it';

export interface SendingParts {
  mail: MailStore;
  postoffice: Postoffice;
  directory: Directory;
  clock: Clock;
  random: Random;
  /** Told when an answer is asked for. */
  reminders: { watch(atMs: number | undefined): void };
  /** Longest chain of answers without a person. */
  hopsMax: number;
  care: Pick<StoreCare, 'unseen'>;
  /** Told what sessions do. */
  activity: Pick<AgentActivity, 'opened' | 'called' | 'waiting' | 'left'>;
}

/** Who says something, and whether a person has it say so. */
export interface Speaker {
  agent: LocalAgent;
  byPerson: boolean;
}

export async function send(
  parts: SendingParts,
  { agent, byPerson }: Speaker,
  desk: Desk,
  call: SendCall,
): Promise<SendResult> {
  const { directory } = parts;
  const log = speakingIn(directory, agent);
  const content = checkedContent(call.content);
  const recipients = recipientsOf(call.to_agent, log);
  const thread = threadSlug(call.thread);
  const replyWithinMs = replyWithin(call.reply_by);
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
    byPerson,
    hopsMax: parts.hopsMax,
    replyWithinMs,
    ...(thread ? { thread } : {}),
    ...(group ? { group } : {}),
    ...urgencyOf(call),
  });
  parts.reminders.watch(accepted.dueAtMs);
  const self = formatAddress({ name: agent.name, namespace: log.name });
  const guarded = () => loopGuard(self, parts.hopsMax, thread);
  if (accepted.copies.every((copy) => 'error' in copy && copy.error === 'loop_guard')) throw guarded();
  const sent = await Promise.all(
    known.map((entry, index) =>
      receiptFor(parts, agent, entry, { copy: accepted.copies[index]!, guarded, urgency: call.urgency }),
    ),
  );
  const receipts = resolved.map((entry): SendReceipt => {
    if (entry.error) return { to: entry.to, error: entry.error.view() };
    return sent[known.indexOf(entry)]!;
  });
  // What has a state is on its way, though it may have to wait for room.
  const failures = receipts.filter(({ error, state }) => error && !state).length;
  return {
    status: failures === 0 ? 'sent' : failures < receipts.length ? 'partial' : 'failed',
    ...(several ? {} : { message_id: copies[0]!.id }),
    ...(group ? { group_id: group } : {}),
    ...(accepted.thread ? { thread: accepted.thread.slug, thread_id: accepted.thread.root } : {}),
    receipts,
  };
}

/** Throws `invalid_name`, and `invalid_input` for too many. */
function recipientsOf(text: string, { name }: NamespaceLog): Address[] {
  const recipients = parseRecipients(text, name);
  if (recipients.length <= RECIPIENTS_MAX) return recipients;
  const what = `At most ${RECIPIENTS_MAX} recipients at once.`;
  throw new PatchcordError('invalid_input', what, 'Send in several calls.');
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

/** As it travels: normal is not said. */
export function urgencyOf({ urgency }: Pick<SendCall, 'urgency'>): Pick<Outgoing, 'urgency'> {
  return urgency === undefined || urgency === 'normal' ? {} : { urgency };
}

/** While messages from others are unseen, a send shows them instead: the answer may change what one says. */
async function blocked(parts: SendingParts, agent: LocalAgent, desk: Desk): Promise<SendResult | undefined> {
  const unseen = await desk.unseenByUrgency();
  if (!holdsBack(unseen)) return undefined;
  const records = await parts.mail.pending(agent.id, GATE_SHOWN_MAX);
  const pending = await Promise.all(
    records.map((record) => messageView(record, { ...parts, viewer: agent.id })),
  );
  return {
    status: 'blocked',
    receipts: [],
    pending,
    pending_total: unseen.info + unseen.normal + unseen.steer,
  };
}

export function checkedContent(text: string, mayBeEmpty = false): string {
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

/** Throws `invalid_input`. */
function replyWithin(text = ''): number | undefined {
  if (text.trim() === '') return undefined;
  const withinMs = parseDuration(text);
  if (withinMs !== undefined && withinMs >= REPLY_WITHIN_MS_MIN && withinMs <= REPLY_WITHIN_MS_MAX)
    return withinMs;
  throw new PatchcordError(
    'invalid_input',
    `reply_by is not a time to answer in: ${JSON.stringify(text)}.`,
    'Give a duration from 1s to 7d, such as 90s, 15m, 2h or 3d; it counts from when the message arrives.',
  );
}

/** The namespace in which an agent may speak now. Throws `not_member` or `name_taken`. */
export function speakingIn(directory: Directory, agent: LocalAgent): NamespaceLog {
  const log = directory.logs.get(agent.ns)!;
  directory.assertMember(log);
  assertNamed(directory, agent);
  return log;
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
  told: {
    copy: Accepted['copies'][number];
    guarded: () => PatchcordError;
    urgency: SendCall['urgency'];
  },
): Promise<SendReceipt> {
  const { copy, guarded } = told;
  if ('error' in copy) {
    const full = new PatchcordError(copy.error, `Too much waits for ${to}.`, 'Try again later.');
    return { to, error: (copy.error === 'loop_guard' ? guarded() : full).view() };
  }
  const toSelf = listing.id === agent.id;
  const state = toSelf ? 'deferred' : await reachedState(parts, agent, copy.id, listing.machine);
  const waiting = state === 'queued' ? (await parts.mail.find(agent.id, copy.id))?.waiting : undefined;
  const error = waiting && new PatchcordError(waiting, `Not taken yet: ${waitingText(waiting)}.`);
  const lastSeen = listing.lastSeenMs === 0 ? null : isoTime(listing.lastSeenMs);
  const receipt: SendReceipt = {
    to,
    message_id: copy.id,
    state,
    online: listing.online,
    last_seen: lastSeen,
    ...(!toSelf && attention(listing, state, told.urgency)),
  };
  return error ? { ...receipt, error: error.view() } : receipt;
}

/** Whether the recipient is to be disturbed, as far as is known here; of no use once it was shown. */
function attention(
  { state }: Listing,
  reached: ReceiptState,
  urgency: SendCall['urgency'] = 'normal',
): Pick<SendReceipt, 'recipient_state' | 'note'> {
  if (state === undefined) return {};
  const isShown = reached === 'read' || reached === 'deferred' || reached === 'replied';
  const isLeft = !isShown && urgency !== 'info' && !disturbs(urgency, state === 'dnd');
  return { recipient_state: state, ...(isLeft && { note: DND_NOTE }) };
}

/** The rung that a message has reached by now, or within a moment when its machine is linked. */
export async function reachedState(
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
