import { digestOf, heads, type NamespaceLog } from '../../protocol/membership/log.ts';

/** The same for two machines exactly when they hold the same statements: their heads tell. */
export function logDigest(log: NamespaceLog): Uint8Array {
  return new Uint8Array(Buffer.from(digestOf(heads(log)), 'hex'));
}
