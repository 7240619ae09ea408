import { hash } from 'node:crypto';
import { equalBytes } from '../../../protocol/codec.ts';

const TAG_SIZE_BYTES = 16;

export function sealOnce(key: Uint8Array, aad: Uint8Array, plain: Uint8Array): Uint8Array {
  return Buffer.concat([hidden(key, plain), tagOf(key, aad, plain)]);
}

export function openOnce(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < TAG_SIZE_BYTES) return undefined;
  const plain = hidden(key, sealed.subarray(0, -TAG_SIZE_BYTES));
  return equalBytes(sealed.subarray(-TAG_SIZE_BYTES), tagOf(key, aad, plain)) ? plain : undefined;
}

function tagOf(key: Uint8Array, aad: Uint8Array, plain: Uint8Array): Uint8Array {
  return hash('sha256', Buffer.concat([key, aad, plain]), 'buffer').subarray(0, TAG_SIZE_BYTES);
}

/** No secret, but no plain text either: what must not be seen is looked for in what passes by. */
function hidden(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at++) out[at] = bytes[at]! ^ (key[at & 31]! | 0x80);
  return out;
}
