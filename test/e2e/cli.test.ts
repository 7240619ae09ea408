import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClient } from '../../daemon/client/client.ts';
import { readDaemonInfo, type DaemonInfo } from '../../daemon/daemon-json.ts';
import { homePaths } from '../../daemon/home.ts';
import { HTTP_PORT_DEFAULT } from '../../daemon/ports.ts';
import { BIN } from '../processes/daemon-process.ts';

const LOCAL = ['--http-port', '0', '--listen', '/ip4/127.0.0.1/tcp/0'];

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

let root: string;
let home: string;
let children: Child[];
let servers: Server[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'patchcord-cli-'));
  home = join(root, 'home');
  children = [];
  servers = [];
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  for (const server of servers) server.close();
  // What still runs in the background has said so in its home.
  for (const name of await readdir(root)) {
    const info = await readDaemonInfo(homePaths(join(root, name)));
    if (info !== undefined) await run('down', '--home', join(root, name));
  }
  await rm(root, { recursive: true, force: true });
});

function start(args: readonly string[], environment: Record<string, string> = {}): Child {
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: root,
    TERM: 'dumb',
    PATCHCORD_HOME: home,
    ...environment,
  };
  const child = spawn(process.execPath, [BIN, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  return child;
}

async function ended(child: Child): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

function run(...args: string[]): Promise<Ended> {
  return ended(start(args));
}

/** Runs a command that must work, with --json, which must print one document. */
async function ask(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect({ args, code, stderr }).toMatchObject({ code: 0 });
  return document(stdout);
}

function document(stdout: string): Record<string, unknown> {
  expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  const parsed: unknown = JSON.parse(stdout);
  assert(typeof parsed === 'object' && parsed !== null);
  return { ...parsed };
}

/** A daemon in the foreground, once it says that it is ready. */
async function foreground(...args: string[]): Promise<{ child: Child; info: DaemonInfo }> {
  const child = start(['daemon', ...LOCAL, '--json', ...args]);
  child.stderr.resume();
  await once(createInterface(child.stdout), 'line');
  const info = await readDaemonInfo(homePaths(home));
  assert(info !== undefined);
  return { child, info };
}

/** A port that somebody else has. */
async function takenPort(port = 0): Promise<number> {
  const server = createServer();
  servers.push(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  return address.port;
}

/** Two agents in one namespace, and a daemon for them. */
async function twoAgents(): Promise<void> {
  await ask('up', ...LOCAL);
  await ask('namespace', 'create', 'team');
  await ask('agent', 'add', 'a@team');
  await ask('agent', 'add', 'b@team');
}

const pendingOfB = () => ask('inbox', '--peek', '--as', 'b@team');

describe('up, status and down', () => {
  it('start once, tell, stop once, and may be repeated', async () => {
    const startedAtMs = performance.now();
    const first = await ask('up', ...LOCAL);
    const status = await ask('status');
    const answeredMs = performance.now() - startedAtMs;
    expect(first).toMatchObject({
      started: true,
      pid: expect.any(Number),
      http: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    });
    expect(status).toMatchObject({ pid: first['pid'], home, namespaces: [], agents: [], links: [] });
    expect(await ask('up')).toMatchObject({ started: false, pid: first['pid'] });
    // Measured 0.9 s on two idle cores; the bound leaves room for busy ones.
    expect(answeredMs).toBeLessThan(10_000);

    expect(await ask('down')).toEqual({ stopped: true, pid: first['pid'] });
    expect(await ask('down')).toEqual({ stopped: false });
    const { code, stdout, stderr } = await run('status', '--json');
    expect(code).toBe(1);
    expect(document(stdout)).toMatchObject({ error: { code: 'daemon_unreachable', retryable: true } });
    expect(stderr).toMatch(/^patchcord: No daemon runs.*\nStart it with `patchcord up`\.\n$/);
  });

  it('end with one daemon when started twice at once', async () => {
    const both = await Promise.all([ask('up', ...LOCAL), ask('up', ...LOCAL)]);
    expect(new Set(both.map(({ pid }) => pid)).size).toBe(1);
    expect(both.filter(({ started }) => started === true)).toHaveLength(1);
  });

  it('start again at once after a stop', async () => {
    await ask('up', ...LOCAL);
    const [, again] = await Promise.all([ask('down'), ask('up', ...LOCAL)]);
    expect(again).toMatchObject({ pid: expect.any(Number) });
  });

  it('keep the ports that were picked first, also beside others', async () => {
    // Another daemon of this computer may have it already, which is as good.
    await takenPort(HTTP_PORT_DEFAULT).catch(() => {});
    const first = await ask('up');
    expect(first['http']).not.toBe(`http://127.0.0.1:${HTTP_PORT_DEFAULT}`);
    await ask('down');
    expect(await ask('up')).toMatchObject({ http: first['http'], listen: first['listen'] });
  });

  it('write a private log without secrets, and show it', async () => {
    await twoAgents();
    const { recovery_phrase: words } = await ask('namespace', 'create', 'other');
    const { ticket } = await ask('namespace', 'invite', 'team');
    const { token } = await ask('agent', 'token', 'a@team');
    await ask('send', 'b', 'the content', '--as', 'a@team');
    const apiToken = (await readFile(join(home, 'api-token'), 'utf8')).trim();
    const log = await readFile(join(home, 'daemon.log'), 'utf8');
    for (const secret of [words, ticket, token, apiToken, 'the content']) expect(log).not.toContain(secret);
    expect((await stat(join(home, 'daemon.log'))).mode & 0o777).toBe(0o600);
    expect(await ask('logs')).toMatchObject({
      logs: expect.arrayContaining([expect.objectContaining({ msg: 'ready' })]),
    });
  });
});

describe('daemon', () => {
  it('tells its home where it is, and leaves nothing behind but what lasts', async () => {
    const { child, info } = await foreground('--name', 'box', '--no-mdns');
    expect(info).toMatchObject({
      pid: child.pid,
      listen: [expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\/12D3/)],
    });
    expect(Object.keys(info)).toEqual(['pid', 'version', 'http', 'socket', 'peerId', 'listen']);
    expect((await stat(join(home, 'daemon.json'))).mode & 0o777).toBe(0o600);
    expect(await ask('status')).toMatchObject({ machine: 'box', peer_id: info.peerId });
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect((await readdir(home)).sort()).toEqual([
      'api-token',
      'machine.key',
      'prekeys',
      'store',
      'store.key',
      'store.tally',
    ]);
    const again = await foreground();
    expect(again.info.peerId).toBe(info.peerId);
  });

  it('refuses a second one in its home and names the first', async () => {
    const { info } = await foreground();
    const { code, stdout, stderr } = await run('daemon', ...LOCAL, '--json');
    expect(code).toBe(1);
    expect(document(stdout)).toMatchObject({ error: { code: 'home_in_use' } });
    expect(stderr).toContain(`process ${info.pid}`);
    expect(await ask('status')).toMatchObject({ pid: info.pid });
  });

  it('is found dead after a SIGKILL, and replaced', async () => {
    const { child, info } = await foreground();
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(join(home, 'daemon.json'))).toBe(true);
    expect((await run('status')).code).toBe(1);
    expect(await ask('down')).toEqual({ stopped: false });
    const up = await ask('up', ...LOCAL);
    expect(up).toMatchObject({ started: true, peerId: info.peerId });
    expect(up['pid']).not.toBe(info.pid);
  });

  it('stops when the API is told to', async () => {
    const { child } = await foreground();
    const [down, [code]] = await Promise.all([ask('down'), once(child, 'exit')]);
    expect(down).toEqual({ stopped: true, pid: child.pid });
    expect(code).toBe(0);
  });

  it.each([
    ['HTTP', (port: number) => ['--http-port', String(port)]],
    ['listen', (port: number) => ['--http-port', '0', '--listen', `/ip4/127.0.0.1/tcp/${port}`]],
  ])('says when the %s port that was asked for is taken', async (_what, flags) => {
    const args = flags(await takenPort());
    for (const command of ['daemon', 'up']) {
      const { code, stdout, stderr } = await run(command, ...args, '--json');
      expect({ code, stderr }).toMatchObject({ code: 1 });
      expect(document(stdout)).toMatchObject({ error: { code: 'port_in_use' } });
    }
    expect(await readdir(home)).not.toContain('daemon.json');
  });

  it('says when the home cannot be written', async () => {
    await writeFile(join(root, 'file'), '');
    for (const command of ['daemon', 'up', 'status', 'namespace list']) {
      const { code, stderr } = await run(...command.split(' '), '--home', join(root, 'file', 'home'));
      expect({ command, code, stderr }).toMatchObject({ code: 1 });
    }
    const { stdout } = await run('up', '--home', join(root, 'file', 'home'), '--json');
    expect(document(stdout)).toMatchObject({ error: { code: 'home_not_writable' } });
  });

  it('says which variable is wrong', async () => {
    const { code, stderr } = await ended(start(['daemon'], { PATCHCORD_HTTP_PORT: 'x' }));
    expect(code).toBe(2);
    expect(stderr).toContain('PATCHCORD_HTTP_PORT');
  });
});

