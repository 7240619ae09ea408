import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { openOnce, sealOnce } from './aead.ts';
import { decode, encode } from './codec.ts';
import { sha256 } from './digest.ts';
import { PatchcordError } from './errors.ts';
import { hkdf } from './hkdf.ts';
import type { RandomBytes } from './ids.ts';
import { parseLetter, type Letter } from './letter.ts';
import { PREKEY_SEQUENCE_MAX } from './limits.ts';
import { pad, unpad } from './padding.ts';
import type { Prekey } from './prekey.ts';
import { bytesOf, zBytes, zNamespaceId, zPeerId } from './shapes.ts';
import { verifySignature, type Signer } from './signing.ts';
import { WrapSecrets } from './wrap-secrets.ts';
import { XWING_CIPHERTEXT_SIZE_BYTES, type XWingKey } from './xwing.ts';

/**
 * A letter sealed to its recipient's home machine. Whoever carries it learns the namespace, the recipient's
 * machine, the prekey's sequence and a size class; neither content nor sender.
 *
 *     head   {v, ns, commit}            the same for every copy of a message
 *     wrap   {to, prekey, kem, key}     this copy's: X-Wing ciphertext; sealed with its secret, the content key,
 *                                       the copy's own fields, the sender and its signature
 *     body   the shared fields, padded, sealed with the content key
 *
 * The wrap is bound to namespace, recipient, prekey sequence, head and body, so no part can be put beside
 * another's. The commitment ties the head to one content key: ChaCha20-Poly1305 alone lets one ciphertext open
 * under two keys (Dodis et al., CRYPTO 2018). The signature covers head, shared and own fields and the recipient:
 * it is seen by the recipient only and holds for no other copy.
 */
const zHead = z.strictObject({ v: z.literal(2), ns: zNamespaceId, commit: bytesOf(32) });
const zWrap = z.strictObject({
  to: zPeerId,
  prekey: z.int().min(1).max(PREKEY_SEQUENCE_MAX),
  kem: bytesOf(XWING_CIPHERTEXT_SIZE_BYTES),
  key: zBytes,
});
const zEnvelope = z.strictObject({ head: zBytes, wrap: zBytes, body: zBytes });
/** What the wrap's secret opens. */
const zSecret = z.strictObject({ key: bytesOf(32), own: zBytes, from: zPeerId, sig: bytesOf(64) });
const zFields = z.record(z.string(), z.unknown());

const CONTEXT = 'patchcord envelope v2';
/** Own fields are padded to this, so that the length of a name tells nothing. */
const SECRET_SIZE_BYTES_MIN = 1_024;
const BODY_SIZE_BYTES_MIN = 512;

export interface SealContext {
  signer: Signer;
  randomBytes: RandomBytes;
  /**
   * 32 bytes, new with every start and never stored. The content key is derived from it and from what is sealed,
   * so that the copies of one message share one ciphertext though they are sealed one by one.
   */
  bootSecret: Uint8Array;
  /** For an envelope that goes to its recipient over a link; without it, it gets a secret of its own. */
  wrapSecrets?: WrapSecrets;
}

export function sealEnvelope(ns: string, to: Prekey, letter: Letter, context: SealContext): Uint8Array {
  const { signer, randomBytes, bootSecret, wrapSecrets = new WrapSecrets() } = context;
  const { shared, own } = split(letter);
  const sharedBytes = encode(shared);
  const key = new Uint8Array(
    // A key object: Node spends far longer on raw bytes, which it tries as a key object first.
    createHmac('sha256', createSecretKey(bootSecret))
      .update(encode([ns, sharedBytes]))
      .digest(),
  );
  const commit = derive(key, ['commit']);
  const head = encode({ v: 2, ns, commit });
  const body = sealOnce(derive(key, ['body']), head, pad(sharedBytes, BODY_SIZE_BYTES_MIN));
  const { secret, ciphertext } = wrapSecrets.take(to.key, commit, randomBytes);
  const ownBytes = encode(own);
  const signed = signedPart(head, sharedBytes, ownBytes, to.machine, to.seq);
  const sealed = encode({ key, own: ownBytes, from: signer.peerId, sig: signer.sign(CONTEXT, signed) });
  const wrapKey = derive(secret, wrapBinding(ns, to.machine, to.seq, head, body));
  const wrap = {
    to: to.machine,
    prekey: to.seq,
    kem: ciphertext,
    key: sealOnce(wrapKey, head, pad(sealed, SECRET_SIZE_BYTES_MIN)),
  };
  return encode({ head, wrap: encode(wrap), body });
}

/** An opened envelope: every check on its bytes has passed. Who may send what to whom is the caller's to check. */
export interface Opened {
  ns: string;
  /** The machine that signed it. */
  from: string;
  letter: Letter;
  /** Sequence of the prekey that it was sealed to. */
  prekey: number;
}

