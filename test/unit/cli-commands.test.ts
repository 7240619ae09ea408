import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { writeDaemonInfo } from '../../daemon/daemon-json.ts';
import { homePaths } from '../../daemon/home.ts';
import { CHECK, PHRASE, startWorld, STARTED_AT, type World } from './api-fixture.ts';

/** The command as a process, against the API of a daemon whose machine is a fake. */

const BIN = fileURLToPath(new URL('../../cli/bin.ts', import.meta.url));

let world: World;
let children: ChildProcessByStdio<Writable, Readable, Readable>[] = [];

beforeAll(async () => {
  world = await startWorld();
  await writeDaemonInfo(homePaths(dirname(world.socketPath)), {
    pid: 4711,
    version: '0.1.0',
    http: `http://127.0.0.1:${world.port}`,
    socket: world.socketPath,
    peerId: 'p',
    listen: [],
  });
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  world.admin.calls.length = 0;
  world.admin.pendingJoins.length = 0;
});
afterAll(async () => world.teardown());

function start(line: string): ChildProcessByStdio<Writable, Readable, Readable> {
  const home = dirname(world.socketPath);
  const args = [BIN, ...line.split(' '), '--home', home];
  // The sources are stripped of their types once and not for every command.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(home, 'compiled') };
  const child = spawn(process.execPath, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  child.stdout.setEncoding('utf8');
  child.stderr.setEncoding('utf8');
  return child;
}

async function run(line: string, input = ''): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(line);
  let out = '';
  let err = '';
  child.stdout.on('data', (text: string) => (out += text));
  child.stderr.on('data', (text: string) => (err += text));
  child.stdin.end(input);
  await once(child, 'close');
  return { code: child.exitCode, out, err };
}

const json = (text: string): unknown => JSON.parse(text);

test('create prints the words in a block of their own', async () => {
  const { code, out } = await run('namespace create team');
  expect(code).toBe(0);
  expect(out).toMatch(/^Created team\./);
  expect(out).toContain('\n\n   1. zebra      2. abandon ');
  expect(out).toContain('shown this once and kept nowhere');
  expect(json((await run('namespace create team --json')).out)).toMatchObject({ recovery_phrase: PHRASE });
});

test('invite prints the ticket alone on stdout, whatever else it says', async () => {
  const { code, out, err } = await run('namespace invite team --ttl 1h --role keeper --confirm --qr');
  expect({ code, out }).toEqual({ code: 0, out: 'pc1:x\n' });
  expect(err).toContain('█');
  expect(err).toContain('patchcord namespace confirm team CODE');
  expect(world.admin.calls).toEqual([
    ['invite', 'team', { ttlMs: 3_600_000, role: 'keeper', confirm: true }],
  ]);
  const document = json((await run('namespace invite team --confirm --json')).out);
  expect(document).toEqual({ ticket: 'pc1:x', expires_at: STARTED_AT });
});

test.each([
  ['namespace confirm team', { joins: [CHECK] }, ['joinChecks', 'team']],
  ['namespace confirm team 012345', { admitted: CHECK }, ['decideJoin', 'team', '012345', true]],
  ['namespace confirm team 012 345', { admitted: CHECK }, ['decideJoin', 'team', '012345', true]],
  ['namespace confirm team 012-345 --reject', { rejected: CHECK }, ['decideJoin', 'team', '012345', false]],
  ['namespace remove team box', { removed: { machine: 'box' } }, ['removeMember', 'team', 'box']],
  ['namespace promote team box', { promoted: { machine: 'box' } }, ['promote', 'team', 'box']],
  ['namespace leave team', { namespace: 'team', left: true }, ['leave', 'team']],
])('%s', async (line, document, call) => {
  const { code, out, err } = await run(`${line} --json`);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(json(out)).toMatchObject(document);
  expect(world.admin.calls).toEqual([call]);
});

test.each(['12345', '123456 7', 'abcdef', '--reject'])('confirm %s is wrong usage', async (words) => {
  expect(await run(`namespace confirm team ${words}`)).toMatchObject({ code: 2, out: '' });
  expect(world.admin.calls).toEqual([]);
});

test('recover reads the words from stdin and gives them on in one form', async () => {
  const typed = PHRASE.split(' ').map((word, index) => `${index + 1}. ${word.toUpperCase()}\n`);
  const { code, out, err } = await run('namespace recover team --remove box', typed.join(''));
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toContain('This machine is an admin of team now.\n"box" was removed.');
  expect(world.admin.calls).toEqual([['recover', 'team', PHRASE, 'box']]);
});

test.each(['zebra\n', 'zebra '.repeat(5_000)])('recover refuses other input', async (typed) => {
  const { code, out, err } = await run('namespace recover team', typed);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).not.toContain('zebra');
  expect(world.admin.calls).toEqual([]);
});

test('join says the digits on stderr, asks again, and prints the one view', async () => {
  const pending = { joined: false, check: '012345' } as const;
  world.admin.pendingJoins.push(pending, pending);
  const { code, out, err } = await run('namespace join pc1:y --json');
  expect(code).toBe(0);
  expect(json(out)).toMatchObject({ joined: true, namespace: 'myproject' });
  expect(err).toBe('Check: 012 345. The inviting side must show the same digits and confirm.\n');
  expect(world.admin.calls).toEqual([
    ['join', 'pc1:y'],
    ['join', 'pc1:y'],
    ['join', 'pc1:y'],
  ]);
});

test('join ends with Ctrl-C while the daemon still waits', async () => {
  const late = Promise.withResolvers<{ joined: false; check: string }>();
  world.admin.pendingJoins.push({ joined: false, check: '012345' }, late.promise);
  const child = start('namespace join pc1:y');
  const asked = once(child.stderr, 'data');
  const [digits] = await asked;
  expect(digits).toContain('Check: 012 345.');
  const rest = once(child.stderr, 'data');
  const startedMs = performance.now();
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([1, null]);
  // It takes some 50 ms; the daemon would have answered after ten seconds.
  expect(performance.now() - startedMs).toBeLessThan(5_000);
  expect((await rest)[0]).toContain('Interrupted');
  late.resolve({ joined: false, check: '012345' });
});
