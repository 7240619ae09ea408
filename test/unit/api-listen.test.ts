import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createApi } from '../../daemon/api/api.ts';
import type { ApiParts } from '../../daemon/api/api.ts';
import { systemClock } from '../../daemon/clock.ts';
import { silentLog } from '../../daemon/log.ts';
import type { HttpMcp } from '../../mcp/http.ts';
import {
  AGENT_TOKEN,
  ask,
  bearer,
  fakeAdmin,
  fakeBundles,
  fakeDoctor,
  fakeMessenger,
  idleMcp,
  openResponse,
} from './api-fixture.ts';
import { openSession } from './session-fixture.ts';
import { fakeTop } from './presence-fakes.ts';

let folder: string;
let undo: (() => Promise<unknown>)[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchcord-listen-'));
  undo = [async () => rm(folder, { recursive: true })];
});
afterEach(async () => {
  for (const step of undo.reverse()) await step();
});

async function* noStore(): AsyncGenerator<Uint8Array> {}

function api(changes: Partial<ApiParts> = {}) {
  const messenger = fakeMessenger();
  const info = { version: '0.1.0', pid: 1, home: folder, startedAt: '' };
  const fakes = {
    messenger,
    admin: fakeAdmin(),
    bundles: fakeBundles,
    doctor: fakeDoctor,
    top: fakeTop,
    mcp: idleMcp,
    storeCopy: noStore,
  };
  const base = { ...fakes, log: silentLog, clock: systemClock, info };
  const made = createApi({ ...base, apiToken: 'secret', onStop: () => {}, ...changes });
  undo.push(async () => made.stop());
  const socketPath = join(folder, 's');
  const start = async (port = 0, path = socketPath) =>
    made.start({ socketPath: path, host: '127.0.0.1', port });
  const stop = async () => made.stop();
  return { start, stop, messenger, socketPath };
}

describe('start', () => {
  test('tells where it listens, on a socket that nobody else may open', async () => {
    const { start, socketPath } = api();
    const { http, socket } = await start();
    expect(http).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(socket).toBe(socketPath);
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    expect((await ask(Number(new URL(http).port), '/health')).status).toBe(200);
  });

  test('replaces the socket of a daemon that was killed', async () => {
    const { start, socketPath } = api();
    const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', script, socketPath]);
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect((await stat(socketPath)).isSocket()).toBe(true);
    await start();
    expect((await ask(socketPath, '/health')).status).toBe(200);
  });

  test('leaves a living one alone', async () => {
    const first = api();
    await first.start();
    await expect(api().start()).rejects.toMatchObject({ code: 'home_in_use' });
    expect((await ask(first.socketPath, '/health')).status).toBe(200);
  });

  test('leaves alone what is no socket', async () => {
    const { start, socketPath } = api();
    await writeFile(socketPath, 'precious');
    await expect(start()).rejects.toMatchObject({ code: 'home_not_writable' });
    expect((await stat(socketPath)).size).toBe(8);
  });

  test('says that a port is taken and what to do, and leaves nothing open', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    undo.push(async () => new Promise((resolve) => other.close(resolve)));
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' ? address!.port : 0;
    const failure = api().start(port);
    await expect(failure).rejects.toMatchObject({
      code: 'port_in_use',
      message: `Port ${port} on 127.0.0.1 is in use.`,
      remedy: expect.stringContaining('--http-port'),
    });
    expect(await readdir(folder)).toEqual([]);
    await api().start();
  });

  test.each([
    ['a folder that is not there', 'none/s', 'home_not_writable'],
    ['a path too long for a socket', 'x'.repeat(120), 'invalid_input'],
  ])('says that it cannot listen in %s', async (_what, name, code) => {
    await expect(api().start(0, join(folder, name))).rejects.toMatchObject({ code });
  });
});

describe('stop', () => {
  test('answers open waits, ends streams, gives leases back and removes the socket', async () => {
    const { start, stop, messenger, socketPath } = api();
    await start();
    const { call, ended } = await openSession(socketPath);
    const wait = call('wait');
    await messenger.sessions[0]!.waiting;
    const startedMs = performance.now();
    await Promise.all([stop(), stop()]);
    expect((await wait).answer).toEqual({ status: 'timeout', more: 0, reason: 'stopping' });
    await Promise.all([ended, messenger.sessions[0]!.closed]);
    expect(performance.now() - startedMs).toBeLessThan(1_500);
    expect(await readdir(folder)).toEqual([]);
  });

  test('refuses what comes while it finishes what runs', async () => {
    const release = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const admin = fakeAdmin();
    admin.agents = async () => {
      entered.resolve();
      await release.promise;
      return [];
    };
    const { start, stop, socketPath } = api({ admin });
    await start();
    const running = ask(socketPath, '/api/agents');
    await entered.promise;
    const stopped = stop();
    for (const path of ['/api/status', '/mcp', '/nowhere']) {
      const { status, json } = await ask(socketPath, path, bearer(AGENT_TOKEN));
      expect(status).toBe(503);
      expect(json).toMatchObject({ code: 'stopping', retryable: true });
    }
    const health = await ask(socketPath, '/health');
    expect({ ...health.json, http: health.status }).toMatchObject({ http: 503, status: 'stopping', pid: 1 });
    release.resolve();
    expect((await running).json).toEqual({ agents: [] });
    await stopped;
  });

  test('takes a few seconds at most, whatever hangs', async () => {
    const hang = async (): Promise<never> => new Promise(() => {});
    const mcp: HttpMcp = { handle: hang, close: hang };
    const { start, stop, messenger, socketPath } = api({ mcp, admin: { ...fakeAdmin(), agents: hang } });
    await start();
    await openSession(socketPath);
    messenger.sessions[0]!.close = hang;
    const answer = ask(socketPath, '/api/agents');
    const mcpAnswer = ask(socketPath, '/mcp', { ...bearer(AGENT_TOKEN), body: {} });
    await messenger.opened(1);
    const socket = connect(socketPath);
    await once(socket, 'connect');
    await Promise.all([
      stop(),
      expect(answer).rejects.toThrow('socket hang up'),
      expect(mcpAnswer).rejects.toThrow('socket hang up'),
      once(socket, 'close'),
    ]);
  });

  test('does not wait for the notification streams of MCP', async () => {
    const began = Promise.withResolvers<void>();
    const mcp: HttpMcp = {
      async handle(_request, response) {
        response.writeHead(200);
        response.flushHeaders();
        began.resolve();
      },
      async close() {},
    };
    const { start, stop, socketPath } = api({ mcp });
    await start();
    const stream = await openResponse(socketPath, '/mcp', bearer(AGENT_TOKEN));
    await began.promise;
    stream.on('error', () => {}).resume();
    const startedMs = performance.now();
    await stop();
    expect(performance.now() - startedMs).toBeLessThan(1_500);
  });
});
