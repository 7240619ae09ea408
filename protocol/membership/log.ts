import { sha256Hex } from '../digest.ts';
import { PatchcordError, type ErrorCode } from '../errors.ts';
import { examine } from './acceptance.ts';
import { levelAt, type Levels, type Strikes } from './authority.ts';
import type { Claim, LostClaim } from './claims.ts';
import { decide } from './decide.ts';
import { append, copyHistory, newHistory, type History } from './history.ts';
import { agreedOrder } from './order.ts';
import type { Chained, Genesis, SignedStatement } from './statement.ts';
import { applyStatement, copyView, viewOf, type Checkpoint, type KeyEpoch, type Member } from './view.ts';
import type { Removal, View } from './view.ts';

/**
 * A namespace as one machine knows it: the statements it stores and what follows from them.
 *
 * Invariants:
 * - what follows is a function of the set of statements, not of the order in which they arrived;
 * - every statement is stored after its predecessors, and only if its author had authority in its past;
 * - a log is a value: adding makes another one.
 */
export interface NamespaceLog {
  /** The hash of the genesis. */
  readonly id: string;
  readonly name: string;
  /** The peer id that the recovery words belong to; no machine. */
  readonly genesisKey: string;
  /** By peer id. */
  readonly members: ReadonlyMap<string, Member>;
  /** The members, each once, in the order of their places in the mesh; see protocol/mesh/overlay.ts. */
  readonly places: readonly string[];
  /** Machines that were members and are none now, by peer id. */
  readonly removed: ReadonlyMap<string, Removal>;
  /** By agent name. */
  readonly claims: ReadonlyMap<string, Claim>;
  /** Claims of names that others hold, for their authors to be told. */
  readonly lost: readonly LostClaim[];
  /** The newest namespace key; undefined until the first rotation. */
  readonly key: KeyEpoch | undefined;
  /** Whether a machine was removed since the current key was made, or without its author's knowledge. */
  readonly rekeyDue: boolean;
  readonly checkpoint: Checkpoint | undefined;
  readonly size: number;
  /** What this log derives from; of no concern outside this folder. */
  readonly inner: { history: History; view: View; levels: Levels; strikes: Strikes };
}

/** Throws `statement_invalid` unless it is a genesis. */
export function openLog(genesis: SignedStatement): NamespaceLog {
  if (!isGenesis(genesis)) throw new PatchcordError('statement_invalid', 'A log starts with its genesis.');
  return evaluated(newHistory(genesis));
}

export interface Added {
  log: NamespaceLog;
  /** In an order in which each can be added. */
  added: SignedStatement[];
  /** Each names a statement that is not known; to be added again with it. */
  waiting: SignedStatement[];
  refused: Refusal[];
}

export interface Refusal {
  hash: string;
  /** `statement_invalid`, `not_admin`, `not_member`, `too_many`. */
  code: ErrorCode;
  why: string;
}

/**
 * The log with those statements of `list` that belong to it; what it holds already is passed over. The list may
 * come in any order. One call evaluates at most once, and not at all when each statement knows all before it.
 */
export function addStatements(log: NamespaceLog, list: readonly SignedStatement[]): Added {
  const { added, waiting, refused, history, tips } = store(log.inner.history, list);
  if (added.length === 0) return { log, added, waiting, refused };
  return { log: tips ? extended(log, history) : evaluated(history), added, waiting, refused };
}

/** Newest statements, ascending; two logs of one namespace hold the same exactly when these are the same. */
export function heads(log: NamespaceLog): string[] {
  const { entries, heads } = log.inner.history;
  return [...heads].map((position) => entries[position]!.signed.hash).sort();
}

/** The same for two logs exactly when they hold the same statements. */
export function digest(log: NamespaceLog): string {
  return digestOf(log.inner.history.entries.map(({ signed }) => signed.hash));
}

/** SHA-256 over the hashes, ascending. */
export function digestOf(hashes: readonly string[]): string {
  return sha256Hex(Buffer.from([...hashes].sort().join(''), 'hex'));
}

/** In an order in which each can be added; the genesis first. */
export function statements(log: NamespaceLog): SignedStatement[] {
  return log.inner.history.entries.map(({ signed }) => signed);
}

export function findStatement(log: NamespaceLog, hash: string): SignedStatement | undefined {
  const position = log.inner.history.positions.get(hash);
  return position === undefined ? undefined : log.inner.history.entries[position]!.signed;
}

