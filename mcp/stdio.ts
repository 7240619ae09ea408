import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import {
  CallToolRequestSchema,
  CancelledNotificationSchema,
  ErrorCode,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListToolsRequestSchema,
  McpError,
  type JSONRPCMessage,
  type RequestId,
} from '@modelcontextprotocol/sdk/types.js';
import { callTool, type ToolAnswer } from './call-tool.ts';
import { clientLabel } from './clients.ts';
import { KeptSession } from './kept-session.ts';
import type { Messenger } from './messenger.ts';
import { getPrompt, listPrompts } from './prompts.ts';
import { SERVER_INFO, SERVER_INSTRUCTIONS } from './server-instructions.ts';
import { findTool, listTools } from './tools.ts';
import { progressParams } from './waiting.ts';

export interface StdioOptions {
  /** name@namespace, from the command line: never guessed from the working directory. */
  agent: string;
  /** Defaults to the process's stdin. */
  input?: Readable | undefined;
  /** Defaults to the process's stdout. */
  output?: Writable | undefined;
  /** Ends the connection at once. */
  signal?: AbortSignal | undefined;
}

/** Longest line a client may send: an attachment in base64 as protocol/calls.ts allows it, and its envelope. */
const LINE_SIZE_BYTES_MAX = 72 * 1024 * 1024;
/** How long the calls that run when stdin ends may take to answer. */
const DRAIN_MS = 5_000;

const CANCELLED = CancelledNotificationSchema.shape.method.value;

/** The calls of one connection that have not been answered. */
interface Running {
  answers: Set<Promise<ToolAnswer>>;
  /** The answered call whose leases the next call will confirm. */
  leasing: RequestId | undefined;
  /** Aborted when stdin ends: nobody is left to wait for. */
  ending: AbortController;
}

function serveCalls(server: Server, kept: KeptSession, running: Running): void {
  server.setRequestHandler(
    CallToolRequestSchema,
    async (request, { _meta: meta, requestId, signal, sendNotification }) => {
      const tool = findTool(request.params.name);
      if (!tool) throw new McpError(ErrorCode.InvalidParams, `Unknown tool: ${request.params.name}`);
      const token = meta?.progressToken;
      const answer = callTool(tool, request.params.arguments ?? {}, kept, {
        client: clientLabel(server.getClientVersion()),
        startedMs: performance.now(),
        signal: tool.waits ? AbortSignal.any([signal, running.ending.signal]) : signal,
        report:
          token === undefined
            ? undefined
            : (elapsed, total) =>
                sendNotification({
                  method: 'notifications/progress',
                  params: progressParams(token, elapsed, total),
                }),
      });
      running.answers.add(answer);
      return await answer.finally(() => {
        running.answers.delete(answer);
        running.leasing = tool.leases ? requestId : undefined;
      });
    },
  );
}

function serveLists(server: Server): void {
  server.setRequestHandler(ListToolsRequestSchema, () => listTools());
  server.setRequestHandler(ListPromptsRequestSchema, () => listPrompts());
  server.setRequestHandler(GetPromptRequestSchema, (request) => {
    const prompt = getPrompt(request.params.name);
    if (!prompt) throw new McpError(ErrorCode.InvalidParams, `Unknown prompt: ${request.params.name}`);
    return prompt;
  });
}

/**
 * Lets running calls answer before the connection is closed: a script may write its requests, close its end and
 * read on. Waits are cut short.
 */
async function drain(running: Running): Promise<void> {
  // The SDK starts a handler some microtasks after the line came in, and sends its answer some after it ended.
  await nextTurn();
  running.ending.abort();
  const late = new AbortController();
  await Promise.race([
    Promise.allSettled(running.answers),
    delay(DRAIN_MS, undefined, { signal: late.signal }).catch(() => {}),
  ]);
  late.abort();
  await nextTurn();
}

/**
 * A client that cancels a call does not read its answer, even if that was sent a moment before: what it leased goes
 * back. The SDK passes over a cancellation of what it has answered.
 */
function watchLateCancels(transport: StdioServerTransport, kept: KeptSession, running: Running): void {
  const { onmessage } = transport;
  const isLate = (message: JSONRPCMessage) =>
    running.leasing !== undefined &&
    CancelledNotificationSchema.safeParse(message).data?.params.requestId === running.leasing;
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- the SDK knows no listeners
  transport.onmessage = (message) => {
    if ('method' in message && message.method === CANCELLED && isLate(message)) {
      running.leasing = undefined;
      kept.release();
    }
    onmessage?.call(transport, message);
  };
}

/** Resolves when the server's connection is closed, which any of the parties may cause. */
async function untilClosed(
  server: Server,
  running: Running,
  kept: KeptSession,
  { input, output, signal }: { input: Readable; output: Writable; signal?: AbortSignal | undefined },
): Promise<void> {
  const closed = Promise.withResolvers<void>();
  const close = () => void server.close().catch(closed.reject);
  const end = () => void drain(running).then(close, closed.reject);
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- the SDK knows no listeners
  server.onclose = () => closed.resolve();
  input.once('end', end).once('close', end);
  // A client that died leaves a broken pipe: an 'error' nobody listens to would take the process down.
  output.on('error', close).once('close', close);
  signal?.addEventListener('abort', close, { once: true });
  try {
    const transport = new StdioServerTransport(input, output, { maxBufferSize: LINE_SIZE_BYTES_MAX });
    await server.connect(transport);
    watchLateCancels(transport, kept, running);
    if (signal?.aborted || output.destroyed) close();
    else if (input.readableEnded || input.destroyed) end();
    await closed.promise;
  } finally {
    input.off('end', end).off('close', end);
    output.off('close', close);
    signal?.removeEventListener('abort', close);
  }
}

/**
 * Serves MCP (revisions up to 2025-11-25) over a pair of streams as one agent. Resolves when the input ends, the
 * client disconnects or the signal aborts, after the session was closed, which gives back what it was shown and
 * had not confirmed. A messenger that cannot be reached is a tool error of each call, not an end of the server.
 */
export async function serveStdio(messenger: Messenger, options: StdioOptions): Promise<void> {
  const { agent, input = process.stdin, output = process.stdout, signal } = options;
  const server = new Server(SERVER_INFO, {
    capabilities: { tools: {}, prompts: {} },
    instructions: SERVER_INSTRUCTIONS,
  });
  const kept = new KeptSession(() =>
    messenger.open({ agent, client: clientLabel(server.getClientVersion()) }),
  );
  const running: Running = { answers: new Set(), leasing: undefined, ending: new AbortController() };
  serveLists(server);
  serveCalls(server, kept, running);
  // Others see the agent from now on, not only from its first call. A failure is met again by that call.
  server.oninitialized = () => void kept.ready().catch(() => {});
  try {
    await untilClosed(server, running, kept, { input, output, signal });
  } finally {
    await kept.close();
  }
}
