import { hashOf } from './hash.ts';

export function sha256(bytes: Uint8Array): Uint8Array {
  return hashOf(bytes);
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return hex(hashOf(typeof bytes === 'string' ? Buffer.from(bytes) : bytes));
}

const BYTES = Array.from({ length: 256 }, (_none, byte) => byte.toString(16).padStart(2, '0'));

export function hex(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at++) text += BYTES[bytes[at]!]!;
  return text;
}
