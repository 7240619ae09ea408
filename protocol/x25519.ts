import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';

/** X25519 (RFC 7748) on raw keys, by Node's own crypto. */

/** DER heads that make raw keys the documents that Node reads (RFC 8410). */
const SPKI_HEAD = Buffer.from('302a300506032b656e032100', 'hex');
const PKCS8_HEAD = Buffer.from('302e020100300506032b656e04220420', 'hex');

export function x25519Private(raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, raw]), format: 'der', type: 'pkcs8' });
}

/** Any 32 bytes are a point; whether it is a usable one is seen when it is used. */
export function x25519Public(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_HEAD, raw]), format: 'der', type: 'spki' });
}

/** The raw public key of a private one. By way of a JWK: Node takes eight times as long to write DER. */
export function rawX25519Public(privateKey: KeyObject): Uint8Array {
  return Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x!, 'base64url');
}

/** The shared secret. Throws for a point of low order, which would make it all zero (RFC 7748 section 6.1). */
export function x25519Secret(own: KeyObject, theirs: KeyObject): Uint8Array {
  return diffieHellman({ privateKey: own, publicKey: theirs });
}
