import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSessions } from '../../daemon/api/sessions.ts';
import { BEAT_INTERVAL_MS, SESSIONS_MAX } from '../../protocol/limits.ts';
import type { WaitResult } from '../../protocol/views.ts';
import {
  API_TOKEN,
  ask,
  bearer,
  fakeMessenger,
  FRONTEND,
  handClock,
  MESSAGE,
  openStream,
} from './api-fixture.ts';
import { refusal, startWorld } from './api-fixture.ts';
import type { World } from './api-fixture.ts';

let world: World;
const clock = handClock();
beforeEach(async () => {
  world = await startWorld({ clock });
});
afterEach(async () => world.teardown());

const GOT: WaitResult = { status: 'message', message: MESSAGE, more: 0 };

async function call(id: string, name: string, body?: unknown, signal?: AbortSignal) {
  const path = `/api/sessions/${id}/${name}`;
  return ask(world.socketPath, path, {
    method: 'POST',
    ...(body !== undefined && { body }),
    ...(signal && { signal }),
  });
}

describe('the stream', () => {
  test('begins with the id and the self, and says something every 15 seconds', async () => {
    const { id, self, nextLine, stream } = await openStream(world.socketPath);
    expect(stream.headers['content-type']).toBe('application/x-ndjson');
    expect(id).toMatch(/^[\w-]{32}$/);
    expect(self).toEqual({ agent: 'frontend', namespace: 'myproject', machine: 'laptop', client: 'test 1' });
    expect(world.messenger.sessions[0]!.request).toEqual({ agent: FRONTEND, client: 'test 1' });
    clock.advance(BEAT_INTERVAL_MS);
    expect(await nextLine).toBe('\n');
  });

  test('is the session: closing it closes that at once', async () => {
    const { id, stream } = await openStream(world.socketPath);
    stream.destroy();
    await world.messenger.sessions[0]!.closed;
    expect((await call(id, 'inbox')).json).toMatchObject({
      status: 404,
      code: 'unknown_session',
      retryable: true,
    });
  });

  test('ends with a client that is killed, and its wait with it', async () => {
    const script = `
      const http = require('node:http');
      const post = (path, body, done) => http.request({ socketPath: process.argv[1], path, method: 'POST',
        headers: { 'content-type': 'application/json' } }, done).end(JSON.stringify(body));
      post('/api/sessions', { agent: 'frontend@myproject', client: 'c' }, (res) => res.once('data', (line) =>
        post('/api/sessions/' + JSON.parse(line).session_id + '/wait', {}, () => {})));`;
    const child = spawn(process.execPath, ['-e', script, world.socketPath], { stdio: 'ignore' });
    const session = await world.messenger.opened(0);
    await session.waiting;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await Promise.all([session.closed, session.waitAborted]);
    expect(await exited).toEqual([null, 'SIGKILL']);
  });

  test('ends by DELETE, once', async () => {
    const { id, ended } = await openStream(world.socketPath);
    const { status } = await ask(world.socketPath, `/api/sessions/${id}`, { method: 'DELETE' });
    expect(status).toBe(204);
    await Promise.all([ended, world.messenger.sessions[0]!.closed]);
    expect((await ask(world.socketPath, `/api/sessions/${id}`, { method: 'DELETE' })).status).toBe(404);
  });

  test('works over TCP with the API token, and its id needs it too', async () => {
    const { id } = await openStream(world.port, FRONTEND, bearer(API_TOKEN));
    const path = `/api/sessions/${id}/inbox`;
    expect((await ask(world.port, path, { method: 'POST' })).status).toBe(401);
    expect((await ask(world.port, path, { method: 'POST', ...bearer(API_TOKEN) })).status).toBe(200);
  });

  test('is refused with the reason of the messenger', async () => {
    world.messenger.failure = refusal;
    const body = { agent: 'bakend@myproject', client: 'c' };
    expect((await ask(world.socketPath, '/api/sessions', { body })).json).toMatchObject(refusal.view());
  });
});