/** Whether a stored statement counts; one that does not had its author's authority struck by a removal. */
export function counts(log: NamespaceLog, hash: string): boolean {
  const position = log.inner.history.positions.get(hash);
  return position !== undefined && log.inner.levels[position]! > 0;
}

interface Stored extends Omit<Added, 'log'> {
  history: History;
  /** Whether each that was added knows all that was stored before it. */
  tips: boolean;
}

/** Each statement is examined as soon as the last of its predecessors is stored. */
function store(known: History, list: readonly SignedStatement[]): Stored {
  const unknown = new Map(list.map((signed) => [signed.hash, signed]));
  const result: Stored = { history: known, added: [], waiting: [], refused: [], tips: true };
  const awaited = new Map<string, number>();
  const followers = new Map<string, SignedStatement<Chained>[]>();
  const ready: SignedStatement<Chained>[] = [];
  const refuse = (hash: string, code: ErrorCode, why: string): void => {
    result.refused.push({ hash, code, why });
    const gone = [hash];
    for (const one of gone) {
      unknown.delete(one);
      for (const next of followers.get(one) ?? []) {
        if (!unknown.delete(next.hash)) continue;
        gone.push(next.hash);
        const after = `It follows ${one}, which was refused.`;
        result.refused.push({ hash: next.hash, code: 'statement_invalid', why: after });
      }
    }
  };
  for (const signed of unknown.values()) {
    if (known.positions.has(signed.hash)) unknown.delete(signed.hash);
    else if (isChained(signed)) {
      const missing = signed.statement.prev.filter((hash) => !known.positions.has(hash));
      awaited.set(signed.hash, missing.length);
      for (const hash of missing) {
        const list = followers.get(hash);
        if (list) list.push(signed);
        else followers.set(hash, [signed]);
      }
      if (missing.length === 0) ready.push(signed);
    } else refuse(signed.hash, 'statement_invalid', 'It founds another namespace.');
  }
  if (ready.length > 0) result.history = copyHistory(known);
  for (const signed of ready) {
    const entry = examine(result.history, signed);
    if ('code' in entry) {
      refuse(signed.hash, entry.code, entry.why);
      continue;
    }
    unknown.delete(signed.hash);
    result.added.push(signed);
    if (!append(result.history, entry)) result.tips = false;
    for (const follower of followers.get(signed.hash) ?? []) {
      const left = awaited.get(follower.hash)! - 1;
      awaited.set(follower.hash, left);
      if (left === 0) ready.push(follower);
    }
  }
  result.waiting.push(...unknown.values());
  return result;
}

function isGenesis(signed: SignedStatement): signed is SignedStatement<Genesis> {
  return signed.statement.k === 'genesis';
}

function isChained(signed: SignedStatement): signed is SignedStatement<Chained> {
  return signed.statement.k !== 'genesis';
}

function evaluated(history: History): NamespaceLog {
  const order = agreedOrder(history);
  const places = new Uint32Array(order.length);
  order.forEach((position, place) => {
    places[position] = place;
  });
  const { levels, strikes } = decide(history, places);
  return logOf(history, viewOf(history, order, levels), levels, strikes);
}

/**
 * The log with new statements each of which knows all before it: they are the last in the agreed order, they strike
 * nothing that was there, and nothing that was there rests on them.
 */
function extended(log: NamespaceLog, history: History): NamespaceLog {
  const levels = new Uint8Array(history.entries.length);
  const strikes = new Uint8Array(history.entries.length);
  levels.set(log.inner.levels);
  strikes.set(log.inner.strikes);
  const view = copyView(log.inner.view);
  for (let position = log.size; position < levels.length; position++) {
    levels[position] = levelAt(history, position, strikes, levels);
    const removes = history.entries[position]!.signed.statement.k === 'remove';
    if (removes && levels[position] !== 0) strikes[position] = 1;
    applyStatement(view, history, position, levels);
  }
  return logOf(history, view, levels, strikes);
}

function logOf(history: History, view: View, levels: Levels, strikes: Strikes): NamespaceLog {
  return {
    id: history.genesis.hash,
    name: view.name,
    genesisKey: history.genesis.statement.by,
    members: view.members,
    places: view.places,
    removed: view.removed,
    claims: view.claims,
    lost: [...view.lost.values()],
    key: view.key,
    rekeyDue: view.unkeyed.length > 0,
    checkpoint: view.checkpoint,
    size: history.entries.length,
    inner: { history, view, levels, strikes },
  };
}
