import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { clientLabel } from './clients.ts';
import type { Session } from './messenger.ts';

/** MCP over HTTP in the revisions up to 2025-11-25, without sessions of its own, and 2026-07-28. */
export interface HttpMcp {
  /**
   * Answers one request to the MCP endpoint as the agent of `session`; resolves when the answer is written or the
   * client is gone, which cancels a wait. Who the caller is, which origin it may have and how large a body may be
   * is checked before. `body` is the parsed JSON body, undefined when the request has none or nobody read it. A
   * session that leased a message to a client that went away in that moment is closed, to give it back.
   */
  handle(request: IncomingMessage, response: ServerResponse, session: Session, body: unknown): Promise<void>;
  /** Cancels what runs; later requests are answered with an error. */
  close(): Promise<void>;
}

const zClientInfo = z.object({ name: z.string(), version: z.string().optional() });
const zIntroduction = z.object({
  params: z.object({
    /** In `initialize`, revisions up to 2025-11-25. */
    clientInfo: zClientInfo.optional(),
    /** In every request of revision 2026-07-28. */
    _meta: z.object({ 'io.modelcontextprotocol/clientInfo': zClientInfo.optional() }).optional(),
  }),
});

/** Name and version of the client, where the request says it: what to open the session with. */
export function clientOfRequest(body: unknown): string | undefined {
  const parsed = zIntroduction.safeParse(body);
  if (!parsed.success) return undefined;
  const { clientInfo, _meta } = parsed.data.params;
  const info = clientInfo ?? _meta?.['io.modelcontextprotocol/clientInfo'];
  return info ? clientLabel(info) : undefined;
}

/**
 * The server behind `/mcp`. Its packages are loaded with the first request, because a daemon whose agents all use
 * stdio should not pay for them.
 */
export function createHttpMcp(): HttpMcp {
  let loaded: Promise<HttpMcp> | undefined;
  const load = (): Promise<HttpMcp> =>
    (loaded ??= import('./http-server.ts').then(({ createHandler }) => createHandler()));
  return {
    async handle(request, response, session, body) {
      const server = await load();
      await server.handle(request, response, session, body);
    },
    async close() {
      await (await loaded)?.close();
    },
  };
}
