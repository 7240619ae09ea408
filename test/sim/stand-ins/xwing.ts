import { hash } from 'node:crypto';
import { PatchcordError } from '../../../protocol/errors.ts';
import type { XWingKey } from '../../../protocol/xwing.ts';

export const XWING_SEED_SIZE_BYTES = 32;
export const XWING_PUBLIC_KEY_SIZE_BYTES = 1_216;
export const XWING_CIPHERTEXT_SIZE_BYTES = 1_120;

/** Seeds by public key in hex: what is sealed to a key opens with its seed only. */
const seeds = new Map<string, Uint8Array>();

export function xwingKey(seed: Uint8Array): XWingKey {
  const publicKey = new Uint8Array(XWING_PUBLIC_KEY_SIZE_BYTES);
  publicKey.set(hash('sha256', Buffer.concat([Buffer.from('prekey'), seed]), 'buffer'));
  seeds.set(nameOf(publicKey), seed);
  return {
    publicKey,
    decapsulate(ciphertext) {
      if (ciphertext.length !== XWING_CIPHERTEXT_SIZE_BYTES) throw unusable();
      return secretOf(seed, ciphertext);
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
  const ciphertext = new Uint8Array(XWING_CIPHERTEXT_SIZE_BYTES);
  ciphertext.set(ephemeral);
  return { secret: secretOf(seedOf(publicKey), ciphertext), ciphertext };
}

function secretOf(seed: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', Buffer.concat([seed, ciphertext]), 'buffer'));
}

function seedOf(publicKey: Uint8Array): Uint8Array {
  const seed = publicKey.length === XWING_PUBLIC_KEY_SIZE_BYTES && seeds.get(nameOf(publicKey));
  if (!seed) throw unusable();
  return seed;
}

function nameOf(publicKey: Uint8Array): string {
  return Buffer.from(publicKey.buffer, publicKey.byteOffset, 32).toString('hex');
}

function unusable(): PatchcordError {
  return new PatchcordError('envelope_invalid', 'Not a usable key.');
}
