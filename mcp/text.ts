import type { ErrorView } from '../protocol/errors.ts';
import { GATE_SHOWN_MAX } from '../protocol/limits.ts';
import type {
  AgentView,
  AttachmentResult,
  InboxResult,
  MessageView,
  RecallResult,
  ReplyResult,
  SendResult,
  UnsendResult,
  WaitResult,
} from '../protocol/views.ts';
import { frame, FRAME_NOTICE, inline, oneLine } from './frame.ts';
import { messageText, recalledText } from './message-text.ts';
import { receiptText, rungText } from './receipt-text.ts';

/**
 * Every tool result as text for a model or a person. Pure; what peers wrote or named is framed or escaped here,
 * so no caller has to think of it.
 */

/** Paths and URLs have to arrive whole to be of use. */
const PATH_SHOWN = 4_096;

/** A block of messages under a heading; nothing when there are none. */
function section(heading: string, messages: readonly MessageView[]): string[] {
  return messages.length > 0 ? [heading, ...messages.map(messageText)] : [];
}

const STATE: Record<NonNullable<AgentView['state']>, string> = {
  idle: 'idle',
  busy: 'busy',
  dnd: 'does not want to be disturbed',
};

function agentLine(agent: AgentView): string {
  const away = agent.online
    ? 'online'
    : `offline, last seen ${agent.last_seen ? inline(agent.last_seen) : 'never'}`;
  const presence = agent.state ? `${away}, ${STATE[agent.state]}` : away;
  const status = agent.status ? `, says "${inline(agent.status)}"` : '';
  const branch = agent.branch ? ` on branch "${inline(agent.branch)}"` : '';
  const project = agent.project ? `, project "${inline(agent.project)}"${branch}` : '';
  const client = agent.client ? `, client "${inline(agent.client)}"` : '';
  const platform = agent.platform ? `, ${inline(agent.platform)}` : '';
  const name = agent.agent.includes('@') ? agent.agent : `${agent.agent}@${agent.namespace}`;
  return `- ${inline(name)}: ${presence}${status} (machine "${inline(agent.machine)}"${client}${platform}${project})`;
}

/** The contract lets `agent` be a bare name or a full address; people want the address. */
function selfLine(self: InboxResult['self']): string {
  const name = self.agent.includes('@') ? self.agent : `${self.agent}@${self.namespace}`;
  return `You are ${inline(name)} on machine "${inline(self.machine)}".`;
}

export function inboxText(result: InboxResult): string {
  const count = result.pending.length;
  const more = result.more > 0 ? ` ${result.more} more wait; call inbox() again for them.` : '';
  const threads = result.threads.map(
    (thread) =>
      `- ${inline(thread.thread)} (thread_id ${inline(thread.thread_id)}): ${thread.messages.map((id) => inline(id)).join(', ')}`,
  );
  return [
    `${selfLine(result.self)} ${count === 0 ? 'No pending messages.' : `Pending messages: ${count}.`}${more}`,
    ...result.warnings.map((warning) => `Warning: ${oneLine(warning)}`),
    ...(count + result.deferred.length > 0 ? [FRAME_NOTICE] : []),
    ...section('PENDING, oldest first:', result.pending),
    ...(threads.length > 0 ? [['Threads of the pending messages:', ...threads].join('\n')] : []),
    ...section('DEFERRED, kept for later:', result.deferred),
    result.agents.length > 0
      ? ['AGENTS:', ...result.agents.map(agentLine)].join('\n')
      : 'AGENTS: no other agent is known to be online.',
  ].join('\n\n');
}

function blockedText(result: SendResult): string {
  const pending = result.pending ?? [];
  const shown = pending.slice(0, GATE_SHOWN_MAX);
  const total = result.pending_total ?? pending.length;
  const which = total > shown.length ? `the oldest ${shown.length} of ${total}` : `all ${total}`;
  return [
    'NOT SENT: messages wait for you that you have not read; they may change what you want to say.',
    'Call inbox(), deal with what is there (reply, or reply with defer=true), then call send_message again.',
    `Waiting (${which}):`,
    FRAME_NOTICE,
    ...shown.map(messageText),
  ].join('\n\n');
}

