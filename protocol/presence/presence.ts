import { encode, equalBytes } from '../codec.ts';
import {
  ANSWERS_BURST,
  ANSWERS_PER_SECOND,
  PRESENCE_DOUBT_MS,
  PRESENCE_TTL_MS,
  RAISE_INTERVAL_MS,
  STATEMENT_INTERVAL_MS,
  SUSPICION_MS,
  SUSPICION_SILENT_MS,
  SUSPICIONS_BURST,
  SUSPICIONS_PER_SECOND,
} from '../limits.ts';
import { packBeats, packKnown, packTags, tagOf } from './beat.ts';
import { Bucket } from './bucket.ts';
import type { PresenceMessage } from './message.ts';
import { neighbours } from './neighbours.ts';
import { outbid, raise, say } from './own.ts';
import { receive, type Verdict } from './receive.ts';
import {
  beatOf,
  isHere,
  knownOf,
  type PresenceEffect,
  type PresenceParts,
  type PresenceState,
} from './state.ts';
import type { PresenceContent } from './statement.ts';
import { ask, sendAsks, suspect } from './suspicion.ts';
import { missing } from './wanting.ts';

/**
 * Who is here. Each machine says what it has to say of itself in a signed statement, and every 15 s, with a beat, that
 * it still lives. Statements and what is urgent go to all at once, by gossip; beats are passed on in bundles, once a
 * second, along a graph of a few neighbours each, so that 1,000 machines cost little.
 *
 * Invariants:
 * - a position (statement, beat) of a machine never falls: what was said earlier changes nothing, whoever repeats it;
 * - nothing is believed of a machine but what it has signed, or what only it can have made;
 * - a machine of which nothing new was heard for 45 s by this machine's clock is gone; passing on makes nothing younger;
 * - what others suspect makes a machine gone only when it stays silent though it was asked, by this machine itself
 *   where that is linked with it, and through others where it is not;
 * - a machine that is gone comes back only by something newer than all that was known of it;
 * - every event costs what it names, and each peer may name so much in a second.
 */
export type PresenceEvent =
  /** What this machine has to say of itself. */
  | { type: 'content'; content: PresenceContent }
  | { type: 'members'; machines: Iterable<string> }
  | { type: 'link-up'; machine: string }
  /** `silent`: it had said nothing for a while. */
  | { type: 'link-down'; machine: string; silent: boolean }
  | { type: 'message'; from: string; via: 'gossip' | 'link'; message: PresenceMessage }
  /** Once a second. */
  | { type: 'tick' };

/** What came of an event; `verdict` only for a message: whether gossip passes it on. */
export interface PresenceStep {
  effects: PresenceEffect[];
  verdict?: Verdict;
}

/**
 * Nothing is known yet. `seq` is where the numbers of this machine's statements begin: the time in milliseconds, so that
 * they rise over restarts; where the clock was set back, what others know of this machine is outbid.
 */
export function newPresence(init: { ns: string; seq: number } & PresenceParts): PresenceState {
  const { ns, seq, ...parts } = init;
  return {
    ns,
    self: parts.signer.peerId,
    parts,
    tags: new Map(),
    members: new Set(),
    linked: new Set(),
    chosen: undefined,
    entries: new Map(),
    seq,
    own: undefined,
    fresh: new Set(),
    choosers: new Map(),
    full: new Map(),
    askers: new Map(),
    wanted: new Map(),
    peers: new Map(),
    suspicions: new Bucket(SUSPICIONS_BURST, SUSPICIONS_PER_SECOND),
    answers: new Bucket(ANSWERS_BURST, ANSWERS_PER_SECOND),
    asks: new Map(),
    effects: [],
  };
}

/** Applies one event. The effects are to be run in order. */
export function stepPresence(state: PresenceState, event: PresenceEvent, nowMs: number): PresenceStep {
  state.effects = [];
  const verdict = apply(state, event, nowMs);
  sendAsks(state);
  const { effects } = state;
  state.effects = [];
  return verdict === undefined ? { effects } : { effects, verdict };
}

function apply(state: PresenceState, event: PresenceEvent, nowMs: number): Verdict | undefined {
  if (event.type === 'message') {
    const verdict = receive(state, event, nowMs);
    outbid(state, nowMs);
    return verdict;
  }
  if (event.type === 'content') setContent(state, event.content, nowMs);
  else if (event.type === 'members') setMembers(state, new Set(event.machines));
  else if (event.type === 'link-up') linkUp(state, event.machine, nowMs);
  else if (event.type === 'tick') tick(state, nowMs);
  else linkDown(state, event.machine, event.silent ? SUSPICION_SILENT_MS : SUSPICION_MS, nowMs);
  return undefined;
}

