import { hash } from 'node:crypto';
import { base58btc } from 'multiformats/bases/base58';
import { equalBytes } from '../../../protocol/codec.ts';
import { PatchcordError } from '../../../protocol/errors.ts';
import type { Signer } from '../../../protocol/signing.ts';

/** As the real peer ids, so that they have the same shape. */
const PEER_ID_HEAD = Buffer.from('002408011220', 'hex');

/** Whoever has signed in this process; a signature can only be checked by who knows the seed. */
const seeds = new Map<string, Uint8Array>();

export function signerFromSeed(seed: Uint8Array): Signer {
  const peerId = base58btc.baseEncode(
    Buffer.concat([PEER_ID_HEAD, hash('sha256', Buffer.concat([Buffer.from('machine'), seed]), 'buffer')]),
  );
  seeds.set(peerId, seed);
  return { peerId, sign: (context, bytes) => signatureOf(seed, context, bytes) };
}

export function verifySignature(
  peerId: string,
  context: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): void {
  const seed = seeds.get(peerId);
  if (!seed || !equalBytes(signature, signatureOf(seed, context, bytes)))
    throw new PatchcordError('signature_invalid', `Not signed by machine ${peerId}.`);
}

/** 64 bytes, as long as an Ed25519 signature. */
function signatureOf(seed: Uint8Array, context: string, bytes: Uint8Array): Uint8Array {
  const half = hash('sha256', Buffer.concat([seed, Buffer.from(`${context}\0`), bytes]), 'buffer');
  return Buffer.concat([half, half]);
}
