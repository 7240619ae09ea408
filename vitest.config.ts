import { defineConfig } from 'vitest/config';

/** How a missed deadline reads: vitest's own, and those of test/processes. */
const MISSED_DEADLINE = /timed out in \d+ms|: not within \d+ ms|: not ready:/;

/**
 * Over real processes and networks a busy machine can make a test miss its deadline; then, and only then, it gets one
 * more chance, which is said (test/processes/say-retries.ts). The condition is the message of the last error: a wrong
 * answer, such as a figure of the ledger or two values that differ, fails at once. What it can hide is a wait that comes
 * true only sometimes; so what must never be lost is asserted by the ledger, not by a wait.
 */
const OVER_PROCESSES = {
  retry: { count: 1, condition: MISSED_DEADLINE },
  setupFiles: ['test/processes/say-retries.ts'],
};

/** One project a layer, so that CI can name the layer that turned red: `vitest run --project sim`. */
const project = (name: string, timeoutMs: number, options: object = {}, groupOrder = 0) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeoutMs,
    hookTimeout: timeoutMs,
    sequence: { groupOrder },
    ...options,
  },
});

export default defineConfig({
  test: {
    projects: [
      project('unit', 30_000),
      project('model', 120_000),
      project('sim-presence', 120_000),
      // By itself: it keeps every processor busy.
      project('sim', 900_000, {}, 1),
      project('e2e', 120_000, OVER_PROCESSES),
      project('crash', 240_000, OVER_PROCESSES),
      // By itself: it measures. It waits more than it works, so three files at a time.
      project('net', 60_000, { ...OVER_PROCESSES, maxWorkers: 3 }, 2),
    ],
  },
});
