import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, assert, beforeAll, describe, expect, test } from 'vitest';
import type { MessageView } from '../../protocol/views.ts';
import { BIN, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import type { McpAgent } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';

/** How MCP clients come, wait, give up and go, and what happens to them when the daemon does. */
const CLIENT = fileURLToPath(new URL('../processes/client-process.ts', import.meta.url));
const STOP_MS_MAX = 3_000;

/** A wait to its end takes longer than anything else here: it runs beside the other tests, on its own machine. */
const PATIENCE_SECONDS = 20;

const stage = new Stage();
let machine: DaemonProcess;
let patience: ReturnType<typeof waitPatiently>;

beforeAll(async () => {
  const beside = await stage.machine('beside');
  machine = await stage.machine('host');
  for (const one of [beside, machine]) await one.client().admin.createNamespace('team');
  patience = waitPatiently(await stage.agent(beside, 'patient@team'));
  // Looked at by its test.
  patience.catch(() => undefined);
});
afterAll(() => stage.end());

async function waitPatiently(agent: McpAgent) {
  const progress: { progress: number; total?: number | undefined }[] = [];
  const startedMs = performance.now();
  const result = await agent.client.callTool(
    { name: 'wait_for_message', arguments: { timeout_seconds: PATIENCE_SECONDS } },
    undefined,
    // A client that gives a call up after 15 s without progress.
    { timeout: 15_000, resetTimeoutOnProgress: true, onprogress: (report) => progress.push(report) },
  );
  return { answer: result.structuredContent, progress, tookMs: performance.now() - startedMs };
}

const open = (name: string, client?: string): Promise<McpAgent> =>
  stage.agent(machine, `${name}@team`, client);

const hasEnded = (pid: number): boolean => {
  try {
    // A process that ended and was not collected yet is a zombie.
    return /^\d+ \(.*\) Z /s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
};

const ends = (pid: number): Promise<boolean> =>
  eventually(
    `process ${pid} has ended`,
    async () => hasEnded(pid),
    (ended) => ended,
  );

/** For what is there already. */
const SOON = { timeout_seconds: 5 };

/** Two agents that know each other. */
async function pair(one: string, other: string): Promise<[McpAgent, McpAgent]> {
  const agents = await Promise.all([open(one), open(other)]);
  await agents[0].sees(other);
  return agents;
}

/** Begins a wait; resolves when the server has taken it up, because it reads one line after the other. */
async function beginWait(agent: McpAgent, signal?: AbortSignal) {
  const waiting = agent.call('wait_for_message', { timeout_seconds: 40 }, signal);
  const outcome: Promise<{ message?: MessageView | undefined; error?: string }> = waiting.then(
    ({ message }) => ({ message }),
    (error: Error) => ({ error: error.message }),
  );
  await agent.call('recall');
  return { outcome };
}

test('a second session of an agent is told who reads, takes nothing, and takes over when that one goes', async () => {
  const [sender, first] = await pair('two.sender', 'two.reader');
  await first.call('inbox');
  const second = await open('two.reader', 'second-client');
  await sender.send('two.reader', 'for the first');
  const told = await second.call('inbox');
  expect(told.pending).toEqual([]);
  expect(told.warnings).toEqual([expect.stringContaining('test-client')]);
  await expect(second.call('wait_for_message')).rejects.toMatchObject({
    code: 'agent_in_use',
    message: expect.stringContaining('test-client'),
  });
  expect(await first.next()).toMatchObject({ content: 'for the first' });
  await first.close();
  const given = await eventually(
    'the second reads the inbox',
    () => second.call('inbox'),
    ({ warnings }) => warnings.length === 0,
  );
  expect(given.pending).toMatchObject([{ content: 'for the first', seen_before: true }]);
});

describe('a wait that is cancelled', () => {
  test('takes nothing with it', async () => {
    const [sender, reader] = await pair('cancel.sender', 'cancel.reader');
    for (const content of ['one', 'two', 'three']) {
      const cancel = new AbortController();
      const { outcome } = await beginWait(reader, cancel.signal);
      cancel.abort('cancelled by the test');
      expect((await outcome).error).toContain('cancelled by the test');
      await sender.send('cancel.reader', content);
      const next = await reader.next();
      expect(next.content).toBe(content);
      expect(next.seen_before).toBeUndefined();
    }
  });

  test('in the moment a message arrives does not swallow it', async () => {
    const [sender, reader] = await pair('moment.sender', 'moment.reader');
    const seen: MessageView[] = [];
    for (let round = 0; round < 48; round++) {
      const content = `round ${round}`;
      const cancel = new AbortController();
      const { outcome } = await beginWait(reader, cancel.signal);
      const sending = sender.send('moment.reader', content);
      // Before, while and after the message goes from the daemon to the server to the client.
      await delay(round % 12);
      cancel.abort('cancelled by the test');
      const { message } = await outcome;
      if (message) seen.push(message);
      await sending;
      while (!seen.some((one) => one.content === content)) {
        const { message: again } = await reader.call('wait_for_message', SOON);
        assert(again !== undefined, `${content} was swallowed`);
        seen.push(again);
      }
    }
    seen.push(...(await reader.call('inbox')).pending);
    const twice = seen.filter((message, index) =>
      seen.slice(0, index).some(({ message_id: id }) => id === message.message_id),
    );
    expect(twice.every(({ seen_before: before }) => before)).toBe(true);
  });
});

describe('a daemon that is killed under its clients', () => {
  const calls: [string, (agent: McpAgent) => Promise<unknown>][] = [
    ['inbox', (agent) => agent.call('inbox')],
    ['recall', (agent) => agent.call('recall')],
    ['wait_for_message', (agent) => agent.call('wait_for_message', { timeout_seconds: 1 })],
    ['send_message', (agent) => agent.send('kill.mate', 'once')],
    ['reply', (agent) => agent.call('reply', { message_id: question, content: 'once' })],
    ['unsend', (agent) => agent.call('unsend', { message_id: statement })],
  ];
  let agents: McpAgent[];
  let mate: McpAgent;
  let question: string;
  let statement: string;

  beforeAll(async () => {
    mate = await open('kill.mate');
    agents = await Promise.all(calls.map((_call, index) => open(`kill.agent.${index}`)));
    await Promise.all([mate.sees('kill.agent.4'), ...agents.map((agent) => agent.sees('kill.mate'))]);
    question = await mate.send('kill.agent.4', 'a question');
    await agents[4]!.next();
    statement = await agents[5]!.send('kill.mate', 'a statement');
    await mate.next();
    await mate.call('inbox');
    await machine.kill('SIGKILL');
    await machine.start();
  });

  test.each(calls.map(([tool, call], index) => ({ tool, call, index })))(
    'is found again by the next $tool',
    async ({ call, index }) => {
      await expect(call(agents[index]!)).resolves.toBeDefined();
    },
  );

  test('got every call once', async () => {
    const { pending } = await mate.call('inbox');
    expect(pending.map(({ content, from }) => [content, from])).toEqual([
      ['once', 'kill.agent.3@team'],
      ['once', 'kill.agent.4@team'],
    ]);
  });
});

test('a daemon that is stopped answers its waits, ends soon, leaves nothing and starts again at once', async () => {
  const [waiter, shown] = await pair('stop.waiter', 'stop.shown');
  await waiter.send('stop.shown', 'shown and not confirmed');
  await shown.next();
  const waiting = waiter.client.callTool({ name: 'wait_for_message', arguments: { timeout_seconds: 40 } });
  await waiter.call('recall');
  const startedMs = performance.now();
  await machine.kill('SIGTERM');
  const tookMs = performance.now() - startedMs;
  const answer = await waiting;
  expect(tookMs).toBeLessThan(STOP_MS_MAX);
  expect(machine.process?.exitCode).toBe(0);
  expect(answer.structuredContent).toEqual({ status: 'timeout', more: 0, reason: 'stopping' });
  expect(answer.content).toEqual([{ type: 'text', text: expect.stringContaining('Call wait_for_message') }]);
  expect(readdirSync(machine.home).sort()).toEqual([
    'api-token',
    'machine.key',
    'prekeys',
    'store',
    'store.key',
    'store.tally',
  ]);
  await machine.start();
  expect((await waiter.call('inbox')).pending).toEqual([]);
  expect((await shown.call('inbox')).pending).toMatchObject([{ seen_before: true }]);
});

describe('patchcord mcp', () => {
  test('ends when its client closes stdin, and its agent is offline', async () => {
    const child = spawn(process.execPath, [BIN, 'mcp', '--agent', 'closed@team', '--home', machine.home], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const say = (message: object) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
    const exited = once(child, 'exit');
    const clientInfo = { name: 'raw', version: '1' };
    say({
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo },
    });
    await once(createInterface(child.stdout), 'line');
    say({ method: 'notifications/initialized' });
    const { admin } = machine.client();
    const isOnline = async () =>
      (await admin.agents()).find(({ agent }) => agent === 'closed@team')?.online ?? false;
    await eventually('the agent is online', isOnline, (online) => online);
    child.stdin.end();
    expect(await exited).toEqual([0, null]);
    expect(await isOnline()).toBe(false);
  });

  test('ends when its parent is killed, and gives back what was leased', async () => {
    const sender = await open('orphan.sender');
    const parent = spawn(process.execPath, [CLIENT, machine.home, 'orphan@team'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      const lines = createInterface(parent.stdout)[Symbol.asyncIterator]();
      const { server }: { server: number } = JSON.parse(String((await lines.next()).value));
      parent.stdin.write('\n');
      await sender.sees('orphan', { online: true });
      await sender.send('orphan', 'leased');
      await lines.next();
      expect(hasEnded(server)).toBe(false);
      parent.kill('SIGKILL');
      await ends(server);
      const heir = await open('orphan');
      expect(await heir.next()).toMatchObject({ content: 'leased', seen_before: true });
    } finally {
      parent.kill('SIGKILL');
    }
  });

  test('starts the daemon again that its agents have lost, but one alone, and goes on waiting', async () => {
    const agents = await Promise.all([open('lost.one'), open('lost.two'), open('lost.three')]);
    await Promise.all(agents.slice(1).map((agent) => agents[0].sees(agent.address.split('@')[0]!)));
    const waits = await Promise.all(agents.slice(1).map((agent) => beginWait(agent)));
    await machine.kill('SIGKILL');
    const sent = await eventually(
      'the daemon is back, and the agents are online',
      () => agents[0].call('inbox'),
      ({ agents: others }) => others.filter(({ agent }) => agent.startsWith('lost.')).length === 2,
    ).then(() => agents[0].call('send_message', { to_agent: 'lost.two, lost.three', content: 'all here' }));
    expect(sent.status).toBe('sent');
    for (const { outcome } of waits) expect((await outcome).message?.content).toBe('all here');
  });
});

test('a long wait reports progress, and says in time that nothing came', async () => {
  const { answer, progress, tookMs } = await patience;
  expect(answer).toEqual({ status: 'timeout', more: 0 });
  expect(tookMs).toBeGreaterThan(PATIENCE_SECONDS * 1_000 - 500);
  expect(tookMs).toBeLessThan(PATIENCE_SECONDS * 1_000 + 5_000);
  expect(progress.length).toBeGreaterThanOrEqual(2);
  expect(progress.every(({ total }) => total === PATIENCE_SECONDS)).toBe(true);
  const elapsed = progress.map(({ progress: seconds }) => seconds);
  expect(elapsed).toEqual([...new Set(elapsed)].sort((one, other) => one - other));
});
