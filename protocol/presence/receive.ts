import { asPatchcordError } from '../errors.ts';
import {
  PRESENCE_PEER_BURST,
  PRESENCE_PEER_PER_SECOND,
  PRESENCE_TTL_MS,
  STATEMENTS_BURST,
  STATEMENTS_PER_SECOND,
  SUSPICION_MS,
  WANT_INTERVAL_MS,
} from '../limits.ts';
import {
  AGE_GONE,
  follows,
  isNewer,
  latin1,
  packBeats,
  packTags,
  unpackBeats,
  unpackKnown,
  unpackTags,
  type Beat,
  type Known,
} from './beat.ts';
import { Bucket } from './bucket.ts';
import type { PresenceMessage } from './message.ts';
import { raise } from './own.ts';
import { beatOf, entriesOf, entryAt, isHere, newEntry, type Entry, type PresenceState } from './state.ts';
import { tellInBoxes } from './telling.ts';
import { askForNewer, suspect } from './suspicion.ts';
import { takeChooser, takeRefusal } from './neighbours.ts';
import { mayWant } from './wanting.ts';

/** Whether gossip passes a message on: it told something new, it did not, or it was forged. */
export type Verdict = 'accept' | 'ignore' | 'reject';

/** A message of a member, as it came. */
interface Told {
  from: string;
  via: 'gossip' | 'link';
  message: PresenceMessage;
}

/** Takes what is new of a message of a member. What one member tells is bounded, and so is what it sets off. */
export function receive(state: PresenceState, told: Told, nowMs: number): Verdict {
  const { from, via, message } = told;
  if (!state.members.has(from) || from === state.self) return 'ignore';
  const { statements = [], beats, suspects, probes, wants } = message;
  if (!bucketOf(state, from).take(1 + statements.length, nowMs)) return 'ignore';
  let verdict: Verdict = 'ignore';
  const note = (one: Verdict): void => {
    if (one === 'reject' || (one === 'accept' && verdict !== 'reject')) verdict = one;
  };
  for (const bytes of statements) note(takeStatement(state, bytes, told, nowMs));
  if (beats) note(takeBeats(state, unpackBeats(beats), told, nowMs));
  for (const known of suspects ? unpackKnown(suspects) : []) note(takeSuspicion(state, known, told, nowMs));
  if (via === 'gossip') return verdict;
  if (message.full) takeRefusal(state, from, nowMs);
  if (message.chosen && state.linked.has(from) && !takeChooser(state, from, nowMs))
    state.effects.push({ type: 'send', to: from, message: { full: true } });
  if (probes) answerProbes(state, unpackKnown(probes), from, nowMs);
  if (wants) {
    const wanted = unpackTags(wants).flatMap((tag) => entriesOf(state, tag));
    tellInBoxes(state, from, new Set(wanted), nowMs);
  }
  return verdict;
}

function bucketOf(state: PresenceState, from: string): Bucket {
  const bucket = state.peers.get(from) ?? new Bucket(PRESENCE_PEER_BURST, PRESENCE_PEER_PER_SECOND);
  state.peers.set(from, bucket);
  return bucket;
}

function takeStatement(state: PresenceState, bytes: Uint8Array, told: Told, nowMs: number): Verdict {
  try {
    const { statement, verify } = state.parts.read(bytes, state.ns);
    const { machine, seq } = statement;
    if (!state.members.has(machine)) return 'ignore';
    const held = state.entries.get(machine);
    if (held && seq <= held.seq) {
      if (seq < held.seq) tellNewer(state, held, told, nowMs);
      return 'ignore';
    }
    if (held && machine !== state.self && !mayChange(held, nowMs)) return 'ignore';
    verify();
    if (machine === state.self) {
      // An earlier life of this machine had a later clock: the next statement goes beyond it.
      state.seq = Math.max(state.seq, seq);
      return 'ignore';
    }
    const entry = held ?? newEntry(machine, statement);
    state.entries.set(machine, entry);
    Object.assign(entry, { seq, beat: 0, link: latin1(statement.anchor), statement });
    // What somebody else brings may be old: the beat that comes along tells its age.
    const isDirect = told.via === 'gossip' || told.from === machine;
    if (isDirect) heard(state, entry, nowMs);
    else Object.assign(entry, { isUnproven: true });
    news(state, entry, told.from);
    state.effects.push({ type: 'changed', machine });
    return 'accept';
  } catch (error) {
    const { code } = asPatchcordError(error);
    if (code === 'frame_malformed' || code === 'signature_invalid') return 'reject';
    throw error;
  }
}

function mayChange(entry: Entry, nowMs: number): boolean {
  entry.statements ??= new Bucket(STATEMENTS_BURST, STATEMENTS_PER_SECOND);
  return entry.statements.take(1, nowMs);
}

function takeBeats(state: PresenceState, beats: readonly Beat[], told: Told, nowMs: number): Verdict {
  let verdict: Verdict = 'ignore';
  const wanted: string[] = [];
  for (const beat of beats) {
    const machines = state.tags.get(beat.tag);
    if (!machines) continue;
    const entries = entriesOf(state, beat.tag);
    const one = entries.length === 1 && machines.length === 1 ? entries[0]! : undefined;
    const entry = one ?? entries.find(({ seq }) => seq === beat.seq);
    if (!entry || beat.seq > entry.seq) {
      if (told.via === 'link' && state.linked.has(told.from) && mayWant(state, beat.tag, nowMs))
        wanted.push(beat.tag);
      continue;
    }
    const outcome = beat.seq === entry.seq ? takeBeat(state, entry, beat, told, nowMs) : 'ignore';
    if (beat.seq < entry.seq) tellNewer(state, entry, told, nowMs);
    if (outcome === 'reject' || (outcome === 'accept' && verdict !== 'reject')) verdict = outcome;
  }
  if (wanted.length > 0)
    state.effects.push({ type: 'send', to: told.from, message: { wants: packTags(wanted) } });
  return verdict;
}

