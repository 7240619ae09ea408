import { author, type Draft } from '../../protocol/membership/author.ts';
import { addStatements } from '../../protocol/membership/log.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { LogChange } from './directory-store.ts';

/** The change with one more statement, signed and on top of those before. Throws what `author` throws. */
export function said(change: LogChange, draft: Draft, nowMs: number, signer: Signer): LogChange {
  const signed = author(change.log, draft, nowMs, signer);
  const { log } = addStatements(change.log, [signed]);
  return { ...change, log, added: [...change.added, signed] };
}
