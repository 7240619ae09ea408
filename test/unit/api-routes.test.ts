import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { metricsText } from '../../daemon/api/metrics.ts';
import { INBOX_SHOWN_MAX } from '../../protocol/limits.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import {
  AGENT_TOKEN,
  ask,
  bearer,
  FRONTEND,
  localAgent,
  MESSAGE,
  NAMESPACE,
  PHRASE,
  startWorld,
  STARTED_AT,
} from './api-fixture.ts';
import { WATCH } from './presence-fakes.ts';
import type { Asked, World } from './api-fixture.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
beforeEach(() => {
  world.admin.calls.length = 0;
  world.admin.list.splice(0, Infinity, localAgent(FRONTEND, 2));
  world.admin.pendingJoins.length = 0;
  world.admin.failure = undefined;
});
afterAll(async () => world.teardown());

const over = async (path: string, asked?: Asked) => ask(world.socketPath, path, asked);

describe('routes', () => {
  test('GET /health', async () => {
    expect((await over('/health')).json).toEqual({ status: 'ok', version: '0.1.0', pid: 4711 });
  });

  test('GET /api/status adds the process and its addresses to the machine', async () => {
    const { json } = await over('/api/status');
    expect(json).toMatchObject({
      version: '0.1.0',
      pid: 4711,
      started_at: STARTED_AT,
      http: `http://127.0.0.1:${world.port}`,
      socket: world.socketPath,
      machine: 'laptop',
    });
  });

  const posted = (body: object): Asked => ({ body });
  test.each<[string, Asked, unknown[], object]>([
    [
      '/api/namespaces',
      posted({ name: 'team' }),
      ['createNamespace', 'team'],
      { namespace: 'team', recovery_phrase: PHRASE },
    ],
    ['/api/namespaces', {}, ['namespaces'], { namespaces: [{ namespace: 'myproject' }] }],
    [
      '/api/namespaces/my%2Fproject/members',
      {},
      ['members', 'my/project'],
      { members: [{ machine: 'laptop' }] },
    ],
    [
      '/api/namespaces/a/invites',
      posted({ ttl_ms: 5, role: 'keeper', confirm: true }),
      ['invite', 'a', { ttlMs: 5, role: 'keeper', confirm: true }],
      { ticket: 'pc1:x' },
    ],
    ['/api/namespaces/a/invites', { method: 'POST' }, ['invite', 'a', {}], { ticket: 'pc1:x' }],
    ['/api/namespaces/a/joins', {}, ['joinChecks', 'a'], { joins: [{ code: '012345' }] }],
    [
      '/api/namespaces/a/joins/012345',
      posted({ accept: false }),
      ['decideJoin', 'a', '012345', false],
      { code: '012345', machine: 'tower' },
    ],
    [
      '/api/namespaces/a/members/old%20%2F%20box',
      { method: 'DELETE' },
      ['removeMember', 'a', 'old / box'],
      { machine: 'old / box' },
    ],
    [
      '/api/namespaces/a/members/box/promotion',
      { method: 'POST' },
      ['promote', 'a', 'box'],
      { machine: 'box', role: 'admin' },
    ],
    [
      '/api/namespaces/a/recovery',
      posted({ phrase: PHRASE, remove: 'box' }),
      ['recover', 'a', PHRASE, 'box'],
      { namespace: 'a' },
    ],
    ['/api/joins', posted({ ticket: 'pc1:y' }), ['join', 'pc1:y'], { joined: true, admitted_by: 'desktop' }],
    ['/api/agents', posted({ agent: FRONTEND }), ['addAgent', FRONTEND], { agent: FRONTEND, added: true }],
    ['/api/agents', {}, ['agents'], { agents: [{ agent: FRONTEND }] }],
    [`/api/agents/${FRONTEND}/tokens`, { method: 'POST' }, ['newToken', FRONTEND], { token: 'fresh' }],
    [
      `/api/agents/${FRONTEND}/reset`,
      { method: 'POST' },
      ['resetChains', FRONTEND, undefined],
      { agent: FRONTEND },
    ],
    [
      `/api/agents/${FRONTEND}/reset`,
      { body: { thread: 'plan' } },
      ['resetChains', FRONTEND, 'plan'],
      { agent: FRONTEND, thread: 'plan' },
    ],
    [
      `/api/agents/${FRONTEND}/settings`,
      posted({ status: 'at lunch', dnd: true, project: null }),
      ['setAgent', FRONTEND, { status: 'at lunch', dnd: true, project: null }],
      { agent: FRONTEND },
    ],
    [
      `/api/agents/${FRONTEND}/watches`,
      posted({ agent: 'backend', state: 'online', ttl_ms: 5 }),
      ['watch', FRONTEND, { agent: 'backend', state: 'online', ttlMs: 5 }],
      { ...WATCH, as: FRONTEND },
    ],
    [`/api/agents/${FRONTEND}/watches`, {}, ['watches', FRONTEND], { watches: [WATCH] }],
    [`/api/agents/${FRONTEND}/watches/w2`, { method: 'DELETE' }, ['unwatch', FRONTEND, 'w2'], { id: 'w2' }],
    [
      '/api/inbox?limit=7&as=Ops@myproject',
      {},
      ['peek', 'ops@myproject', 7],
      { total: 1, pending: [MESSAGE] },
    ],
  ])('%s %j', async (path, asked, call, answer) => {
    const { status, json } = await over(path, asked);
    expect(status).toBe(200);
    expect(json).toMatchObject(answer);
    expect(world.admin.calls).toEqual([call]);
  });

  test('DELETE /api/agents/:address takes the longest address there can be, and an empty JSON body', async () => {
    const address = `${'a'.repeat(120)}@${'b'.repeat(120)}`;
    const path = `/api/agents/${encodeURIComponent(address)}`;
    const { status, text } = await over(path, { method: 'DELETE', text: '' });
    expect({ status, text }).toEqual({ status: 204, text: '' });
    expect(world.admin.calls).toEqual([['removeAgent', address]]);
  });

  test('a join that waits answers with the digits and nothing else', async () => {
    world.admin.pendingJoins.push({ joined: false, check: '012345' });
    const { status, json } = await over('/api/joins', { body: { ticket: 'pc1:y' } });
    expect(status).toBe(200);
    expect(json).toEqual({ joined: false, check: '012345' });
  });

  test('DELETE /api/namespaces/:name/membership', async () => {
    const { status, text } = await over('/api/namespaces/a/membership', { method: 'DELETE' });
    expect({ status, text }).toEqual({ status: 204, text: '' });
    expect(world.admin.calls).toEqual([['leave', 'a']]);
  });

  test.each(['é'.repeat(120), '漢'.repeat(120), '.', '..', '%2f'])(
    'a machine may have the label %s',
    async (label) => {
      const path = `/api/namespaces/a/members/${encodeURIComponent(label)}`;
      expect((await over(path, { method: 'DELETE' })).status).toBe(200);
      expect(world.admin.calls).toEqual([['removeMember', 'a', label]]);
    },
  );

  test('the recovery words are in no log and no refusal', async () => {
    const lines: unknown[] = [];
    const note = (...line: unknown[]): void => void lines.push(line);
    const log = { debug: note, info: note, warn: note, error: note };
    const other = await startWorld({ log });
    const [, word] = PHRASE.split(' ');
    const recover = async (asked: Asked) => ask(other.socketPath, '/api/namespaces/a/recovery', asked);
    const refused = [
      await recover({ body: { phrase: PHRASE.split(' ') } }),
      await recover({ body: { phrase: PHRASE.repeat(100) } }),
      await recover({ body: { phrase: PHRASE, remove: [PHRASE] } }),
    ];
    other.admin.failure = new TypeError('broken');
    refused.push(await recover({ body: { phrase: PHRASE } }));
    await ask(other.socketPath, '/api/namespaces', { body: { name: 'team' } });
    other.admin.failure = undefined;
    await ask(other.socketPath, '/api/namespaces', { body: { name: 'team' } });
    await other.teardown();
    expect(refused.map(({ status }) => status)).toEqual([400, 400, 400, 500]);
    expect(lines.length).toBeGreaterThan(0);
    expect(JSON.stringify([lines, refused])).not.toContain(word);
  });

  test('GET /metrics counts and names nobody', async () => {
    world.admin.list.push(localAgent('ops@myproject', 5));
    const { status, headers, text } = await over('/metrics');
    expect(status).toBe(200);
    expect(headers['content-type']).toMatch('text/plain; version=0.0.4');
    expect(text.split('\n').filter((line) => !line.startsWith('#'))).toEqual([
      'patchcord_info{version="0.1.0"} 1',
      'patchcord_namespaces 1',
      'patchcord_links 1',
      'patchcord_links_up 1',
      'patchcord_queued_parcels 3',
      'patchcord_agents 2',
      'patchcord_agents_online 2',
      'patchcord_pending_messages 7',
      'patchcord_pending_messages_max 5',
      'patchcord_deferred_messages 2',
      'patchcord_sessions 0',
      '',
    ]);
    expect(text).not.toContain('ops');
  });

  test('GET /metrics does not count a namespace that this machine was removed from', async () => {
    const status = await world.admin.status();
    const removed = { ...NAMESPACE, namespace: 'old', role: 'removed' as const };
    const text = metricsText(
      { ...status, namespaces: [...status.namespaces, removed] },
      { version: '0.1.0', sessions: 0 },
    );
    expect(text).toContain('patchcord_namespaces 1\n');
  });

  test('POST /api/stop answers before it stops', async () => {
    const stopped = Promise.withResolvers<void>();
    const other = await startWorld({ onStop: stopped.resolve });
    expect((await ask(other.socketPath, '/api/stop', { method: 'POST' })).json).toEqual({
      status: 'stopping',
    });
    await stopped.promise;
    await other.teardown();
  });
});

