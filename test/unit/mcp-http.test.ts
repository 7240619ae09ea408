import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import {
  Client as ModernClient,
  StreamableHTTPClientTransport as ModernTransport,
} from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { clientOfRequest, createHttpMcp, type HttpMcp } from '../../mcp/http.ts';
import { listTools } from '../../mcp/tools.ts';
import { ARGUMENTS, FakeSession, MESSAGE } from './mcp-fake.ts';

const zCallResult = z.object({
  content: z.array(z.object({ type: z.string(), text: z.string().optional() })),
  structuredContent: z.unknown(),
  isError: z.boolean().optional(),
});
type CallResult = z.infer<typeof zCallResult>;
interface CallOptions {
  signal: AbortSignal;
  onprogress: (progress: { progress: number }) => void;
}
/** What the two generations of the client have in common. */
interface AnyClient {
  listTools(): Promise<{ tools: object[] }>;
  listPrompts(): Promise<{ prompts: { name: string }[] }>;
  instructions(): string | undefined;
  call(name: string, args?: Record<string, unknown>, options?: Partial<CallOptions>): Promise<CallResult>;
  close(): Promise<void>;
}

let mcp: HttpMcp;
let server: HttpServer;
let session: FakeSession;
let url: URL;

beforeEach(async () => {
  mcp = createHttpMcp();
  session = new FakeSession();
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const text = Buffer.concat(parts).toString();
      void mcp.handle(request, response, session, text ? (JSON.parse(text) as unknown) : undefined);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  url = new URL(`http://127.0.0.1:${address.port}/mcp`);
});

afterEach(async () => {
  await mcp.close();
  server.closeAllConnections();
  server.close();
});

async function connectLegacy(name = 'claude-code'): Promise<AnyClient> {
  const client = new Client({ name, version: '2.1.330' });
  await client.connect(new StreamableHTTPClientTransport(url));
  return {
    listTools: () => client.listTools(),
    listPrompts: () => client.listPrompts(),
    instructions: () => client.getInstructions(),
    call: async (tool, args = {}, options = {}) =>
      zCallResult.parse(await client.callTool({ name: tool, arguments: args }, undefined, options)),
    close: () => client.close(),
  };
}

async function connectModern(name = 'claude-code'): Promise<AnyClient> {
  const client = new ModernClient(
    { name, version: '2.1.330' },
    { versionNegotiation: { mode: { pin: '2026-07-28' } } },
  );
  await client.connect(new ModernTransport(url));
  return {
    listTools: () => client.listTools(),
    listPrompts: () => client.listPrompts(),
    instructions: () => client.getInstructions(),
    call: async (tool, args = {}, options = {}) =>
      zCallResult.parse(await client.callTool({ name: tool, arguments: args }, options)),
    close: () => client.close(),
  };
}

