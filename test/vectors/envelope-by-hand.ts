import { createCipheriv, createHash, hkdfSync } from 'node:crypto';
import { ml_kem768_x25519 } from '@noble/post-quantum/hybrid.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import type { HandSigner } from './keys-by-hand.ts';
import { CONTEXT, NS, alice, bob, seedOf } from './material.ts';
import { hex, item, join } from './raw-cbor.ts';

/**
 * An envelope put together by hand, as the comment of protocol/envelope.ts says, with another X-Wing and another
 * CBOR than the product's. Its randomness is fixed, so that the same plan gives the same bytes; any step can be
 * done wrong.
 */
export interface Plan {
  ns: string;
  /** The content key. */
  key: Uint8Array;
  /** The key that the head commits to. */
  committed: Uint8Array;
  /** More in the head, or other than it should be. */
  headMore: object;
  head: Uint8Array | undefined;
  shared: Uint8Array;
  own: Uint8Array;
  from: string;
  signer: HandSigner;
  /** What is signed, when it is not what is sent. */
  signedHead: Uint8Array | undefined;
  signedShared: Uint8Array | undefined;
  signedOwn: Uint8Array | undefined;
  signedTo: string | undefined;
  signedSeq: number | undefined;
  context: string;
  secretMore: object;
  /** Seed of the recipient's X-Wing key. */
  seed: Uint8Array;
  /** In place of the sender's X25519 key: a point that makes the secret of X25519 all zero. */
  point: Uint8Array | undefined;
  to: string;
  seq: number;
  wrapMore: object;
  padBody: (bytes: Uint8Array) => Uint8Array;
  padSecret: (bytes: Uint8Array) => Uint8Array;
}

export interface Parts {
  head: Uint8Array;
  wrap: Uint8Array;
  body: Uint8Array;
}

/** The seed of the prekey that most vectors are sealed to, and its sequence. */
export const PREKEY_SEED = seedOf(0x60);
export const SEQ = 7;
/** For ML-KEM 32 bytes and for X25519 32 more. */
const COINS = join(seedOf(0x71), seedOf(0x72));

export function build(more: Partial<Plan>): Parts {
  const key = more.key ?? seedOf(0x50);
  const plan: Plan = {
    ns: NS,
    key,
    committed: key,
    headMore: {},
    head: undefined,
    shared: item({}),
    own: item({}),
    from: alice.peerId,
    signer: alice,
    signedHead: undefined,
    signedShared: undefined,
    signedOwn: undefined,
    signedTo: undefined,
    signedSeq: undefined,
    context: CONTEXT.envelope,
    secretMore: {},
    seed: PREKEY_SEED,
    point: undefined,
    to: bob.peerId,
    seq: SEQ,
    wrapMore: {},
    padBody: (bytes) => pad(bytes, 512),
    padSecret: (bytes) => pad(bytes, 1_024),
    ...more,
  };
  const { ns, to, seq, shared, own } = plan;
  const head = plan.head ?? item({ v: 2, ns, commit: derive(plan.committed, 'commit'), ...plan.headMore });
  const body = seal(derive(key, 'body'), head, plan.padBody(shared));
  const { kem, secret: agreed } = encapsulate(plan.seed, plan.point);
  const signed = item([
    sha256(plan.signedHead ?? head),
    sha256(plan.signedShared ?? shared),
    plan.signedOwn ?? own,
    plan.signedTo ?? to,
    plan.signedSeq ?? seq,
  ]);
  const sig = new Uint8Array(plan.signer.sign(plan.context, signed));
  const secret = item({ key, own, from: plan.from, sig, ...plan.secretMore });
  const wrapKey = derive(agreed, 'wrap', ns, to, seq, sha256(head), sha256(body));
  const sealed = seal(wrapKey, head, plan.padSecret(secret));
  return { head, wrap: item({ to, prekey: seq, kem, key: sealed, ...plan.wrapMore }), body };
}

/** X-Wing (draft-connolly-cfrg-xwing-kem, section 5.4), by its parts when the point is given. */
function encapsulate(seed: Uint8Array, point?: Uint8Array): { kem: Uint8Array; secret: Uint8Array } {
  const { publicKey } = ml_kem768_x25519.keygen(seed);
  if (!point) {
    const { cipherText, sharedSecret } = ml_kem768_x25519.encapsulate(publicKey, COINS);
    return { kem: new Uint8Array(cipherText), secret: new Uint8Array(sharedSecret) };
  }
  const { cipherText, sharedSecret } = ml_kem768.encapsulate(
    publicKey.slice(0, 1_184),
    COINS.slice(0, 32),
  );
  const combined = join(sharedSecret, new Uint8Array(32), point, publicKey.slice(1_184), hex('5c2e2f2f5e5c'));
  const secret = new Uint8Array(createHash('sha3-256').update(combined).digest());
  return { kem: join(cipherText, point), secret };
}

/** HKDF-SHA256 (RFC 5869) without salt. */
function derive(secret: Uint8Array, ...info: unknown[]): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, hex(''), item([CONTEXT.envelope, ...info]), 32));
}

/** ChaCha20-Poly1305 (RFC 8439), the nonce all zero. */
export function seal(key: Uint8Array, aad: Uint8Array, plain: Uint8Array): Uint8Array {
  const cipher = createCipheriv('chacha20-poly1305', key, new Uint8Array(12), { authTagLength: 16 });
  cipher.setAAD(aad, { plaintextLength: plain.length });
  return join(cipher.update(plain), cipher.final(), cipher.getAuthTag());
}

/** Length, bytes and zeros, up to a size class of Padmé (Nikitin et al., PETS 2019, algorithm 1). */
export function pad(bytes: Uint8Array, sizeBytesMin: number): Uint8Array {
  const least = Math.max(4 + bytes.length, sizeBytesMin);
  const exponent = 31 - Math.clz32(least);
  const lastBits = exponent - (32 - Math.clz32(exponent));
  const mask = 2 ** lastBits - 1;
  return padded(bytes.length, bytes, ((least + mask) & ~mask) - bytes.length - 4);
}

/** A declared length, bytes and so many zeros. */
export function padded(length: number, bytes: Uint8Array, zeros: number): Uint8Array {
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, length);
  return join(head, bytes, new Uint8Array(zeros));
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest());
}
