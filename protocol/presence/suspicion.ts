import { SUSPECTS_MAX } from '../limits.ts';
import { packKnown } from './beat.ts';
import type { PresenceMessage } from './message.ts';
import { someLinked } from './neighbours.ts';
import { knownOf, type Entry, type PresenceState } from './state.ts';

/** Gives a machine a while to say something new, and has it asked. */
export function suspect(state: PresenceState, entry: Entry, patienceMs: number, nowMs: number): void {
  entry.suspectedAtMs = nowMs;
  entry.goneAtMs = Math.min(entry.goneAtMs, nowMs + patienceMs);
  ask(state, entry, nowMs);
}

/** Asks a machine that is linked to say something newer, and others about one that is not. */
export function ask(state: PresenceState, entry: Entry, nowMs: number): void {
  entry.askedAtMs = nowMs;
  if (state.linked.has(entry.machine)) asksOf(state, entry.machine).suspects.push(knownOf(entry));
  else for (const to of someLinked(state, entry.machine)) asksOf(state, to).probes.push(knownOf(entry));
}

/** Asks a linked machine to say something that it has not said before, for somebody else. */
export function askForNewer(state: PresenceState, entry: Entry): void {
  asksOf(state, entry.machine).probes.push(knownOf(entry));
}

/** What one event gave to ask goes to each member in one box; what has no room in it is asked a second later. */
export function sendAsks(state: PresenceState): void {
  for (const [to, { suspects, probes }] of state.asks) {
    const message: PresenceMessage = {
      ...(suspects.length > 0 && { suspects: packKnown(suspects.slice(0, SUSPECTS_MAX)) }),
      ...(probes.length > 0 && { probes: packKnown(probes.slice(0, SUSPECTS_MAX)) }),
    };
    state.effects.push({ type: 'send', to, message });
  }
  state.asks.clear();
}

function asksOf(state: PresenceState, to: string) {
  const asks = state.asks.get(to) ?? { suspects: [], probes: [] };
  state.asks.set(to, asks);
  return asks;
}