/** Changes are told at once, and then not for a while: what comes meanwhile is told together. */
function setContent(state: PresenceState, content: PresenceContent, nowMs: number): void {
  const { own } = state;
  if (!own) return say(state, content, nowMs);
  if (saysTheSame(own.next ?? own.content, content)) return;
  own.next = content;
  if (content.left || nowMs - own.saidAtMs >= STATEMENT_INTERVAL_MS) say(state, content, nowMs);
}

/** The log goes along with what else there is to say: one statement for each of its changes would be one of everybody. */
function saysTheSame(a: PresenceContent, b: PresenceContent): boolean {
  return equalBytes(encode({ ...a, log: b.log }), encode(b));
}

function setMembers(state: PresenceState, machines: Set<string>): void {
  const { members, tags, entries } = state;
  state.chosen = undefined;
  for (const machine of members) {
    if (machines.has(machine)) continue;
    members.delete(machine);
    const tag = tagOf(machine);
    const others = tags.get(tag)!.filter((one) => one !== machine);
    state.wanted.delete(tag);
    if (others.length > 0) tags.set(tag, others);
    else tags.delete(tag);
    const entry = entries.get(machine);
    if (entry) state.fresh.delete(entry);
    entries.delete(machine);
    for (const map of [state.choosers, state.full, state.askers, state.peers]) map.delete(machine);
    if (entry) state.effects.push({ type: 'changed', machine });
  }
  for (const machine of machines) {
    if (members.has(machine)) continue;
    members.add(machine);
    const tag = tagOf(machine);
    tags.set(tag, [...(tags.get(tag) ?? []), machine]);
  }
}

/** The two tell each other all that they know: its age goes along. */
function linkUp(state: PresenceState, machine: string, nowMs: number): void {
  state.linked.add(machine);
  state.chosen = undefined;
  if (!state.own) return;
  raise(state, nowMs);
  const own = state.entries.get(state.self)!;
  const beats = [...state.entries.values()].map((entry) => beatOf(entry, nowMs));
  const wanted = missing(state, nowMs);
  state.effects.push({
    type: 'send',
    to: machine,
    message: {
      statements: [own.statement.bytes],
      beats: packBeats(beats),
      ...(wanted.length > 0 && { wants: packTags(wanted) }),
    },
  });
}

function linkDown(state: PresenceState, machine: string, patienceMs: number, nowMs: number): void {
  state.linked.delete(machine);
  state.chosen = undefined;
  state.choosers.delete(machine);
  state.full.delete(machine);
  state.askers.delete(machine);
  for (const asking of state.askers.values()) asking.delete(machine);
  const entry = state.entries.get(machine);
  if (!entry || !isHere(state, machine)) return;
  suspect(state, entry, patienceMs, nowMs);
  if (state.suspicions.take(1, nowMs))
    state.effects.push({ type: 'publish', message: { suspects: packKnown([knownOf(entry)]) } });
}

function tick(state: PresenceState, nowMs: number): void {
  const { own } = state;
  if (own?.next && nowMs - own.saidAtMs >= STATEMENT_INTERVAL_MS) say(state, own.next, nowMs);
  if (own && !own.content.left && nowMs >= own.beatDueMs) raise(state, nowMs, true);
  for (const entry of state.entries.values()) {
    if (entry.isGone || entry.machine === state.self) continue;
    const silentMs = nowMs - entry.heardAtMs;
    if (nowMs >= entry.goneAtMs || silentMs >= PRESENCE_TTL_MS) {
      entry.isGone = true;
      state.effects.push({ type: 'changed', machine: entry.machine });
    } else if (silentMs >= PRESENCE_DOUBT_MS && nowMs - entry.askedAtMs >= SUSPICION_MS) {
      ask(state, entry, nowMs);
    } else if (entry.goneAtMs !== Infinity && nowMs - entry.askedAtMs >= RAISE_INTERVAL_MS) {
      ask(state, entry, nowMs);
    }
  }
  flush(state, nowMs);
}

/** Passes beats on, to each neighbour those that it is not known to know. */
function flush(state: PresenceState, nowMs: number): void {
  if (state.fresh.size === 0) return;
  const { chosen, choosers } = neighbours(state, nowMs);
  for (const to of [...chosen, ...choosers]) {
    const beats = [];
    for (const entry of state.fresh) {
      if (entry.machine === to || entry.told.includes(to)) continue;
      beats.push(beatOf(entry, nowMs));
      entry.told.push(to);
    }
    if (beats.length === 0) continue;
    const message = { beats: packBeats(beats), ...(chosen.includes(to) && { chosen: true as const }) };
    state.effects.push({ type: 'send', to, message });
  }
  state.fresh.clear();
}
