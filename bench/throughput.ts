import { performance } from 'node:perf_hooks';
import { DaemonProcess, mesh } from '../test/processes/daemon-process.ts';
import { McpAgent } from '../test/processes/mcp-agent.ts';
import { median, type Figure } from './figures.ts';

const MESSAGES = 5_000;
const WARM_UP = 1_000;
const AT_ONCE = 32;
const CONTENT = 'x'.repeat(1_024);
/** The rate is looked at in windows of so many messages: the median of them is what is sustained. */
const WINDOW = 500;

/** One sender with 32 calls of send_message at a time, each awaited, to an agent of a linked daemon. */
export async function throughput(): Promise<Figure[]> {
  const [a, b] = [new DaemonProcess('a'), new DaemonProcess('b')];
  try {
    await a.start();
    await b.start();
    await mesh('bench', a, b);
    const receiver = await McpAgent.open(b, 'receiver@bench');
    const sender = await McpAgent.open(a, 'sender@bench');
    await sender.sees('receiver');
    const send = () => sender.send('receiver', CONTENT);
    await rateOf(WARM_UP, send);
    const perSecond = await rateOf(MESSAGES, send);
    await sender.close();
    await receiver.close();
    return [{ name: `send_message awaited, ${AT_ONCE} at once`, value: perSecond, unit: '/s', least: 500 }];
  } finally {
    await Promise.all([a.remove(), b.remove()]);
  }
}

/** Messages a second, in the median window. */
async function rateOf(messages: number, send: () => Promise<unknown>): Promise<number> {
  const rates: number[] = [];
  let [left, done, from] = [messages, 0, performance.now()];
  const work = async () => {
    while (left-- > 0) {
      await send();
      if (++done % WINDOW !== 0) continue;
      const now = performance.now();
      rates.push((WINDOW * 1_000) / (now - from));
      from = now;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return median(rates);
}
