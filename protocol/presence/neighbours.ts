import {
  PRESENCE_CHOOSER_MS,
  PRESENCE_CHOOSERS_MAX,
  PRESENCE_FULL_MS,
  PRESENCE_NEIGHBOURS,
  PROBED_THROUGH,
} from '../limits.ts';
import { sha256Hex } from '../digest.ts';
import type { PresenceState } from './state.ts';

/**
 * To whom a machine passes beats: the three of those it is linked with that a hash of both names ranks first, so that the
 * graph stays as it is while the links do; and whoever has chosen it likewise, which their boxes say. Were it taken from
 * beats that come, two that ever told each other one would go on for ever.
 */
export function neighbours(
  state: PresenceState,
  nowMs: number,
): { chosen: readonly string[]; choosers: readonly string[] } {
  for (const [machine, atMs] of state.full) {
    if (nowMs - atMs < PRESENCE_FULL_MS) continue;
    state.full.delete(machine);
    state.chosen = undefined;
  }
  state.chosen ??= choose(state);
  const { chosen } = state;
  return { chosen, choosers: choosersOf(state, chosen, nowMs) };
}

/** A member passes its beats here and wants those that come here. False when that is for as many as may be. */
export function takeChooser(state: PresenceState, machine: string, nowMs: number): boolean {
  const { chosen, choosers } = neighbours(state, nowMs);
  const isTaken =
    chosen.includes(machine) || choosers.includes(machine) || choosers.length < PRESENCE_CHOOSERS_MAX;
  if (isTaken) state.choosers.set(machine, nowMs);
  return isTaken;
}

/** One that was chosen passes beats to as many as it may: another is chosen for a while. */
export function takeRefusal(state: PresenceState, by: string, nowMs: number): void {
  if (!state.chosen?.includes(by)) return;
  state.full.set(by, nowMs);
  state.chosen = undefined;
}

/** Those that are full come last. */
function choose(state: PresenceState): string[] {
  return linkedMembers(state)
    .map((machine) => ({ machine, rank: rank(state, machine) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .slice(0, PRESENCE_NEIGHBOURS)
    .map(({ machine }) => machine);
}

function choosersOf(state: PresenceState, chosen: readonly string[], nowMs: number): string[] {
  const choosers = [];
  for (const [machine, atMs] of state.choosers) {
    if (nowMs - atMs > PRESENCE_CHOOSER_MS) state.choosers.delete(machine);
    else if (state.linked.has(machine) && !chosen.includes(machine)) choosers.push(machine);
  }
  return choosers.slice(0, PRESENCE_CHOOSERS_MAX);
}

/** Some members to ask about a machine, at random. */
export function someLinked(state: PresenceState, about: string): string[] {
  const others = linkedMembers(state).filter((machine) => machine !== about);
  const some: string[] = [];
  while (some.length < PROBED_THROUGH && others.length > 0) {
    const [high, low] = state.parts.randomBytes(2);
    some.push(...others.splice((high! * 256 + low!) % others.length, 1));
  }
  return some;
}

function linkedMembers({ linked, members }: PresenceState): string[] {
  return [...linked].filter((machine) => members.has(machine));
}

function rank({ self, full }: PresenceState, machine: string): string {
  return `${full.has(machine) ? 1 : 0}${sha256Hex(`${self} ${machine}`)}`;
}
