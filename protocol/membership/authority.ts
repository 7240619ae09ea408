import { levelNeeded } from './acceptance.ts';
import { ADMIN_LEVEL, isBefore, NO_LEVEL, type History } from './history.ts';

/**
 * Which statements count, if it is known which removals do.
 *
 * Invariants:
 * - a statement of the genesis key counts;
 * - any other counts by a grant: one that counts, lies in its past, and gives its author the level it needs;
 * - a removal strikes every statement of its machine that is not in the removal's past, said later or backdated,
 *   unless the grant that the statement counts by came after the removal;
 * - a removal does not strike itself, so a machine can leave;
 * - a promotion also needs that its machine was in when it was made.
 *
 * More removals never make more statements count: `decide` builds on that.
 */

/** Per position: 1 for a removal that is taken to count. */
export type Strikes = Uint8Array;
/** Per position: the level by which the statement counts, 0 when it does not. */
export type Levels = Uint8Array;

/** `lost` names statements that are not to count whatever else is so. */
export function levelsUnder(history: History, strikes: Strikes, lost: ReadonlySet<number>): Levels {
  const levels = new Uint8Array(history.entries.length);
  for (let position = 0; position < levels.length; position++) {
    if (!lost.has(position)) levels[position] = levelAt(history, position, strikes, levels);
  }
  return levels;
}

/** The level of one statement; `levels` are known for its past. */
export function levelAt(history: History, position: number, strikes: Strikes, levels: Levels): number {
  const { statement } = history.entries[position]!.signed;
  if (statement.k === 'genesis') return ADMIN_LEVEL;
  if (statement.k === 'promote' && standingOfPromoted(history, position, strikes, levels).next().done) {
    return NO_LEVEL;
  }
  if (statement.by === history.genesis.statement.by) return ADMIN_LEVEL;
  const needed = levelNeeded(statement);
  // A release says more when an admin wrote it; of all others it matters only that they count.
  const enough = statement.k === 'release' ? ADMIN_LEVEL : needed;
  let level = NO_LEVEL;
  for (const grant of standingOfAuthor(history, position, strikes, levels)) {
    level = Math.max(level, history.entries[grant]!.raises);
    if (level >= enough) break;
  }
  return level >= needed ? level : NO_LEVEL;
}

/** The grants by which the author of a statement may speak there, the newest first. */
export function standingOfAuthor(
  history: History,
  position: number,
  strikes: Strikes,
  levels: Levels,
): Generator<number, void> {
  const author = history.entries[position]!.signed.statement.by;
  const against = removalsOf(history, author).filter(
    (removal) => strikes[removal] === 1 && removal !== position && !isBefore(history, position, removal),
  );
  return standing(history, author, position, against, levels);
}

/** The grants by which the machine of a promotion is in when it is made; none for what is no promotion. */
export function standingOfPromoted(
  history: History,
  position: number,
  strikes: Strikes,
  levels: Levels,
): Generator<number, void> {
  const { statement } = history.entries[position]!.signed;
  const machine = statement.k === 'promote' ? statement.machine : '';
  const against = removalsOf(history, machine).filter(
    (removal) => strikes[removal] === 1 && isBefore(history, removal, position),
  );
  return standing(history, machine, position, against, levels);
}

/** The removals that count by these levels. */
export function strikesOf(history: History, levels: Levels): Strikes {
  const strikes = new Uint8Array(levels.length);
  for (const removals of history.removals.values()) {
    for (const removal of removals) if (levels[removal] !== NO_LEVEL) strikes[removal] = 1;
  }
  return strikes;
}

/** The grants in the past of `position` that count and that none of the removals `against` has cancelled. */
function* standing(
  history: History,
  machine: string,
  position: number,
  against: readonly number[],
  levels: Levels,
): Generator<number, void> {
  const grants = history.grants.get(machine) ?? [];
  for (let at = grants.length - 1; at >= 0; at--) {
    const grant = grants[at]!;
    if (levels[grant] === NO_LEVEL || !isBefore(history, grant, position)) continue;
    if (against.every((removal) => isBefore(history, removal, grant))) yield grant;
  }
}

const NONE: readonly number[] = [];

function removalsOf(history: History, machine: string): readonly number[] {
  return history.removals.get(machine) ?? NONE;
}
