import type { ErrorCode } from '../errors.ts';
import { STATEMENTS_MAX } from '../limits.ts';
import {
  ADMIN_LEVEL,
  entryOf,
  KEEPER_LEVEL,
  MEMBER_LEVEL,
  NO_LEVEL,
  type Entry,
  type History,
} from './history.ts';
import { contains, type Past } from './past.ts';
import type { Chained, SignedStatement } from './statement.ts';

/**
 * Whether a statement is stored at all.
 *
 * Invariants:
 * - but for the bounds, it depends on the statement and its causal past alone, so every machine stores the same
 *   set whatever the order of arrival;
 * - a statement is stored whose author was given the authority for it somewhere in its past, even if it counts
 *   for nothing now: it may have been struck by a removal that is itself struck tomorrow;
 * - what its author never had authority for is never stored.
 *
 * The bounds come last. Only a flood reaches them, and then two machines may keep different parts of it.
 */
export const STATEMENTS_PER_MACHINE_MAX = 2_000;
/** Places beyond the bounds for removals and for the genesis key, so that a flood can be ended. */
export const STATEMENTS_RESERVED = 500;

export interface Objection {
  code: ErrorCode;
  why: string;
}

/** The entry to append, or why not. All its predecessors are stored. */
export function examine(history: History, signed: SignedStatement<Chained>): Entry | Objection {
  if (signed.statement.ns !== history.genesis.hash) return invalid('It is of another namespace.');
  const entry = entryOf(history, signed);
  return (
    lackOfAuthority(history, signed.statement, entry.past) ??
    misfit(history, signed.statement, entry) ??
    excess(history, signed.statement) ??
    entry
  );
}

const NEEDED: Record<Chained['k'], number> = {
  admit: ADMIN_LEVEL,
  remove: ADMIN_LEVEL,
  promote: ADMIN_LEVEL,
  rename: ADMIN_LEVEL,
  'rename-namespace': ADMIN_LEVEL,
  claim: MEMBER_LEVEL,
  release: MEMBER_LEVEL,
  rotate: ADMIN_LEVEL,
  checkpoint: ADMIN_LEVEL,
};

/** The level that the author of a statement needs; any machine may leave, and name itself. */
export function levelNeeded(statement: Chained): number {
  const ofItself = 'machine' in statement && statement.machine === statement.by;
  return ofItself && (statement.k === 'remove' || statement.k === 'rename')
    ? KEEPER_LEVEL
    : NEEDED[statement.k];
}

function lackOfAuthority(history: History, statement: Chained, past: Past): Objection | undefined {
  if (statement.by === history.genesis.statement.by) {
    return statement.k === 'claim'
      ? invalid('The genesis key is no machine and hosts no agents.')
      : undefined;
  }
  const needed = levelNeeded(statement);
  if (highestEver(history, statement.by, past) >= needed) return undefined;
  return needed === ADMIN_LEVEL
    ? {
        code: 'not_admin',
        why: `Only an admin may ${statement.k}; ${statement.by} was none when it wrote this.`,
      }
    : { code: 'not_member', why: `${statement.by} had no place from which to ${statement.k}.` };
}

/** What a statement says of others that its own past does not bear out. */
function misfit(history: History, statement: Chained, { past, prevs }: Entry): Objection | undefined {
  const { k } = statement;
  if (k === 'admit' && statement.machine === history.genesis.statement.by) {
    return invalid('The genesis key is no machine.');
  }
  if (k === 'remove' || k === 'promote' || k === 'rename') {
    const { machine } = statement;
    if (highestEver(history, machine, past) === NO_LEVEL) return invalid(`${machine} was never admitted.`);
  }
  if (k === 'rotate') {
    // One step at a time, so that nobody can put the last epoch there is.
    const next = 1 + Math.max(...prevs.map((position) => history.entries[position]!.epoch));
    if (statement.epoch !== next) return invalid(`The next key epoch is ${next}.`);
  }
  return undefined;
}

function excess(history: History, statement: Chained): Objection | undefined {
  const stored = history.entries.length;
  const urgent = statement.k === 'remove' || statement.by === history.genesis.statement.by;
  if (stored >= STATEMENTS_MAX + (urgent ? STATEMENTS_RESERVED : 0)) {
    return { code: 'too_many', why: `The log holds ${stored} statements, which is all it may.` };
  }
  if (!urgent && (history.authored.get(statement.by) ?? 0) >= STATEMENTS_PER_MACHINE_MAX) {
    return { code: 'too_many', why: `${statement.by} wrote ${STATEMENTS_PER_MACHINE_MAX} statements.` };
  }
  return undefined;
}

/** The highest level that any statement of that past gave a machine, whatever came of it. */
function highestEver(history: History, machine: string, past: Past): number {
  let level = NO_LEVEL;
  for (const grant of history.grants.get(machine) ?? []) {
    const { raises } = history.entries[grant]!;
    if (raises > level && contains(past, grant)) level = raises;
  }
  return level;
}

function invalid(why: string): Objection {
  return { code: 'statement_invalid', why };
}
