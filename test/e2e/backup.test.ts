import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StatusView } from '../../protocol/admin-views.ts';
import type { InboxResult, RecallResult, SendResult } from '../../protocol/views.ts';
import { BIN, mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { Stage } from '../processes/stage.ts';

/**
 * Real daemons, of which one loses its home and comes back: from a backup that was made while it ran, or because its
 * folder was copied back, of which nobody tells it.
 */

const stage = new Stage();
let desk: DaemonProcess;
let laptop: DaemonProcess;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchcord-backups-'));
  [desk, laptop] = await Promise.all([stage.machine('desk'), stage.machine('laptop')]);
  await mesh('team', desk, laptop);
  await desk.json('agent', 'add', 'ada@team');
  await laptop.json('agent', 'add', 'bob@team');
  await becomes(() => sendTo(desk, 'ada', 'bob', 'first').catch(String), 'sent');
  await delivered(desk, 'ada', 'first');
  await becomes(() => read(laptop, 'bob'), ['first']);
});
afterEach(async () => {
  await stage.end();
  await rm(folder, { recursive: true });
});

async function sendTo(from: DaemonProcess, as: string, to: string, content: string): Promise<string> {
  const { status } = await from.json<SendResult>('send', to, content, '--as', `${as}@team`);
  return status;
}

const becomes = <T>(look: () => Promise<T>, wanted: T) =>
  eventually(JSON.stringify(wanted), look, (seen) => isDeepStrictEqual(seen, wanted));

async function rung(of: DaemonProcess, as: string, content: string): Promise<string | undefined> {
  const { messages } = await of.json<RecallResult>('recall', '--as', `${as}@team`);
  return messages.find((one) => one.content === content)?.status;
}

async function delivered(of: DaemonProcess, as: string, content: string): Promise<void> {
  await becomes(() => rung(of, as, content), 'delivered');
}

/** What the inbox shows, marked as read; with what is said of each. */
async function read(of: DaemonProcess, as: string): Promise<string[]> {
  const { pending } = await of.json<InboxResult>('inbox', '--as', `${as}@team`);
  return pending.map(
    ({ content, late, missing_before: missing }) =>
      `${content}${late ? ' late' : ''}${missing ? ' gap' : ''}`,
  );
}

async function peek(of: DaemonProcess, as: string): Promise<string[]> {
  const { pending } = await of.json<InboxResult>('inbox', '--peek', '--as', `${as}@team`);
  return pending.map(({ content }) => content);
}

async function backup(of: DaemonProcess): Promise<{ file: string; words: string }> {
  const file = join(folder, `${of.label}.backup`);
  const { recovery_phrase: words } = await of.json<{ recovery_phrase: string }>('backup', file);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  return { file, words };
}

async function restore(of: DaemonProcess, file: string, words: string) {
  const child = spawn(process.execPath, [BIN, 'restore', file, '--home', of.home, '--json']);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin.end(words);
  await once(child, 'close');
  return { code: child.exitCode, out, err };
}

/** The machine's home is gone; it comes back as it was. */
async function loseAndRestore(machine: DaemonProcess, { file, words }: { file: string; words: string }) {
  const { peerId } = machine.info!;
  await machine.kill('SIGKILL');
  await rm(machine.home, { recursive: true });
  const back = await restore(machine, file, words);
  expect(back).toMatchObject({ code: 0 });
  expect(JSON.parse(back.out)).toMatchObject({ peer_id: peerId });
  await machine.start();
}

/** The machine's home is what it was while it was stopped: its folder was copied, and is copied back. */
async function copyHome(machine: DaemonProcess): Promise<() => Promise<void>> {
  const copy = join(folder, machine.label);
  await machine.kill('SIGTERM');
  await cp(machine.home, copy, { recursive: true });
  await machine.start();
  return async () => {
    await machine.kill('SIGKILL');
    await rm(machine.home, { recursive: true });
    await cp(copy, machine.home, { recursive: true });
    await machine.start();
  };
}

type Way = (machine: DaemonProcess) => Promise<() => Promise<void>>;
const WAYS: [how: string, save: Way][] = [
  [
    'restored from a backup',
    async (machine) => {
      const saved = await backup(machine);
      return () => loseAndRestore(machine, saved);
    },
  ],
  ['set back behind its back', copyHome],
];

