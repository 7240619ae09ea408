import type { SimResult } from './simulate.ts';
import { forgetKnown } from './stand-ins/known.ts';
import { useStandIns } from './stand-ins/register.ts';

/** What one process of the fleet is asked for, seed by seed. */
export interface Job {
  seed: number;
  messages: number;
  isReal: boolean;
  /** Whether the run is made twice, to see that it is a function of its seed. */
  isTwice: boolean;
}

export interface Worked extends SimResult {
  /** What the processors did for it; for the first of a process, loading the modules as well. */
  cpuMs: number;
}

let isFirst = true;

/** Runs one seed; all jobs of one process have to agree on `isReal`. */
export async function work(job: Job, onTrace?: (line: string) => void): Promise<Worked> {
  const before = process.cpuUsage();
  const result = await runs(job, onTrace);
  const { user, system } = process.cpuUsage(before);
  return { ...result, cpuMs: (user + system) / 1_000 };
}

async function runs(job: Job, onTrace?: (line: string) => void): Promise<SimResult> {
  if (isFirst && !job.isReal) useStandIns();
  isFirst = false;
  const { simulate } = await import('./simulate.ts');
  const isLogged = job.isTwice || onTrace !== undefined;
  const options = { seed: String(job.seed), messages: job.messages, isReal: job.isReal, isLogged };
  const result = await simulate({ ...options, ...(onTrace && { onTrace }) });
  forgetKnown();
  if (!job.isTwice || result.problems.length > 0) return result;
  const { hash } = await simulate(options);
  forgetKnown();
  if (hash !== result.hash) {
    const text = `the second run of this seed was another one: ${hash} after ${result.hash}`;
    result.problems.push({ kind: 'varied', text });
  }
  return { ...result, isTwice: true };
}

process.on('message', (job: Job) => {
  // Expected errors are many, and a seed that fails is run again by itself.
  Error.stackTraceLimit = 0;
  // Nobody is told that nobody listens any more: the process ends by that.
  void work(job).then((result) => process.send?.(result, () => undefined));
});
