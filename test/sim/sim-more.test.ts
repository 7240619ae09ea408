import { describe } from 'vitest';
import { seedsFrom, simTests } from './seeds.ts';

// A file of its own, so that it runs beside the first half.
describe('the second half of the fixed seeds', () => {
  simTests(seedsFrom(31, 30));
});