describe('calls', () => {
  const self = { agent: 'frontend', namespace: 'myproject', machine: 'laptop', client: 'test 1' };
  const id = MESSAGE.message_id;
  test.each<[string, object | undefined, object, object]>([
    ['inbox', undefined, { all_agents: false }, { self, pending: [MESSAGE], more: 0 }],
    ['inbox', { all_agents: true }, { all_agents: true }, { warnings: [] }],
    [
      'send',
      { to_agent: 'a', content: 'b' },
      { to_agent: 'a', content: 'b', thread: '' },
      { status: 'sent' },
    ],
    [
      'reply',
      { message_id: id },
      { message_id: id, content: '', defer: false, resolve: false },
      { reply_id: id },
    ],
    [
      'recall',
      { limit: 3 },
      { limit: 3, from_agent: '', thread_id: '' },
      { messages: [{ direction: 'received' }] },
    ],
    ['unsend', { message_id: id }, { message_id: id }, { status: 'unsent', message_id: id }],
    ['attachment', { path_or_url: 'a/b' }, expect.objectContaining({ path_or_url: 'a/b' }), { path: 'a/b' }],
    ['confirm', undefined, {}, {}],
  ])('%s %j', async (name, body, params, answer) => {
    const { id } = await openStream(world.socketPath);
    const { status, headers, json } = await call(id, name, body);
    expect(status).toBe(200);
    expect(headers['content-type']).toMatch('application/json');
    expect(json).toMatchObject(answer);
    expect(world.messenger.sessions[0]!.calls).toEqual([[name, params]]);
  });

  test('wait answers when there is something', async () => {
    const { id } = await openStream(world.socketPath);
    const answer = call(id, 'wait', { timeout_seconds: 3600 });
    const session = world.messenger.sessions[0]!;
    await session.waiting;
    session.answerWait(GOT);
    expect((await answer).json).toEqual(GOT);
    expect(session.calls).toEqual([['wait', { timeout_seconds: 3600 }]]);
  });

  test('wait is aborted when its client goes away, and the session lives on', async () => {
    const { id } = await openStream(world.socketPath);
    const leave = new AbortController();
    const answer = call(id, 'wait', {}, leave.signal);
    await world.messenger.sessions[0]!.waiting;
    leave.abort();
    await expect(answer).rejects.toThrow('abort');
    expect(await world.messenger.sessions[0]!.waitAborted).toMatchObject({
      message: 'The client went away.',
    });
    expect((await call(id, 'inbox')).status).toBe(200);
  });

  test('wait ends with its session', async () => {
    const { id, stream } = await openStream(world.socketPath);
    const answer = call(id, 'wait', {});
    await world.messenger.sessions[0]!.waiting;
    stream.destroy();
    expect((await answer).json).toMatchObject({ code: 'unknown_session' });
  });

  test('a refusal arrives with its remedy', async () => {
    const { id } = await openStream(world.socketPath);
    world.messenger.failure = refusal;
    const { status, json } = await call(id, 'send', { to_agent: 'bakend', content: 'x' });
    expect(status).toBe(404);
    expect(json).toMatchObject({ ...refusal.view(), detail: refusal.message, remedy: refusal.remedy });
  });

  test.each([
    ['send', { content: 'x' }, 'to_agent: '],
    ['reply', { message_id: 5 }, 'message_id: '],
    ['wait', { timeout_seconds: 'long' }, 'timeout_seconds: '],
    ['unsend', undefined, 'message_id: '],
    ['inbox', 'all', 'body: '],
  ])('%s %j is invalid input', async (name, body, start) => {
    const { id } = await openStream(world.socketPath);
    const { status, json } = await call(id, name, body);
    expect(status).toBe(400);
    expect(json).toMatchObject({ code: 'invalid_input' });
    expect(json['detail']).toMatch(new RegExp(`^${start}`));
    expect(world.messenger.sessions[0]!.calls).toEqual([]);
  });

  test('the longest content arrives, each character escaped to twelve bytes, and a longer one gets to its own error', async () => {
    const { id } = await openStream(world.socketPath);
    for (const length of [50_000, 500_000]) {
      const escaped = String.raw`\ud83d\ude00`.repeat(length);
      const text = `{"to_agent":"a","content":"${escaped}"}`;
      expect((await ask(world.socketPath, `/api/sessions/${id}/send`, { text })).status).toBe(200);
      const [, sent] = world.messenger.sessions[0]!.calls.at(-1)!;
      expect(sent).toEqual({ to_agent: 'a', content: '\u{1F600}'.repeat(length), thread: '' });
    }
  });
});

test('sessions are bounded, and a closed one makes room', async () => {
  const sessions = createSessions(fakeMessenger(), new AbortController().signal);
  const request = { agent: FRONTEND, client: 'c' };
  const open = await Promise.all(Array.from({ length: SESSIONS_MAX }, async () => sessions.open(request)));
  await expect(sessions.open(request)).rejects.toMatchObject({ code: 'too_many' });
  await open[0]!.close();
  await open[0]!.close();
  await sessions.open(request);
  await expect(sessions.open(request)).rejects.toMatchObject({ code: 'too_many' });
  await sessions.closeAll();
  expect(sessions.count()).toBe(0);
});
