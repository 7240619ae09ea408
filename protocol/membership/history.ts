import { contains, NOTHING, union, type Past } from './past.ts';
import type { Chained, Genesis, Role, SignedStatement } from './statement.ts';

/** What a machine may do, so that more includes less. */
export const NO_LEVEL = 0;
export const KEEPER_LEVEL = 1;
export const MEMBER_LEVEL = 2;
export const ADMIN_LEVEL = 3;
const LEVELS: Record<Role, number> = { keeper: KEEPER_LEVEL, member: MEMBER_LEVEL, admin: ADMIN_LEVEL };

export interface Entry {
  readonly signed: SignedStatement;
  /** Positions of its predecessors; each lower than its own. */
  readonly prevs: readonly number[];
  readonly past: Past;
  /** The highest key epoch that it or its past names. */
  readonly epoch: number;
  /** The level to which it raises a machine; 0 when it is no grant. */
  readonly raises: number;
}

/**
 * The stored statements of one namespace, in an order in which each comes after its predecessors, and what is
 * looked up in them. It grows by {@link append} alone, and only while its maker has not shown it to others.
 */
export interface History {
  readonly genesis: SignedStatement<Genesis>;
  readonly entries: Entry[];
  readonly positions: Map<string, number>;
  /** By machine: positions of the statements that admit or promote it. */
  readonly grants: Map<string, readonly number[]>;
  /** By machine: positions of the statements that remove it. */
  readonly removals: Map<string, readonly number[]>;
  /** By author: how many. */
  readonly authored: Map<string, number>;
  /** Positions that no other statement names as its predecessor. */
  readonly heads: Set<number>;
}

export function newHistory(genesis: SignedStatement<Genesis>): History {
  const { machine } = genesis.statement.founder;
  return {
    genesis,
    entries: [{ signed: genesis, prevs: [], past: NOTHING, epoch: 0, raises: ADMIN_LEVEL }],
    positions: new Map([[genesis.hash, 0]]),
    grants: new Map([[machine, [0]]]),
    removals: new Map(),
    authored: new Map([[genesis.statement.by, 1]]),
    heads: new Set([0]),
  };
}

export function copyHistory(history: History): History {
  return {
    genesis: history.genesis,
    entries: history.entries.slice(),
    positions: new Map(history.positions),
    grants: new Map(history.grants),
    removals: new Map(history.removals),
    authored: new Map(history.authored),
    heads: new Set(history.heads),
  };
}

/** The entry that a statement becomes; its predecessors are stored. */
export function entryOf(history: History, signed: SignedStatement<Chained>): Entry {
  const { statement } = signed;
  const prevs = statement.prev.map((hash) => history.positions.get(hash)!);
  const known = prevs.map((position) => history.entries[position]!);
  const epoch = Math.max(
    ...known.map((entry) => entry.epoch),
    statement.k === 'rotate' ? statement.epoch : 0,
  );
  return {
    signed,
    prevs,
    past: union(
      known.map((entry) => entry.past),
      prevs,
    ),
    epoch,
    raises:
      statement.k === 'admit' ? LEVELS[statement.role] : statement.k === 'promote' ? ADMIN_LEVEL : NO_LEVEL,
  };
}

/** Whether it knows everything that was stored before it. */
export function append(history: History, entry: Entry): boolean {
  const { statement, hash } = entry.signed;
  const position = history.entries.length;
  history.entries.push(entry);
  history.positions.set(hash, position);
  history.authored.set(statement.by, (history.authored.get(statement.by) ?? 0) + 1);
  for (const prev of entry.prevs) history.heads.delete(prev);
  const tip = history.heads.size === 0;
  history.heads.add(position);
  if (entry.raises > NO_LEVEL) insert(history.grants, grantee(entry.signed), position);
  if (statement.k === 'remove') insert(history.removals, statement.machine, position);
  return tip;
}

/** The machine that a grant raises. */
function grantee({ statement }: SignedStatement): string {
  if (statement.k === 'genesis') return statement.founder.machine;
  if (statement.k === 'admit' || statement.k === 'promote') return statement.machine;
  throw new Error(`a ${statement.k} raises nobody`);
}

/** Whether the statement at `position` is in the past of the one at `of`. */
export function isBefore(history: History, position: number, of: number): boolean {
  return contains(history.entries[of]!.past, position);
}

/** Lists are replaced, not grown: a copied history shares them. */
function insert(lists: Map<string, readonly number[]>, machine: string, position: number): void {
  lists.set(machine, [...(lists.get(machine) ?? []), position]);
}
