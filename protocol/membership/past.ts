/**
 * The causal past of a statement: the positions of all that is reachable from it by `prev`, as a set.
 *
 * Nearly always a statement knows all that was stored before it, but for a few that were made at the same time.
 * So a past is kept as "everything below `from`" and bits for the rest. A straight log needs no bits at all; the
 * worst that a hostile author can make of 10,000 statements are 12.5 MB.
 */
export interface Past {
  /** Every position below is in the set, this one is not. */
  readonly from: number;
  /** 32 positions a word; the first word holds position `from`. */
  readonly words: Uint32Array;
}

export const NOTHING: Past = { from: 0, words: new Uint32Array(0) };

export function contains(past: Past, position: number): boolean {
  if (position < past.from) return true;
  const word = past.words[(position >>> 5) - (past.from >>> 5)];
  return word !== undefined && (word & (1 << (position & 31))) !== 0;
}

/** All that `pasts` contain, and the positions themselves. */
export function union(pasts: readonly Past[], positions: readonly number[]): Past {
  let from = 0;
  let last = 0;
  for (const past of pasts) {
    from = Math.max(from, past.from);
    last = Math.max(last, (past.from >>> 5) + past.words.length - 1);
  }
  for (const position of positions) last = Math.max(last, position >>> 5);
  const first = from >>> 5;
  const words = new Uint32Array(Math.max(0, last - first + 1));
  for (const past of pasts) {
    const shift = (past.from >>> 5) - first;
    for (let at = Math.max(0, -shift); at < past.words.length; at++) words[at + shift]! |= past.words[at]!;
  }
  // The word that holds `from` also stands for the positions below it.
  if (words.length > 0) words[0]! |= (1 << (from & 31)) - 1;
  for (const position of positions) {
    if (position >= from) words[(position >>> 5) - first]! |= 1 << (position & 31);
  }
  return trimmed(from, words);
}

function trimmed(from: number, words: Uint32Array): Past {
  const first = from >>> 5;
  let skip = 0;
  while (skip < words.length && words[skip] === 0xffffffff) skip++;
  let start = skip > 0 ? (first + skip) * 32 : from;
  const word = words[skip];
  if (word === undefined) return { from: start, words: new Uint32Array(0) };
  while ((word & (1 << (start & 31))) !== 0) start++;
  const rest = words.slice(skip);
  return { from: start, words: rest.length === 1 && word >>> (start & 31) === 0 ? new Uint32Array(0) : rest };
}
