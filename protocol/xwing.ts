import {
  createHash,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  type KeyObject,
} from 'node:crypto';
import { PatchcordError } from './errors.ts';

/**
 * X-Wing (draft-connolly-cfrg-xwing-kem): ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) under one combiner; the
 * shared secret holds as long as either does. Node's own crypto does the work.
 */
export const XWING_SEED_SIZE_BYTES = 32;
export const XWING_PUBLIC_KEY_SIZE_BYTES: number = 1_216;
export const XWING_CIPHERTEXT_SIZE_BYTES: number = 1_120;

const MLKEM_PUBLIC_KEY_SIZE_BYTES = 1_184;
const MLKEM_CIPHERTEXT_SIZE_BYTES = 1_088;
/** The six bytes `\.//^\` that end the combiner's input (section 5.3). */
const LABEL = Buffer.from('\\.//^\\', 'latin1');

/** DER heads that make raw keys the documents that Node reads: RFC 9935 for ML-KEM, RFC 8410 for X25519. */
const MLKEM_SPKI_HEAD = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');
const MLKEM_SEED_HEAD = Buffer.from('3054020100300b060960864801650304040204428040', 'hex');
const X25519_SPKI_HEAD = Buffer.from('302a300506032b656e032100', 'hex');
const X25519_PKCS8_HEAD = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** A private key, expanded from its seed once. */
export interface XWingKey {
  readonly publicKey: Uint8Array;
  /** The shared secret, 32 bytes. A wrong ciphertext of the right length gives another secret, never an error. */
  decapsulate(ciphertext: Uint8Array): Uint8Array;
}

export function xwingKey(seed: Uint8Array): XWingKey {
  const expanded = createHash('shake256', { outputLength: 96 }).update(seed).digest();
  const mlkem = createPrivateKey({
    key: Buffer.concat([MLKEM_SEED_HEAD, expanded.subarray(0, 64)]),
    format: 'der',
    type: 'pkcs8',
  });
  const x25519 = x25519Private(expanded.subarray(64));
  const x25519Public = rawX25519(createPublicKey(x25519));
  const mlkemPublic = createPublicKey(mlkem)
    .export({ format: 'der', type: 'spki' })
    .subarray(MLKEM_SPKI_HEAD.length);
  return {
    publicKey: Buffer.concat([mlkemPublic, x25519Public]),
    decapsulate(ciphertext) {
      if (ciphertext.length !== XWING_CIPHERTEXT_SIZE_BYTES) throw wrongLength('ciphertext');
      const fromMlkem = decapsulate(mlkem, ciphertext.subarray(0, MLKEM_CIPHERTEXT_SIZE_BYTES));
      const sent = ciphertext.subarray(MLKEM_CIPHERTEXT_SIZE_BYTES);
      const fromX25519 = agree(x25519, readX25519(sent));
      return combine(fromMlkem, fromX25519, sent, x25519Public);
    },
  };
}

/** Throws `envelope_invalid` for a public key that nothing can be sealed to: of the wrong length, or no point or lattice. */
export function checkPublicKey(publicKey: Uint8Array): void {
  const { mlkem, x25519 } = parts(publicKey);
  readMlkem(mlkem);
  agree(x25519Private(new Uint8Array(32).fill(1)), readX25519(x25519));
}

/**
 * A fresh shared secret and its ciphertext for a public key. `ephemeral` are 32 random bytes for X25519; ML-KEM
 * draws its own.
 */
export function encapsulateTo(
  publicKey: Uint8Array,
  ephemeral: Uint8Array,
): { secret: Uint8Array; ciphertext: Uint8Array } {
  const recipient = recipientOf(publicKey);
  const own = x25519Private(ephemeral);
  const sent = rawX25519(createPublicKey(own));
  const { sharedKey, ciphertext } = encapsulate(recipient.mlkem);
  const secret = combine(sharedKey, agree(own, recipient.x25519), sent, recipient.raw);
  return { secret, ciphertext: Buffer.concat([ciphertext, sent]) };
}

/** What nobody seals to any more is forgotten with its bytes. */
const recipients = new WeakMap<Uint8Array, { mlkem: KeyObject; x25519: KeyObject; raw: Uint8Array }>();

/** Parsed keys are kept: parsing costs as much as sealing. Whoever holds the bytes does not change them. */
function recipientOf(publicKey: Uint8Array): { mlkem: KeyObject; x25519: KeyObject; raw: Uint8Array } {
  let recipient = recipients.get(publicKey);
  if (recipient === undefined) {
    const { mlkem, x25519: raw } = parts(publicKey);
    recipient = { mlkem: readMlkem(mlkem), x25519: readX25519(raw), raw };
    recipients.set(publicKey, recipient);
  }
  return recipient;
}

function parts(publicKey: Uint8Array): { mlkem: Uint8Array; x25519: Uint8Array } {
  if (publicKey.length !== XWING_PUBLIC_KEY_SIZE_BYTES) throw wrongLength('public key');
  return {
    mlkem: publicKey.subarray(0, MLKEM_PUBLIC_KEY_SIZE_BYTES),
    x25519: publicKey.subarray(MLKEM_PUBLIC_KEY_SIZE_BYTES),
  };
}

/** The import refuses coefficients past the modulus (FIPS 203 section 7.2). */
function readMlkem(raw: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.concat([MLKEM_SPKI_HEAD, raw]), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new PatchcordError('envelope_invalid', 'Not a usable ML-KEM key.', '', { cause });
  }
}

function combine(
  fromMlkem: Uint8Array,
  fromX25519: Uint8Array,
  sent: Uint8Array,
  recipient: Uint8Array,
): Uint8Array {
  const hash = createHash('sha3-256');
  for (const part of [fromMlkem, fromX25519, sent, recipient, LABEL]) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** X25519; a point of low order, which would make the secret all zero, is refused (RFC 7748 section 6.1). */
function agree(own: KeyObject, theirs: KeyObject): Uint8Array {
  try {
    return diffieHellman({ privateKey: own, publicKey: theirs });
  } catch (cause) {
    throw new PatchcordError('envelope_invalid', 'Not a usable X25519 key.', '', { cause });
  }
}

/** Any 32 bytes are a point; whether it is a usable one is seen when it is used. */
function readX25519(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([X25519_SPKI_HEAD, raw]), format: 'der', type: 'spki' });
}

function x25519Private(raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([X25519_PKCS8_HEAD, raw]), format: 'der', type: 'pkcs8' });
}

/** By way of a JWK: Node takes eight times as long to write DER. */
function rawX25519(publicKey: KeyObject): Uint8Array {
  return Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url');
}

function wrongLength(what: string): PatchcordError {
  return new PatchcordError('envelope_invalid', `An X-Wing ${what} of the wrong length.`);
}
