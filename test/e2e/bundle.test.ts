import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { NamespaceView } from '../../protocol/admin-views.ts';
import type { BundleImportView } from '../../protocol/bundle-view.ts';
import type { InboxResult, RecallResult, SendResult } from '../../protocol/views.ts';
import { BIN, mesh, type CliAnswer, type DaemonProcess } from '../processes/daemon-process.ts';
import { Stage } from '../processes/stage.ts';

/** Mail on a stick: two real daemons that run one at a time once they have joined, so that no link can ever be. */

const stage = new Stage();
let desk: DaemonProcess;
let laptop: DaemonProcess;
let stick: string;
let file: string;

beforeEach(async () => {
  stick = await mkdtemp(join(tmpdir(), 'patchcord-stick-'));
  file = join(stick, 'team.bundle');
  [desk, laptop] = await Promise.all([stage.machine('desk'), stage.machine('laptop')]);
  await mesh('team', desk, laptop);
  await desk.json('agent', 'add', 'ada@team');
  await laptop.json('agent', 'add', 'bob@team');
  await laptop.kill('SIGTERM');
});
afterEach(async () => {
  await stage.end();
  await rm(stick, { recursive: true });
});

/** Stops one daemon before the other starts. */
async function walk(from: DaemonProcess, to: DaemonProcess): Promise<void> {
  await from.kill('SIGTERM');
  await to.start();
}

const load = (on: DaemonProcess, path = file) => on.json<BundleImportView>('bundle', 'import', path);
const save = (on: DaemonProcess, ...more: string[]) => on.json('bundle', 'export', 'team', file, ...more);

async function rung(content: string): Promise<string | undefined> {
  const { messages } = await desk.json<RecallResult>('recall', '--as', 'ada@team');
  return messages.find((one) => one.content === content)?.status;
}

function refused(answer: CliAnswer, why: RegExp): void {
  expect(answer).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(why) });
}

/** Runs the command with bytes on stdin, and gives the bytes on stdout. */
async function piped(on: DaemonProcess, input: Uint8Array, ...args: string[]) {
  const child = spawn(process.execPath, [BIN, ...args, '--home', on.home]);
  const out: Buffer[] = [];
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin.end(input);
  await once(child, 'close');
  return { code: child.exitCode, out: Buffer.concat(out), err };
}

test('a message, its receipts and the answer go by file alone', async () => {
  // Laptop's agent is new to the desk, and the desk's claim to the laptop: the log goes first.
  await walk(desk, laptop);
  await save(laptop);
  await walk(laptop, desk);
  await load(desk);
  const sent = await desk.json<SendResult>('send', 'bob', 'by stick', '--as', 'ada@team');
  expect(sent.receipts[0]).toMatchObject({ state: 'queued' });
  expect(await save(desk, '--force')).toMatchObject({ letters: 1, prekeys: 2, unsealed: 0, left_out: 0 });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await readFile(file)).includes('by stick')).toBe(false);

  await walk(desk, laptop);
  const view = await load(laptop);
  expect(view).toMatchObject({ from: 'desk', ending: 'whole', messages: { taken: 1 }, refusals: {} });
  expect(await load(laptop)).toMatchObject({ messages: { taken: 0, known: 1 }, statements: { new: 0 } });
  const { pending } = await laptop.json<InboxResult>('inbox', '--as', 'bob@team');
  expect(pending.map(({ content }) => content)).toEqual(['by stick']);
  await laptop.json('reply', pending[0]!.message_id, 'and back', '--as', 'bob@team');
  await save(laptop, '--force');

  await walk(laptop, desk);
  const back = await load(desk);
  expect(back).toMatchObject({ from: 'laptop', messages: { taken: 1 } });
  expect(await rung('by stick')).toBe('replied');
  const answer = await desk.json<InboxResult>('inbox', '--as', 'ada@team');
  expect(answer.pending.map(({ content }) => content)).toEqual(['and back']);
  expect(await readdir(stick)).toEqual(['team.bundle']);
});

test('pipes, files in the way, and files that are none', async () => {
  const out = await piped(desk, Buffer.alloc(0), 'bundle', 'export', 'team', '-');
  expect(out).toMatchObject({ code: 0, err: expect.stringContaining('Wrote -') });
  await writeFile(file, out.out);
  refused(await desk.run('bundle', 'export', 'team', file), /is there already/);
  expect(await readFile(file)).toEqual(out.out);
  refused(await desk.run('bundle', 'export', 'team', stick), /is no file/);
  refused(await desk.run('bundle', 'export', 'team', join(stick, 'no', 'where')), /There is no .*no/);
  refused(await desk.run('bundle', 'export', 'other', `${file}2`), /No namespace "other"/);
  refused(await desk.run('bundle', 'import', `${file}2`), /There is no /);
  refused(await desk.run('bundle', 'import', stick), /is a folder/);
  expect(await desk.run('bundle', 'export', 'team', '-', '--json')).toMatchObject({ code: 2 });
  expect(await readdir(stick)).toEqual(['team.bundle']);

  await walk(desk, laptop);
  const piece = await piped(laptop, out.out, 'bundle', 'import', '-', '--json');
  expect(piece).toMatchObject({ code: 0, err: '' });
  expect(JSON.parse(piece.out.toString())).toMatchObject({ ending: 'whole' });
  const cut = await piped(laptop, out.out.subarray(0, out.out.length - 30), 'bundle', 'import', '-');
  expect(cut).toMatchObject({ code: 1, err: '' });
  expect(cut.out.toString()).toContain('ends too early');
  // Much more than a socket buffers: the refusal is heard all the same.
  const junk = Buffer.alloc(64 * 1024 * 1024, 'no bundle ');
  expect(await piped(laptop, junk, 'bundle', 'import', '-')).toMatchObject({
    code: 1,
    err: expect.stringContaining('That is no bundle'),
  });
});

test('a removal goes by file, and the machine that is out is told', async () => {
  await desk.json('namespace', 'remove', 'team', 'laptop');
  await save(desk);
  await walk(desk, laptop);
  refused(await laptop.run('bundle', 'import', file), /was removed from team by desk/);
  const { namespaces } = await laptop.json<{ namespaces: NamespaceView[] }>('namespace', 'list');
  expect(namespaces).toMatchObject([{ namespace: 'team', role: 'removed' }]);
  refused(await laptop.run('bundle', 'export', 'team', `${file}2`), /was removed from team by desk/);
});
