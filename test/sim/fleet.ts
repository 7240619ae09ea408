import { fork, type ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Job, Worked } from './worker.ts';

/** One seed in so many runs with the real cryptography and encoding, one in so many twice. */
const REAL_EVERY = 40;
const TWICE_EVERY = 40;

/** Most of what a run allocates is gone soon, and the other processors have runs of their own. */
const EXEC_ARGV = ['--min-semi-space-size=64', '--max-semi-space-size=64', '--single-threaded-gc'];

export function jobOf(seed: number, messages: number): Job {
  return {
    seed,
    messages,
    isReal: seed % REAL_EVERY === 0,
    // Of those with the real modules every other one.
    isTwice: seed % TWICE_EVERY === 5 || seed % (2 * REAL_EVERY) === 0,
  };
}

/**
 * Runs simulations in as many processes as there are processors, and calls `onResult` as each ends. Ends early when
 * that returns false.
 */
export async function runFleet(jobs: readonly Job[], onResult: (result: Worked) => boolean): Promise<void> {
  // Those with the real modules take ten times as long: one process begins with them, so that all end together.
  const fast = jobs.filter(({ isReal }) => !isReal);
  const real = jobs.filter(({ isReal }) => isReal).sort((a, b) => Number(b.isTwice) - Number(a.isTwice));
  const hasEnded = new AbortController();
  const take = (result: Worked) => {
    if (!hasEnded.signal.aborted && !onResult(result)) hasEnded.abort();
  };
  const lane = async (_none: unknown, index: number) => {
    const queues = index === 0 ? [real, fast] : [fast, real];
    for (const queue of queues) await workThrough(queue, take, hasEnded.signal);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
}

/** Gives a queue's jobs to one process, as long as there are any. */
async function workThrough(
  queue: Job[],
  onResult: (result: Worked) => void,
  signal: AbortSignal,
): Promise<void> {
  if (queue.length === 0 || signal.aborted) return;
  const child = fork(fileURLToPath(new URL('worker.ts', import.meta.url)), { execArgv: EXEC_ARGV });
  const end = () => void child.kill();
  signal.addEventListener('abort', end);
  try {
    for (let job = queue.shift(); job && !signal.aborted; job = queue.shift()) {
      const result = await answerOf(child, job);
      if (signal.aborted) return;
      if (!result) throw new Error(`the process that ran seed ${job.seed} has ended`);
      onResult(result);
    }
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

/** Undefined when the process ends instead. */
function answerOf(child: ChildProcess, job: Job): Promise<Worked | undefined> {
  return new Promise((resolve) => {
    const gone = () => resolve(undefined);
    child.once('exit', gone);
    child.once('message', (result: Worked) => {
      child.off('exit', gone);
      resolve(result);
    });
    child.send(job);
  });
}
