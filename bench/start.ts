import { performance } from 'node:perf_hooks';
import { DaemonProcess } from '../test/processes/daemon-process.ts';
import { McpAgent } from '../test/processes/mcp-agent.ts';
import { median, type Figure } from './figures.ts';

const ROUNDS = 5;

/**
 * From nothing to the first answer: `patchcord mcp` with no daemon running starts one, and an MCP client calls
 * `inbox`.
 */
export async function start(): Promise<Figure[]> {
  const timesMs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const machine = new DaemonProcess('start');
    try {
      await machine.json('namespace', 'create', 'bench');
      await machine.run('down');
      const from = performance.now();
      const agent = await McpAgent.open(machine, 'agent@bench');
      await agent.call('inbox');
      timesMs.push(performance.now() - from);
      await agent.close();
    } finally {
      await machine.run('down');
      await machine.remove();
    }
  }
  return [
    { name: 'start of the daemon to the first answer', value: median(timesMs), unit: 'ms', bound: 2_000 },
  ];
}