describe('namespace create', () => {
  it('shows the recovery words once and never again', async () => {
    await ask('up', ...LOCAL);
    const { stdout } = await run('namespace', 'create', 'team');
    expect(stdout).toContain('Created team.');
    expect(stdout).toContain('patchcord namespace recover team');
    const words = [...stdout.matchAll(/^ .*$/gm)].join(' ').match(/[a-z]+/g) ?? [];
    expect(words).toHaveLength(24);
    const { recovery_phrase: others } = await ask('namespace', 'create', 'other');
    expect(others).toMatch(/^([a-z]+ ){23}[a-z]+$/);
    expect(others).not.toBe(words.join(' '));
    expect(JSON.stringify([await ask('namespace', 'list'), await ask('status')])).not.toContain('recovery');
  });
});

describe('the tools', () => {
  it('are the ones of MCP, and start the daemon themselves', async () => {
    await ask('namespace', 'create', 'team');
    await ask('agent', 'add', 'a@team');
    await ask('agent', 'add', 'b@team');
    const child = start(['send', 'b', '-', '--as', 'a@team', '--thread', 'T 1', '--json']);
    child.stdin.end('- from stdin\n');
    const sent = document((await ended(child)).stdout);
    expect(sent).toMatchObject({ status: 'sent', thread: 't-1', receipts: [{ to: 'b@team' }] });
    expect(await pendingOfB()).toMatchObject({ total: 1, pending: [{ content: '- from stdin' }] });

    const blocked = await run('send', 'a', 'hi', '--as', 'b@team', '--json');
    expect(blocked.code).toBe(1);
    expect(document(blocked.stdout)).toMatchObject({ status: 'blocked' });

    expect(await ask('wait', '--as', 'b@team')).toMatchObject({
      status: 'message',
      message: { content: '- from stdin' },
    });
    expect(await pendingOfB()).toEqual({ total: 0, pending: [] });
    const id = String(sent['message_id']);
    expect(await ask('reply', id, 'done', '--resolve', '--as', 'b@team')).toMatchObject({
      status: 'resolved',
    });
    expect(await ask('inbox', '--as', 'a@team')).toMatchObject({
      pending: [{ content: 'done' }],
      self: { agent: expect.stringMatching(/^a/) },
    });
    expect(await ask('recall', '--as', 'a@team', '--limit', '1')).toMatchObject({
      messages: [{ direction: 'received' }],
    });
    expect(await ask('unsend', id, '--as', 'a@team')).toMatchObject({ status: 'already_read' });
    expect(await ask('wait', '--as', 'a@team', '--timeout', '1s')).toMatchObject({ status: 'timeout' });
    await ask('down');
  });

  it('leave a message where it is when wait is interrupted', async () => {
    await twoAgents();
    const { socket } = (await readDaemonInfo(homePaths(home)))!;
    const { admin } = createClient({ socketPath: socket });
    const child = start(['wait', '--as', 'b@team', '--json']);
    const result = ended(child);
    while (!(await admin.agents()).some(({ agent, online }) => agent === 'b@team' && online));
    child.kill('SIGINT');
    const { code, stdout, stderr } = await result;
    expect(code).toBe(1);
    expect(document(stdout)).toMatchObject({ error: { code: 'stopping' } });
    expect(stderr).toContain('Interrupted');
    await ask('send', 'b', 'after', '--as', 'a@team');
    const peeked = await pendingOfB();
    expect(peeked).toMatchObject({ total: 1 });
    expect(JSON.stringify(peeked)).not.toContain('seen_before');
  });

  it('leave a message where it is when nobody reads what they print', async () => {
    await twoAgents();
    await ask('send', 'b', 'hello', '--as', 'a@team');
    const child = start(['inbox', '--as', 'b@team']);
    child.stdout.destroy();
    child.stderr.resume();
    expect(await once(child, 'exit')).toEqual([1, null]);
    expect(await pendingOfB()).toMatchObject({ total: 1 });
    await ask('inbox', '--as', 'b@team');
    expect(await pendingOfB()).toMatchObject({ total: 0 });
  });
});

