import { randomInt } from 'node:crypto';
import { describe } from 'vitest';
import { seedsFrom, simTests } from './seeds.ts';

describe('the first half of the fixed seeds', () => {
  simTests(seedsFrom(1, 30));
});

describe('a fresh seed', () => {
  simTests([randomInt(1_000_000_000)]);
});
