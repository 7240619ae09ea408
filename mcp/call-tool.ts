import { asPatchcordError } from '../protocol/errors.ts';
import type { Session } from './messenger.ts';
import { errorText } from './text.ts';
import type { Tool } from './tools.ts';
import type { CallContext } from './waiting.ts';

/** The answer to tools/call, in the shape that both SDKs take. */
export interface ToolAnswer {
  [field: string]: unknown;
  content: { type: 'text'; text: string }[];
  structuredContent: Record<string, unknown>;
  isError?: true;
}

/** What a source of sessions needs to know of a call. */
export interface SessionCall {
  /** Whether a call that may have run already may be run again. */
  repeatable: boolean;
  /** Whether it leases messages to the session. */
  leases: boolean;
  /** Aborted when the client has lost interest in the answer. */
  signal: AbortSignal;
}

/** Where a call finds its session. */
export interface SessionSource {
  /** Runs the call on a session; may run it again on a new one when the first was lost and that is safe. */
  use<T>(call: SessionCall, run: (session: Session) => Promise<T>): Promise<T>;
}

/**
 * Serves one call of one tool. Never throws: whatever is wrong becomes a tool error that the model can read,
 * because a JSON-RPC error reaches only the client.
 */
export async function callTool(
  tool: Tool,
  args: Readonly<Record<string, unknown>>,
  sessions: SessionSource,
  context: CallContext,
): Promise<ToolAnswer> {
  try {
    const run = tool.prepare(args);
    const { repeatable, leases } = tool;
    const { signal } = context;
    const result = await sessions.use({ repeatable, leases, signal }, async (session) => {
      try {
        return await run(session, context);
      } finally {
        // The client went away while the answer was on its way here. It will not see what was leased to it, and its
        // next call would confirm it as read.
        if (leases && signal.aborted) await session.release().catch(() => {});
      }
    });
    return { content: [{ type: 'text', text: result.text }], structuredContent: result.structured };
  } catch (error) {
    const view = asPatchcordError(error).view();
    return {
      content: [{ type: 'text', text: errorText(view) }],
      structuredContent: { error: view },
      isError: true,
    };
  }
}
