import type { RandomBytes } from '../ids.ts';
import type { Signer } from '../signing.ts';
import {
  AGE_GONE,
  isSame,
  latin1,
  tagOf,
  type Beat,
  type BeatChain,
  type Known,
  type Position,
} from './beat.ts';
import type { Bucket } from './bucket.ts';
import type { PresenceMessage } from './message.ts';
import type { PresenceContent, PresenceStatement, readPresence } from './statement.ts';

/** What one machine knows of who is here in one namespace. It belongs to its caller and is changed in place. */
export interface PresenceState {
  readonly ns: string;
  readonly self: string;
  readonly parts: PresenceParts;
  /** Machines by their tags; two with one tag are told apart by their chains. */
  readonly tags: Map<string, string[]>;
  readonly members: Set<string>;
  readonly linked: Set<string>;
  /** Linked members to which beats are passed on; undefined after links or members changed. */
  chosen: string[] | undefined;
  readonly entries: Map<string, Entry>;
  /** What this machine says next is above this. */
  seq: number;
  own: Own | undefined;
  /** Entries that others have not been told of yet. */
  readonly fresh: Set<Entry>;
  /** Members that have chosen this machine to pass beats to, and when they said so last. */
  readonly choosers: Map<string, number>;
  /** Members that said that they pass beats to as many as they may, and when. */
  readonly full: Map<string, number>;
  /** Who asked for something newer of a machine. */
  readonly askers: Map<string, Set<string>>;
  /** When a statement was asked for last, by tag. */
  readonly wanted: Map<string, number>;
  readonly peers: Map<string, Bucket>;
  readonly suspicions: Bucket;
  /** How often gossip carries an answer to a suspicion. */
  readonly answers: Bucket;
  /** Who is to be asked about what when the event is over. */
  readonly asks: Map<string, { suspects: Known[]; probes: Known[] }>;
  /** What happened and is to be run, in order. */
  effects: PresenceEffect[];
}

export interface PresenceParts {
  signer: Signer;
  randomBytes: RandomBytes;
  /** {@link readPresence}; simulations keep what it made. */
  read: typeof readPresence;
}

/** What this machine says of itself. */
export interface Own {
  content: PresenceContent;
  chain: BeatChain;
  saidAtMs: number;
  raisedAtMs: number;
  beatDueMs: number;
  /** Content that waits to be said. */
  next?: PresenceContent;
}

/** What is known of a machine, this one included. */
export interface Entry extends Position {
  readonly machine: string;
  readonly tag: string;
  link: string;
  statement: PresenceStatement;
  /** When something new was heard of it last, by this machine's clock. */
  heardAtMs: number;
  /** Not here, as far as is known. */
  isGone: boolean;
  /** Told by another than itself: nothing shows yet how old it is. */
  isUnproven: boolean;
  /** When it was suspected last; only what it said after that shows that it lives. */
  suspectedAtMs: number;
  /** It counts as gone then, unless it says something new. */
  goneAtMs: number;
  /** When it was asked last for something newer. */
  askedAtMs: number;
  /** When somebody who said something old of it was told last. */
  toldAtMs: number;
  /** Who is known to know this position. */
  told: string[];
  /** How often it may say something else of itself. */
  statements: Bucket | undefined;
}

export type PresenceEffect =
  /** To all members. */
  | { type: 'publish'; message: PresenceMessage }
  /** To one that is linked. */
  | { type: 'send'; to: string; message: PresenceMessage }
  /** A machine came, went or says something else of itself. */
  | { type: 'changed'; machine: string };

export function newEntry(machine: string, statement: PresenceStatement): Entry {
  return {
    machine,
    tag: tagOf(machine),
    seq: statement.seq,
    beat: 0,
    link: latin1(statement.anchor),
    statement,
    heardAtMs: -Infinity,
    isGone: true,
    isUnproven: true,
    suspectedAtMs: -Infinity,
    goneAtMs: Infinity,
    askedAtMs: -Infinity,
    toldAtMs: -Infinity,
    told: [],
    statements: undefined,
  };
}

/** Whether a machine is here; undefined when it has said nothing yet. */
export function isHere(state: PresenceState, machine: string): boolean | undefined {
  const entry = state.entries.get(machine);
  return entry && !entry.isGone && !entry.statement.left;
}

export function knownOf({ tag, seq, beat }: Entry): Known {
  return { tag, seq, beat };
}

/** A beat as it is told now. */
export function beatOf(entry: Entry, nowMs: number): Beat {
  const { tag, seq, beat, link } = entry;
  // Of one that is suspected only the mark is told: whoever just started would take it for alive.
  const isDoubted = entry.isGone || entry.goneAtMs !== Infinity;
  const ageSeconds = isDoubted
    ? AGE_GONE
    : Math.min(AGE_GONE - 1, Math.ceil((nowMs - entry.heardAtMs) / 1_000));
  return { tag, seq, beat, link, ageSeconds };
}

/** The machine of a tag whose newest word is this one, if one is. */
export function entryAt(state: PresenceState, known: Known): Entry | undefined {
  return entriesOf(state, known.tag).find((entry) => isSame(entry, known));
}

export function entriesOf(state: PresenceState, tag: string): Entry[] {
  const machines = state.tags.get(tag) ?? [];
  return machines.flatMap((machine) => state.entries.get(machine) ?? []);
}
