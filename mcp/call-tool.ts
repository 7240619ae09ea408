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

/** Where a call finds its session. */
export interface SessionSource {
  /** Runs the call on a session; may run it again on a new one when the first was lost and that is safe. */
  use<T>(repeatable: boolean, run: (session: Session) => Promise<T>): Promise<T>;
  /** Ends the session, so that what it was shown and could not pass on is shown again. */
  giveBack(session: Session): Promise<void>;
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
    const result = await sessions.use(tool.repeatable, async (session) => {
      const result = await run(session, context);
      // The client went away while the answer was on its way here. It will not see what was leased to it, and its
      // next call would confirm it as read.
      if (tool.leases && context.signal.aborted) await sessions.giveBack(session);
      return result;
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
