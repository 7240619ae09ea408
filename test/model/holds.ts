import { randomInt } from 'node:crypto';
import { assert, type IRawProperty } from 'fast-check';

const RUNS = 500;
const FIXED_SEED = 20_260_101;
const FRESH_SEED = randomInt(2 ** 31);
console.log(`fresh seed ${FRESH_SEED}`);

/**
 * Whether a property holds for 500 cases of a fixed seed, so that a run can be compared with the one before,
 * and for as many of a fresh one. Throws the counterexample, shrunk, with its seed and path.
 */
export async function holds(property: IRawProperty<unknown>, runs: number = RUNS): Promise<true> {
  for (const seed of [FIXED_SEED, FRESH_SEED]) await assert(property, { numRuns: runs, seed });
  return true;
}
