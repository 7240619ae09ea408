import type { z } from 'zod';
import * as calls from '../protocol/calls.ts';
import * as views from '../protocol/views.ts';
import { parseArguments } from './arguments.ts';
import type { Session } from './messenger.ts';
import * as text from './text.ts';
import { inputSchemaOf, outputSchemaOf, type ObjectSchema } from './tool-schema.ts';
import { waitForMessage, type CallContext } from './waiting.ts';

/** A tool's result, for programs and for readers. */
export interface ToolResult {
  structured: Record<string, unknown>;
  text: string;
}

export interface ToolAnnotations {
  readOnlyHint: boolean;
  destructiveHint: boolean;
  idempotentHint: boolean;
  openWorldHint: boolean;
}

/** One tool as both servers list and run it. */
export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly annotations: ToolAnnotations;
  readonly inputSchema: ObjectSchema;
  readonly outputSchema: ObjectSchema;
  /** Whether a call that may have run already may be run again. */
  readonly repeatable: boolean;
  /** Whether the call leases messages to the session. */
  readonly leases: boolean;
  /** Whether the call may take long for want of a message, and is cut short when nobody is left to tell. */
  readonly waits: boolean;
  /** Checks the arguments and throws `invalid_input`; the rest needs a session. */
  prepare(
    args: Readonly<Record<string, unknown>>,
  ): (session: Session, context: CallContext) => Promise<ToolResult>;
  /** `prepare` and its second step in one. */
  run(session: Session, args: Readonly<Record<string, unknown>>, context: CallContext): Promise<ToolResult>;
}

interface ToolSpec<Call extends z.ZodObject, Result extends Record<string, unknown>> {
  name: string;
  title: string;
  description: string;
  annotations: Partial<ToolAnnotations>;
  call: Call;
  result: z.ZodObject & z.ZodType<Result>;
  repeatable?: boolean;
  leases?: boolean;
  waits?: boolean;
  run(session: Session, call: z.output<Call>, context: CallContext): Promise<Result>;
  text(result: Result): string;
}

const NO_HINTS: ToolAnnotations = {
  readOnlyHint: false,
  destructiveHint: false,
  idempotentHint: false,
  openWorldHint: false,
};

function define<Call extends z.ZodObject, Result extends Record<string, unknown>>(
  spec: ToolSpec<Call, Result>,
): Tool {
  const prepare: Tool['prepare'] = (args) => {
    const call = parseArguments(spec.name, spec.call, args);
    return async (session, context) => {
      const structured = await spec.run(session, call, context);
      return { structured, text: spec.text(structured) };
    };
  };
  return {
    name: spec.name,
    title: spec.title,
    description: spec.description,
    annotations: { ...NO_HINTS, ...spec.annotations },
    inputSchema: inputSchemaOf(spec.call),
    outputSchema: outputSchemaOf(spec.result),
    repeatable: spec.repeatable ?? true,
    leases: spec.leases ?? false,
    waits: spec.waits ?? false,
    prepare,
    run: async (session, args, context) => prepare(args)(session, context),
  };
}

/** The seven tools in the order in which they are listed: what an agent needs first stands first. */
export const TOOLS: readonly Tool[] = [
  define({
    name: 'inbox',
    title: 'Read inbox',
    description:
      'Call this first: shows the messages waiting for you, who you are, and which agents are online. Every message comes with its sender, time, thread and the exact reply() call that answers it. What is shown counts as read with your next tool call. Deferred messages are listed again until you reply. all_agents=true also lists agents that are offline.',
    annotations: { readOnlyHint: true },
    call: calls.zInboxCall,
    result: views.zInboxResult,
    leases: true,
    run: (session, call) => session.inbox(call),
    text: text.inboxText,
  }),
  define({
    name: 'send_message',
    title: 'Send message',
    description:
      'Send a message to one or more agents, on this machine or another: to_agent="backend" or "backend, ops". Returns once the message is safe on this machine and says how far each copy came; a recipient who is away gets it later, so do not send it twice. Blocked while unread messages wait for you: call inbox() first. To answer a message use reply() instead. thread="slug" groups messages of one topic. reply_by="2h" asks for an answer within that time: without one the recipient is reminded and you are told; reply(message_id, resolve=true) on your own message ends the asking. urgency="info" wakes nobody; urgency="steer" reaches an agent that does not want to be disturbed: only to stop or redirect it.',
    annotations: { openWorldHint: true },
    call: calls.zSendCall,
    result: views.zSendResult,
    repeatable: false,
    run: (session, call) => session.send(call),
    text: text.sendText,
  }),
  define({
    name: 'reply',
    title: 'Reply to message',
    description:
      'Answer a message from your inbox by its message_id; stays in its thread. defer=true keeps the message in your inbox for later (content may be empty or say when), resolve=true closes the thread because the task is done and tells the sender (content may be empty). Refused as loop_guard when agents have answered one another too often without a person: involve your human then.',
    annotations: { openWorldHint: true },
    call: calls.zReplyCall,
    result: views.zReplyResult,
    repeatable: false,
    run: (session, call) => session.reply(call),
    text: text.replyText,
  }),
  define({
    name: 'wait_for_message',
    title: 'Wait for message',
    description:
      'Wait until the next message arrives and return it; returns at once when one is pending. Use it after you sent something that needs an answer. When it says "nothing yet", call it again: it may answer earlier than timeout_seconds, because some clients give up long calls. Cancelling takes no message. until_agent="backend" also returns when that agent is idle (until_state="online": when it is here).',
    annotations: { readOnlyHint: true },
    call: calls.zWaitCall,
    result: views.zWaitResult,
    leases: true,
    waits: true,
    run: waitForMessage,
    text: text.waitText,
  }),
  define({
    name: 'attachment',
    title: 'Share or fetch file',
    description:
      'Pass files between agents. Fetch: path_or_url="namespace/agent/file". Upload: upload=true with filename answers an upload URL; add file_data (base64) to upload directly. Relay: relay=true with path_or_url="https://..." and filename fetches that URL and stores it. Send the path it returns in a message.',
    annotations: { openWorldHint: true },
    call: calls.zAttachmentCall,
    result: views.zAttachmentResult,
    run: (session, call) => session.attachment(call),
    text: text.attachmentText,
  }),
  define({
    name: 'recall',
    title: 'Recall history',
    description:
      'Show recent messages you sent and received, newest first, including those already read, with their status; long texts are cut. Filter with from_agent or thread_id. Marks nothing as read.',
    annotations: { readOnlyHint: true },
    call: calls.zRecallCall,
    result: views.zRecallResult,
    run: (session, call) => session.recall(call),
    text: text.recallText,
  }),
  define({
    name: 'unsend',
    title: 'Take back message',
    description:
      "Take back a message you sent, by its message_id, as long as the recipient has not read it. Answers unsent, already_read, or requested when the recipient's machine cannot be asked right now.",
    annotations: { destructiveHint: true, idempotentHint: true },
    call: calls.zUnsendCall,
    result: views.zUnsendResult,
    run: (session, call) => session.unsend(call),
    text: text.unsendText,
  }),
];

export function findTool(name: string): Tool | undefined {
  return TOOLS.find((tool) => tool.name === name);
}

/** The answer to tools/list, the same on every transport. */
export function listTools() {
  return {
    tools: TOOLS.map(({ name, title, description, annotations, inputSchema, outputSchema }) => ({
      name,
      title,
      description,
      inputSchema,
      outputSchema,
      annotations: { title, ...annotations },
    })),
  };
}
