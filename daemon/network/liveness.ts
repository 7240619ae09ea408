import { LINK_ASK_MS, LINK_SILENCE_MS } from '../../protocol/limits.ts';

/**
 * What is decided about a link that is silent, without its sockets and timers. All times are by `Clock.elapsed`.
 *
 * A link on which nothing arrived for a while is asked, and given up when it stays silent. Whoever only listens says
 * so now and then: what it would answer to a question may be queued behind a long transfer. Idle links carry one
 * question and one answer every 3 s, some 100 bytes with all that is around them.
 */

/** How often every link is looked at. */
export const LOOK_INTERVAL_MS = 1_000;
/** A look that comes so late was held up: this process stood still, and its peers could not be heard. */
const STALL_MS = 2_000;
/** A link that is asked because the network changed has this long to answer. */
const HURRY_MS = 4_000;

/** What is known of one link. */
export interface LinkSigns {
  /** When bytes came in last. */
  heardMs: number;
  /** When frames were sent last. */
  saidMs: number;
  /** When it was asked and has not been heard since. */
  asked?: { atMs: number; hurry: boolean };
}

export type LinkCare = 'none' | 'ask' | 'say' | 'give up';

export function careFor({ heardMs, saidMs, asked }: LinkSigns, nowMs: number): LinkCare {
  const silentMs = nowMs - heardMs;
  if (silentMs >= LINK_SILENCE_MS) return 'give up';
  if (asked?.hurry === true && nowMs - asked.atMs >= HURRY_MS) return 'give up';
  if (silentMs >= LINK_ASK_MS) return asked === undefined ? 'ask' : 'none';
  return heardMs > saidMs && nowMs - saidMs >= LINK_ASK_MS ? 'say' : 'none';
}

/** Whether so much time between two looks means that this process stood still. */
export function isStall(sinceLookMs: number): boolean {
  return sinceLookMs >= LOOK_INTERVAL_MS + STALL_MS;
}

/** After a stall the silence is nobody's fault: the link is to be asked now and has the usual time to answer. */
export function excused(signs: LinkSigns, nowMs: number): LinkSigns {
  return { heardMs: Math.max(signs.heardMs, nowMs - LINK_ASK_MS), saidMs: signs.saidMs };
}