describe('mcp', () => {
  const hello = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
  };

  it('starts the daemon, speaks on stdout alone, and ends with stdin', async () => {
    const child = start(['mcp', '--agent', 'a@team']);
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stderr.resume();
    child.stdin.write(`${JSON.stringify(hello)}\n`);
    const first: unknown = JSON.parse(String((await lines.next()).value));
    expect(first).toMatchObject({ id: 1, result: { serverInfo: { name: 'patchcord' } } });
    const call = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'inbox', arguments: {} } };
    child.stdin.end(
      `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n${JSON.stringify(call)}\n`,
    );
    const second: unknown = JSON.parse(String((await lines.next()).value));
    expect(second).toMatchObject({
      id: 2,
      result: { structuredContent: { error: { code: 'unknown_namespace' } } },
    });
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(await ask('status')).toMatchObject({ home });
  });

  it('ends cleanly on Ctrl-C', async () => {
    await ask('up', ...LOCAL);
    const child = start(['mcp', '--agent', 'a@team']);
    child.stderr.resume();
    child.stdin.write(`${JSON.stringify(hello)}\n`);
    await once(createInterface(child.stdout), 'line');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});

describe('logs -f', () => {
  it('goes on with what is written until Ctrl-C', async () => {
    await ask('up', ...LOCAL);
    const child = start(['logs', '-f']);
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const until = async (text: string): Promise<void> => {
      for (;;) {
        const { value, done } = await lines.next();
        if (done === true) throw new Error(`no line with ${text}`);
        if (value.includes(text)) return;
      }
    };
    await until('info ready');
    await ask('down');
    await until('info stopped');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});

describe('wrong usage', () => {
  it.each([
    'frobnicate',
    'namespace',
    'namespace frobnicate',
    'namespace create',
    'namespace invite team --ttl soon',
    'namespace invite team --role owner',
    'namespace confirm team 12345',
    'namespace confirm team --reject',
    'namespace remove team',
    'namespace recover team zebra',
    'send b hi',
    'send b --as a@team',
    'send b hi there --as a@team',
    'inbox --as a@team --limit 5',
    'inbox --as a@team --peek --limit many',
    'daemon --http-port 99999',
    'up --listen 0.0.0.0:1',
    'logs -f',
    'completion tcsh',
    'status --frobnicate',
  ])('%s', async (line) => {
    const { code, stdout, stderr } = await run(...line.split(' '), '--json');
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/./) });
    expect(document(stdout)).toMatchObject({ error: { code: 'invalid_input' } });
    expect(existsSync(join(home, 'daemon.json'))).toBe(false);
  });

  it('is not: help, version, completion, options before the command', async () => {
    expect(await ask('--version')).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(await ask('help', 'send')).toMatchObject({ help: expect.stringContaining('--thread') });
    expect(await ask('send', '--help')).toMatchObject({ help: expect.stringContaining('--home') });
    expect(await ask('completion', 'bash')).toMatchObject({
      shell: 'bash',
      script: expect.stringContaining('complete '),
    });
    expect((await run('--json', '--home', home, 'status')).code).toBe(1);
    expect(await ask()).toMatchObject({ help: expect.stringContaining('Commands:') });
    expect((await run()).stdout).toContain('Usage: patchcord');
  });
});

it('sees daemon.json appear whole', async () => {
  const seen = Promise.withResolvers<DaemonInfo | undefined>();
  const watcher = watch(root, { recursive: true }, (_event, name) => {
    if (name?.endsWith('daemon.json') === true) seen.resolve(readDaemonInfo(homePaths(home)));
  });
  await Promise.all([
    ask('up', ...LOCAL),
    expect(seen.promise).resolves.toMatchObject({ pid: expect.any(Number) }),
  ]);
  watcher.close();
});
