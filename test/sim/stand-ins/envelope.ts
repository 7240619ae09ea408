import { decode, encode, equalBytes } from '../../../protocol/codec.ts';
import type { Opened, SealContext } from '../../../protocol/envelope.ts';
import { PatchcordError } from '../../../protocol/errors.ts';
import { parseLetter, type Letter } from '../../../protocol/letter.ts';
import type { Prekey } from '../../../protocol/prekey.ts';
import { verifySignature } from '../../../protocol/signing.ts';
import { encapsulateTo, type XWingKey } from '../../../protocol/xwing.ts';
import { frozen } from './frozen.ts';
import { envelopes } from './known.ts';

/**
 * What is in the clear of an envelope, with nothing in the place of what is not: that does not travel, it is kept
 * for whoever has the key. As long as what it stands for, for the sake of all that counts bytes.
 */
interface Cover {
  ns: string;
  to: string;
  prekey: number;
  kem: Uint8Array;
  body: Uint8Array;
}

const CONTEXT = 'stand-in envelope';

/** Like the real one it is another one whenever the same letter is sealed again. */
export function sealEnvelope(ns: string, to: Prekey, letter: Letter, context: SealContext): Uint8Array {
  const { machine, seq: prekey } = to;
  const { signer } = context;
  const { secret, ciphertext: kem } = encapsulateTo(to.key, context.randomBytes(32));
  const sig = signer.sign(CONTEXT, secret);
  const sealed = { ns, to: machine, prekey, secret, from: signer.peerId, sig, letter: frozen(letter) };
  const number = numberOf(kem);
  if (envelopes.has(number)) throw new Error('two envelopes have one number');
  envelopes.set(number, sealed);
  return encode({ ns, to: machine, prekey, kem, body: new Uint8Array(sizeOf(letter)) } satisfies Cover);
}

export function openEnvelope(
  bytes: Uint8Array,
  self: string,
  keyOf: (seq: number) => XWingKey | undefined,
): Opened {
  const { ns, to, prekey, kem } = coverOf(bytes);
  if (to !== self) throw invalid();
  const key = keyOf(prekey);
  if (!key) throw new PatchcordError('prekey_unknown', `Prekey ${prekey} is not kept any more.`);
  const sealed = envelopes.get(numberOf(kem));
  if (!sealed || sealed.ns !== ns || sealed.to !== to || sealed.prekey !== prekey) throw invalid();
  if (!equalBytes(sealed.secret, key.decapsulate(kem))) throw invalid();
  verifySignature(sealed.from, CONTEXT, sealed.secret, sealed.sig);
  return { ns, from: sealed.from, letter: parseLetter(sealed.letter), prekey };
}

export function readAddress(bytes: Uint8Array): { ns: string; to: string; prekey: number } {
  const { ns, to, prekey } = coverOf(bytes);
  return { ns, to, prekey };
}

function coverOf(bytes: Uint8Array): Cover {
  let cover: unknown;
  try {
    cover = decode(bytes);
  } catch {
    throw invalid();
  }
  if (!isCover(cover)) throw invalid();
  return cover;
}

function isCover(value: unknown): value is Cover {
  if (typeof value !== 'object' || value === null) return false;
  const { ns, to, prekey, kem } = value as Partial<Record<keyof Cover, unknown>>;
  const isNamed = typeof ns === 'string' && typeof to === 'string' && typeof prekey === 'number';
  return isNamed && kem instanceof Uint8Array && kem.length === 32;
}

/** Six of the random bytes that both sides derive their secret from. */
function numberOf(kem: Uint8Array): number {
  const low = kem[0]! | (kem[1]! << 8) | (kem[2]! << 16);
  const high = kem[3]! | (kem[4]! << 8) | (kem[5]! << 16);
  return low + high * 0x1000000;
}

function sizeOf(letter: Letter): number {
  return letter.k === 'message' ? letter.content.length : 0;
}

function invalid(): PatchcordError {
  return new PatchcordError('envelope_invalid', 'Not an envelope for this machine.');
}
