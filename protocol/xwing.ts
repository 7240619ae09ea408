import {
  createHash,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  encapsulate,
  type KeyObject,
} from 'node:crypto';
import { PatchcordError } from './errors.ts';
import { rawX25519Public, x25519Private, x25519Public, x25519Secret } from './x25519.ts';

/**
 * X-Wing (draft-connolly-cfrg-xwing-kem): ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) under one combiner; the
 * shared secret holds as long as either does. Node's own crypto does the work.
 */
export const XWING_SEED_SIZE_BYTES = 32;
export const XWING_PUBLIC_KEY_SIZE_BYTES: number = 1_216;
export const XWING_CIPHERTEXT_SIZE_BYTES: number = 1_120;

/** Secrets that a private key remembers: senders use one for a few envelopes. */
const SECRETS_MAX = 64;

const MLKEM_PUBLIC_KEY_SIZE_BYTES = 1_184;
const MLKEM_CIPHERTEXT_SIZE_BYTES = 1_088;
/** The six bytes `\.//^\` that end the combiner's input (section 5.3). */
const LABEL = Buffer.from('\\.//^\\', 'latin1');

/** DER heads that make raw keys the documents that Node reads (RFC 9935). */
const MLKEM_SPKI_HEAD = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');
const MLKEM_SEED_HEAD = Buffer.from('3054020100300b060960864801650304040204428040', 'hex');

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
  const ownPoint = rawX25519Public(x25519);
  const mlkemPublic = createPublicKey(mlkem)
    .export({ format: 'der', type: 'spki' })
    .subarray(MLKEM_SPKI_HEAD.length);
  /** The last ones; they go with the key. */
  const secrets = new Map<string, Uint8Array>();
  return {
    publicKey: Buffer.concat([mlkemPublic, ownPoint]),
    decapsulate(ciphertext) {
      if (ciphertext.length !== XWING_CIPHERTEXT_SIZE_BYTES) throw wrongLength('ciphertext');
      const name = Buffer.from(ciphertext).toString('latin1');
      const known = secrets.get(name);
      if (known) return known;
      const fromMlkem = decapsulate(mlkem, ciphertext.subarray(0, MLKEM_CIPHERTEXT_SIZE_BYTES));
      const sent = ciphertext.subarray(MLKEM_CIPHERTEXT_SIZE_BYTES);
      const fromX25519 = agree(x25519, x25519Public(sent));
      const secret = combine(fromMlkem, fromX25519, sent, ownPoint);
      secrets.set(name, secret);
      if (secrets.size > SECRETS_MAX) secrets.delete(secrets.keys().next().value!);
      return secret;
    },
  };
}

/** Throws `envelope_invalid` for a public key that nothing can be sealed to: of the wrong length, or no point or lattice. */
export function checkPublicKey(publicKey: Uint8Array): void {
  const { mlkem, x25519 } = parts(publicKey);
  readMlkem(mlkem);
  agree(x25519Private(new Uint8Array(32).fill(1)), x25519Public(x25519));
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
  const sent = rawX25519Public(own);
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
    recipient = { mlkem: readMlkem(mlkem), x25519: x25519Public(raw), raw };
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

function agree(own: KeyObject, theirs: KeyObject): Uint8Array {
  try {
    return x25519Secret(own, theirs);
  } catch (cause) {
    throw new PatchcordError('envelope_invalid', 'Not a usable X25519 key.', '', { cause });
  }
}

function wrongLength(what: string): PatchcordError {
  return new PatchcordError('envelope_invalid', `An X-Wing ${what} of the wrong length.`);
}
