import { z } from 'zod';
import { zWatchedState } from './watch.ts';
import { zUrgency } from './delivery/wakes.ts';
import { CONTENT_LENGTH_MAX, RECALL_MAX, THREAD_LENGTH_MAX } from './limits.ts';

/**
 * The parameters of the seven tools, named and defaulted as the contract says. The bounds here keep garbage
 * out; the rules with their own error texts (empty content, unknown names) are the messenger's.
 */

/** Far above the limit, so that a text that is too long meets the error that tells its length. */
const zContent = z.string().max(20 * CONTENT_LENGTH_MAX);

export const zInboxCall = z.object({
  all_agents: z.boolean().default(false).describe('also list agents that are offline'),
});
export type InboxCall = z.infer<typeof zInboxCall>;

const zUrgencyCall = zUrgency
  .optional()
  .describe(
    'optional, default normal; info: wakes nobody; steer: wakes the recipient even when it does not want to be disturbed',
  );

export const zSendCall = z.object({
  to_agent: z.string().max(10_000).describe('agent name, or several: "agent1, agent2"'),
  content: zContent.describe(`message text, at most ${CONTENT_LENGTH_MAX} characters`),
  thread: z
    .string()
    .max(4 * THREAD_LENGTH_MAX)
    .default('')
    .describe('optional slug that groups messages, e.g. "auth-migration"'),
  reply_by: z
    .string()
    .max(40)
    .optional()
    .describe('optional: ask for an answer within this time, e.g. "90s", "15m", "2h" or "3d"'),
  urgency: zUrgencyCall,
});
export type SendCall = z.infer<typeof zSendCall>;

export const zReplyCall = z.object({
  message_id: z.string().max(200).describe('the id that inbox() or wait_for_message() showed'),
  content: zContent.default('').describe('your answer; may be empty with defer or resolve'),
  defer: z.boolean().default(false).describe('keep the original in your inbox for later'),
  resolve: z.boolean().default(false).describe('the task is done: close the thread and tell the sender'),
  urgency: zUrgencyCall,
});
export type ReplyCall = z.infer<typeof zReplyCall>;

export const zWaitCall = z.object({
  timeout_seconds: z.number().default(300).describe('how long to wait, 1 to 3600 seconds'),
  until_agent: z
    .string()
    .max(300)
    .optional()
    .describe('optional: also return when this agent is as until_state says'),
  until_state: zWatchedState.optional().describe('idle (default) or online, for until_agent'),
});
export type WaitCall = z.infer<typeof zWaitCall>;

export const zAttachmentCall = z.object({
  path_or_url: z
    .string()
    .max(4_096)
    .default('')
    .describe('what to download: namespace/agent/file; or the https URL to relay'),
  upload: z.boolean().default(false).describe('ask for an upload URL, or upload file_data'),
  filename: z.string().max(255).default('').describe('name of the file to upload'),
  file_data: z
    .string()
    .max(70 * 1024 * 1024)
    .default('')
    .describe('base64 content for a direct upload'),
  relay: z.boolean().default(false).describe('fetch path_or_url and store it'),
  mime_type: z.string().max(255).default('').describe('media type of the upload'),
});
export type AttachmentCall = z.infer<typeof zAttachmentCall>;

export const zRecallCall = z.object({
  limit: z.number().int().default(10).describe(`how many messages, at most ${RECALL_MAX}`),
  from_agent: z.string().max(300).default('').describe('only messages from this agent'),
  thread_id: z.string().max(500).default('').describe('only messages of this thread (its id or its slug)'),
});
export type RecallCall = z.infer<typeof zRecallCall>;

export const zUnsendCall = z.object({
  message_id: z.string().max(200).describe('the message_id that send_message returned'),
});
export type UnsendCall = z.infer<typeof zUnsendCall>;
