import { toNodeHandler } from '@modelcontextprotocol/node';
import {
  createMcpHandler,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type AuthInfo,
  type McpRequestContext,
  type RequestId,
} from '@modelcontextprotocol/server';
import { callTool, type SessionSource } from './call-tool.ts';
import { CLIENT_UNKNOWN, clientLabel } from './clients.ts';
import type { HttpMcp } from './http.ts';
import type { Session } from './messenger.ts';
import { getPrompt, listPrompts } from './prompts.ts';
import { SERVER_INFO, SERVER_INSTRUCTIONS } from './server-instructions.ts';
import { findTool, listTools } from './tools.ts';
import { progressParams } from './waiting.ts';

/** The part of the HTTP server that loads the v2 packages; http.ts imports it when the first request comes. */

/** How long a client may keep a list: it changes with the version of patchcord only. */
const LIST_CACHE = { ttlMs: 5 * 60_000, cacheScope: 'private' } as const;

/**
 * The calls of 2025 clients that run, by session and request id. These clients cancel with a request of its own,
 * which reaches another instance of the server than the call it means.
 */
type Cancels = WeakMap<Session, Map<RequestId, AbortController>>;

interface RequestParts {
  session: Session;
  cancels: Cancels;
  /** Aborted when the HTTP server closes. */
  closing: AbortSignal;
}

/** Where a session that one request lost is replaced is the daemon's to say, so nothing is run again here. */
function sourceOf(session: Session): SessionSource {
  return { use: async (_call, run) => await run(session) };
}

/** Runs a call under a signal that also a `notifications/cancelled` of the same session aborts. */
async function cancellable<T>(
  { session, cancels }: RequestParts,
  id: RequestId,
  run: (cancelled: AbortSignal) => Promise<T>,
): Promise<T> {
  const calls = cancels.get(session) ?? new Map<RequestId, AbortController>();
  cancels.set(session, calls);
  const controller = new AbortController();
  calls.set(id, controller);
  try {
    return await run(controller.signal);
  } finally {
    if (calls.get(id) === controller) calls.delete(id);
  }
}

function serveCalls(server: Server, parts: RequestParts): void {
  server.setRequestHandler('tools/call', async (request, { mcpReq }) => {
    const { id, signal, notify, _meta: meta } = mcpReq;
    const tool = findTool(request.params.name);
    if (!tool) {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown tool: ${request.params.name}`);
    }
    const info = server.getClientVersion();
    const token = meta?.progressToken;
    return await cancellable(parts, id, (cancelled) =>
      callTool(tool, request.params.arguments ?? {}, sourceOf(parts.session), {
        // 2025 clients introduce themselves in `initialize` only; the daemon opened the session with that name.
        client: info ? clientLabel(info) : parts.session.self.client || CLIENT_UNKNOWN,
        startedMs: performance.now(),
        signal: AbortSignal.any([signal, cancelled, parts.closing]),
        report:
          token === undefined
            ? undefined
            : (elapsed, total) =>
                notify({
                  method: 'notifications/progress',
                  params: progressParams(token, elapsed, total),
                }),
      }),
    );
  });
}

function serveLists(server: Server): void {
  server.setRequestHandler('tools/list', () => listTools());
  server.setRequestHandler('prompts/list', () => listPrompts());
  server.setRequestHandler('prompts/get', (request) => {
    const prompt = getPrompt(request.params.name);
    if (!prompt) {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown prompt: ${request.params.name}`);
    }
    return prompt;
  });
}

/** A server for one HTTP request, as the v2 packages want it. */
function serverFor({ era }: McpRequestContext, parts: RequestParts): Server {
  const server = new Server(SERVER_INFO, {
    capabilities: { tools: {}, prompts: {} },
    instructions: SERVER_INSTRUCTIONS,
    cacheHints: { 'tools/list': LIST_CACHE, 'prompts/list': LIST_CACHE, 'server/discover': LIST_CACHE },
  });
  serveLists(server);
  serveCalls(server, parts);
  if (era === 'legacy') {
    server.setNotificationHandler('notifications/cancelled', ({ params }) => {
      if (params.requestId !== undefined) parts.cancels.get(parts.session)?.get(params.requestId)?.abort();
    });
  }
  return server;
}

export function createHandler(): HttpMcp {
  const cancels: Cancels = new WeakMap();
  /** The packages hand `authInfo` to the factory untouched, which is how it learns whose request it serves. */
  const sessions = new WeakMap<AuthInfo, Session>();
  const closing = new AbortController();
  const handler = createMcpHandler(
    (context) => {
      const session = context.authInfo && sessions.get(context.authInfo);
      if (!session) throw new Error('The request came without its session.');
      return serverFor(context, { session, cancels, closing: closing.signal });
    },
    { legacy: 'stateless' },
  );
  return {
    async handle(request, response, session, body) {
      const authInfo: AuthInfo = { token: '', clientId: session.self.agent, scopes: [] };
      sessions.set(authInfo, session);
      const serve = toNodeHandler({
        fetch: async (web, options) => await handler.fetch(web, { ...options, authInfo }),
      });
      const { method = 'GET', url = '/', headers } = request;
      const read = () => request[Symbol.asyncIterator]();
      await serve({ method, url, headers, [Symbol.asyncIterator]: read }, response, body);
    },
    async close() {
      closing.abort();
      await handler.close();
    },
  };
}
