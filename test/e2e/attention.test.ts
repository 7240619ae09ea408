import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DoctorView } from '../../protocol/doctor-view.ts';
import type { TopView } from '../../protocol/top-view.ts';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import type { McpAgent } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';

/** What agents see of one another, and how they may disturb one another, over two daemons. */
const stage = new Stage();
let a: DaemonProcess;
let b: DaemonProcess;

beforeAll(async () => {
  [a, b] = await Promise.all([stage.machine('alpha'), stage.machine('beta')]);
  await mesh('team', a, b);
});
afterAll(() => stage.end());

/** Both, when they know each other. */
async function pair(one: string, other: string): Promise<[McpAgent, McpAgent]> {
  const [left, right] = await Promise.all([stage.agent(a, `${one}@team`), stage.agent(b, `${other}@team`)]);
  await Promise.all([left.sees(other, { online: true }), right.sees(one, { online: true })]);
  return [left, right];
}
const seenBy = async (agent: McpAgent, name: string) =>
  (await agent.call('inbox', { all_agents: true })).agents.find((one) => one.agent === `${name}@team`);

describe('urgency', () => {
  test('info wakes nobody: a wait ends with what comes after it, and shows both', async () => {
    const [ada, bob] = await pair('ada', 'bob');
    const waiting = bob.call('wait_for_message', { timeout_seconds: 40 });
    const quiet = await ada.call('send_message', { to_agent: 'bob', content: 'fyi', urgency: 'info' });
    await ada.reaches(quiet.message_id!, 'delivered');
    const loud = await ada.send('bob', 'hello');
    expect(await waiting).toMatchObject({ message: { content: 'fyi', urgency: 'info' }, more: 1 });
    expect(await bob.next()).toMatchObject({ message_id: loud, content: 'hello' });
  });

  test('do-not-disturb holds all but steer back, and senders are told; also after a restart', async () => {
    const [ada, bob] = await pair('ada2', 'bob2');
    await b.json('agent', 'set', 'bob2@team', '--dnd', '--status', 'deep in it');
    await eventually(
      'ada hears of it',
      () => seenBy(ada, 'bob2'),
      (seen) => seen?.state === 'dnd',
    );
    expect(await seenBy(ada, 'bob2')).toMatchObject({ status: 'deep in it' });
    await bob.close();
    await b.kill('SIGTERM');
    await b.start();
    const again = await stage.agent(b, 'bob2@team');
    await ada.sees('bob2', { online: true });
    const waiting = again.call('wait_for_message', { timeout_seconds: 40 });
    const sent = await ada.call('send_message', { to_agent: 'bob2', content: 'hello' });
    expect(sent.receipts).toMatchObject([
      { recipient_state: 'dnd', note: expect.stringContaining('disturbed') },
    ]);
    await ada.reaches(sent.message_id!, 'delivered');
    const steer = await a.json<{ receipts: { note?: string }[] }>(
      ...(['send', 'bob2', 'stop', '--urgency', 'steer', '--as', ada.address] as const),
    );
    expect(steer.receipts[0]!.note).toBeUndefined();
    expect(await waiting).toMatchObject({ message: { content: 'hello' }, more: 1 });
    expect(await again.next()).toMatchObject({ content: 'stop', urgency: 'steer' });
    await b.json('agent', 'set', 'bob2@team', '--no-dnd');
    await ada.send('bob2', 'welcome back');
    expect(await again.next()).toMatchObject({ content: 'welcome back' });
  });
});

describe('a watch', () => {
  test('by command is told once when the agent comes, though its machine was started again meanwhile', async () => {
    const [ada, bob] = await pair('ada3', 'bob3');
    await bob.close();
    await ada.sees('bob3', { online: false });
    await ada.close();
    await a.json('watch', 'bob3@team', 'online', '--as', 'ada3@team');
    await a.kill('SIGTERM');
    await a.start();
    const { watches } = await a.json<{ watches: object[] }>('watch', '--list', '--as', 'ada3@team');
    expect(watches).toMatchObject([{ agent: 'bob3@team', state: 'online' }]);
    const waiting = await stage.agent(a, 'ada3@team');
    const told = waiting.next();
    await stage.agent(b, 'bob3@team');
    expect(await told).toMatchObject({ from: 'patchcord', notice: 'watch', about: 'bob3@team' });
    expect(await a.json('watch', '--list', '--as', 'ada3@team')).toEqual({ watches: [] });
    expect((await a.run('watch', 'nobody@team', 'online', '--as', 'ada3@team')).code).toBe(1);
    expect((await a.run('watch', 'bob3@team', 'asleep', '--as', 'ada3@team')).code).toBe(2);
  });

  test('by a tool ends a wait when the agent is idle', async () => {
    const [ada, bob] = await pair('ada4', 'bob4');
    await eventually(
      'bob works',
      () => seenBy(ada, 'bob4'),
      (seen) => seen?.state === 'busy',
    );
    const waiting = ada.call('wait_for_message', { timeout_seconds: 40, until_agent: 'bob4' });
    const resting = bob.call('wait_for_message', { timeout_seconds: 40 });
    expect(await waiting).toMatchObject({ status: 'notice', notice: { agent: 'bob4@team', state: 'idle' } });
    await ada.send('bob4', 'good night');
    await resting;
  });
});

describe('the command line', () => {
  test('top shows once, where there is no terminal, who is here and what waits', async () => {
    const [ada] = await pair('ada5', 'bob5');
    await b.json('agent', 'set', 'bob5@team', '--status', 'red \u001b[31m alert', '--project', 'shop');
    await eventually(
      'ada hears of it',
      () => seenBy(ada, 'bob5'),
      (seen) => seen?.status !== undefined,
    );
    const view = await a.json<TopView>('top', '--once');
    expect(view.agents.find(({ agent }) => agent === 'bob5@team')).toMatchObject({
      online: true,
      machine: 'beta',
      project: 'shop',
      status: 'red [31m alert',
    });
    expect(view.machines).toMatchObject([{ machine: 'beta', up: true, via: 'direct' }]);
    const { stdout, code } = await a.run('top');
    expect(code).toBe(0);
    expect(stdout).toMatch(/bob5 +(busy|idle) +beta +now .*shop +red \[31m alert/);
    expect(stdout).not.toContain('\u001b');
  });

  test('doctor says why a machine that was stopped is not reached, and what to do', async () => {
    expect(await a.run('doctor', 'beta')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('linked directly'),
    });
    await b.kill('SIGTERM');
    const port = /\/tcp\/(\d+)/.exec(b.info!.listen[0]!)![1]!;
    const told = await eventually(
      'the address was tried',
      () => a.run('doctor', 'bob5@team'),
      ({ stdout }) => stdout.includes('ECONNREFUSED'),
    );
    expect(told.code).toBe(1);
    expect(told.stdout).toMatch(
      new RegExp(`/ip4/127.0.0.1/tcp/${port}: the host is there and nothing listens`),
    );
    expect(told.stdout).toContain('Start it there with `patchcord up`');
    const { peers } = await a.json<DoctorView & { peers: object[] }>('doctor');
    expect(peers).toMatchObject([{ machine: 'beta', member: true, linked: false }]);
    const unknown = await a.run('doctor', 'gamma');
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('gamma') });
  });
});
