import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type {
  CreatedNamespaceView,
  InviteView,
  JoinCheckView,
  LocalAgentView,
  MemberView,
  NamespaceView,
} from '../../protocol/admin-views.ts';
import { BIN, mesh, type CliAnswer, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { Stage } from '../processes/stage.ts';

/** Who is in a namespace and who decides that, by the command alone: real daemons, each in a home of its own. */

const stage = new Stage();
let desk: DaemonProcess;
let laptop: DaemonProcess;

beforeEach(async () => {
  [desk, laptop] = await Promise.all([stage.machine('desk'), stage.machine('laptop')]);
});
afterEach(async () => stage.end());

const members = async (on: DaemonProcess): Promise<MemberView[]> =>
  (await on.json<{ members: MemberView[] }>('namespace', 'members', 'team')).members;

const labels = (views: readonly MemberView[]): string[] => views.map(({ machine }) => machine).sort();

async function ownView(on: DaemonProcess): Promise<NamespaceView | undefined> {
  const { namespaces } = await on.json<{ namespaces: NamespaceView[] }>('namespace', 'list');
  return namespaces.find(({ namespace }) => namespace === 'team');
}

const checks = async (): Promise<JoinCheckView[]> =>
  (await desk.json<{ joins: JoinCheckView[] }>('namespace', 'confirm', 'team')).joins;

/** The code of a command that must be refused. */
async function refusal(answer: CliAnswer): Promise<unknown> {
  expect(answer).toMatchObject({ code: 1, stderr: expect.stringMatching(/^patchcord: /m) });
  const { error }: { error: { code: string } } = JSON.parse(answer.stdout);
  return error.code;
}

/** Runs the command with something on stdin. */
async function told(on: DaemonProcess, input: string, ...args: string[]): Promise<CliAnswer> {
  const child = spawn(process.execPath, [BIN, ...args, '--json', '--home', on.home]);
  const answer = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (answer.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (answer.stderr += text));
  child.stdin.end(input);
  await once(child, 'close');
  return { code: child.exitCode ?? -1, ...answer };
}

test('promote makes an admin, who may invite then', async () => {
  await mesh('team', desk, laptop);
  expect(await refusal(await laptop.run('namespace', 'invite', 'team', '--json'))).toBe('not_admin');
  const { promoted } = await desk.json<{ promoted: MemberView }>('namespace', 'promote', 'team', 'laptop');
  expect(promoted).toMatchObject({ machine: 'laptop', role: 'admin' });
  await eventually(
    'the laptop is an admin',
    () => ownView(laptop),
    (view) => view?.role === 'admin',
  );
  const { ticket } = await laptop.json<InviteView>('namespace', 'invite', 'team');
  expect(ticket).toMatch(/^pc1:/);
});

test('remove takes a machine out, which learns by whom', async () => {
  await mesh('team', desk, laptop);
  const { peerId } = laptop.info!;
  const { removed } = await desk.json<{ removed: MemberView }>('namespace', 'remove', 'team', peerId);
  expect(removed).toMatchObject({ machine: 'laptop', peer_id: peerId });
  expect(labels(await members(desk))).toEqual(['desk']);
  const view = await eventually(
    'the laptop knows',
    () => ownView(laptop),
    (seen) => seen?.role === 'removed',
  );
  expect(view?.removed).toMatchObject({ by: 'desk', at: expect.any(String) });
  const text = (await laptop.run('namespace', 'members', 'team')).stdout;
  expect(text).toMatch(/^team: removed at .* by "desk"/);
  expect((await laptop.run('status')).stdout).toContain('team: removed at');
  expect((await laptop.run('namespace', 'invite', 'team')).code).toBe(1);
  expect(await refusal(await desk.run('namespace', 'remove', 'team', 'laptop', '--json'))).toBe('not_found');
  expect(await refusal(await desk.run('namespace', 'remove', 'team', 'desk', '--json'))).toBe(
    'invalid_input',
  );
});

test('leave takes this machine and its agents out', async () => {
  await mesh('team', desk, laptop);
  await laptop.json('agent', 'add', 'a@team');
  expect(await refusal(await desk.run('namespace', 'leave', 'team', '--json'))).toBe('invalid_input');
  expect(await laptop.json('namespace', 'leave', 'team')).toEqual({ namespace: 'team', left: true });
  const { agents } = await laptop.json<{ agents: LocalAgentView[] }>('agent', 'list');
  expect(agents).toEqual([]);
  await eventually(
    'the desk knows',
    () => members(desk),
    (views) => labels(views).join() === 'desk',
  );
});

test('a join with --confirm waits for the same digits on both sides', async () => {
  await desk.json('namespace', 'create', 'team');
  const invited = await desk.run('namespace', 'invite', 'team', '--confirm');
  expect(invited).toMatchObject({ code: 0, stdout: expect.stringMatching(/^pc1:[\w-]+\n$/) });
  expect(invited.stderr).toContain('patchcord namespace confirm team CODE');
  const ticket = invited.stdout.trim();
  expect(await checks()).toEqual([]);

  const rejected = laptop.run('namespace', 'join', ticket, '--json');
  const [bad] = await eventually('the join shows', checks, ({ length }) => length === 1);
  expect(bad).toMatchObject({ code: expect.stringMatching(/^\d{6}$/), machine: 'laptop' });
  const other = bad!.code === '000000' ? '000001' : '000000';
  expect(await refusal(await desk.run('namespace', 'confirm', 'team', other, '--json'))).toBe('not_found');
  expect(await desk.json('namespace', 'confirm', 'team', bad!.code, '--reject')).toEqual({ rejected: bad });
  expect(await refusal(await rejected)).toBe('join_rejected');
  expect(await ownView(laptop)).toBeUndefined();

  const again = (await desk.json<InviteView>('namespace', 'invite', 'team', '--confirm')).ticket;
  const joining = laptop.run('namespace', 'join', again);
  const [good] = await eventually('the join shows again', checks, ({ length }) => length === 1);
  const digits = `${good!.code.slice(0, 3)} ${good!.code.slice(3)}`;
  const listed = (await desk.run('namespace', 'confirm', 'team')).stdout;
  expect(listed).toContain(`${digits}  "laptop" (key …${laptop.info!.peerId.slice(-8)})`);
  expect(await desk.json('namespace', 'confirm', 'team', digits)).toEqual({ admitted: good });
  const joined = await joining;
  expect(joined).toMatchObject({ code: 0 });
  expect(joined.stderr).toContain(`Check: ${digits}.`);
  expect(joined.stdout).toContain('Joined team, admitted by "desk"');
  expect(joined.stdout).toContain('patchcord agent add NAME@team');
  expect(labels(await members(desk))).toEqual(['desk', 'laptop']);
  expect(await checks()).toEqual([]);
});

test('the recovery words make another machine admin when the first is lost', async () => {
  const { recovery_phrase: words } = await desk.json<CreatedNamespaceView>('namespace', 'create', 'team');
  const { ticket } = await desk.json<InviteView>('namespace', 'invite', 'team');
  await laptop.json('namespace', 'join', ticket);
  const { recovery_phrase: others } = await laptop.json<CreatedNamespaceView>('namespace', 'create', 'other');
  await desk.kill('SIGKILL');

  const recover = ['namespace', 'recover', 'team', '--remove', 'desk'];
  expect(await refusal(await told(laptop, 'patchcord '.repeat(24), ...recover))).toBe('invalid_input');
  expect(await refusal(await told(laptop, others, ...recover))).toBe('forbidden');
  expect(labels(await members(laptop))).toEqual(['desk', 'laptop']);

  const typed = words.split(' ').map((word, index) => `${index + 1}. ${word.toUpperCase()}\n`);
  const answer = await told(laptop, typed.join(''), ...recover);
  expect(answer).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(answer.stdout)).toMatchObject({ namespace: 'team', role: 'admin', members: 1 });
  expect(labels(await members(laptop))).toEqual(['laptop']);
  expect(laptop.log).not.toContain(words.split(' ').slice(0, 3).join(' '));

  // What was lost and turns up again learns where it stands.
  await desk.start();
  await eventually(
    'the desk knows',
    () => ownView(desk),
    (view) => view?.role === 'removed',
  );
});
