import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { jobOf, runFleet } from './fleet.ts';
import { closingReport, failureText } from './report.ts';
import type { SimResult } from './simulate.ts';

const SEEDS = 200;
const MESSAGES = 500;
/** After so many failing seeds the rest would only tell the same. */
const FAILURES_MAX = 3;

test(`${SEEDS} seeds of ${MESSAGES} messages, one of them fresh`, async () => {
  const seeds = Array.from({ length: SEEDS - 1 }, (_none, index) => index + 1);
  const jobs = [...seeds, randomInt(1_000_000_000)].map((seed) => jobOf(seed, MESSAGES));
  const results: SimResult[] = [];
  const startedMs = performance.now();
  const failures = () => results.filter(({ problems }) => problems.length > 0);
  await runFleet(jobs, (result) => {
    results.push(result);
    return failures().length < FAILURES_MAX;
  });
  console.log(closingReport(results, performance.now() - startedMs));
  expect(
    failures()
      .map((result) => failureText(result, MESSAGES))
      .join('\n'),
  ).toBe('');
  expect(results).toHaveLength(SEEDS);
  expect(results.reduce((sum, { byMailbox }) => sum + byMailbox, 0)).toBeGreaterThan(SEEDS);
});
