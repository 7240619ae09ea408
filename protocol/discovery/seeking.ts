import {
  PUBLISH_AGAIN_MS,
  PUBLISH_AGAIN_MS_MAX,
  SEEK_AGAIN_MS,
  SEEK_AGAIN_MS_MAX,
  SOUGHT_MAX,
} from '../limits.ts';

/** When a machine of a large namespace says where it is, and about whom it asks; see record.ts. */

/** A machine that was asked about. */
export interface Sought {
  times: number;
  /** When it was asked about last, by `Clock.elapsed`. */
  atMs: number;
}

/** What this machine has published of itself. */
export interface Published {
  addresses: string;
  /** How often the same was published and somebody took it. */
  times: number;
  atMs: number;
}

/**
 * Whom to ask about: of the machines that cannot be reached, one that was not asked about, else the one that is overdue
 * most; a machine that is not found is asked about ever more seldom.
 */
export function whomToSeek(
  unreached: Iterable<string>,
  sought: ReadonlyMap<string, Sought>,
  nowMs: number,
): string | undefined {
  let best: { machine: string; dueMs: number } | undefined;
  for (const machine of unreached) {
    const before = sought.get(machine);
    const dueMs = before === undefined ? -Infinity : before.atMs + seekDelayMs(before.times);
    if (dueMs <= nowMs && (best === undefined || dueMs < best.dueMs)) best = { machine, dueMs };
  }
  return best?.machine;
}

/** What is remembered after a machine was asked about: the ones asked about last, as many as there is room for. */
export function noteSought(sought: Map<string, Sought>, machine: string, nowMs: number): void {
  const times = (sought.get(machine)?.times ?? 0) + 1;
  sought.delete(machine);
  sought.set(machine, { times, atMs: nowMs });
  if (sought.size > SOUGHT_MAX) sought.delete(sought.keys().next().value!);
}

/**
 * Whether this machine is to publish now: at once what is new, the same again soon, since at first it knows few members
 * to leave it with, and then once an hour.
 */
export function isPublishDue(published: Published | undefined, addresses: string, nowMs: number): boolean {
  if (addresses === '') return false;
  if (published?.addresses !== addresses) return true;
  const waitMs = Math.min(PUBLISH_AGAIN_MS_MAX, PUBLISH_AGAIN_MS * 4 ** published.times);
  return nowMs - published.atMs >= waitMs;
}

/** What is remembered after publishing; `holders` is how many others took it. */
export function notePublished(
  before: Published | undefined,
  addresses: string,
  holders: number,
  nowMs: number,
): Published {
  const times = before?.addresses === addresses ? before.times : 0;
  return { addresses, times: times + (holders > 0 ? 1 : 0), atMs: nowMs };
}

function seekDelayMs(times: number): number {
  return Math.min(SEEK_AGAIN_MS_MAX, SEEK_AGAIN_MS * 2 ** (times - 1));
}
