import { asPatchcordError } from '../../protocol/errors.ts';
import type { Clock } from '../clock.ts';

export interface Deadline {
  /** Aborts when the time is up, or when the parent does. */
  readonly signal: AbortSignal;
  /** Whether it was the time. */
  readonly passed: boolean;
  /** The work is done; nothing will abort any more. */
  cancel(): void;
}

/** A time limit by the injected clock, in the form that libp2p's calls understand. */
export function deadline(clock: Clock, delayMs: number, parent: AbortSignal): Deadline {
  const controller = new AbortController();
  let passed = false;
  const abort = (): void => controller.abort(parent.reason);
  const timer = clock.after(delayMs, () => {
    passed = true;
    controller.abort(new Error(`no answer in ${delayMs} ms`));
  });
  if (parent.aborted) abort();
  else parent.addEventListener('abort', abort, { once: true });
  return {
    signal: controller.signal,
    get passed() {
      return passed;
    },
    cancel() {
      timer.cancel();
      parent.removeEventListener('abort', abort);
    },
  };
}

/** Resolves after so long by the injected clock; rejects when the signal aborts before. */
export async function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(asPatchcordError(signal?.reason));
  const timer = clock.after(delayMs, resolve);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    await promise;
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}
