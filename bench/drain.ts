import { rmSync, watch } from 'node:fs';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { DaemonProcess, mesh } from '../test/processes/daemon-process.ts';
import { eventually } from '../test/processes/eventually.ts';
import { McpAgent } from '../test/processes/mcp-agent.ts';
import { median, type Figure } from './figures.ts';
import { residentMegabytes, watchMemory } from './memory.ts';

const MESSAGES = 10_000;
/** Calls of inbox on the full inbox; each shows 100 and confirms the 100 before. */
const LOOKS = 20;
const AT_ONCE = 32;
const LOOP_WATCH = fileURLToPath(new URL('./loop-watch.ts', import.meta.url));

/**
 * A daemon with a backlog meets its recipient again: how long until all is delivered, and how long either loop stops.
 * Its memory is compared with what it took to send as much to a recipient who was there: V8 grows under load, whatever
 * waits.
 */
export async function drain(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'patchcord-bench-'));
  const [a, b] = [new DaemonProcess('a'), new DaemonProcess('b')];
  try {
    for (const machine of [a, b]) {
      machine.env = { NODE_OPTIONS: `--import=${LOOP_WATCH}`, LOOP_WATCH: join(folder, machine.label) };
      await machine.start();
    }
    await mesh('bench', a, b);
    await b.json('agent', 'add', 'receiver@bench');
    await b.json('agent', 'add', 'present@bench');
    await a.json('agent', 'add', 'sender@bench');
    await eventually(
      'the receivers are known',
      () => agents(a),
      (names) => names.includes('receiver@bench') && names.includes('present@bench'),
    );
    const [idleA, idleB] = [residentMegabytes(a.info!.pid), residentMegabytes(b.info!.pid)];
    const loadA = watchMemory(a.info!.pid);
    await queue(a, 'present');
    await eventually(
      'all arrive',
      () => pending(b, 'present'),
      (count) => count === MESSAGES,
      120_000,
    );
    const busyA = loadA.stop();
    await b.kill('SIGTERM');
    const memoryA = watchMemory(a.info!.pid);
    const sentMs = await queue(a, 'receiver');
    await longestStop(a, folder);
    const from = performance.now();
    await b.start();
    const memoryB = watchMemory(b.info!.pid);
    await eventually(
      'all arrive',
      () => pending(b, 'receiver'),
      (count) => count === MESSAGES,
      120_000,
    );
    const drainedMs = performance.now() - from;
    const looksMs = await looks(b);
    const mostA = memoryA.stop();
    const growthB = memoryB.stop() - idleB;
    const [stopA, stopB] = [await longestStop(a, folder), await longestStop(b, folder)];
    return [
      { name: 'queued for who is away, 32 at once', value: (MESSAGES / sentMs) * 1_000, unit: '/s' },
      { name: `${MESSAGES} queued messages drain in`, value: drainedMs, unit: 'ms', bound: 30_000 },
      { name: 'longest stop of the sending loop', value: stopA, unit: 'ms', bound: 50 },
      { name: 'longest stop of the receiving loop', value: stopB, unit: 'ms' },
      { name: `inbox of ${MESSAGES}, 100 shown, p50`, value: median(looksMs), unit: 'ms', bound: 50 },
      { name: `inbox of ${MESSAGES}, 100 shown, worst of ${LOOKS}`, value: Math.max(...looksMs), unit: 'ms' },
      { name: 'growth of the sending daemon with the backlog', value: mostA - busyA, unit: 'MB', bound: 100 },
      { name: 'growth of the sending daemon since idle', value: mostA - idleA, unit: 'MB' },
      { name: 'growth of the receiving daemon', value: growthB, unit: 'MB', bound: 100 },
    ];
  } finally {
    await Promise.all([a.remove(), b.remove()]);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Sends so many messages to an agent and says how long that took, in milliseconds. */
async function queue(a: DaemonProcess, to: string): Promise<number> {
  const session = await a.client().messenger.open({ agent: 'sender@bench', client: 'bench' });
  const from = performance.now();
  let left = MESSAGES;
  const send = async () => {
    while (left-- > 0) await session.send({ to_agent: to, content: 'x'.repeat(1_024), thread: '' });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, send));
  const tookMs = performance.now() - from;
  await session.close();
  return tookMs;
}

/** How long each call of inbox takes a client over stdio, in milliseconds. */
async function looks(b: DaemonProcess): Promise<number[]> {
  const receiver = await McpAgent.open(b, 'receiver@bench');
  await receiver.call('recall', { limit: 1 });
  const timesMs: number[] = [];
  for (let look = 0; look < LOOKS; look++) {
    const from = performance.now();
    const { pending } = await receiver.call('inbox');
    timesMs.push(performance.now() - from);
    if (pending.length !== 100) throw new Error(`inbox showed ${pending.length}`);
  }
  await receiver.close();
  return timesMs;
}

async function agents(machine: DaemonProcess): Promise<string[]> {
  return (await machine.client().admin.namespaces()).flatMap((view) => view.agents);
}

async function pending(machine: DaemonProcess, name: string): Promise<number> {
  const agents = await machine.client().admin.agents();
  return agents.find(({ agent }) => agent === `${name}@bench`)?.pending ?? 0;
}

/** The longest stop since the last look, in milliseconds. The receiver's includes its start. */
async function longestStop(machine: DaemonProcess, folder: string): Promise<number> {
  const file = join(folder, machine.label);
  rmSync(file, { force: true });
  const written = new Promise<void>((resolve) => {
    const watcher = watch(folder, (_event, name) => {
      if (name !== machine.label) return;
      watcher.close();
      resolve();
    });
  });
  machine.process!.kill('SIGUSR2');
  await written;
  return Number(
    await eventually(
      'the figure',
      () => readFile(file, 'utf8'),
      (text) => text !== '',
    ),
  );
}
