import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import { clientOfRequest } from '../../mcp/http.ts';
import type { HttpMcp } from '../../mcp/http.ts';
import type { Session } from '../../mcp/messenger.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import { LABEL_LENGTH_MAX } from '../../protocol/limits.ts';
import type { Log } from '../log.ts';
import type { AgentSessions } from './agent-sessions.ts';
import { FILE_BODY_BYTES_MAX } from './answers.ts';
import { writeProblem } from './problem.ts';
import type { App } from './server.ts';
import type { Traffic } from './traffic.ts';

export interface McpRouteParts {
  mcp: HttpMcp;
  agents: AgentSessions;
  traffic: Traffic;
  log: Log;
}

/**
 * MCP for agents with a bearer token. `/mcp/bearer` is the path that will stay without OAuth where `/mcp` gains
 * it: clients that see a metadata hint prefer the browser to the token they were given.
 */
export function mcpRoutes(app: App, { mcp, agents, traffic, log }: McpRouteParts): void {
  for (const url of ['/mcp', '/mcp/bearer']) {
    app.route({
      method: ['GET', 'POST', 'DELETE'],
      url,
      bodyLimit: FILE_BODY_BYTES_MAX,
      config: { access: 'agent' },
      handler: async ({ caller, raw, body }, reply) => {
        const client = clientOfRequest(body) ?? firstWord(raw.headers['user-agent']) ?? 'http';
        await agents.use(caller.agent!, client, async (session) => {
          reply.hijack();
          // A GET is a stream of notifications; it lasts as long as its client likes.
          if (raw.method === 'GET') traffic.exempt(reply.raw);
          await serve(raw, reply.raw, session, body);
        });
      },
    });
  }

  async function serve(request: IncomingMessage, response: ServerResponse, session: Session, body: unknown) {
    try {
      await mcp.handle(request, response, session, body);
    } catch (error) {
      const problem = asPatchcordError(error);
      log.error({ code: problem.code, cause: String(problem.cause) }, 'an MCP request failed');
      writeProblem(response, problem);
    }
    // A streamed answer goes on after `handle` returned; a client that left in its midst is no failure.
    await finished(response).catch(() => undefined);
  }
}

function firstWord(text: string | undefined): string | undefined {
  return text?.trim().split(/\s+/)[0]?.slice(0, LABEL_LENGTH_MAX) || undefined;
}