const SEND_HEADING: Record<Exclude<SendResult['status'], 'blocked'>, string> = {
  sent: 'Accepted for every recipient:',
  partial: 'Accepted for some recipients only:',
  failed: 'NOT SENT to anyone:',
};

export function sendText(result: SendResult): string {
  if (result.status === 'blocked') return blockedText(result);
  const lines = [SEND_HEADING[result.status], ...result.receipts.map(receiptText)];
  if (result.thread) lines.push(`Thread: ${inline(result.thread)}`);
  if (result.status !== 'failed') {
    lines.push(
      'An answer arrives in your inbox: wait_for_message() waits for it, unsend(message_id) takes back what is unread.',
    );
  }
  return lines.join('\n');
}

const REPLY_HEADING: Record<ReplyResult['status'], (to: string) => string> = {
  replied: (to) => `Reply to ${to} accepted.`,
  deferred: (to) => `Deferred: the message of ${to} stays in your inbox for later.`,
  resolved: () => 'Resolved: the thread is closed; a new message in it opens it again.',
};

export function replyText(result: ReplyResult): string {
  const to = inline(result.to);
  const parts = [REPLY_HEADING[result.status](to)];
  const id = result.reply_id ? ` (reply_id ${inline(result.reply_id)})` : '';
  if (result.state) parts.push(`What you sent to ${to}: ${rungText(result.state)}${id}.`);
  else if (id) parts.push(`Your text went to ${to}${id}.`);
  if (result.thread) parts.push(`Thread: ${inline(result.thread)}.`);
  if (result.warning) parts.push(`Warning: ${oneLine(result.warning)}`);
  return parts.join(' ');
}

export function waitText(result: WaitResult): string {
  if (result.message) {
    const more = result.more > 0 ? [`${result.more} more pending: call inbox() to see them.`] : [];
    return ['A message arrived.', FRAME_NOTICE, messageText(result.message), ...more].join('\n\n');
  }
  if (result.notice) {
    const more = result.more > 0 ? ` ${result.more} messages are pending: call inbox() to see them.` : '';
    return `NOTICE of patchcord on this machine: ${oneLine(result.notice.text)}${more}`;
  }
  return result.reason === 'stopping'
    ? 'Nothing yet, and the patchcord daemon is stopping. Call wait_for_message again in a moment.'
    : 'Nothing yet. Call wait_for_message again to keep waiting.';
}

export function recallText(result: RecallResult): string {
  const { messages } = result;
  if (messages.length === 0) return 'No messages match.';
  return [`History, newest first (${messages.length}):`, FRAME_NOTICE, ...messages.map(recalledText)].join(
    '\n\n',
  );
}

const UNSEND_TEXT: Record<UnsendResult['status'], (id: string) => string> = {
  unsent: (id) => `Taken back: ${id} was not read and will not be shown.`,
  already_read: (id) => `Too late: ${id} was already read and stays.`,
  requested: (id) =>
    `Asked for: the recipient's machine has not answered yet. ${id} is taken back if it is still unread when it does; recall() shows how it ended.`,
};

export function unsendText(result: UnsendResult): string {
  return UNSEND_TEXT[result.status](inline(result.message_id));
}

export function attachmentText(result: AttachmentResult): string {
  const path = inline(result.path, PATH_SHOWN);
  if (result.status === 'ready') {
    const url = inline(result.upload_url ?? '', PATH_SHOWN);
    return `Upload the file with an HTTP PUT to ${url}\nThen tell others its path: ${path}`;
  }
  const details = [
    result.mime_type,
    result.size_bytes === undefined ? undefined : `${result.size_bytes} bytes`,
    result.sha256 === undefined ? undefined : `sha256 ${result.sha256}`,
    result.encoding,
  ].filter((detail) => detail !== undefined);
  const about = details.length > 0 ? ` (${inline(details.join(', '))})` : '';
  if (result.status === 'ok') {
    return [`File ${path}${about}`, FRAME_NOTICE, frame(`file ${path}`, result.content ?? '')].join('\n\n');
  }
  const done = result.status === 'uploaded' ? 'Uploaded' : 'Fetched and stored';
  return `${done}: ${path}${about}. Others fetch it with attachment(path_or_url="${path}").`;
}

/** A refusal: what was wrong and what to do. */
export function errorText(error: ErrorView): string {
  return `Refused (${error.code}): ${oneLine(error.message)}`;
}
