import { PatchcordError } from '../../../protocol/errors.ts';
import type { XWingKey } from '../../../protocol/xwing.ts';
import { hex } from './digest.ts';
import { hashOf } from './hash.ts';
import { prekeySeeds } from './known.ts';

/** The real ones are 1,216 and 1,120 bytes, most of what there is on a wire. */
export const XWING_SEED_SIZE_BYTES = 32;
export const XWING_PUBLIC_KEY_SIZE_BYTES = 32;
export const XWING_CIPHERTEXT_SIZE_BYTES = 32;

const PREKEY = Buffer.from('prekey');

export function xwingKey(seed: Uint8Array): XWingKey {
  const publicKey = hashOf(PREKEY, seed);
  prekeySeeds.set(hex(publicKey), seed);
  return {
    publicKey,
    decapsulate(ciphertext) {
      if (ciphertext.length !== XWING_CIPHERTEXT_SIZE_BYTES) throw unusable();
      return hashOf(seed, ciphertext);
    },
  };
}

export function checkPublicKey(publicKey: Uint8Array): void {
  seedOf(publicKey);
}

export function encapsulateTo(
  publicKey: Uint8Array,
  ephemeral: Uint8Array,
): { secret: Uint8Array; ciphertext: Uint8Array } {
  return { secret: hashOf(seedOf(publicKey), ephemeral), ciphertext: ephemeral };
}

function seedOf(publicKey: Uint8Array): Uint8Array {
  const seed = publicKey.length === XWING_PUBLIC_KEY_SIZE_BYTES && prekeySeeds.get(hex(publicKey));
  if (!seed) throw unusable();
  return seed;
}

function unusable(): PatchcordError {
  return new PatchcordError('envelope_invalid', 'Not a usable key.');
}
