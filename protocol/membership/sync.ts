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
 * The removal by which a machine is out that was let in once: its own, or that of whoever let it in and was out by
 * then. Undefined for a machine that nobody ever let in.
 */
export function departureOf(log: NamespaceLog, machine: string): string | undefined {
  const { grants, entries } = log.inner.history;
  const asked = new Set([machine]);
  for (const one of asked) {
    const removal = log.removed.get(one);
    if (removal) return removal.hash;
    for (const position of grants.get(one) ?? []) asked.add(entries[position]!.signed.statement.by);
  }
  return undefined;
}

/** Whether a stored statement is another one or in its past: what whoever wrote that one knew. */
export function isKnownTo(log: NamespaceLog, hash: string, to: string): boolean {
  const { entries, positions } = log.inner.history;
  const [position, last] = [positions.get(hash), positions.get(to)];
  if (position === undefined || last === undefined) return false;
  return position === last || contains(entries[last]!.past, position);
}

/**
 * What a peer lacks who told these hashes, in an order in which it can add them, and which of the hashes are not
 * known here: the peer has something to send. Once each has added what the other sent, both hold the same. A few
 * statements may be sent that the peer has; never is one left out that it lacks. With `upTo`, the hash of a stored
 * statement, that one and its past are all that is sent.
 */
export function missing(
  log: NamespaceLog,
  told: readonly string[],
  upTo?: string,
): { send: SignedStatement[]; ask: string[] } {
  const { entries, positions } = log.inner.history;
  const ask = told.filter((hash) => !positions.has(hash));
  const shared = told.map((hash) => positions.get(hash)).filter((position) => position !== undefined);
  const has = union(
    shared.map((position) => entries[position]!.past),
    shared,
  );
  const last = upTo === undefined ? undefined : positions.get(upTo)!;
  const isWanted = (position: number) =>
    last === undefined || position === last || contains(entries[last]!.past, position);
  const send = entries
    .filter((_entry, position) => !contains(has, position) && isWanted(position))
    .map(({ signed }) => signed);
  return { send, ask };
}
