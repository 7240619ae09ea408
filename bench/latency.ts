import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { DaemonProcess, mesh } from '../test/processes/daemon-process.ts';
import { McpAgent } from '../test/processes/mcp-agent.ts';
import { quantile, type Figure } from './figures.ts';

/** By then what runs for each message is compiled: of the first 50 one takes a third longer. */
const WARM_UP = 500;
const ROUNDS = 500;
/** From the call of wait_for_message to the next message: by then the wait is there, on a slow machine too. */
const PAUSE_MS = 20;
/** 1 KB of text. */
const CONTENT = 'x'.repeat(1_024);

/**
 * From the call of send_message to the return of the other side's wait_for_message: two daemon processes on
 * loopback, fsync on both, two stdio clients. One message at a time, the wait already running.
 */
export async function latency(): Promise<Figure[]> {
  const [a, b] = [new DaemonProcess('a'), new DaemonProcess('b')];
  try {
    await a.start();
    await b.start();
    await mesh('bench', a, b);
    const sender = await McpAgent.open(a, 'sender@bench');
    const receiver = await McpAgent.open(b, 'receiver@bench');
    await sender.sees('receiver');
    const wakesMs: number[] = [];
    const answersMs: number[] = [];
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      const waiting = receiver.next();
      await delay(PAUSE_MS);
      const start = performance.now();
      const sending = sender.call('send_message', { to_agent: 'receiver', content: CONTENT });
      const answered = sending.then(() => performance.now() - start);
      await waiting;
      const wokenMs = performance.now() - start;
      const answeredMs = await answered;
      if (round < WARM_UP) continue;
      wakesMs.push(wokenMs);
      answersMs.push(answeredMs);
    }
    await sender.close();
    await receiver.close();
    return [
      { name: 'send to wake-up, 1 KB, p50', value: quantile(wakesMs, 0.5), unit: 'ms', bound: 6 },
      { name: 'send to wake-up, 1 KB, p99', value: quantile(wakesMs, 0.99), unit: 'ms', bound: 50 },
      { name: 'send_message answered, p50', value: quantile(answersMs, 0.5), unit: 'ms' },
    ];
  } finally {
    await Promise.all([a.remove(), b.remove()]);
  }
}
