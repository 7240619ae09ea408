import { WANT_INTERVAL_MS } from '../limits.ts';
import type { PresenceState } from './state.ts';

/** Whether a statement is to be asked for now: whoever was asked a moment ago may be about to answer. */
export function mayWant(state: PresenceState, tag: string, nowMs: number): boolean {
  if (nowMs - (state.wanted.get(tag) ?? -Infinity) < WANT_INTERVAL_MS) return false;
  state.wanted.set(tag, nowMs);
  return true;
}

/** Tags of the members that have said nothing here yet. */
export function missing(state: PresenceState, nowMs: number): string[] {
  const tags: string[] = [];
  for (const [tag, machines] of state.tags) {
    const isMissing = machines.some((machine) => machine !== state.self && !state.entries.has(machine));
    if (isMissing && mayWant(state, tag, nowMs)) tags.push(tag);
  }
  return tags;
}
