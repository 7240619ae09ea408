import type { ReceiptState } from '../receipt.ts';

/**
 * A message that asks for an answer within a time. Each side counts by its own clock, from when it accepted or released
 * the message, and says once, when the time is over and the answer still owed: the recipient that it is, the sender
 * that there is none.
 *
 * What ends it: an answer, also one that closes the thread; a resolve of the thread by either side that came after it;
 * its taking back, refusal or expiry; its sender letting go. Putting it off does not.
 */
export interface Asked {
  status: 'pending' | ReceiptState;
  /** Its sender wants no answer any more. */
  isLetGo: boolean;
  /** A resolve of its thread came after it. */
  isSettled: boolean;
}

const ENDED: ReadonlySet<Asked['status']> = new Set(['replied', 'unsent', 'refused', 'expired']);

export function isOwed({ status, isLetGo, isSettled }: Asked): boolean {
  return !isLetGo && !isSettled && !ENDED.has(status);
}
