import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { admit, callerOf } from '../../daemon/api/caller.ts';
import { doorOf } from '../../daemon/api/door.ts';
import { AGENT_TOKEN, API_TOKEN, ask, bearer, fakeAdmin, FRONTEND, startWorld } from './api-fixture.ts';
import type { World } from './api-fixture.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(async () => world.teardown());

const stranger: Who = { headers: {} };
const wrong = bearer(randomUUID());
const basic = { headers: { authorization: `Basic ${API_TOKEN}` } };
const user = bearer(API_TOKEN);
const agent = bearer(AGENT_TOKEN);
interface Who {
  headers: Record<string, string>;
}

/** Status by caller: over TCP for stranger (and whoever is as good as one), user and agent; on the socket for a stranger. */
const MATRIX: [
  method: string,
  path: string,
  stranger: number,
  user: number,
  agent: number,
  socket: number,
][] = [
  ['GET', '/health', 200, 200, 200, 200],
  ['GET', '/api/status', 401, 200, 403, 200],
  ['GET', '/metrics', 401, 200, 403, 200],
  ['GET', '/api/agents', 401, 200, 403, 200],
  ['DELETE', '/api/agents/a@b', 401, 204, 403, 204],
  ['POST', '/api/agents/a@b/tokens', 401, 200, 403, 200],
  ['GET', '/api/namespaces', 401, 200, 403, 200],
  ['GET', '/api/namespaces/a/members', 401, 200, 403, 200],
  ['POST', '/api/namespaces/a/invites', 401, 200, 403, 200],
  ['GET', '/api/namespaces/a/joins', 401, 200, 403, 200],
  ['POST', '/api/namespaces/a/joins/012345', 401, 400, 403, 400],
  ['DELETE', '/api/namespaces/a/members/box', 401, 200, 403, 200],
  ['POST', '/api/namespaces/a/members/box/promotion', 401, 200, 403, 200],
  ['DELETE', '/api/namespaces/a/membership', 401, 204, 403, 204],
  ['POST', '/api/namespaces/a/recovery', 401, 400, 403, 400],
  ['POST', '/api/namespaces', 401, 400, 403, 400],
  ['POST', '/api/joins', 401, 400, 403, 400],
  ['POST', '/api/stop', 401, 200, 403, 200],
  ['GET', '/api/whoami', 401, 200, 200, 200],
  ['GET', '/api/inbox', 401, 200, 200, 200],
  [`GET`, `/api/inbox?as=${FRONTEND}`, 401, 200, 200, 200],
  ['GET', '/api/inbox?as=ops@myproject', 401, 200, 403, 200],
  ['POST', '/mcp', 401, 401, 200, 401],
  ['GET', '/mcp', 401, 401, 200, 401],
  ['POST', '/mcp/bearer', 401, 401, 200, 401],
  ['GET', '/.well-known/oauth-protected-resource/mcp', 404, 404, 404, 404],
];

describe.each(MATRIX)('%s %s', (method, path, asStranger, asUser, asAgent, onSocket) => {
  const over = async (at: number | string, who: Who) =>
    (await ask(at, path, { method, headers: who.headers })).status;

  test('over TCP', async () => {
    expect({
      stranger: await over(world.port, stranger),
      wrong: await over(world.port, wrong),
      basic: await over(world.port, basic),
      user: await over(world.port, user),
      agent: await over(world.port, agent),
    }).toEqual({ stranger: asStranger, wrong: asStranger, basic: asStranger, user: asUser, agent: asAgent });
  });

  test('on the socket, where the user needs no token', async () => {
    expect(await over(world.socketPath, stranger)).toBe(onSocket);
    expect(await over(world.socketPath, wrong)).toBe(onSocket);
  });
});

test.each(['/mcp', '/mcp/bearer', '/api/status'])('%s challenges with the bare scheme', async (path) => {
  const { headers, json } = await ask(world.port, path, { method: 'GET' });
  expect(headers['www-authenticate']).toBe('Bearer');
  expect(json).toMatchObject({ status: 401, code: 'unauthorized' });
});