/** A beat under the statement that is held. */
function takeBeat(
  state: PresenceState,
  entry: Entry,
  beat: Beat,
  { from, via }: Told,
  nowMs: number,
): Verdict {
  if (beat.beat < entry.beat) return 'ignore';
  // Over its own link a machine shows that it lives, whether it says something new or not.
  const isItself = via === 'link' && from === entry.machine;
  const saidAtMs = beat.ageSeconds === AGE_GONE ? -Infinity : nowMs - 1_000 * beat.ageSeconds;
  const heardAtMs = isItself ? nowMs : saidAtMs;
  if (beat.beat === entry.beat) {
    entry.told.push(from);
    // Its link is known to be right: it is that of the statement, or was checked.
    if (entry.isUnproven || isItself) heard(state, entry, heardAtMs, nowMs);
    return 'ignore';
  }
  if (!follows(entry, beat.beat, beat.link)) return 'reject';
  entry.beat = beat.beat;
  entry.link = beat.link;
  heard(state, entry, heardAtMs, nowMs);
  news(state, entry, from);
  answerAskers(state, entry, nowMs);
  return 'accept';
}

/** Something new was heard of a machine, then. */
function heard(state: PresenceState, entry: Entry, heardAtMs: number, nowMs = heardAtMs): void {
  const wasGone = entry.isGone;
  entry.isUnproven = false;
  entry.heardAtMs = Math.max(entry.heardAtMs, heardAtMs);
  // What it said before it was suspected may be its last word.
  if (nowMs - heardAtMs >= PRESENCE_TTL_MS || heardAtMs < entry.suspectedAtMs) return;
  entry.isGone = false;
  entry.goneAtMs = Infinity;
  if (wasGone) state.effects.push({ type: 'changed', machine: entry.machine });
}

/** To be passed on to whoever does not know it. */
function news(state: PresenceState, entry: Entry, from: string): void {
  entry.told = [from];
  state.fresh.add(entry);
}

/** Whoever says something old is told what is newer; of a machine that was set back, it is the one that needs it. */
function tellNewer(state: PresenceState, entry: Entry, { from, via }: Told, nowMs: number): void {
  if (via === 'gossip' || !state.linked.has(from) || nowMs - entry.toldAtMs < WANT_INTERVAL_MS) return;
  entry.toldAtMs = nowMs;
  tellInBoxes(state, from, new Set([entry]), nowMs);
}

/** Somebody does not reach a machine: it is asked, by this machine itself or through others, before anything is shown. */
function takeSuspicion(state: PresenceState, known: Known, told: Told, nowMs: number): Verdict {
  const own = state.entries.get(state.self);
  if (own && own.tag === known.tag) {
    answer(state, own, known, told, nowMs);
    return 'ignore';
  }
  const entry = entryAt(state, known);
  if (!entry || !isHere(state, entry.machine) || entry.goneAtMs !== Infinity) return 'ignore';
  if (!state.suspicions.take(1, nowMs)) return 'ignore';
  suspect(state, entry, SUSPICION_MS, nowMs);
  return 'accept';
}

/**
 * This machine is alive. Over its own link whatever it says shows that; to all others only its next beat does, which is
 * not said again and again because somebody lies.
 */
function answer(state: PresenceState, own: Entry, known: Known, told: Told, nowMs: number): void {
  if (isNewer(known, own)) return;
  if (told.via === 'link') return sayBeat(state, own, told.from, nowMs);
  if (isNewer(own, known) || !state.answers.take(1, nowMs) || !raise(state, nowMs)) return;
  state.effects.push({ type: 'publish', message: { beats: packBeats([beatOf(own, nowMs)]) } });
}

function sayBeat(state: PresenceState, own: Entry, to: string, nowMs: number): void {
  state.effects.push({ type: 'send', to, message: { beats: packBeats([beatOf(own, nowMs)]) } });
}

/** Whoever asks is told what is newer at once, or as soon as the machine has said it. */
function answerProbes(state: PresenceState, probes: readonly Known[], from: string, nowMs: number): void {
  const newer = new Set<Entry>();
  for (const known of probes) {
    for (const entry of entriesOf(state, known.tag)) {
      if (entry.machine === state.self) {
        raise(state, nowMs);
        sayBeat(state, entry, from, nowMs);
        continue;
      }
      if (isNewer(entry, known)) newer.add(entry);
      if (state.linked.has(entry.machine) && state.suspicions.take(1, nowMs)) {
        const asking = state.askers.get(entry.machine) ?? new Set();
        state.askers.set(entry.machine, asking.add(from));
        askForNewer(state, entry);
      }
    }
  }
  tellInBoxes(state, from, newer, nowMs);
}

function answerAskers(state: PresenceState, entry: Entry, nowMs: number): void {
  const asking = state.askers.get(entry.machine);
  if (!asking) return;
  state.askers.delete(entry.machine);
  for (const to of asking) if (!entry.told.includes(to)) tellInBoxes(state, to, new Set([entry]), nowMs);
}
