import { encode } from './codec.ts';
import { sha256 } from './digest.ts';

/**
 * Six digits that both sides of a join show, for people to compare. The joiner commits to its nonce before it sees
 * the inviter's, so neither can choose the digits: whoever has stolen the ticket shows others than the rightful
 * joiner, but for one time in a million (commitment before short authentication string: Vaudenay, CRYPTO 2005).
 */
export const JOIN_NONCE_SIZE_BYTES = 32;

export function joinCommitment(nonce: Uint8Array): Uint8Array {
  return sha256(encode(['patchcord join commitment v1', nonce]));
}

/** Six decimal digits. */
export function joinCheckCode(join: {
  ns: string;
  inviter: string;
  joiner: string;
  inviterNonce: Uint8Array;
  joinerNonce: Uint8Array;
}): string {
  const { ns, inviter, joiner, inviterNonce, joinerNonce } = join;
  const digest = sha256(encode(['patchcord join check v1', ns, inviter, joiner, inviterNonce, joinerNonce]));
  const number = new DataView(digest.buffer, digest.byteOffset).getBigUint64(0) % 1_000_000n;
  return number.toString().padStart(6, '0');
}
