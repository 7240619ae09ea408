import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BODY_BYTES_MAX } from '../../daemon/api/answers.ts';
import { readLines } from '../../daemon/api/lines.ts';
import { SESSION_PATH, SESSION_PROTOCOL } from '../../daemon/api/session-protocol.ts';
import { createSessions } from '../../daemon/api/sessions.ts';
import { BEAT_INTERVAL_MS, SESSIONS_MAX } from '../../protocol/limits.ts';
import type { WaitResult } from '../../protocol/views.ts';
import {
  AGENT_TOKEN,
  API_TOKEN,
  ask,
  bearer,
  fakeMessenger,
  FRONTEND,
  handClock,
  MESSAGE,
} from './api-fixture.ts';
import { knock, openSession } from './session-fixture.ts';
import { refusal, startWorld } from './api-fixture.ts';
import type { World } from './api-fixture.ts';

let world: World;
const clock = handClock();
beforeEach(async () => {
  world = await startWorld({ clock });
});
afterEach(async () => world.teardown());

const GOT: WaitResult = { status: 'message', message: MESSAGE, more: 0 };
const SELF = { agent: 'frontend', namespace: 'myproject', machine: 'laptop', client: 'test 1' };

describe('the connection', () => {
  test('begins with who it speaks as, and says something every 15 seconds', async () => {
    const { opened, nextLine } = await openSession(world.socketPath);
    expect(opened).toEqual({ id: 0, answer: { self: SELF } });
    expect(world.messenger.sessions[0]!.request).toEqual({ agent: FRONTEND, client: 'test 1' });
    clock.advance(BEAT_INTERVAL_MS);
    expect(await nextLine()).toBe('');
    clock.advance(BEAT_INTERVAL_MS);
    expect(await nextLine()).toBe('');
  });

  test('is the session: cutting it closes that at once', async () => {
    const { socket } = await openSession(world.socketPath);
    socket.destroy();
    await expect(world.messenger.sessions[0]!.closed).resolves.toBeUndefined();
  });

  test('ends with a client that is killed, and its wait with it', async () => {
    const script = `
      const http = require('node:http');
      const headers = { connection: 'Upgrade', upgrade: '${SESSION_PROTOCOL}' };
      http.request({ socketPath: process.argv[1], path: '${SESSION_PATH}', headers }).on('upgrade', (res, socket) => {
        socket.resume();
        socket.write(JSON.stringify({ agent: 'frontend@myproject', client: 'c' }) + '\\n');
        socket.write(JSON.stringify({ id: 1, call: 'wait', params: {} }) + '\\n');
      }).end();`;
    const child = spawn(process.execPath, ['-e', script, world.socketPath], { stdio: 'ignore' });
    const session = await world.messenger.opened(0);
    await session.waiting;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await Promise.all([session.closed, session.waitAborted]);
    expect(await exited).toEqual([null, 'SIGKILL']);
  });

  test('that its client ends is ended when the session is closed', async () => {
    const { socket, ended } = await openSession(world.socketPath);
    socket.end();
    await expect(Promise.all([ended, world.messenger.sessions[0]!.closed])).resolves.toHaveLength(2);
  });

  test.each<[who: string, at: 'port' | 'socketPath', headers: Record<string, string>, status: number]>([
    ['a stranger over TCP', 'port', {}, 401],
    ['an agent over TCP', 'port', bearer(AGENT_TOKEN).headers, 403],
    ['a page of another host', 'port', { ...bearer(API_TOKEN).headers, host: 'example.com' }, 403],
    ['a page of another origin', 'port', { ...bearer(API_TOKEN).headers, origin: 'http://example.com' }, 403],
    ['who wants to speak something else', 'socketPath', { upgrade: 'websocket' }, 404],
  ])('is refused to %s', async (_who, at, headers, status) => {
    expect(await knock(world[at], { headers })).toEqual({ status });
    expect(world.messenger.sessions).toEqual([]);
  });

  test('is had over TCP with the API token', async () => {
    const { call } = await openSession(world.port, FRONTEND, bearer(API_TOKEN));
    expect((await call('inbox')).answer).toMatchObject({ pending: [MESSAGE] });
  });

  test('is nowhere else', async () => {
    expect(await knock(world.socketPath, {}, '/api/status')).toEqual({ status: 404 });
    expect((await ask(world.socketPath, SESSION_PATH)).status).toBe(404);
  });

  test('is not what other offers to change over are about: such requests are answered as they are', async () => {
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABk' };
    expect((await ask(world.port, '/health', { headers })).json).toMatchObject({ status: 'ok' });
  });

  test('ends with the reason of the messenger when the session does not open', async () => {
    world.messenger.failure = refusal;
    const { opened, ended } = await openSession(world.socketPath);
    expect(opened).toMatchObject({ id: 0, problem: refusal.view() });
    await ended;
  });

  test('ends when who opens it is not said', async () => {
    const { opened, ended } = await openSession(world.socketPath, undefined, {}, { agent: FRONTEND });
    expect(opened).toMatchObject({
      id: 0,
      problem: { code: 'invalid_input', detail: expect.stringMatching(/^client: /) },
    });
    await ended;
  });

  test.each<[what: string, line: string]>([
    ['no JSON', '{'],
    ['no call', '{"id":1}'],
    ['a call that is none', '{"id":1,"call":"close"}'],
    ['the id of the opening', '{"id":0,"call":"inbox"}'],
    ['no number', '{"id":"1","call":"inbox"}'],
  ])('is cut after a line of %s', async (_what, line) => {
    const { socket, ended } = await openSession(world.socketPath);
    socket.write(`${line}\n`);
    await Promise.all([ended, world.messenger.sessions[0]!.closed]);
    expect(world.messenger.sessions[0]!.calls).toEqual([]);
  });
});

