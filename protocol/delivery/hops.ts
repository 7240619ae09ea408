import { HOPS_MAX } from '../limits.ts';

/**
 * The loop guard: how long agents have answered one another since a person spoke.
 *
 * Invariants:
 * - an answer counts one more than what it answers, and a message in a thread one more than the longest chain that its
 *   sender knows of in that thread;
 * - what a person says counts as the first, and so does what follows what a person has said may go on;
 * - the count is what peers claim: one that lies makes only the chain that it takes part in end sooner or later.
 */
export interface Chain {
  hops: number;
  /** The history number of the message that had so many. */
  number: number;
}

/** What a thread's chain is after a message in it. One that says it is the first begins anew. */
export function extended(chain: Chain | undefined, message: Chain, resetAt: number): Chain {
  const isShorter = message.hops > 1 && message.hops < countedFrom(chain, resetAt);
  return chain && isShorter ? chain : message;
}

/** How many hops what follows has behind it: none up to the history number at which a person said to go on. */
export function countedFrom(chain: Chain | undefined, resetAt: number): number {
  return !chain || chain.number <= resetAt ? 0 : chain.hops;
}

/** The hops of a message that follows a chain of so many. */
export function next(hops: number): number {
  return Math.min(hops + 1, HOPS_MAX);
}
