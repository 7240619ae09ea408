import { levelNeeded } from './acceptance.ts';
import { standingOfAuthor, standingOfPromoted, strikesOf, type Levels, type Strikes } from './authority.ts';
import { isBefore, NO_LEVEL, type History } from './history.ts';

/**
 * Removals that deny each other: who wins.
 *
 * The winner is the removal whose author has had its authority for longest, without a break, and of one author's the
 * first in the agreed order. What denies it, or the authority that it rests on, loses; other removals of the losers'
 * authors stand or fall by themselves.
 *
 * Why not simply the first in the agreed order: a removed admin would write a removal of whoever removed it, on a
 * fork right behind its own admission. That one is earlier than nearly anything, so every removed admin could take
 * the namespace over. When it was made admin is the one thing that it cannot backdate, since others did it.
 * What is left: an admin cannot remove one that was made admin before it and removes it in turn. That takes one who
 * was made admin still earlier, or the genesis key, whose removals no one denies.
 *
 * Invariants:
 * - a tie is settled at its root, among removals that nothing else undecided denies: as long as it is open whether
 *   A or B is out, nobody asks what B says of C;
 * - what denies nothing settles nothing, so a new statement that knows all others leaves every old tie as it was.
 */
export function losersOfOneTie(
  history: History,
  places: Uint32Array,
  over: Levels,
  under: Levels,
): readonly number[] {
  const tie = openTie(history, places, over, under);
  const ranked = rootOf(tie).map((removal) => ({
    removal,
    since: places[authorityOf(tie, removal)!]!,
  }));
  ranked.sort((a, b) => a.since - b.since || places[a.removal]! - places[b.removal]!);
  return deniersOf(tie, ranked[0]!.removal);
}

interface Tie {
  history: History;
  /** In the agreed order, by position. */
  places: Uint32Array;
  /** What may count. */
  over: Levels;
  undecided: ReadonlySet<number>;
  /** The removals that count for sure. */
  strikes: Strikes;
  /** By removal, as far as asked. */
  deniers: Map<number, readonly number[]>;
}

function openTie(history: History, places: Uint32Array, over: Levels, under: Levels): Tie {
  const undecided = new Set<number>();
  over.forEach((level, position) => {
    if (level !== NO_LEVEL && under[position] === NO_LEVEL) undecided.add(position);
  });
  return { history, places, over, undecided, strikes: strikesOf(history, under), deniers: new Map() };
}

/** Undecided removals each of which denies, directly or through others, all of them and is denied by no others. */
function rootOf(tie: Tie): number[] {
  let from = [...tie.undecided].find(
    (position) => tie.history.entries[position]!.signed.statement.k === 'remove',
  )!;
  for (;;) {
    const above = reach(from, (removal) => deniersOf(tie, removal));
    const denied = new Map<number, number[]>();
    for (const removal of above) {
      for (const denier of deniersOf(tie, removal)) {
        const list = denied.get(denier);
        if (list) list.push(removal);
        else denied.set(denier, [removal]);
      }
    }
    const below = reach(from, (removal) => denied.get(removal) ?? []);
    // Whoever denies it and is not denied in turn is nearer to the root.
    const nearer = [...above].find((removal) => !below.has(removal));
    if (nearer === undefined) return [...above];
    from = nearer;
  }
}

function reach(from: number, next: (removal: number) => readonly number[]): Set<number> {
  const found = new Set([from]);
  for (const one of found) for (const removal of next(one)) found.add(removal);
  return found;
}

/**
 * The undecided removals that deny a removal. It counts if none of them does; that it has none cannot be, as it
 * would be decided.
 */
function deniersOf(tie: Tie, removal: number): readonly number[] {
  const known = tie.deniers.get(removal);
  if (known) return known;
  const { history, undecided } = tie;
  const deniers = new Set<number>();
  const support = new Set([removal]);
  for (const position of support) {
    const { statement } = history.entries[position]!.signed;
    const own = authorityOf(tie, position);
    const promoted = premiseOf(tie, position);
    for (const denier of removalsCancelling(tie, own, statement.by)) {
      if (denier !== position && !isBefore(history, position, denier)) deniers.add(denier);
    }
    if (statement.k === 'promote') {
      for (const denier of removalsCancelling(tie, promoted, statement.machine)) {
        if (isBefore(history, denier, position)) deniers.add(denier);
      }
    }
    for (const grant of [own, promoted]) {
      if (grant !== undefined && undecided.has(grant)) support.add(grant);
    }
  }
  const found = [...deniers];
  tie.deniers.set(removal, found);
  return found;
}

/** Undecided removals of a machine which the author of that grant to it did not know of. */
function removalsCancelling(
  { history, undecided }: Tie,
  grant: number | undefined,
  machine: string,
): number[] {
  if (grant === undefined) return [];
  const removals = history.removals.get(machine) ?? [];
  return removals.filter((removal) => undecided.has(removal) && !isBefore(history, removal, grant));
}

/** The earliest grant, as far as is known, by which a statement counts; none for one of the genesis key. */
function authorityOf(tie: Tie, position: number): number | undefined {
  const { entries } = tie.history;
  const { statement } = entries[position]!.signed;
  const needed = statement.k === 'genesis' ? NO_LEVEL : levelNeeded(statement);
  const grants = standingOfAuthor(tie.history, position, tie.strikes, tie.over);
  return earliest(
    tie,
    [...grants].filter((grant) => entries[grant]!.raises >= needed),
  );
}

/** The earliest grant by which the machine of a promotion was in. */
function premiseOf(tie: Tie, position: number): number | undefined {
  return earliest(tie, [...standingOfPromoted(tie.history, position, tie.strikes, tie.over)]);
}

function earliest({ places }: Tie, grants: readonly number[]): number | undefined {
  let found = grants[0];
  for (const grant of grants) if (places[grant]! < places[found!]!) found = grant;
  return found;
}
