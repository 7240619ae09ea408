import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { DaemonProcess, mesh } from '../test/processes/daemon-process.ts';
import { McpAgent } from '../test/processes/mcp-agent.ts';
import type { Figure } from './figures.ts';
import { residentMegabytes } from './memory.ts';

const SETTLE_MS = 3_000;
const WATCH_MS = 20_000;
/** Clock ticks per second in /proc/PID/stat (proc(5)); 100 on every Linux that Node supports. */
const TICKS_PER_SECOND = 100;

/**
 * A daemon that is linked, with an agent in wait_for_message and no traffic: resident memory, and share of one
 * core over 20 s. Reads /proc, so it is for Linux; elsewhere it measures nothing and says so.
 */
export async function idle(): Promise<Figure[]> {
  if (process.platform !== 'linux') {
    console.log('idle: skipped, /proc is needed');
    return [];
  }
  const [a, b] = [new DaemonProcess('a'), new DaemonProcess('b')];
  try {
    await a.start();
    await b.start();
    await mesh('bench', a, b);
    const agent = await McpAgent.open(a, 'waiter@bench');
    const stop = new AbortController();
    const waiting = agent
      .call('wait_for_message', { timeout_seconds: 40 }, stop.signal)
      .catch(() => undefined);
    await delay(SETTLE_MS);
    const before = cpuSeconds(a.info!.pid);
    await delay(WATCH_MS);
    const share = (100 * (cpuSeconds(a.info!.pid) - before)) / (WATCH_MS / 1_000);
    const memory = residentMegabytes(a.info!.pid);
    stop.abort();
    await waiting;
    await agent.close();
    return [
      { name: 'idle daemon, resident memory', value: memory, unit: 'MB', bound: 150 },
      { name: 'idle daemon, share of one core', value: share, unit: '%', bound: 1 },
    ];
  } finally {
    await Promise.all([a.remove(), b.remove()]);
  }
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
