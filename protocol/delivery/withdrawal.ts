import { sha256 } from '../digest.ts';
import { PatchcordError } from '../errors.ts';

/** Of a withdrawal's preimage, and of its hash. Wire. */
export const WITHDRAWAL_SIZE_BYTES = 32;

/**
 * The hash that a depositor leaves at a mailbox with an envelope: SHA-256 of 32 random bytes that it keeps to itself.
 * Whoever shows those bytes later may take the envelope away, so a mailbox need not know who left it. Throws
 * `invalid_input` for any other length.
 */
export function withdrawalHash(preimage: Uint8Array): Uint8Array {
  if (preimage.length !== WITHDRAWAL_SIZE_BYTES) {
    throw new PatchcordError('invalid_input', `A withdrawal has ${WITHDRAWAL_SIZE_BYTES} bytes.`);
  }
  return sha256(preimage);
}
