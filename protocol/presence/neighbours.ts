import {
  PRESENCE_CHOOSER_MS,
  PRESENCE_CHOOSERS_MAX,
  PRESENCE_NEIGHBOURS,
  PROBED_THROUGH,
} from '../limits.ts';
import { sha256Hex } from '../digest.ts';
import type { PresenceState } from './state.ts';

/**
 * To whom a machine passes beats: the three of those it is linked with that a hash of both names ranks first, so that the
 * graph stays as it is while the links do; and whoever has chosen it likewise, which their beats show.
 */
export function neighbours(state: PresenceState, nowMs: number): string[] {
  state.chosen ??= linkedMembers(state)
    .map((machine) => ({ machine, rank: rank(state.self, machine) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .slice(0, PRESENCE_NEIGHBOURS)
    .map(({ machine }) => machine);
  const { chosen } = state;
  const choosers = [];
  for (const [machine, atMs] of state.choosers) {
    if (nowMs - atMs > PRESENCE_CHOOSER_MS) state.choosers.delete(machine);
    else if (state.linked.has(machine) && !chosen.includes(machine)) choosers.push(machine);
  }
  return [...chosen, ...choosers.slice(0, PRESENCE_CHOOSERS_MAX)];
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

function rank(self: string, machine: string): string {
  return sha256Hex(`${self} ${machine}`);
}
