import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { jobOf, runFleet } from './fleet.ts';
import { closingReport, failureText } from './report.ts';
import type { Worked } from './worker.ts';

/** Before the first, which are always the same, those that have found something once. */
const REPLAYED = [107, 189];
const SEEDS = 100;
const MESSAGES = 500;
test(`${SEEDS} seeds of ${MESSAGES} messages, one of them fresh`, async () => {
  const seeds = Array.from({ length: SEEDS - 1 - REPLAYED.length }, (_none, index) => index + 1);
  const jobs = [...REPLAYED, ...seeds, randomInt(1_000_000_000)].map((seed) => jobOf(seed, MESSAGES));
  const results: Worked[] = [];
  const startedMs = performance.now();
  // It ends with the first seed that fails; `npm run sim` finds out how many do.
  await runFleet(jobs, (result) => results.push(result) > 0 && result.problems.length === 0);
  console.log(closingReport(results, performance.now() - startedMs));
  const failed = results.filter(({ problems }) => problems.length > 0);
  expect(failed.map((result) => failureText(result, MESSAGES)).join('\n')).toBe('');
  expect(results).toHaveLength(SEEDS);
  expect(results.reduce((sum, { byMailbox }) => sum + byMailbox, 0)).toBeGreaterThan(SEEDS);
});
