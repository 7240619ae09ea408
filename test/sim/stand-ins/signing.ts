import { base58btc } from 'multiformats/bases/base58';
import { equalBytes } from '../../../protocol/codec.ts';
import { PatchcordError } from '../../../protocol/errors.ts';
import type { Signer } from '../../../protocol/signing.ts';
import { hashOf } from './hash.ts';
import { signingSeeds } from './known.ts';

/** As the real peer ids, so that they have the same shape. */
const PEER_ID_HEAD = Buffer.from('002408011220', 'hex');
const MACHINE = Buffer.from('machine');

export function signerFromSeed(seed: Uint8Array): Signer {
  const peerId = base58btc.baseEncode(Buffer.concat([PEER_ID_HEAD, hashOf(MACHINE, seed)]));
  signingSeeds.set(peerId, seed);
  return { peerId, sign: (context, bytes) => signatureOf(seed, context, bytes) };
}

export function verifySignature(
  peerId: string,
  context: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): void {
  const seed = signingSeeds.get(peerId);
  if (!seed || !equalBytes(signature, signatureOf(seed, context, bytes)))
    throw new PatchcordError('signature_invalid', `Not signed by machine ${peerId}.`);
}

/** There are few. */
const contexts = new Map<string, Uint8Array>();

/** 64 bytes, as long as an Ed25519 signature. */
function signatureOf(seed: Uint8Array, context: string, bytes: Uint8Array): Uint8Array {
  let said = contexts.get(context);
  if (!said) contexts.set(context, (said = Buffer.from(context)));
  const half = hashOf(seed, said, bytes);
  const signature = new Uint8Array(64);
  signature.set(half);
  signature.set(half, 32);
  return signature;
}
