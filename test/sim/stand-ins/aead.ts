import { equalBytes } from '../../../protocol/codec.ts';
import { hashOf } from './hash.ts';

const TAG_SIZE_BYTES = 16;

export function sealOnce(key: Uint8Array, aad: Uint8Array, plain: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(plain.length + TAG_SIZE_BYTES);
  hide(key, plain, sealed);
  sealed.set(tagOf(key, aad, plain), plain.length);
  return sealed;
}

export function openOnce(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < TAG_SIZE_BYTES) return undefined;
  const plain = new Uint8Array(sealed.length - TAG_SIZE_BYTES);
  hide(key, sealed, plain);
  return equalBytes(sealed.subarray(-TAG_SIZE_BYTES), tagOf(key, aad, plain)) ? plain : undefined;
}

function tagOf(key: Uint8Array, aad: Uint8Array, plain: Uint8Array): Uint8Array {
  return hashOf(key, aad, plain).subarray(0, TAG_SIZE_BYTES);
}

/** No secret, but no plain text either: what must not be seen is looked for in what passes by. */
function hide(key: Uint8Array, from: Uint8Array, to: Uint8Array): void {
  const size = Math.min(from.length, to.length);
  for (let at = 0; at < size; at++) to[at] = from[at]! ^ (key[at & 31]! | 0x80);
}
