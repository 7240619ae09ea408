import { z } from 'zod';
import { NAME_PATTERN } from './address.ts';
import { isId } from './ids.ts';
import { LABEL_LENGTH_MAX } from './limits.ts';

/** The small shapes that wire, store and API share. Each is as narrow as the thing it names. */

export const zBytes = z.instanceof(Uint8Array) as z.ZodType<Uint8Array, Uint8Array>;
export const zName = z.string().regex(NAME_PATTERN);
export const zMessageId = z.string().refine(isId, 'not a UUIDv7');
export const zAgentId = z.string().refine(isId, 'not an agent id');
/** A key, hash or signature of exactly that length. */
export function bytesOf(sizeBytes: number): z.ZodType<Uint8Array, Uint8Array> {
  // One check, not two: hashes and signatures are in all that is received.
  return z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === sizeBytes,
    `not ${sizeBytes} bytes`,
  );
}
/** SHA-256 of the genesis statement, in hex. */
export const zNamespaceId = z.string().regex(/^[0-9a-f]{64}$/);
/** An Ed25519 libp2p peer id in base58btc; all of them start alike. */
export const zPeerId = z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/);
/** Milliseconds since the Unix epoch, by the clock of whoever says so. */
export const zTimeMs = z.int().min(0).max(8_640_000_000_000_000);
export const zLabel = z.string().min(1).max(LABEL_LENGTH_MAX);
export const zMultiaddr = z.string().min(1).max(512).startsWith('/');
/** What a machine may be in a namespace. */
export const zRole = z.enum(['admin', 'member', 'keeper']);