test('whoami tells an agent of its token, on the socket too', async () => {
  expect((await ask(world.port, '/api/whoami', bearer(AGENT_TOKEN))).json).toEqual({
    owner: false,
    agent: FRONTEND,
  });
  expect((await ask(world.socketPath, '/api/whoami', bearer(AGENT_TOKEN))).json).toEqual({
    owner: true,
    agent: FRONTEND,
  });
});

test('a Windows pipe is no proof of who calls', async () => {
  expect(doorOf(String.raw`\\.\pipe\patchcord-1`)).toBe('pipe');
  expect(doorOf(String.raw`\\?\pipe\patchcord-1`)).toBe('pipe');
  expect(doorOf('/home/me/pipe')).toBe('socket');
  const keys = { apiToken: API_TOKEN, admin: fakeAdmin() };
  expect(await callerOf('pipe', undefined, keys)).toEqual({ owner: false });
  expect(await callerOf('pipe', 'Bearer wrong', keys)).toEqual({ owner: false });
  expect(await callerOf('pipe', `bearer ${API_TOKEN}`, keys)).toEqual({ owner: true });
  const agentCaller = await callerOf('pipe', `Bearer ${AGENT_TOKEN}`, keys);
  expect(agentCaller).toMatchObject({ owner: false, agent: { address: FRONTEND } });
  expect(JSON.stringify(agentCaller)).not.toContain(AGENT_TOKEN);
  expect(() => admit(agentCaller, 'owner')).toThrow('does not open this');
});

describe('against DNS rebinding', () => {
  const attempt = async (headers: Record<string, string>, path = '/health') =>
    (await ask(world.port, path, { headers })).status;

  test.each(['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]'])(
    'host %s with the port is ours',
    async (host) => {
      expect(await attempt({ host: `${host}:${world.port}` })).toBe(200);
      expect(await attempt({ host: `${host}:${world.port}`, origin: `http://${host}:${world.port}` })).toBe(
        200,
      );
    },
  );

  test.each([
    'evil.example',
    '127.0.0.1',
    'localhost',
    '127.0.0.1:1',
    '127.0.0.1.evil.example:PORT',
    'evil.example:PORT',
    '0.0.0.0:PORT',
    'localhost.:PORT',
    'me@127.0.0.1:PORT',
    '::1:PORT',
  ])('host %s is not, even with the right token', async (host) => {
    const headers = { host: host.replace('PORT', String(world.port)) };
    expect(await attempt(headers)).toBe(403);
    expect(await attempt({ ...headers, ...bearer(API_TOKEN).headers }, '/api/status')).toBe(403);
    expect(await attempt(headers, '/nowhere')).toBe(403);
  });

  test.each([
    'null',
    'http://evil.example',
    'http://evil.example:PORT',
    'https://127.0.0.1:PORT',
    'http://127.0.0.1',
    'http://127.0.0.1:1',
    'http://127.0.0.1:PORT.evil.example',
    'file://',
    'chrome-extension://abc',
    '',
  ])('origin %j is not', async (origin) => {
    const headers = { origin: origin.replace('PORT', String(world.port)) };
    expect(await attempt(headers)).toBe(403);
    expect(await attempt({ ...headers, ...bearer(AGENT_TOKEN).headers }, '/mcp')).toBe(403);
  });

  test('the socket takes any host: no browser reaches it', async () => {
    const { status } = await ask(world.socketPath, '/api/status', { headers: { host: 'evil.example' } });
    expect(status).toBe(200);
  });
});

test.each([
  ['/health', 200],
  ['/api/status', 401],
  ['/nowhere', 404],
])('%s has the security headers', async (path, expected) => {
  const { status, headers } = await ask(world.port, path);
  expect(status).toBe(expected);
  expect(headers).toMatchObject({
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
  });
  expect(headers).not.toHaveProperty('access-control-allow-origin');
});
