import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { afterEach, expect, test } from 'vitest';
import type {
  CreatedNamespaceView,
  InviteView,
  MemberView,
  NamespaceView,
  StatusView,
} from '../../protocol/admin-views.ts';
import { formatTicket, parseTicket } from '../../protocol/ticket.ts';
import { BIN, mesh, type CliAnswer, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { recordsIn } from '../processes/home-store.ts';
import type { McpAgent } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';
import { TcpTap } from '../processes/tcp-tap.ts';

/** Who is in, who is out, and what a third can see: three real daemons, each in a home of its own. */

/** "Within seconds", with room for a computer that does other things too. */
const SECONDS_MS = 20_000;

const stage = new Stage();
const taps: TcpTap[] = [];
afterEach(async () => {
  await stage.end();
  await Promise.all(taps.splice(0).map((tap) => tap.close()));
});

async function machines(): Promise<[DaemonProcess, DaemonProcess, DaemonProcess]> {
  return Promise.all([stage.machine('alpha'), stage.machine('beta'), stage.machine('gamma')]);
}

async function ownView(on: DaemonProcess): Promise<NamespaceView | undefined> {
  const { namespaces } = await on.json<{ namespaces: NamespaceView[] }>('namespace', 'list');
  return namespaces.find(({ namespace }) => namespace === 'team');
}

async function labels(on: DaemonProcess): Promise<string> {
  const { members } = await on.json<{ members: MemberView[] }>('namespace', 'members', 'team');
  return members
    .map(({ machine }) => machine)
    .sort()
    .join();
}

const remove = (by: DaemonProcess, label: string) => by.json('namespace', 'remove', 'team', label);

/** Everybody knows everybody's agent. */
async function acquaint(...agents: readonly McpAgent[]): Promise<void> {
  const names = agents.map(({ address }) => address.split('@')[0]!);
  await Promise.all(
    agents.map(async (agent) => {
      for (const name of names) if (!agent.address.startsWith(`${name}@`)) await agent.sees(name);
    }),
  );
}

/** A message of one gets to the other, and its receipt back. */
async function talks(from: McpAgent, to: McpAgent, content: string): Promise<void> {
  const waiting = to.next();
  const id = await from.send(to.address.split('@')[0]!, content);
  expect(await waiting).toMatchObject({ content, from: from.address, verified: 'sealed' });
  await to.call('reply', { message_id: id, defer: true });
  await from.reaches(id, 'deferred');
}

/** What a machine that was removed has to know and to say. */
async function knowsItIsOut(gone: DaemonProcess, agent: McpAgent, by: string): Promise<void> {
  const view = await eventually(
    `${gone.label} knows that it was removed`,
    () => ownView(gone),
    (seen) => seen?.role === 'removed',
    SECONDS_MS,
  );
  expect(view).toMatchObject({ agents: [], removed: { by, at: expect.any(String) } });
  const said = new RegExp(`team: removed at .* by "${by}"`);
  expect((await gone.run('namespace', 'list')).stdout).toMatch(said);
  expect((await gone.run('status')).stdout).toMatch(said);
  const sending = agent.call('send_message', { to_agent: 'ann', content: 'let me in' });
  await expect(sending).rejects.toMatchObject({
    code: 'not_member',
    message: expect.stringContaining(`removed from team by ${by}`),
  });
  const inbox = await agent.call('inbox', { all_agents: true });
  expect(inbox.agents).toEqual([]);
  expect(inbox.warnings.join()).toContain(`removed from team by ${by}`);
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

test('a machine that is removed is out within seconds, knows it, and keeps nothing of what comes after', async () => {
  const [a, b, c] = await machines();
  await mesh('team', a, b, c);
  const [ann, bob, cy] = await Promise.all([
    stage.agent(a, 'ann@team'),
    stage.agent(b, 'bob@team', 'canary-client'),
    stage.agent(c, 'cy@team'),
  ]);
  await acquaint(ann, bob, cy);
  await talks(ann, cy, 'hello from alpha');
  await talks(cy, bob, 'hello from gamma');
  await talks(bob, ann, 'hello from beta');

  await remove(a, 'gamma');
  await knowsItIsOut(c, cy, 'alpha');
  for (const on of [a, b]) {
    await eventually(
      `${on.label} has no link to gamma`,
      () => on.json<StatusView>('status'),
      ({ links }) => !links.some(({ peer_id: peer }) => peer === c.info!.peerId),
    );
    expect(await labels(on)).toBe('alpha,beta');
  }
  for (const agent of [ann, bob]) {
    const sending = agent.send('cy', 'are you there?');
    await expect(sending).rejects.toMatchObject({ code: 'unknown_recipient' });
  }
  await talks(bob, ann, 'canary-after-removal of beta');
  await talks(ann, bob, 'canary-after-removal of alpha');
  const late = await stage.agent(b, 'canary-agent@team', 'canary-client');
  await acquaint(ann, late);

  // What it knew before it was killed it knows again, from its disk alone.
  await c.kill('SIGKILL');
  await cy.close();
  await c.start();
  const again = await stage.agent(c, 'cy@team');
  await knowsItIsOut(c, again, 'alpha');
  const recalled = JSON.stringify(await again.call('recall', { limit: 100 }));
  expect(recalled).toContain('hello from alpha');
  expect(recalled).not.toContain('canary');

  await again.close();
  await c.kill('SIGKILL');
  const records = await recordsIn(c.home);
  const text = records.map(({ text }) => text).join('\n');
  expect(text).toContain('hello from alpha');
  expect(text).not.toContain('canary');
  const shared = records.filter(({ key }) => /^(roster|namespace-key|outbox)\//.test(key));
  expect(shared.map(({ key }) => key)).toEqual([]);
  await talks(ann, bob, 'and on we talk');
});

test('a machine that was away when it was removed is told when it comes back, by whoever is there', async () => {
  const [a, b, c] = await machines();
  await mesh('team', a, b, c);
  const [ann, bob, cy] = await Promise.all([
    stage.agent(a, 'ann@team'),
    stage.agent(b, 'bob@team'),
    stage.agent(c, 'cy@team'),
  ]);
  await acquaint(ann, bob, cy);
  await cy.close();
  await c.kill('SIGTERM');
  await Promise.all([ann, bob].map((agent) => agent.sees('cy', { online: false })));
  const waiting = await Promise.all([
    ann.send('cy', 'read this when you are back'),
    bob.send('cy', 'and this'),
  ]);
  await remove(a, 'gamma');
  // It can never arrive, and its sender is told so.
  await ann.reaches(waiting[0], 'refused');
  await bob.reaches(waiting[1], 'refused');
  for (const on of [a, b]) {
    const { links } = await on.json<StatusView>('status');
    expect(links.map(({ queued }) => queued)).toEqual([0]);
  }

  await ann.close();
  await a.kill('SIGTERM');
  await c.start();
  const again = await stage.agent(c, 'cy@team');
  await knowsItIsOut(c, again, 'alpha');
  expect((await again.call('inbox', { all_agents: true })).pending).toEqual([]);
  expect(await labels(b)).toBe('alpha,beta');
});

test('who reads the traffic between two machines finds neither content nor names in it', async () => {
  const [a, b] = await machines();
  await a.json('namespace', 'create', 'canary-team');
  const tap = await TcpTap.open(Number(/\/tcp\/(\d+)/.exec(a.info!.listen[0]!)![1]));
  taps.push(tap);
  const { ticket } = await a.json<InviteView>('namespace', 'invite', 'canary-team');
  const read = parseTicket(ticket);
  const tapped = `/ip4/127.0.0.1/tcp/${tap.port}/p2p/${read.peer}`;
  await b.json('namespace', 'join', formatTicket({ ...read, addresses: [tapped] }));
  const [one, other] = await Promise.all([
    stage.agent(a, 'canary-one@canary-team', 'canary-client'),
    stage.agent(b, 'canary-other@canary-team', 'canary-client'),
  ]);
  await acquaint(one, other);
  await talks(one, other, 'canary-content of alpha');
  await one.send('canary-other', 'canary-content again', 'canary-thread');
  expect((await other.next()).thread).toBe('canary-thread');

  // All of that went this way.
  const { links } = await b.json<StatusView>('status');
  expect(links).toMatchObject([{ up: true, address: expect.stringContaining(`/tcp/${tap.port}`) }]);
  const { captured } = tap;
  expect(captured.includes('/noise')).toBe(true);
  expect(captured.length).toBeGreaterThan(4_096);
  for (const secret of ['canary', 'alpha', 'beta', 'last_seen', read.ns]) {
    expect({ secret, found: captured.includes(secret) }).toEqual({ secret, found: false });
  }
  expect(captured.includes(Buffer.from(read.secret))).toBe(false);
  // Nor does what the daemons wrote down on the way.
  for (const machine of [a, b]) {
    const log = machine.log + (await readFile(`${machine.home}/daemon.log`, 'utf8').catch(() => ''));
    expect(log).not.toContain('canary-content');
    expect(log).not.toContain(Buffer.from(read.secret).toString('hex'));
  }
});

test('the recovery words make another machine the admin when the only one is gone for good', async () => {
  const [a, b, c] = await machines();
  const { recovery_phrase: words } = await a.json<CreatedNamespaceView>('namespace', 'create', 'team');
  for (const machine of [b, c]) {
    const { ticket } = await a.json<InviteView>('namespace', 'invite', 'team');
    await machine.json('namespace', 'join', ticket);
  }
  const [ann, bob, cy] = await Promise.all([
    stage.agent(a, 'ann@team'),
    stage.agent(b, 'bob@team'),
    stage.agent(c, 'cy@team'),
  ]);
  await acquaint(ann, bob, cy);
  await ann.close();
  await a.remove();
  expect((await b.run('namespace', 'remove', 'team', 'alpha')).stderr).toContain('Only an admin');

  const recovered = await told(b, words, 'namespace', 'recover', 'team', '--remove', 'alpha');
  expect(recovered).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(recovered.stdout)).toMatchObject({ role: 'admin', members: 2 });
  await eventually(
    'gamma follows',
    () => labels(c),
    (seen) => seen === 'beta,gamma',
    SECONDS_MS,
  );
  await talks(bob, cy, 'we are two now');
  // Its word counts: it lets a machine in and puts one out, and the words are in no log.
  const d = await stage.machine('delta');
  const { ticket } = await b.json<InviteView>('namespace', 'invite', 'team');
  await d.json('namespace', 'join', ticket);
  const dee = await stage.agent(d, 'dee@team');
  await acquaint(cy, dee);
  await talks(dee, cy, 'I am new');
  await remove(b, 'delta');
  await knowsItIsOut(d, dee, 'beta');
  await talks(cy, bob, 'two again');
  for (const machine of [b, c]) expect(machine.log).not.toContain(words.split(' ').slice(0, 3).join(' '));
});
