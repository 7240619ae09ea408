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
