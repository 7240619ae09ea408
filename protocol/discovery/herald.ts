/**
 * When a machine calls out on its LAN, and when it asks who else is there. All times by `Clock.elapsed`, in ms.
 *
 * After a start or a change of the network it calls and asks at once, and again after 1 and 4 s, as datagrams get
 * lost; from then on it calls now and then. A question is answered after a short random time, so that many who are
 * asked do not all speak at once (RFC 6762 section 6), and at most once a second, whoever asks how often.
 */
export interface Herald {
  /** The next of ASK_AFTER_MS. */
  step: number;
  /** When to call, or to call and ask, next by its own plan, */
  plannedMs: number;
  /** and because somebody asked. */
  answerMs: number;
  /** When it called last. */
  calledMs: number;
}

export type HeraldEvent = 'changed' | 'asked' | 'time';
/** What to do now; with `ask` after the call. */
export interface HeraldStep {
  herald: Herald;
  call: boolean;
  ask: boolean;
}

/** After a change: waits between one call with a question and the next. */
const ASK_AFTER_MS = [0, 1_000, 3_000];
const CALL_INTERVAL_MS = 60_000;
const ANSWER_MIN_MS = 20;
const ANSWER_SPREAD_MS = 100;
const CALLS_APART_MS = 1_000;

export const silentHerald: Herald = {
  step: ASK_AFTER_MS.length,
  plannedMs: Infinity,
  answerMs: Infinity,
  calledMs: -Infinity,
};

/** When something is to be done next. */
export function heraldDueMs({ plannedMs, answerMs }: Herald): number {
  return Math.min(plannedMs, answerMs);
}

/** `fraction` is chance, in [0, 1). */
export function decideHerald(
  herald: Herald,
  event: HeraldEvent,
  nowMs: number,
  fraction: number,
): HeraldStep {
  const idle = { call: false, ask: false };
  if (event === 'changed') {
    // The first time comes a little later for some than for others: a switch that restarts wakes all of them.
    return { herald: { ...herald, step: 0, plannedMs: nowMs + fraction * ANSWER_SPREAD_MS }, ...idle };
  }
  if (event === 'asked') {
    const soonMs = nowMs + ANSWER_MIN_MS + fraction * ANSWER_SPREAD_MS;
    const answerMs = Math.max(soonMs, herald.calledMs + CALLS_APART_MS);
    return { herald: { ...herald, answerMs: Math.min(herald.answerMs, answerMs) }, ...idle };
  }
  if (heraldDueMs(herald) > nowMs) return { herald, ...idle };
  const called = { ...herald, answerMs: Infinity, calledMs: nowMs };
  if (herald.plannedMs > nowMs) return { herald: called, call: true, ask: false };
  const step = herald.step + 1;
  const waitMs = ASK_AFTER_MS[step] ?? CALL_INTERVAL_MS * (0.75 + 0.5 * fraction);
  return {
    herald: { ...called, step: Math.min(step, ASK_AFTER_MS.length), plannedMs: nowMs + waitMs },
    call: true,
    ask: herald.step < ASK_AFTER_MS.length,
  };
}
