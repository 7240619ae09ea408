import { request } from 'node:http';
import {
  Client as ModernClient,
  StreamableHTTPClientTransport as ModernTransport,
} from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { zPeekAnswer } from '../../daemon/api/answers.ts';
import { zInboxResult } from '../../protocol/views.ts';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import type { McpAgent } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';

/** The daemon's port as clients meet it that speak HTTP: two generations of MCP clients, hooks, and web pages. */
const TOOLS = [
  'attachment',
  'inbox',
  'recall',
  'reply',
  'send_message',
  'unsend',
  'wait_for_message',
] as const;

const zAnswer = z.object({
  isError: z.boolean().optional(),
  structuredContent: z.record(z.string(), z.unknown()),
});
type Answer = z.infer<typeof zAnswer>;

/** What the two generations of the client have in common. */
interface HttpAgent {
  tools(): Promise<string[]>;
  call(tool: string, args?: Record<string, unknown>): Promise<Answer>;
  close(): Promise<void>;
}

type Connect = (url: URL, token: string) => Promise<HttpAgent>;

const connectLegacy: Connect = async (url, token) => {
  const client = new Client({ name: 'legacy', version: '1.0.0' });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (tool, args = {}) => zAnswer.parse(await client.callTool({ name: tool, arguments: args })),
    close: () => client.close(),
  };
};

/** The newer package, in its own revision, or as it finds out by itself what the server speaks. */
const connectModern =
  (revision?: '2026-07-28'): Connect =>
  async (url, token) => {
    const client = new ModernClient(
      { name: 'modern', version: '2.0.0' },
      revision ? { versionNegotiation: { mode: { pin: revision } } } : {},
    );
    const requestInit = { headers: { authorization: `Bearer ${token}` } };
    await client.connect(new ModernTransport(url, { requestInit }));
    return {
      tools: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: async (tool, args = {}) => zAnswer.parse(await client.callTool({ name: tool, arguments: args })),
      close: () => client.close(),
    };
  };

const CLIENTS: [string, Connect][] = [
  ['the SDK 1.x', connectLegacy],
  ['the client 2.x', connectModern()],
  ['the client 2.x in revision 2026-07-28', connectModern('2026-07-28')],
];

const stage = new Stage();
let machine: DaemonProcess;
let other: DaemonProcess;
let remote: McpAgent;

beforeAll(async () => {
  [machine, other] = await Promise.all([stage.machine('host'), stage.machine('far')]);
  await mesh('team', machine, other);
  remote = await stage.agent(other, 'remote@team');
});
afterAll(() => stage.end());

const urlOf = (path: string): URL => new URL(path, machine.info!.http);

async function tokenOf(address: string): Promise<string> {
  await machine.json('agent', 'add', address);
  const { token } = await machine.json<{ token: string }>('agent', 'token', address);
  return token;
}

/** A request with exactly these headers, the Host included, which fetch would not let through. */
function raw(
  path: string,
  headers: Record<string, string>,
  method = 'GET',
): Promise<{ status: number; type: string; body: unknown }> {
  const url = urlOf(path);
  const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<typeof raw>>>();
  const call = request(url, { method, headers: { connection: 'close', ...headers } }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part: string) => (text += part));
    response.on('end', () => {
      const type = response.headers['content-type'] ?? '';
      const body: unknown = type.includes('json') ? JSON.parse(text) : text;
      resolve({ status: response.statusCode!, type, body });
    });
  });
  call.on('error', reject);
  call.end();
  return promise;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe.each(CLIENTS)('%s over HTTP', (name, connect) => {
  const agent = `http.${CLIENTS.findIndex(([one]) => one === name)}`;

  test('lists the tools, sends to another machine, waits and reads its inbox', async () => {
    const token = await tokenOf(`${agent}@team`);
    await remote.sees(agent);
    const client = await connect(urlOf('/mcp'), token);
    expect((await client.tools()).sort()).toEqual(TOOLS);
    const sent = await client.call('send_message', { to_agent: 'remote', content: `from ${agent}` });
    expect(sent.structuredContent).toMatchObject({ status: 'sent', receipts: [{ to: 'remote@team' }] });
    const request = await remote.next();
    expect(request).toMatchObject({ content: `from ${agent}`, from: `${agent}@team` });
    const waiting = client.call('wait_for_message', { timeout_seconds: 30 });
    await remote.call('reply', { message_id: request.message_id, content: 'by reply' });
    expect((await waiting).structuredContent).toMatchObject({ message: { content: 'by reply' } });
    await remote.send(agent, 'for the inbox');
    const read = await eventually(
      'the inbox has it',
      async () => (await client.call('inbox')).structuredContent,
      ({ pending }) => Array.isArray(pending) && pending.length > 0,
    );
    expect(read).toMatchObject({
      self: { agent: `${agent}@team` },
      pending: [{ content: 'for the inbox', from: 'remote@team' }],
    });
    expect((await client.call('inbox')).structuredContent).toMatchObject({ pending: [] });
    const refused = await client.call('send_message', { to_agent: 'nobody', content: 'x' });
    expect(refused).toMatchObject({
      isError: true,
      structuredContent: { error: { code: 'unknown_recipient' } },
    });
    await client.close();
  });

  test('is turned away without a token that holds', async () => {
    await expect(connect(urlOf('/mcp'), 'pct_nothing')).rejects.toThrow(/401|unauthori/i);
  });
});

