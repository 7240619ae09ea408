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
const project = (name: string, timeoutMs: number, groupOrder: number, options: object = {}) => ({
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
      // On two processors: nothing here measures, and clocks are driven by hand. A hundred files of units share modules, which
      // would take a tenth of the time to load again and again.
      project('unit', 60_000, 0, { maxWorkers: 2, isolate: false }),
      project('model', 120_000, 0, { maxWorkers: 2 }),
      project('sim-presence', 120_000, 0, { maxWorkers: 2 }),
      // By itself: it keeps every processor busy.
      project('sim', 900_000, 1),
      // Two files at a time: daemons are several processes as it is, and each waits for others now and then.
      project('e2e', 120_000, 2, { ...OVER_PROCESSES, maxWorkers: 2 }),
      project('crash', 240_000, 2, { ...OVER_PROCESSES, maxWorkers: 2 }),
      // By itself: it measures. It waits more than it works, so three files at a time.
      project('net', 60_000, 3, { ...OVER_PROCESSES, maxWorkers: 3 }),
    ],
  },
});
