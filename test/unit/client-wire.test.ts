import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { createClient } from '../../daemon/client/client.ts';
import { createWire, unreachable } from '../../daemon/client/wire.ts';

let folder: string;
let socketPath: string;
let undo: (() => Promise<unknown>)[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchcord-client-'));
  socketPath = join(folder, 's');
  undo = [async () => rm(folder, { recursive: true })];
});
afterEach(async () => {
  for (const step of undo.reverse()) await step();
});

/** Something that speaks HTTP on the socket and is not a daemon, or a broken one. */
async function impostor(listener: RequestListener) {
  const server = createServer(listener).listen(socketPath);
  await once(server, 'listening');
  undo.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return server;
}

const zAnswer = z.object({ ok: z.boolean() });
const get = { method: 'GET', path: '/', answer: zAnswer } as const;

test('no daemon at all', async () => {
  const client = createClient({ socketPath });
  const unreached = {
    code: 'daemon_unreachable',
    message: `No daemon answers on ${socketPath}.`,
    retryable: true,
  };
  await expect(client.status()).rejects.toMatchObject(unreached);
  await expect(client.messenger.open({ agent: 'a@b', client: 'c' })).rejects.toMatchObject(unreached);
});

test('the socket of a daemon that was killed', async () => {
  const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script, socketPath]);
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  await expect(createClient({ socketPath }).status()).rejects.toMatchObject({
    code: 'daemon_unreachable',
    message: expect.stringContaining('No daemon answers'),
  });
});

test.each<[string, RequestListener]>([
  ['before it answers', (request) => request.socket.destroy()],
  [
    'in the midst of its answer',
    (request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"ok":', () => request.socket.destroy());
    },
  ],
])('a daemon that goes away %s', async (_when, listener) => {
  await impostor(listener);
  await expect(createWire({ socketPath }).ask(get)).rejects.toMatchObject({
    code: 'daemon_unreachable',
    message: 'The daemon went away before it answered.',
  });
});

test.each([
  ['no JSON', 200, '<html>'],
  ['another shape', 200, '{"ok":"yes"}'],
  ['a refusal that is no problem document', 500, 'Internal Server Error'],
])('an answer of %s', async (_what, status, text) => {
  await impostor((_request, response) => response.writeHead(status).end(text));
  await expect(createWire({ socketPath }).ask(get)).rejects.toMatchObject({ code: 'internal' });
});

test('a code of a later version becomes internal, its text kept', async () => {
  const problem = {
    type: '',
    title: '',
    status: 418,
    detail: 'd',
    code: 'teapot',
    message: 'No tea.',
    retryable: false,
  };
  await impostor((_request, response) => response.writeHead(418).end(JSON.stringify(problem)));
  await expect(createWire({ socketPath }).ask(get)).rejects.toMatchObject({
    code: 'internal',
    message: 'No tea.',
  });
});

test.each<[what: string, answer: (socket: Duplex) => void, code: string]>([
  ['says what no session says', (socket) => socket.write('hello\n'), 'internal'],
  ['ends before it says anything', (socket) => socket.end(), 'daemon_unreachable'],
  ['never ends its line', (socket) => void flood(socket), 'content_too_long'],
])('a session that %s', async (_what, answer, code) => {
  const server = await impostor((_request, response) => response.end());
  server.on('upgrade', (_request, socket: Duplex) => {
    socket.on('error', () => {});
    undo.push(async () => socket.destroy());
    socket.write('HTTP/1.1 101 Changed\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    answer(socket);
  });
  const { messenger } = createClient({ socketPath });
  await expect(messenger.open({ agent: 'a@b', client: 'c' })).rejects.toMatchObject({ code });
});

async function flood(socket: Duplex): Promise<void> {
  const piece = Buffer.alloc(4 * 1024 * 1024, 'x');
  while (socket.writable) await new Promise((resolve) => socket.write(piece, resolve));
}

test('a daemon that knows no sessions', async () => {
  await impostor((_request, response) => response.end('{}'));
  const { messenger } = createClient({ socketPath });
  await expect(messenger.open({ agent: 'a@b', client: 'c' })).rejects.toMatchObject({ code: 'internal' });
});

test('the token goes along, and connections are used again', async () => {
  const seen: unknown[] = [];
  const server = await impostor((request, response) => {
    seen.push(request.headers.authorization);
    response.end('{"ok":true}');
  });
  let connections = 0;
  server.on('connection', () => (connections += 1));
  const wire = createWire({ socketPath, token: 'secret' });
  expect(await wire.ask(get)).toEqual({ ok: true });
  await wire.ask({ ...get, token: 'other' });
  await wire.tell(get);
  expect(seen).toEqual(['Bearer secret', 'Bearer other', 'Bearer secret']);
  expect(connections).toBe(1);
});

test('a process that is done ends, though its connection is kept', async () => {
  await impostor((_request, response) => response.end('{"status":"stopping"}'));
  const client = new URL('../../daemon/client/client.ts', import.meta.url).href;
  const script = `const { createClient } = await import('${client}'); await createClient({ socketPath: process.argv[1] }).stop();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, socketPath], {
    stdio: 'inherit',
  });
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('a socket of somebody else is told apart', () => {
  const cause = Object.assign(new Error('EACCES'), { code: 'EACCES' });
  expect(unreachable('/s', cause)).toMatchObject({ code: 'forbidden', cause });
});
