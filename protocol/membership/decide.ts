import { levelsUnder, strikesOf, type Levels, type Strikes } from './authority.ts';
import type { History } from './history.ts';
import { losersOfOneTie } from './tie.ts';

/** Which statements of a history count, and which removals among them. */
export interface Decision {
  levels: Levels;
  strikes: Strikes;
}

/**
 * Which statements count. Whether one counts depends on which removals do, and those are statements like others;
 * so this looks for the one answer that rests on itself: the statements that count under the removals that count.
 *
 * It takes turns between two estimates (the alternating fixpoint of Van Gelder, 1989). If no removal struck, all
 * counts that possibly can: `over`. Under the strikes of all of `over`, only that counts which cannot be denied:
 * `under`. Strikes of `under` alone give a smaller `over`, that one a larger `under`, and so on. As more strikes
 * never make more statements count, `over` only shrinks and `under` only grows, so this ends, at the latest when
 * every removal changed sides once. What is in both counts, what is in neither does not.
 *
 * What remains between them rests on removals that deny each other, such as two admins who remove each other. One
 * such tie is settled by naming its losers, which then never count, and all is asked again. Each round names at
 * least one of finitely many removals, so this ends too.
 *
 * Invariants:
 * - the answer is a function of the set of statements: no step looks at the order of arrival;
 * - a statement that counts is struck by no removal that counts;
 * - one that does not count has no authority left, or is struck by a removal that counts, or lost a tie: never
 *   because of something that itself came to nothing;
 * - a statement that nobody follows yet and that knows all others changes no verdict but its own.
 */
export function decide(history: History, places: Uint32Array): Decision {
  const lost = new Set<number>();
  let over = levelsUnder(history, new Uint8Array(history.entries.length), lost);
  for (;;) {
    let strikes = strikesOf(history, over);
    let under = levelsUnder(history, strikes, lost);
    for (;;) {
      const sure = strikesOf(history, under);
      if (same(sure, strikes)) return { levels: under, strikes };
      const next = levelsUnder(history, sure, lost);
      const possible = strikesOf(history, next);
      over = next;
      if (same(possible, strikes)) break;
      strikes = possible;
      under = levelsUnder(history, strikes, lost);
    }
    const losers = losersOfOneTie(history, places, over, under);
    if (losers.length === 0) throw new Error('removals that are denied by none, and undecided');
    for (const loser of losers) lost.add(loser);
    over = levelsUnder(history, strikesOf(history, under), lost);
  }
}

function same(a: Strikes, b: Strikes): boolean {
  return Buffer.compare(a, b) === 0;
}
