import { setTimeout as delay } from 'node:timers/promises';

const LOOK_AGAIN_MS = 20;

/**
 * Looks until what is seen is what is wanted, for what no event tells of; throws what was seen last when it does
 * not come in time.
 */
export async function eventually<T>(
  what: string,
  look: () => Promise<T>,
  wanted: (seen: T) => boolean,
  withinMs = 15_000,
): Promise<T> {
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (wanted(seen)) return seen;
    if (performance.now() > deadlineMs) {
      throw new Error(
        `${what}: not within ${withinMs} ms, last seen: ${JSON.stringify(seen)?.slice(0, 500)}`,
      );
    }
    await delay(LOOK_AGAIN_MS);
  }
}