describe('the port', () => {
  test.each([
    ['no token', {}],
    ['a token of nobody', bearer('pct_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA')],
    ['another scheme', { authorization: 'Basic cGN0Og==' }],
  ])('answers 401 to %s', async (_what, headers) => {
    for (const [path, method] of [
      ['/mcp', 'POST'],
      ['/mcp/bearer', 'POST'],
      ['/api/inbox', 'GET'],
      ['/api/status', 'GET'],
      ['/api/agents', 'GET'],
    ] as const) {
      const answer = await raw(path, headers, method);
      expect({ path, ...answer }).toMatchObject({
        path,
        status: 401,
        type: expect.stringContaining('application/problem+json'),
        body: { code: 'unauthorized', status: 401 },
      });
    }
  });

  test('is not opened by a name that a web page made resolve to it, nor to its origin', async () => {
    const token = await tokenOf('rebound@team');
    const { host } = urlOf('/');
    for (const headers of [
      { host: 'evil.example' },
      { host: `evil.example:${urlOf('/').port}` },
      { host, origin: 'http://evil.example' },
      { host, origin: 'null' },
      { host, origin: `https://${host}` },
    ]) {
      for (const path of ['/mcp', '/api/inbox', '/health']) {
        const answer = await raw(path, { ...headers, ...bearer(token) });
        expect({ path, headers, ...answer }).toMatchObject({ status: 403, body: { code: 'forbidden' } });
      }
    }
    expect(await raw('/api/inbox', { host, origin: `http://${host}`, ...bearer(token) })).toMatchObject({
      status: 200,
    });
  });

  test('gives an agent nothing but what is its own', async () => {
    const token = await tokenOf('nosy@team');
    await tokenOf('private@team');
    for (const path of ['/api/status', '/api/agents', '/api/namespaces', '/api/inbox?as=private@team']) {
      expect(await raw(path, bearer(token))).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
  });

  test('peeks into an inbox and marks nothing', async () => {
    const token = await tokenOf('peeked@team');
    await remote.sees('peeked');
    await remote.send('peeked', 'only looking');
    const peek = () => raw('/api/inbox?status=pending&limit=5', bearer(token));
    const seen = await eventually('it has arrived', peek, ({ body }) => zPeekAnswer.parse(body).total === 1);
    expect(seen).toMatchObject({ status: 200, body: { pending: [{ content: 'only looking' }] } });
    expect((await peek()).body).toEqual(seen.body);
    const client = await connectLegacy(urlOf('/mcp'), token);
    const { structuredContent } = await client.call('inbox');
    const [message] = zInboxResult.parse(structuredContent).pending;
    expect(message).toMatchObject({ content: 'only looking' });
    expect(message?.seen_before).toBeUndefined();
    await client.call('recall');
    expect((await peek()).body).toEqual({ pending: [], total: 0 });
    await client.close();
  });

  test('is closed to a removed agent at once, and its token does not come back with its name', async () => {
    const token = await tokenOf('removed@team');
    const client = await connectLegacy(urlOf('/mcp'), token);
    expect((await client.call('inbox')).isError).toBeFalsy();
    const waiting = client.call('wait_for_message', { timeout_seconds: 30 });
    const outcome = waiting.catch((error: unknown) => error);
    await machine.json('agent', 'remove', 'removed@team');
    expect(await outcome).not.toMatchObject({ structuredContent: { status: 'message' } });
    await expect(client.call('inbox')).rejects.toThrow(/401|unauthori/i);
    expect(await raw('/api/inbox', bearer(token))).toMatchObject({ status: 401 });
    const fresh = await tokenOf('removed@team');
    expect(await raw('/api/inbox', bearer(token))).toMatchObject({ status: 401 });
    expect(await raw('/api/inbox', bearer(fresh))).toMatchObject({ status: 200, body: { total: 0 } });
    await client.close();
  });

  test('keeps its tokens over a restart', async () => {
    const token = await tokenOf('lasting@team');
    await machine.kill('SIGKILL');
    await machine.start();
    const client = await connectLegacy(urlOf('/mcp'), token);
    expect((await client.call('inbox')).structuredContent).toMatchObject({ self: { agent: 'lasting@team' } });
    await client.close();
  });
});
