import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { hex, join } from './raw-cbor.ts';

/** Ed25519 (RFC 8032) and libp2p's peer ids, with node:crypto and nothing of the product. */

export interface HandSigner {
  readonly peerId: string;
  /** Over the context, a zero byte and the bytes. */
  sign(context: string, bytes: Uint8Array): Uint8Array;
}

/** PKCS#8 and SPKI heads of a raw Ed25519 key (RFC 8410). */
const PKCS8_HEAD = hex('302e020100300506032b657004220420');
const SPKI_HEAD = hex('302a300506032b6570032100');
/** Identity multihash of 36 bytes: a protobuf of {key type 1, 32 bytes of key}. */
const PEER_ID_HEAD = hex('002408011220');

export function signerOf(seed: Uint8Array): HandSigner {
  const key = createPrivateKey({ key: Buffer.from(join(PKCS8_HEAD, seed)), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    peerId: toBase58(join(PEER_ID_HEAD, spki.subarray(SPKI_HEAD.length))),
    sign: (context, bytes) => new Uint8Array(sign(null, inContext(context, bytes), key)),
  };
}

/** False also for a peer id that holds no Ed25519 key. */
export function isSigned(peerId: string, context: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  const id = fromBase58(peerId);
  if (id?.length !== 38 || Buffer.compare(id.subarray(0, 6), PEER_ID_HEAD) !== 0) return false;
  const spki = Buffer.from(join(SPKI_HEAD, id.subarray(6)));
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return signature.length === 64 && verify(null, inContext(context, bytes), key, signature);
}

function inContext(context: string, bytes: Uint8Array): Uint8Array {
  return join(new TextEncoder().encode(context), hex('00'), bytes);
}

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

function toBase58(bytes: Uint8Array): string {
  let number = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  let text = '';
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)]! + text;
  return '1'.repeat(bytes.findIndex((byte) => byte !== 0)) + text;
}

function fromBase58(text: string): Uint8Array | undefined {
  let number = 0n;
  for (const digit of text) {
    const value = ALPHABET.indexOf(digit);
    if (value < 0) return undefined;
    number = number * 58n + BigInt(value);
  }
  const digits = number.toString(16);
  const zeros = text.length - text.replace(/^1+/, '').length;
  return join(new Uint8Array(zeros), hex(digits.length % 2 === 0 ? digits : `0${digits}`));
}
