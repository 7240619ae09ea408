import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { HttpMcp } from '../../mcp/http.ts';
import type { Session } from '../../mcp/messenger.ts';
import { SESSION_IDLE_MS } from '../../protocol/limits.ts';
import { AGENT_TOKEN, ask, bearer, FRONTEND, handClock, openResponse, startWorld } from './api-fixture.ts';
import type { Asked, World } from './api-fixture.ts';

interface Handled {
  method: string | undefined;
  session: Session;
  body: unknown;
  /** Resolves when the client is gone, or has its answer. */
  gone: Promise<unknown>;
  /** Ends the request. */
  answer: (text: string) => void;
}

/** Hands every request to the test, which answers it. */
function manualMcp() {
  const handled: Handled[] = [];
  const watchers: PromiseWithResolvers<Handled>[] = [];
  const watcher = (index: number) => (watchers[index] ??= Promise.withResolvers<Handled>());
  const mcp: HttpMcp = {
    async handle(request, response, session, body) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      const gone = once(response, 'close');
      const answer = (text: string) => response.end(text);
      const entry = { method: request.method, session, body, gone, answer };
      handled.push(entry);
      watcher(handled.length - 1).resolve(entry);
    },
    async close() {},
  };
  return { mcp, handled: async (index: number) => watcher(index).promise };
}

let world: World;
afterEach(async () => world.teardown());

const REQUEST: Asked = { ...bearer(AGENT_TOKEN), body: { jsonrpc: '2.0', id: 1, method: 'ping' } };

async function setUp() {
  const clock = handClock();
  const { mcp, handled } = manualMcp();
  world = await startWorld({ clock, mcp });
  const begin = (path = '/mcp', asked = REQUEST) => ask(world.port, path, asked);
  /** One request from begin to end. */
  const roundTrip = async (index: number) => {
    const answer = begin();
    (await handled(index)).answer('done');
    await answer;
  };
  return { clock, handled, begin, roundTrip };
}

test('a request reaches MCP with its parsed body and the session of its token', async () => {
  const { handled, begin } = await setUp();
  const answer = begin('/mcp/bearer');
  const { session, body, answer: end } = await handled(0);
  expect(body).toEqual(REQUEST.body);
  expect(session.self).toMatchObject({ agent: 'frontend', namespace: 'myproject' });
  end('data: {}');
  const { headers, text } = await answer;
  expect(text).toBe('data: {}');
  expect(headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-content-type-options': 'nosniff' });
});

test('one session serves all requests of a token, also those that come at once', async () => {
  const { handled, begin, roundTrip } = await setUp();
  const answers = [begin(), begin()];
  for (const index of [0, 1]) (await handled(index)).answer('');
  await Promise.all(answers);
  await roundTrip(2);
  expect(world.messenger.sessions.map((session) => session.request.agent)).toEqual([FRONTEND]);
});

describe('the client is called', () => {
  const initialize = { method: 'initialize', params: { clientInfo: { name: 'codex', version: '1.2' } } };
  test.each([
    ['by what it says of itself', { body: initialize }, 'codex 1.2'],
    ["by its agent's first word", { headers: { 'user-agent': 'claude-code/2.1 (cli)' } }, 'claude-code/2.1'],
    ['http otherwise', { headers: { 'user-agent': ' ' } }, 'http'],
  ])('%s', async (_how, asked: Asked, client) => {
    const { handled, begin } = await setUp();
    const answer = begin('/mcp', { ...REQUEST, ...asked, headers: { ...REQUEST.headers, ...asked.headers } });
    (await handled(0)).answer('');
    await answer;
    expect(world.messenger.sessions[0]!.request.client).toBe(client);
  });
});

describe('a session', () => {
  test('is closed when no request has run for long enough, and opened again by the next', async () => {
    const { clock, roundTrip } = await setUp();
    await roundTrip(0);
    clock.advance(SESSION_IDLE_MS - 1);
    await roundTrip(1);
    clock.advance(SESSION_IDLE_MS - 1);
    await roundTrip(2);
    expect(world.messenger.sessions).toHaveLength(1);
    clock.advance(SESSION_IDLE_MS);
    await world.messenger.sessions[0]!.closed;
    await roundTrip(3);
    expect(world.messenger.sessions).toHaveLength(2);
  });

  test('is never closed while a request runs, and a stream is one', async () => {
    const { clock, handled, roundTrip } = await setUp();
    await roundTrip(0);
    const stream = await openResponse(world.port, '/mcp', bearer(AGENT_TOKEN));
    clock.advance(10 * SESSION_IDLE_MS);
    await roundTrip(2);
    // Nor does the end of one request begin the idle time of another.
    clock.advance(10 * SESSION_IDLE_MS);
    await roundTrip(3);
    expect(world.messenger.sessions).toHaveLength(1);
    (await handled(1)).answer('');
    stream.resume();
  });

  test('is closed in time also when its last client went away without waiting', async () => {
    const { clock, handled } = await setUp();
    const stream = await openResponse(world.port, '/mcp', REQUEST);
    stream.on('error', () => {});
    stream.destroy();
    await (
      await handled(0)
    ).gone;
    await nextTurn();
    clock.advance(SESSION_IDLE_MS);
    expect(await world.messenger.sessions[0]!.closed).toBeUndefined();
  });

  test('that MCP closed, to give back what a lost client was shown, is replaced', async () => {
    const { handled, begin, roundTrip } = await setUp();
    const answer = begin();
    const { session, answer: end } = await handled(0);
    await session.close();
    end('');
    await answer;
    await roundTrip(1);
    expect(world.messenger.sessions).toHaveLength(2);
  });

  test('that could not be opened is tried again', async () => {
    const { begin, roundTrip } = await setUp();
    world.messenger.failure = new TypeError('not now');
    expect((await begin()).json).toMatchObject({ status: 500, code: 'internal' });
    world.messenger.failure = undefined;
    await roundTrip(0);
    expect(world.messenger.sessions).toHaveLength(1);
  });
});

test('a failure before the answer is a problem document', async () => {
  const mcp: HttpMcp = {
    handle: async () => Promise.reject(new TypeError('broken')),
    close: async () => {},
  };
  world = await startWorld({ mcp });
  const { status, headers, json } = await ask(world.port, '/mcp', REQUEST);
  expect(status).toBe(500);
  expect(headers['content-type']).toBe('application/problem+json');
  expect(json).toMatchObject({ code: 'internal' });
});

test('a wait of MCP ends when the daemon stops', async () => {
  const { handled, begin } = await setUp();
  const answer = begin();
  const { session, answer: end } = await handled(0);
  const wait = session.wait({ timeout_seconds: 3600 });
  const stopped = world.api.stop();
  const result = await wait;
  expect(result).toEqual({ status: 'timeout', more: 0, reason: 'stopping' });
  end(JSON.stringify(result));
  expect((await answer).text).toContain('stopping');
  await stopped;
});
