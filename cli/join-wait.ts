import type { JoinPendingView, JoinView } from '../protocol/admin-views.ts';
import { PatchcordError } from '../protocol/errors.ts';
import { spaced } from './join-check.ts';

/** Between two calls, so that a daemon which answers at once is not asked without end. */
const PAUSE_MS = 250;

/** What waiting for a join needs of the world. */
export interface JoinParts {
  join: () => Promise<JoinView | JoinPendingView>;
  tell: (text: string) => Promise<void>;
  /** Resolves after this long, or sooner when the signal aborts. */
  pause: (ms: number) => Promise<void>;
  signal: AbortSignal;
}

/**
 * Joins, and while people compare the digits asks again until they have decided; the digits are told when they are
 * new. Throws what the join throws, `stopping` when it is interrupted.
 */
export async function joinDecided({ join, tell, pause, signal }: JoinParts): Promise<JoinView> {
  let told = '';
  while (!signal.aborted) {
    const view = await join().catch((error: unknown) => {
      throw signal.aborted ? interrupted(error) : error;
    });
    if (!('check' in view)) return view;
    if (view.check !== told) {
      await tell(`Check: ${spaced(view.check)}. The inviting side must show the same digits and confirm.`);
    }
    told = view.check;
    await pause(PAUSE_MS);
  }
  throw interrupted();
}

function interrupted(cause?: unknown): PatchcordError {
  const remedy =
    '`patchcord namespace list` shows whether this machine is in; the same command goes on while the ticket holds.';
  return new PatchcordError('stopping', 'Interrupted before the join was decided.', remedy, { cause });
}
