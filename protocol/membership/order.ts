import type { Entry, History } from './history.ts';

/**
 * All positions in the order that every machine agrees on: a statement after its predecessors; of those that are
 * ready, removals first, then the lowest hash.
 *
 * A later statement only adds a place: whoever is ready is so by its predecessors alone, so what nobody follows
 * yet changes nothing in the order of the others. A statement that knows all others is therefore the last.
 */
export function agreedOrder(history: History): Uint32Array {
  const { entries } = history;
  const followers: number[][] = entries.map(() => []);
  const awaited = new Uint8Array(entries.length);
  entries.forEach((entry, position) => {
    awaited[position] = entry.prevs.length;
    for (const prev of entry.prevs) followers[prev]!.push(position);
  });
  const order = new Uint32Array(entries.length);
  /** The next one last. */
  const ready = [0];
  for (let place = 0; place < order.length; place++) {
    const position = ready.pop()!;
    order[place] = position;
    for (const follower of followers[position]!) {
      awaited[follower]!--;
      if (awaited[follower] === 0) insert(ready, follower, entries);
    }
  }
  return order;
}

/** Keeps `ready` sorted, the next one last. */
function insert(ready: number[], position: number, entries: readonly Entry[]): void {
  let low = 0;
  let high = ready.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (goesBefore(entries[position]!, entries[ready[middle]!]!)) low = middle + 1;
    else high = middle;
  }
  ready.splice(low, 0, position);
}

function goesBefore(a: Entry, b: Entry): boolean {
  const [first, second] = [a.signed, b.signed];
  const removes = first.statement.k === 'remove';
  if (removes !== (second.statement.k === 'remove')) return removes;
  return first.hash < second.hash;
}