/**
 * Opens an envelope for the machine `self`. `keyOf` gives the private prekey of a sequence. Throws
 * `envelope_invalid`, `signature_invalid`, `frame_malformed` for a signed letter that is none, or `prekey_unknown` when that prekey is no longer kept.
 */
export function openEnvelope(
  bytes: Uint8Array,
  self: string,
  keyOf: (seq: number) => XWingKey | undefined,
): Opened {
  const { ns, commit, head, wrap, body } = partsOf(bytes);
  if (wrap.to !== self) throw invalid('It is sealed to another machine.');
  const prekey = keyOf(wrap.prekey);
  if (!prekey) throw new PatchcordError('prekey_unknown', `Prekey ${wrap.prekey} is not kept any more.`);
  const wrapKey = derive(prekey.decapsulate(wrap.kem), wrapBinding(ns, wrap.to, wrap.prekey, head, body));
  const secret = shaped(zSecret, open(wrapKey, head, wrap.key), 'envelope secret');
  if (!timingSafeEqual(commit, derive(secret.key, ['commit']))) throw invalid('It commits to another key.');
  const shared = open(derive(secret.key, ['body']), head, body);
  const signed = signedPart(head, shared, secret.own, wrap.to, wrap.prekey);
  verifySignature(secret.from, CONTEXT, signed, secret.sig);
  const letter = join(shaped(zFields, shared, 'letter'), shaped(zFields, secret.own, 'letter'));
  return { ns, from: secret.from, letter, prekey: wrap.prekey };
}

/** For whom an envelope is and by which prekey, as whoever carries it may see. Throws `envelope_invalid`. */
export function readAddress(bytes: Uint8Array): { ns: string; to: string; prekey: number } {
  const { ns, wrap } = partsOf(bytes);
  return { ns, to: wrap.to, prekey: wrap.prekey };
}

interface Parts extends z.infer<typeof zHead> {
  head: Uint8Array;
  wrap: z.infer<typeof zWrap>;
  body: Uint8Array;
}

/** Whoever opens an envelope has read before for whom it is. */
const partsRead = new WeakMap<Uint8Array, Parts>();

function partsOf(bytes: Uint8Array): Parts {
  let parts = partsRead.get(bytes);
  if (parts === undefined) {
    const { head, wrap, body } = shaped(zEnvelope, bytes, 'envelope');
    parts = {
      ...shaped(zHead, head, 'envelope head'),
      head,
      wrap: shaped(zWrap, wrap, 'envelope wrap'),
      body,
    };
    partsRead.set(bytes, parts);
  }
  return parts;
}

type Fields = Record<string, unknown>;

/** Copies of one message to several recipients share all but these; any other letter is shared as a whole. */
function split(letter: Letter): { shared: Fields; own: Fields } {
  if (letter.k !== 'message' || letter.group === undefined) return { shared: letter, own: {} };
  const { id, seq, to, epoch, again, ...shared } = letter;
  return { shared, own: { id, seq, to, ...(epoch && { epoch }), ...(again && { again }) } };
}

function join(shared: Fields, own: Fields): Letter {
  const names = Object.keys(own);
  if (names.some((name) => name in shared)) throw invalid('A field is given twice.');
  return parseLetter({ ...shared, ...own });
}

function signedPart(
  head: Uint8Array,
  shared: Uint8Array,
  own: Uint8Array,
  to: string,
  prekey: number,
): Uint8Array {
  return encode([sha256(head), sha256(shared), own, to, prekey]);
}

function wrapBinding(ns: string, to: string, prekey: number, head: Uint8Array, body: Uint8Array): unknown[] {
  return ['wrap', ns, to, prekey, sha256(head), sha256(body)];
}

/** The info is a deterministic CBOR list that starts with what the key is for. */
function derive(secret: Uint8Array, info: unknown[]): Uint8Array {
  return hkdf(secret, new Uint8Array(0), encode([CONTEXT, ...info]));
}

function open(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array {
  const padded = openOnce(key, aad, sealed);
  if (!padded) throw invalid('It was cut short, altered, or sealed with another key.');
  const plain = unpad(padded);
  if (!plain) throw invalid('Its padding is wrong.');
  return plain;
}

function shaped<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = decode(bytes);
  } catch (cause) {
    throw invalid(`Its ${what} is not CBOR.`, cause);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalid(`Its ${what} has another shape.`, parsed.error);
  return parsed.data;
}

function invalid(why: string, cause?: unknown): PatchcordError {
  return new PatchcordError('envelope_invalid', `Not an envelope for this machine. ${why}`, '', { cause });
}