test.for(WAYS)(
  'the recipient is %s: what was read stays away, what was not is shown, in order',
  async ([, save]) => {
    for (const content of ['1 read later', '2 read later']) await sendTo(desk, 'ada', 'bob', content);
    await delivered(desk, 'ada', '2 read later');
    const goBack = await save(laptop);
    expect(await read(laptop, 'bob')).toEqual(['1 read later', '2 read later']);
    for (const content of ['3 read', '4 read']) await sendTo(desk, 'ada', 'bob', content);
    await delivered(desk, 'ada', '4 read');
    expect(await read(laptop, 'bob')).toEqual(['3 read', '4 read']);
    await becomes(() => rung(desk, 'ada', '4 read'), 'read');
    expect(await sendTo(laptop, 'bob', 'ada', 'a, which bob forgets')).toBe('sent');
    await delivered(laptop, 'bob', 'a, which bob forgets');
    expect(await read(desk, 'ada')).toEqual(['a, which bob forgets']);
    const unread = ['5 unread', '6 unread'];
    for (const content of unread) expect(await sendTo(desk, 'ada', 'bob', content)).toBe('sent');
    await delivered(desk, 'ada', '6 unread');

    await goBack();
    await becomes(() => peek(laptop, 'bob'), unread);
    const { agents } = await laptop.json<StatusView>('status');
    expect(agents[0]).not.toHaveProperty('in_doubt');
    expect(await sendTo(desk, 'ada', 'bob', '9')).toBe('sent');
    await delivered(desk, 'ada', '9');
    expect(await read(laptop, 'bob')).toEqual([...unread, '9']);
    for (const content of ['b', 'c']) expect(await sendTo(laptop, 'bob', 'ada', content)).toBe('sent');
    await becomes(() => peek(desk, 'ada'), ['b', 'c']);
    expect(await read(desk, 'ada')).toEqual(['b', 'c']);
    expect(await read(laptop, 'bob')).toEqual([]);
    await becomes(() => rung(desk, 'ada', '6 unread'), 'read');
  },
);

test.for(WAYS)(
  'the sender is %s: it sends nothing twice, and goes on in an order that is seen',
  async ([, save]) => {
    await laptop.kill('SIGTERM');
    for (const content of ['1 queued', '2 queued']) await sendTo(desk, 'ada', 'bob', content);
    const goBack = await save(desk);
    await laptop.start();
    await delivered(desk, 'ada', '2 queued');
    await sendTo(desk, 'ada', 'bob', '3 lost');
    await delivered(desk, 'ada', '3 lost');
    expect(await read(laptop, 'bob')).toEqual(['1 queued', '2 queued', '3 lost']);

    await goBack();
    for (const content of ['4', '5']) expect(await sendTo(desk, 'ada', 'bob', content)).toBe('sent');
    await delivered(desk, 'ada', '5');
    expect(await read(laptop, 'bob')).toEqual(['4', '5']);
    await becomes(() => rung(desk, 'ada', '2 queued'), 'read');
    await sendTo(desk, 'ada', 'bob', '6');
    await delivered(desk, 'ada', '6');
    expect(await read(laptop, 'bob')).toEqual(['6']);
  },
);

test('a backup is refused where it does not fit, and says why', async () => {
  const { file, words } = await backup(laptop);
  expect(await laptop.run('backup', file)).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/is there already/),
  });
  expect(await restore(laptop, file, words)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/There is something in the home/),
  });
  const other = stage.home('other');
  const twisted = [...words.split(' ').slice(1), words.split(' ')[0]].join(' ');
  for (const [typed, why] of [
    ['one two three', /There are 3 words/],
    [twisted, /not the 24 words|words of another backup/],
  ] as const) {
    expect(await restore(other, file, typed)).toMatchObject({ code: 1, err: expect.stringMatching(why) });
  }
  const bytes = await readFile(file);
  await writeFile(`${file}.cut`, bytes.subarray(0, -20));
  expect(await restore(other, `${file}.cut`, words)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/damaged or cut short/),
  });
  expect(await readdir(other.home)).toEqual([]);
  const plain = await laptop.run('backup', `${file}.2`);
  expect(plain).toMatchObject({ code: 0, stderr: expect.stringMatching(/ 1\. \w+ +2\. \w+/) });
  expect(plain.stdout).toMatch(/^Wrote .*: \d+ records/);
  expect(plain.stdout).not.toMatch(/\d\. \w/);
});
