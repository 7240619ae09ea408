import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { PatchcordError } from './errors.ts';
import { decodeLetter, encodeLetter, type Letter } from './letter.ts';
import { zBytes, zNamespaceId, zPeerId } from './shapes.ts';
import { verifySignature, type Signer } from './signing.ts';

/**
 * A letter bound to its namespace, its sender's and its recipient's home machine, signed by the sender's.
 * Secrecy on the way is the link's (Noise): an envelope of this version never leaves a direct link.
 */
const zEnvelope = z.strictObject({ header: zBytes, letter: zBytes, sig: zBytes });
const zHeader = z.strictObject({ v: z.literal(1), ns: zNamespaceId, from: zPeerId, to: zPeerId });
export type EnvelopeHeader = z.infer<typeof zHeader>;

const CONTEXT = 'patchcord envelope v1';

export function sealEnvelope(route: { ns: string; to: string }, letter: Letter, signer: Signer): Uint8Array {
  const header = encode({ v: 1, ns: route.ns, from: signer.peerId, to: route.to } satisfies EnvelopeHeader);
  const body = encodeLetter(letter);
  return encode({ header, letter: body, sig: signer.sign(CONTEXT, signedPart(header, body)) });
}

/**
 * The header and letter of an envelope whose signature holds. Throws `frame_malformed` or `signature_invalid`.
 * Whether the header's machines are the right ones is the caller's to check.
 */
export function openEnvelope(bytes: Uint8Array): { header: EnvelopeHeader; letter: Letter } {
  const envelope = zEnvelope.safeParse(decode(bytes));
  if (!envelope.success)
    throw new PatchcordError('frame_malformed', 'Not an envelope.', '', { cause: envelope.error });
  const header = zHeader.safeParse(decode(envelope.data.header));
  if (!header.success)
    throw new PatchcordError('frame_malformed', 'Not an envelope header.', '', { cause: header.error });
  verifySignature(
    header.data.from,
    CONTEXT,
    signedPart(envelope.data.header, envelope.data.letter),
    envelope.data.sig,
  );
  return { header: header.data, letter: decodeLetter(envelope.data.letter) };
}

/** Both parts with their lengths, so that no byte can move from one to the other. */
function signedPart(header: Uint8Array, letter: Uint8Array): Uint8Array {
  return encode([header, letter]);
}
