import { defineConfig } from 'vitest/config';

/** One project a layer, so that CI can name the layer that turned red: `vitest run --project sim`. */
const project = (name: string, timeoutMs: number, groupOrder = 0) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeoutMs,
    hookTimeout: timeoutMs,
    sequence: { groupOrder },
  },
});

export default defineConfig({
  test: {
    projects: [
      project('unit', 30_000),
      project('model', 120_000),
      project('sim-presence', 120_000),
      // By itself: it keeps every processor busy.
      project('sim', 900_000, 1),
      project('e2e', 120_000),
      project('crash', 240_000),
    ],
  },
});
