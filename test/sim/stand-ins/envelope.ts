import { hash } from 'node:crypto';
import { z } from 'zod';
import { decode, encode, equalBytes } from '../../../protocol/codec.ts';
import type { Opened, SealContext } from '../../../protocol/envelope.ts';
import { PatchcordError } from '../../../protocol/errors.ts';
import { parseLetter, type Letter } from '../../../protocol/letter.ts';
import type { Prekey } from '../../../protocol/prekey.ts';
import { zBytes } from '../../../protocol/shapes.ts';
import { verifySignature } from '../../../protocol/signing.ts';
import { encapsulateTo, type XWingKey } from '../../../protocol/xwing.ts';

const zHead = z.strictObject({ ns: z.string(), to: z.string(), prekey: z.int(), kem: zBytes });
const zParts = z.strictObject({ head: zBytes, body: zBytes, tag: zBytes });
const zSaid = z.strictObject({ from: z.string(), sig: zBytes, letter: z.unknown() });

const CONTEXT = 'stand-in envelope';

/** Like the real one it is another one whenever the same letter is sealed again. */
export function sealEnvelope(ns: string, to: Prekey, letter: Letter, context: SealContext): Uint8Array {
  const { secret, ciphertext: kem } = encapsulateTo(to.key, context.randomBytes(32));
  const head = encode({ ns, to: to.machine, prekey: to.seq, kem });
  const { peerId: from } = context.signer;
  const sig = context.signer.sign(CONTEXT, secret);
  const body = hidden(secret, encode({ from, sig, letter }));
  return encode({ head, body, tag: tagOf(secret, head, body) });
}

export function openEnvelope(
  bytes: Uint8Array,
  self: string,
  keyOf: (seq: number) => XWingKey | undefined,
): Opened {
  const { head, body, tag } = shaped(zParts, bytes);
  const { ns, to, prekey, kem } = shaped(zHead, head);
  if (to !== self) throw invalid();
  const key = keyOf(prekey);
  if (!key) throw new PatchcordError('prekey_unknown', `Prekey ${prekey} is not kept any more.`);
  const secret = key.decapsulate(kem);
  if (!equalBytes(tag, tagOf(secret, head, body))) throw invalid();
  const said = shaped(zSaid, hidden(secret, body));
  verifySignature(said.from, CONTEXT, secret, said.sig);
  return { ns, from: said.from, letter: parseLetter(said.letter), prekey };
}

export function readAddress(bytes: Uint8Array): { ns: string; to: string; prekey: number } {
  const { ns, to, prekey } = shaped(zHead, shaped(zParts, bytes).head);
  return { ns, to, prekey };
}

function shaped<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(decode(bytes));
  } catch {
    throw invalid();
  }
}

function tagOf(secret: Uint8Array, head: Uint8Array, body: Uint8Array): Uint8Array {
  return hash('sha256', Buffer.concat([secret, head, body]), 'buffer');
}

/** No secret, but no plain text either: what must not be seen is looked for in what passes by. */
function hidden(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at++) out[at] = bytes[at]! ^ (key[at & 31]! | 0x80);
  return out;
}

function invalid(): PatchcordError {
  return new PatchcordError('envelope_invalid', 'Not an envelope for this machine.');
}