describe('a peek', () => {
  test('needs no name on a machine with one agent, and shows 100 by default', async () => {
    expect((await over('/api/inbox')).json).toEqual({ pending: [MESSAGE], total: 1 });
    expect(world.admin.calls).toEqual([['agents'], ['peek', FRONTEND, INBOX_SHOWN_MAX]]);
  });

  test('needs one where there are several, or none', async () => {
    world.admin.list.push(localAgent('ops@myproject'));
    expect((await over('/api/inbox')).json).toMatchObject({ status: 400, code: 'invalid_input' });
    world.admin.list.length = 0;
    expect((await over('/api/inbox')).json).toMatchObject({ detail: 'as: this machine has 0 agents.' });
  });

  test("takes it from an agent's token, on the socket too", async () => {
    world.admin.list.push(localAgent('ops@myproject'));
    expect((await over('/api/inbox', bearer(AGENT_TOKEN))).status).toBe(200);
    expect(world.admin.calls).toEqual([['peek', FRONTEND, INBOX_SHOWN_MAX]]);
  });
});

describe('problems', () => {
  test('carry code, text, remedy and whether to try again', async () => {
    world.admin.failure = new PatchcordError('disk_full', 'No room is left.', 'Free some.');
    const { status, headers, json } = await over('/api/agents');
    expect(status).toBe(507);
    expect(headers['content-type']).toMatch('application/problem+json');
    expect(json).toEqual({
      type: 'urn:patchcord:error:disk_full',
      title: 'Disk full',
      status: 507,
      detail: 'No room is left.',
      code: 'disk_full',
      message: 'No room is left. Free some.',
      retryable: true,
      remedy: 'Free some.',
    });
  });

  test('say nothing of what broke inside but its text', async () => {
    world.admin.failure = new TypeError('x is not a function');
    const { status, json } = await over('/api/agents');
    expect(status).toBe(500);
    expect(json).toMatchObject({ code: 'internal', detail: 'Unexpected failure: x is not a function' });
    expect(JSON.stringify(json)).not.toContain('.ts');
  });

  test.each<[string, Asked, string]>([
    ['/api/inbox?limit=0', {}, 'limit: '],
    ['/api/inbox?limit=101', {}, 'limit: '],
    ['/api/inbox?limit=1.5', {}, 'limit: '],
    ['/api/inbox?limit=1&limit=2', {}, 'limit: '],
    ['/api/inbox?limit=many', {}, 'limit: '],
    ['/api/inbox?status=read', {}, 'status: '],
    ['/api/namespaces', { body: { name: 7 } }, 'name: '],
    ['/api/namespaces', { body: {} }, 'name: '],
    ['/api/namespaces', { method: 'POST' }, 'body: '],
    ['/api/namespaces', { body: [] }, 'body: '],
    ['/api/namespaces/a/invites', { body: { ttl_ms: 'soon' } }, 'ttl_ms: '],
    ['/api/namespaces/a/invites', { body: { role: 'owner' } }, 'role: '],
    ['/api/namespaces/a/invites', { body: { confirm: 'yes' } }, 'confirm: '],
    ['/api/namespaces/a/joins/012345', { body: {} }, 'accept: '],
    ['/api/namespaces/a/joins/012345', { body: { accept: 'true' } }, 'accept: '],
    ['/api/namespaces/a/recovery', { body: {} }, 'phrase: '],
    ['/api/namespaces', { text: '{' }, 'Not a valid request: '],
    [
      '/api/namespaces',
      { text: 'name=a', headers: { 'content-type': 'text/plain' } },
      'Not a valid request: ',
    ],
    ['/api/namespaces/%zz/members', {}, 'Not a valid request: '],
    ['/api/joins', { body: { ticket: ['pc1:x'] } }, 'ticket: '],
  ])('%s %j is invalid input that names the field', async (path, asked, start) => {
    const { status, headers, json } = await over(path, asked);
    expect(status).toBe(400);
    expect(headers['content-type']).toMatch('application/problem+json');
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(json).toMatchObject({ status: 400, code: 'invalid_input', retryable: false });
    expect(json.detail).toMatch(new RegExp(`^${start}`));
    expect(world.admin.calls).toEqual([]);
  });

  test('a route that is not there', async () => {
    const { status, json } = await over('/api/nothing?token=secret');
    expect(status).toBe(404);
    expect(json).toMatchObject({ code: 'not_found', detail: 'There is no GET /api/nothing.' });
  });

  test('a body that is too long', async () => {
    // Only announced: the daemon answers before it is sent.
    const headers = { 'content-length': '9000000' };
    const { status, json } = await over('/api/namespaces', { text: '{', headers });
    expect(status).toBe(413);
    expect(json).toMatchObject({ code: 'content_too_long' });
  });
});
