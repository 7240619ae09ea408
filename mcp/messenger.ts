import type {
  AttachmentCall,
  InboxCall,
  RecallCall,
  ReplyCall,
  SendCall,
  UnsendCall,
  WaitCall,
} from '../protocol/calls.ts';
import type {
  AttachmentResult,
  InboxResult,
  RecallResult,
  ReplyResult,
  Self,
  SendResult,
  UnsendResult,
  WaitResult,
} from '../protocol/views.ts';

/**
 * What the tools need of a daemon. There are two implementations: daemon/messenger in process, daemon/client
 * over the daemon's socket; both pass the acceptance suite in test/e2e/messenger-suite.ts.
 *
 * Every method throws PatchcordError, and nothing else, for what a caller can do wrong or the machine can meet.
 */
export interface Messenger {
  /** Opens a session of one client acting as one agent; an agent that is new on this machine is added. */
  open(request: SessionRequest): Promise<Session>;
}

export interface SessionRequest {
  /** name@namespace */
  agent: string;
  /** Name and version of the MCP client, e.g. "claude-code 2.1.330"; shown to others as presence. */
  client: string;
  /** Name of the folder that the client works in, and the git branch there where its user lets it be told. */
  project?: string | undefined;
  branch?: string | undefined;
  /** A person gives this one command: a chain of answers begins anew with what it sends. No MCP client may say so. */
  byPerson?: boolean | undefined;
}

/**
 * One connected client acting as one agent. What `inbox` and `wait` show is leased to the session: it becomes
 * read with the session's next call (any of the methods below but `release` and `close`) or after two minutes. A session that
 * closes first gives it back, and it is shown again, marked as seen before. One session per agent consumes at a
 * time: while another holds the inbox, `inbox` shows nothing pending and says so in `warnings`, and `wait`
 * throws `agent_in_use`. A call on a session that has ended throws `unknown_session` and did nothing.
 */
export interface Session {
  readonly self: Self;
  /** Pending messages (up to 100, oldest first), deferred ones, and who is online; leases the pending ones. */
  inbox(call: InboxCall): Promise<InboxResult>;
  /** `blocked` while messages from others are pending. Resolves when the message is fsynced on this machine. */
  send(call: SendCall): Promise<SendResult>;
  reply(call: ReplyCall): Promise<ReplyResult>;
  /**
   * Resolves with the oldest pending message, leased, as soon as there is one; with `timeout` after
   * `timeout_seconds` (clamped to 1..3600) or, with `reason: "stopping"`, when the daemon stops. Aborting the
   * signal rejects with the signal's reason and consumes nothing. What does not end it stays pending: messages marked
   * `info`, and all but those marked `steer` while the agent does not want to be disturbed. With `until_agent` it
   * also resolves, with `notice`, as soon as that agent is as `until_state` says; throws `unknown_recipient`.
   */
  wait(call: WaitCall, signal?: AbortSignal): Promise<WaitResult>;
  attachment(call: AttachmentCall): Promise<AttachmentResult>;
  /** History, newest first, content cut to 200 characters; marks nothing. */
  recall(call: RecallCall): Promise<RecallResult>;
  unsend(call: UnsendCall): Promise<UnsendResult>;
  /** Confirms what was shown, as the next call would: for one-shot callers that have printed it. */
  confirm(): Promise<void>;
  /**
   * Gives back what was shown and not confirmed, and ends a wait that still runs: the caller could not pass it on.
   * The session goes on.
   */
  release(): Promise<void>;
  /** Ends the session and gives back what was shown and not confirmed. Idempotent. */
  close(): Promise<void>;
}
