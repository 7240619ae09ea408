import { hash } from 'node:crypto';

export function hkdf(secret: Uint8Array, salt: Uint8Array, info: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', Buffer.concat([secret, salt, info]), 'buffer'));
}
