import { afterAll, expect, test } from 'vitest';
import { closingReport, failureText } from './report.ts';
import { simulate, type SimResult } from './simulate.ts';

const MESSAGES = 150;

/** Runs each seed twice: no promise may break, and both runs must be one and the same. */
export function simTests(seeds: readonly number[]): void {
  const results: SimResult[] = [];
  const startedMs = performance.now();
  afterAll(() => console.log(closingReport(results, performance.now() - startedMs)));
  test.each(seeds)('seed %i', async (seed) => {
    const options = { seed: String(seed), messages: MESSAGES };
    const first = await simulate(options);
    results.push(first);
    expect(first.problems.length === 0 ? '' : failureText(first, MESSAGES)).toBe('');
    const { hash } = await simulate(options);
    // The same seed, the same run.
    expect({ seed, hash }).toEqual({ seed, hash: first.hash });
  });
}

/** `count` numbers from `first` on. */
export function seedsFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_none, index) => first + index);
}