describe('calls', () => {
  const id = MESSAGE.message_id;
  test.each<[string, object | undefined, object, object]>([
    ['inbox', undefined, { all_agents: false }, { self: SELF, pending: [MESSAGE], more: 0 }],
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
    ['release', undefined, {}, {}],
  ])('%s %j', async (name, params, taken, answer) => {
    const { call } = await openSession(world.socketPath);
    expect((await call(name, params)).answer).toMatchObject(answer);
    expect(world.messenger.sessions[0]!.calls).toEqual([[name, taken]]);
  });

  test('that come in pieces, and together, are answered as their answers are there', async () => {
    const { socket, nextLine } = await openSession(world.socketPath);
    const wait = JSON.stringify({ id: 1, call: 'wait', params: { timeout_seconds: 3600 } });
    socket.write(wait.slice(0, 20));
    socket.write(`${wait.slice(20)}\n\n{"id":7,"call":"confirm"}\n`);
    expect(JSON.parse(await nextLine())).toEqual({ id: 7, answer: {} });
    const session = world.messenger.sessions[0]!;
    session.answerWait(GOT);
    expect(JSON.parse(await nextLine())).toEqual({ id: 1, answer: GOT });
    expect(session.calls).toEqual([
      ['wait', { timeout_seconds: 3600 }],
      ['confirm', {}],
    ]);
  });

  test('a wait that is cancelled is aborted, what it leased is given back, and the session lives on', async () => {
    const { write, call, nextLine } = await openSession(world.socketPath);
    const session = world.messenger.sessions[0]!;
    session.wait = async (_call, signal) => {
      if (!signal!.aborted) await once(signal!, 'abort');
      return GOT;
    };
    write({ id: 9, call: 'wait' });
    write({ id: 9, cancel: true });
    write({ id: 10, cancel: true });
    expect(JSON.parse(await nextLine())).toEqual({ id: 9, answer: GOT });
    expect(session.calls).toEqual([['release', {}]]);
    expect((await call('inbox')).answer).toBeDefined();
  });

  test('a refusal arrives with its remedy', async () => {
    const { call } = await openSession(world.socketPath);
    world.messenger.failure = refusal;
    const { problem } = await call('send', { to_agent: 'bakend', content: 'x' });
    expect(problem).toMatchObject({ ...refusal.view(), detail: refusal.message, remedy: refusal.remedy });
  });

  test.each([
    ['send', { content: 'x' }, 'to_agent: '],
    ['reply', { message_id: 5 }, 'message_id: '],
    ['wait', { timeout_seconds: 'long' }, 'timeout_seconds: '],
    ['unsend', undefined, 'message_id: '],
    ['inbox', 'all', 'body: '],
  ])('%s %j is invalid input', async (name, params, start) => {
    const { call } = await openSession(world.socketPath);
    const { problem } = await call(name, params);
    expect(problem).toMatchObject({ code: 'invalid_input' });
    expect(problem!['detail']).toMatch(new RegExp(`^${start}`));
    expect(world.messenger.sessions[0]!.calls).toEqual([]);
  });

  test('an id that is in use, and more at once than any client has, are refused', async () => {
    const { write, nextLine } = await openSession(world.socketPath);
    write({ id: 1, call: 'wait' });
    write({ id: 1, call: 'wait' });
    expect(JSON.parse(await nextLine())).toMatchObject({ id: 1, problem: { code: 'too_many' } });
    for (let more = 2; more <= 257; more++) write({ id: more, call: 'wait' });
    expect(JSON.parse(await nextLine())).toMatchObject({ id: 257, problem: { code: 'too_many' } });
  });

  test('the longest content arrives, each character escaped to twelve bytes, and a longer one gets to its own error', async () => {
    const { socket, nextLine } = await openSession(world.socketPath);
    for (const length of [50_000, 500_000]) {
      const escaped = String.raw`\ud83d\ude00`.repeat(length);
      socket.write(`{"id":1,"call":"send","params":{"to_agent":"a","content":"${escaped}"}}\n`);
      expect(JSON.parse(await nextLine())).toMatchObject({ answer: { status: 'sent' } });
      const [, sent] = world.messenger.sessions[0]!.calls.at(-1)!;
      expect(sent).toEqual({ to_agent: 'a', content: '\u{1F600}'.repeat(length), thread: '' });
    }
    socket.write(
      `{"id":1,"call":"send","params":{"to_agent":"a","content":"${'x'.repeat(BODY_BYTES_MAX)}"}}\n`,
    );
    expect(JSON.parse(await nextLine())).toMatchObject({ problem: { code: 'content_too_long' } });
  });

  test('of a client that does not read the answers wait', async () => {
    const { socket, write } = await openSession(world.socketPath);
    const session = world.messenger.sessions[0]!;
    let count = 0;
    const large = { ...(await session.inbox({ all_agents: false })), warnings: ['x'.repeat(1_000_000)] };
    session.inbox = async () => {
      count += 1;
      return large;
    };
    socket.pause();
    write({ id: 1, call: 'inbox' });
    await vi.waitFor(() => expect(count).toBe(1));
    write({ id: 2, call: 'inbox' });
    // Another session is served meanwhile.
    const other = await openSession(world.socketPath);
    for (let calls = 0; calls < 50; calls++) await other.call('confirm');
    expect(count).toBe(1);
    socket.resume();
    await vi.waitFor(() => expect(count).toBe(2));
  });

  test('a line without end is cut', async () => {
    const socket = new PassThrough();
    const lines: string[] = [];
    const failed = once(socket, 'error');
    readLines(socket, { head: Buffer.from('a\n\nb'), sizeBytesMax: 10, onLine: (line) => lines.push(line) });
    socket.write('c\n0123456789\n01234567890');
    expect(await failed).toMatchObject([{ code: 'content_too_long' }]);
    expect(lines).toEqual(['a', 'bc', '0123456789']);
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
