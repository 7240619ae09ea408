import { z } from 'zod';
import { zReceiptState } from './receipt.ts';
import { zAgentState } from './roster.ts';
import { zWatchedState } from './watch.ts';

/**
 * What the seven tools answer, as structured content: the contract that clients, the command line and scripts
 * hold on to. Fields may be added; none is renamed or removed.
 */

const zTime = z.string().describe('ISO 8601, UTC');

export const zMessageView = z.object({
  message_id: z.string(),
  from: z.string().describe('name@namespace of the sender, verified by the daemon'),
  from_machine: z.string().describe("label of the sender's machine"),
  from_peer_id: z.string().optional().describe("peer id, made from the public key, of the sender's machine"),
  verified: z
    .enum(['sealed', 'local'])
    .optional()
    .describe(
      'sealed: signed by the machine of the sender and sealed to this one; local: sent on this machine',
    ),
  moved_from: z
    .string()
    .optional()
    .describe('label, or end of the key, of the machine from which this agent name wrote before it moved'),
  to: z.string().describe('name@namespace of the recipient'),
  namespace: z.string(),
  content: z.string(),
  sent_at: zTime,
  thread: z.string().optional(),
  thread_id: z.string().optional(),
  thread_resolved_at: zTime.optional(),
  reply_to: z.string().optional(),
  reply_by: zTime
    .optional()
    .describe('an answer is asked for by then, by the clock of this machine, and still owed'),
  group_id: z.string().optional(),
  urgency: z
    .enum(['info', 'steer'])
    .optional()
    .describe(
      'how its sender marked it, unless normal; info: no attention needed now, steer: look at it now',
    ),
  /** For what was sent a state of the receipt ladder; for what was received pending, read, replied or deferred. */
  status: z.enum(['pending', ...zReceiptState.options]),
  seen_before: z.boolean().optional().describe('shown to an earlier session that ended before it confirmed'),
  notice: z
    .enum(['refused', 'expired', 'unsend', 'reminder', 'unanswered', 'watch'])
    .optional()
    .describe(
      'set when patchcord itself says this, about the message `about` (watch: about that agent); no agent wrote it',
    ),
  about: z.string().optional(),
  held_by: z
    .array(z.string())
    .optional()
    .describe('labels of the machines that keep a sent message for the recipient'),
  waiting: z
    .string()
    .optional()
    .describe("code of why the recipient's machine could not take a queued message yet; it is tried again"),
  missing_before: z.number().int().optional().describe('messages of this sender that have not arrived'),
  late: z.boolean().optional().describe('arrived after later messages of this sender were shown'),
});
export type MessageView = z.infer<typeof zMessageView>;

export const zSelf = z.object({
  agent: z.string().describe('name@namespace'),
  namespace: z.string(),
  machine: z.string(),
  client: z.string(),
});
export type Self = z.infer<typeof zSelf>;

export const zAgentView = z.object({
  agent: z.string().describe('name@namespace'),
  namespace: z.string(),
  machine: z.string(),
  client: z.string(),
  platform: z.string(),
  online: z.boolean(),
  last_seen: zTime.nullable(),
  state: zAgentState
    .optional()
    .describe('idle: waits for messages or does nothing; busy: works; dnd: does not want to be disturbed'),
  status: z.string().optional().describe('what it says of itself'),
  project: z.string().optional().describe('name of the folder it works in'),
  branch: z.string().optional().describe('git branch there'),
});
export type AgentView = z.infer<typeof zAgentView>;

export const zInboxResult = z.object({
  self: zSelf,
  pending: z.array(zMessageView),
  threads: z.array(z.object({ thread_id: z.string(), thread: z.string(), messages: z.array(z.string()) })),
  deferred: z.array(zMessageView),
  agents: z.array(zAgentView),
  warnings: z.array(z.string()),
  more: z.number().int().describe('pending messages beyond the ones shown'),
});
export type InboxResult = z.infer<typeof zInboxResult>;

export const zErrorView = z.object({ code: z.string(), message: z.string(), retryable: z.boolean() });

const zSendReceipt = z.object({
  to: z.string(),
  message_id: z.string().optional(),
  state: zReceiptState.optional(),
  online: z.boolean().optional(),
  last_seen: zTime.nullable().optional(),
  recipient_state: zAgentState.optional().describe('as its machine announced it last'),
  note: z.string().optional().describe('why the recipient may see it later than you think'),
  error: zErrorView.optional(),
});
export type SendReceipt = z.infer<typeof zSendReceipt>;

export const zSendResult = z.object({
  status: z.enum(['sent', 'partial', 'failed', 'blocked']),
  message_id: z.string().optional(),
  group_id: z.string().optional(),
  thread: z.string().optional(),
  thread_id: z.string().optional(),
  receipts: z.array(zSendReceipt),
  pending: z.array(zMessageView).optional(),
  pending_total: z.number().int().optional(),
});
export type SendResult = z.infer<typeof zSendResult>;

export const zReplyResult = z.object({
  status: z.enum(['replied', 'deferred', 'resolved']),
  reply_id: z.string().optional(),
  to: z.string(),
  state: zReceiptState.optional(),
  thread: z.string().optional(),
  thread_id: z.string().optional(),
  warning: z.string().optional(),
});
export type ReplyResult = z.infer<typeof zReplyResult>;

export const zWaitResult = z.object({
  status: z
    .enum(['message', 'timeout', 'notice'])
    .describe('notice: until_agent is as until_state asked; only then'),
  message: zMessageView.optional(),
  notice: z.object({ agent: z.string(), state: zWatchedState, text: z.string() }).optional(),
  more: z.number().int().describe('pending messages beyond this one'),
  /** Why a wait ended without a message before its time. */
  reason: z.enum(['stopping']).optional(),
});
export type WaitResult = z.infer<typeof zWaitResult>;

export const zRecallResult = z.object({
  messages: z.array(
    zMessageView.extend({ direction: z.enum(['sent', 'received']), content_cut: z.boolean() }),
  ),
});
export type RecallResult = z.infer<typeof zRecallResult>;

export const zUnsendResult = z.object({
  status: z.enum(['unsent', 'already_read', 'requested']),
  message_id: z.string(),
});
export type UnsendResult = z.infer<typeof zUnsendResult>;

export const zAttachmentResult = z.object({
  status: z.enum(['ready', 'uploaded', 'ok', 'relayed']),
  path: z.string(),
  upload_url: z.string().optional(),
  mime_type: z.string().optional(),
  size_bytes: z.number().int().optional(),
  sha256: z.string().optional(),
  encoding: z.string().optional(),
  content: z.string().optional(),
});
export type AttachmentResult = z.infer<typeof zAttachmentResult>;
