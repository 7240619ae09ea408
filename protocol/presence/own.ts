import {
  BEATS_PER_STATEMENT_MAX,
  PRESENCE_BEAT_MS,
  PRESENCE_BEAT_MS_MAX,
  PRESENCE_BEAT_STRETCHED_AT,
  RAISE_INTERVAL_MS,
} from '../limits.ts';
import { BeatChain } from './beat.ts';
import type { PresenceMessage } from './message.ts';
import { newEntry, type PresenceState } from './state.ts';
import { signPresence, type PresenceContent } from './statement.ts';

/** What a machine says of itself. */

/** A new statement of this machine, to everybody. */
export function say(state: PresenceState, content: PresenceContent, nowMs: number): void {
  const { self, ns, parts } = state;
  state.seq += 1;
  const chain = new BeatChain(parts.randomBytes);
  const statement = signPresence({ ...content, ns, seq: state.seq, anchor: chain.anchor }, parts.signer);
  const entry = state.entries.get(self) ?? newEntry(self, statement);
  state.entries.set(self, entry);
  Object.assign(entry, { statement, seq: state.seq, beat: 0, link: chain.link(0)!, heardAtMs: nowMs });
  Object.assign(entry, { isGone: false, isUnproven: false });
  entry.told = [];
  state.fresh.add(entry);
  state.own = { content, chain, saidAtMs: nowMs, raisedAtMs: nowMs, beatDueMs: nowMs + beatMs(state) };
  const message: PresenceMessage = { statements: [statement.bytes] };
  state.effects.push({ type: 'publish', message });
  // Who leaves closes its links next: no time for gossip to find its way.
  if (content.left) for (const to of state.linked) state.effects.push({ type: 'send', to, message });
}

/** The next beat of this machine; by gossip too when it answers to a suspicion. */
export function raise(state: PresenceState, nowMs: number, isDue = false): boolean {
  const { own } = state;
  if (!own || own.content.left || (!isDue && nowMs - own.raisedAtMs < RAISE_INTERVAL_MS)) return false;
  const entry = state.entries.get(state.self)!;
  if (entry.beat >= BEATS_PER_STATEMENT_MAX) {
    say(state, own.next ?? own.content, nowMs);
    return true;
  }
  entry.beat += 1;
  Object.assign(entry, { link: own.chain.link(entry.beat)!, heardAtMs: nowMs });
  entry.told = [];
  state.fresh.add(entry);
  Object.assign(own, { raisedAtMs: nowMs, beatDueMs: nowMs + beatMs(state) });
  return true;
}

/** After others knew a later statement of this machine: an earlier life had a later clock. */
export function outbid(state: PresenceState, nowMs: number): void {
  const { own } = state;
  const entry = state.entries.get(state.self);
  if (!own || !entry) return;
  if (state.seq > entry.seq) say(state, own.next ?? own.content, nowMs);
}

/** A tenth more or less, so that not all speak at once. */
function beatMs(state: PresenceState): number {
  const isMany = state.members.size >= PRESENCE_BEAT_STRETCHED_AT;
  return (
    (isMany ? PRESENCE_BEAT_MS_MAX : PRESENCE_BEAT_MS) * (0.9 + (0.2 * state.parts.randomBytes(1)[0]!) / 256)
  );
}
