import { heads, type NamespaceLog } from './log.ts';
import { contains, union } from './past.ts';
import type { SignedStatement } from './statement.ts';

/** Most hashes by which a machine tells what it has. Wire. */
export const LANDMARKS_MAX = 64;

/**
 * Hashes that tell a peer what this machine has: its heads, and statements ever further back (1, 2, 4 ... before
 * the last), so that a peer who does not know the heads finds a point near to where the two logs part.
 */
export function landmarks(log: NamespaceLog): string[] {
  const { entries } = log.inner.history;
  const hashes = new Set(heads(log).slice(0, LANDMARKS_MAX / 2));
  for (let back = 1; back < entries.length; back *= 2) {
    hashes.add(entries[entries.length - 1 - back]!.signed.hash);
  }
  return [...hashes];
}

/**
 * What a peer lacks who told these hashes, in an order in which it can add them, and which of the hashes are not
 * known here: the peer has something to send. Once each has added what the other sent, both hold the same. A few
 * statements may be sent that the peer has; never is one left out that it lacks.
 */
export function missing(
  log: NamespaceLog,
  told: readonly string[],
): { send: SignedStatement[]; ask: string[] } {
  const { entries, positions } = log.inner.history;
  const ask = told.filter((hash) => !positions.has(hash));
  const shared = told.map((hash) => positions.get(hash)).filter((position) => position !== undefined);
  const has = union(
    shared.map((position) => entries[position]!.past),
    shared,
  );
  const send = entries.filter((_entry, position) => !contains(has, position)).map(({ signed }) => signed);
  return { send, ask };
}
