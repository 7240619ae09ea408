import { hashOf } from './hash.ts';

export function hkdf(secret: Uint8Array, salt: Uint8Array, info: Uint8Array): Uint8Array {
  return hashOf(secret, salt, info);
}
