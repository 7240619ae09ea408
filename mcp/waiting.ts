import type { WaitCall } from '../protocol/calls.ts';
import { PatchcordError } from '../protocol/errors.ts';
import { PROGRESS_INTERVAL_MS, WAIT_SECONDS_MAX, WAIT_SECONDS_MIN } from '../protocol/limits.ts';
import type { WaitResult } from '../protocol/views.ts';
import { safeWaitSeconds } from './clients.ts';
import type { Session } from './messenger.ts';

/** What a tool knows of the call it serves, besides the arguments. */
export interface CallContext {
  /** The client's label, see clients.ts. */
  client: string;
  /** `performance.now()` when the call came in; a call that is repeated on a new session keeps its deadline. */
  startedMs: number;
  /** Aborted when the client cancels the call or goes away. */
  signal: AbortSignal;
  /** Reports progress; absent when the client did not ask for it. */
  report?: ((elapsedSeconds: number, totalSeconds: number) => Promise<void>) | undefined;
}

/** Two thirds of the bound, so that a late timer still keeps it. */
const REPORT_EVERY_MS = Math.floor((PROGRESS_INTERVAL_MS * 2) / 3);
/** How much later than asked the daemon may answer a wait before it is taken for hung. */
const ANSWER_GRACE_MS = 5_000;

/** How long to wait, in seconds: what was asked, within 1..3600 and within what the client survives. */
export function waitSeconds(asked: number, client: string, reportsProgress: boolean): number {
  const bounded = Math.min(WAIT_SECONDS_MAX, Math.max(WAIT_SECONDS_MIN, asked));
  return Math.min(bounded, safeWaitSeconds(client, reportsProgress));
}

/** The parameters of notifications/progress; `progress` grows, as the protocol demands, because time does. */
export function progressParams(token: string | number, elapsedSeconds: number, totalSeconds: number) {
  return {
    progressToken: token,
    progress: elapsedSeconds,
    total: totalSeconds,
    message: `No message yet; waited ${elapsedSeconds} of ${totalSeconds} s.`,
  };
}

/** Reports the elapsed time now and then at intervals; returns what stops it. A client that is gone is ignored. */
function reportProgress(totalSeconds: number, context: CallContext): () => void {
  const { report } = context;
  if (!report) return () => {};
  const say = () => {
    const elapsedSeconds = Math.floor((performance.now() - context.startedMs) / 1_000);
    report(elapsedSeconds, totalSeconds).catch(() => {});
  };
  say();
  const timer = setInterval(say, REPORT_EVERY_MS);
  return () => clearInterval(timer);
}

/**
 * Waits for a message for as long as the client allows and answers `timeout` in good time rather than let the
 * client give the call up. A cancelled wait consumes nothing and throws `timeout`.
 */
export async function waitForMessage(
  session: Session,
  call: WaitCall,
  context: CallContext,
): Promise<WaitResult> {
  const seconds = waitSeconds(call.timeout_seconds, context.client, context.report !== undefined);
  const leftMs = Math.max(0, seconds * 1_000 - (performance.now() - context.startedMs));
  const overdue = new AbortController();
  const overdueTimer = setTimeout(() => overdue.abort(), leftMs + ANSWER_GRACE_MS);
  const stopReporting = reportProgress(seconds, context);
  try {
    context.signal.throwIfAborted();
    const signal = AbortSignal.any([context.signal, overdue.signal]);
    // The messenger clamps to a second at least, so a deadline that has just passed costs no more than that.
    return await session.wait({ ...call, timeout_seconds: leftMs / 1_000 }, signal);
  } catch (error) {
    if (context.signal.aborted) {
      throw new PatchcordError('timeout', 'The wait was cancelled; no message was taken.', '', {
        cause: error,
      });
    }
    if (overdue.signal.aborted) return { status: 'timeout', more: 0 };
    throw error;
  } finally {
    clearTimeout(overdueTimer);
    stopReporting();
  }
}
