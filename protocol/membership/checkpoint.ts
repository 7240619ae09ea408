import { addStatements, digestOf, openLog, type NamespaceLog } from './log.ts';
import { contains, type Past } from './past.ts';
import type { SignedStatement } from './statement.ts';
import { membersDigest } from './view.ts';

/** What a checkpoint says of a past: all the statements in it, and the members that follow from them. */
export function checkpointOf(log: NamespaceLog, past: Past): { digest: string; members: string } {
  const known = statementsIn(log, past);
  // All but every checkpoint knows the whole log of its author.
  const then = known.length === log.size ? log : addStatements(openLog(log.inner.history.genesis), known).log;
  return {
    digest: digestOf(known.map(({ hash }) => hash)),
    members: membersDigest(then.inner.view),
  };
}

/**
 * Whether a stored checkpoint says of its past what this machine finds there. It is no condition for storing one:
 * the answer costs an evaluation, and a false one harms nobody but shows that its author's software, or this
 * one's, decides otherwise.
 */
export function checkpointHolds(log: NamespaceLog, hash: string): boolean {
  const entry = log.inner.history.entries[log.inner.history.positions.get(hash) ?? 0]!;
  const { statement } = entry.signed;
  if (statement.k !== 'checkpoint') return false;
  const found = checkpointOf(log, entry.past);
  return found.digest === statement.digest && found.members === statement.members;
}

function statementsIn(log: NamespaceLog, past: Past): SignedStatement[] {
  return log.inner.history.entries
    .filter((_entry, position) => contains(past, position))
    .map(({ signed }) => signed);
}