describe.each([
  ['2025-11-25', connectLegacy],
  ['2026-07-28', connectModern],
])('a client of revision %s', (_revision, connect) => {
  test('gets the table and the instructions as they stand', async () => {
    const client = await connect();
    expect((await client.listTools()).tools).toEqual(listTools().tools);
    expect((await client.listPrompts()).prompts.map((prompt) => prompt.name)).toEqual(['inbox', 'wait']);
    expect(client.instructions()).toMatch(/^patchcord is a messenger/);
    await client.close();
  });

  test('every result passes its check against outputSchema', async () => {
    const client = await connect();
    await client.listTools();
    const outcomes: unknown[] = [];
    for (const [name, args] of Object.entries(ARGUMENTS)) {
      const answered = client.call(name, args);
      if (name === 'wait_for_message') {
        (await session.waiting()).answer({ status: 'message', message: MESSAGE, more: 0 });
      }
      const result = await answered;
      outcomes.push([name, result.isError ?? false, result.structuredContent !== undefined]);
    }
    expect(outcomes).toEqual(Object.keys(ARGUMENTS).map((name) => [name, false, true]));
    await client.close();
  });

  test('errors are errors of the tool', async () => {
    const client = await connect();
    await client.listTools();
    const result = await client.call('reply', { id: 'm1' });
    expect(result.isError).toBe(true);
    expect(result.content[0]!.text).toMatch(/unknown parameter "id".*message_id is missing/);
    expect(result.structuredContent).toMatchObject({ error: { code: 'invalid_input' } });
    await expect(client.call('nosuch')).rejects.toThrow(/nosuch/);
    await client.close();
  });

  test('gets progress while it waits', async () => {
    const client = await connect();
    const reported = Promise.withResolvers<unknown>();
    const answered = client.call('wait_for_message', {}, { onprogress: reported.resolve });
    expect(await reported.promise).toMatchObject({ progress: 0 });
    (await session.waiting()).answer({ status: 'message', message: MESSAGE, more: 0 });
    expect((await answered).content[0]!.text).toContain(MESSAGE.content);
    await client.close();
  });

  test('cancels a wait without taking a message', async () => {
    const client = await connect();
    const cancel = new AbortController();
    const answered = client.call('wait_for_message', {}, { signal: cancel.signal });
    answered.catch(() => {});
    await session.waiting();
    const aborted = once(session.events, 'aborted');
    cancel.abort();
    await aborted;
    await expect(answered).rejects.toThrow(/abort/i);
    expect(session.closed).toBe(0);
    await client.close();
  });

  test('that goes away ends its wait', async () => {
    const client = await connect();
    client.call('wait_for_message').catch(() => {});
    await session.waiting();
    const aborted = once(session.events, 'aborted');
    server.closeAllConnections();
    await aborted;
    expect(session.closed).toBe(0);
    await client.close();
  });

  test('has its waits ended when the server closes', async () => {
    const client = await connect();
    client.call('wait_for_message').catch(() => {});
    await session.waiting();
    const aborted = once(session.events, 'aborted');
    await mcp.close();
    await aborted;
    expect(session.closed).toBe(0);
    await client.close();
  });
});

describe('the time a client is given', () => {
  test('follows the name in the request', async () => {
    const client = await connectModern('codex-mcp-client');
    const answered = client.call('wait_for_message', { timeout_seconds: 3_600 });
    const wait = await session.waiting();
    expect(wait.call.timeout_seconds).toBeGreaterThan(270);
    expect(wait.call.timeout_seconds).toBeLessThanOrEqual(280);
    wait.answer({ status: 'timeout', more: 0 });
    await answered;
    await client.close();
  });

  test('follows the name of the session where the request has none', async () => {
    const client = await connectLegacy('codex-mcp-client');
    const answered = client.call('wait_for_message', { timeout_seconds: 3_600 });
    const wait = await session.waiting();
    expect(wait.call.timeout_seconds).toBeLessThanOrEqual(45);
    wait.answer({ status: 'timeout', more: 0 });
    await answered;
    session.self.client = 'codex-mcp-client 0.169';
    const again = client.call('wait_for_message', { timeout_seconds: 3_600 });
    const second = await session.waiting();
    expect(second.call.timeout_seconds).toBeGreaterThan(270);
    second.answer({ status: 'timeout', more: 0 });
    await again;
    await client.close();
  });

  test.each<[string, unknown, string | undefined]>([
    [
      'initialize',
      { method: 'initialize', params: { clientInfo: { name: 'codex', version: '1' } } },
      'codex 1',
    ],
    [
      '_meta',
      { params: { _meta: { 'io.modelcontextprotocol/clientInfo': { name: 'zed', version: '2' } } } },
      'zed 2',
    ],
    ['nothing', { method: 'tools/list', params: {} }, undefined],
    ['no object', 'x', undefined],
  ])('is read from the body: %s', (_name, body, expected) => {
    expect(clientOfRequest(body)).toBe(expected);
  });
});
