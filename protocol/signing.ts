import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { base58btc } from 'multiformats/bases/base58';
import { PatchcordError } from './errors.ts';

/** A machine that can sign: its peer id and its Ed25519 private key, which stays inside. */
export interface Signer {
  readonly peerId: string;
  /** Ed25519 (RFC 8032) over the context, a zero byte and the bytes; a context is never a prefix of another. */
  sign(context: string, bytes: Uint8Array): Uint8Array;
}

/** DER heads that make a raw Ed25519 key a PKCS#8 or SPKI document (RFC 8410 sections 4 and 7). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');
/** libp2p peer id of an Ed25519 key: identity multihash, 36 bytes long, of {type 1, 32 bytes} in protobuf. */
const PEER_ID_HEAD = Buffer.from('002408011220', 'hex');

/** The signer of a 32-byte Ed25519 seed. */
export function signerFromSeed(seed: Uint8Array): Signer {
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_HEAD, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  return {
    peerId: peerIdFromPublicKey(rawPublicKey(privateKey)),
    sign: (context, bytes) => sign(null, withContext(context, bytes), privateKey),
  };
}

/** Throws `signature_invalid` unless the machine `peerId` signed the bytes in that context. */
export function verifySignature(
  peerId: string,
  context: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): void {
  const valid =
    signature.length === 64 && verify(null, withContext(context, bytes), publicKeyOf(peerId), signature);
  if (!valid) throw new PatchcordError('signature_invalid', `Not signed by machine ${peerId}.`);
}

function peerIdFromPublicKey(publicKey: Uint8Array): string {
  return base58btc.baseEncode(Buffer.concat([PEER_ID_HEAD, publicKey]));
}

/** The 32-byte Ed25519 key inside a peer id; throws `signature_invalid` for a peer id of any other kind. */
function publicKeyFromPeerId(peerId: string): Uint8Array {
  const bytes = decodeBase58(peerId);
  if (bytes.length !== 38 || Buffer.compare(bytes.subarray(0, 6), PEER_ID_HEAD) !== 0) {
    throw new PatchcordError('signature_invalid', `Not an Ed25519 peer id: ${peerId.slice(0, 80)}.`);
  }
  return bytes.subarray(6);
}

function decodeBase58(text: string): Uint8Array {
  try {
    return base58btc.baseDecode(text);
  } catch (cause) {
    throw new PatchcordError('signature_invalid', 'Not a peer id.', '', { cause });
  }
}

function withContext(context: string, bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${context}\0`, 'utf8'), bytes]);
}

function rawPublicKey(privateKey: KeyObject): Uint8Array {
  return createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(SPKI_HEAD.length);
}

const publicKeys = new Map<string, KeyObject>();
const PUBLIC_KEYS_MAX = 2_000;

/** Parsed keys are kept: parsing costs more than verifying. */
function publicKeyOf(peerId: string): KeyObject {
  let key = publicKeys.get(peerId);
  if (key === undefined) {
    const der = Buffer.concat([SPKI_HEAD, publicKeyFromPeerId(peerId)]);
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    if (publicKeys.size >= PUBLIC_KEYS_MAX) publicKeys.clear();
    publicKeys.set(peerId, key);
  }
  return key;
}
