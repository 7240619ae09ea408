import { createSecretKey, hkdfSync } from 'node:crypto';

/** A key of 32 bytes by HKDF-SHA256 (RFC 5869); `info` says what it is for. */
export function hkdf(secret: Uint8Array, salt: Uint8Array, info: Uint8Array): Uint8Array {
  // A key object: Node spends far longer on raw bytes, which it tries as a key object first.
  return new Uint8Array(hkdfSync('sha256', createSecretKey(secret), salt, info, 32));
}
