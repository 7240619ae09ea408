import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { sha256 } from './digest.ts';
import { PatchcordError } from './errors.ts';
import { bytesOf, zBytes, zNamespaceId, zPeerId } from './shapes.ts';
import { verifySignature, type Signer } from './signing.ts';

/**
 * A mailbox's signed statement that it has fsynced an envelope. It knows neither sender nor message and names
 * neither: whoever sealed the envelope knows which message the hash stands for. Says nothing of when, as no clock
 * but the mailbox's own decides how long it keeps it.
 */
const zHeldReceipt = z.strictObject({
  v: z.literal(1),
  ns: zNamespaceId,
  /** See {@link envelopeHash}. */
  envelope: bytesOf(32),
  /** The machine that holds it. */
  by: zPeerId,
});
export type HeldReceipt = z.infer<typeof zHeldReceipt>;

const zSigned = z.strictObject({ body: zBytes, sig: zBytes });
const CONTEXT = 'patchcord held receipt v1';

/** SHA-256 of an envelope's bytes: its name at a mailbox. */
export function envelopeHash(envelope: Uint8Array): Uint8Array {
  return sha256(envelope);
}

export function signHeldReceipt(receipt: Omit<HeldReceipt, 'v' | 'by'>, signer: Signer): Uint8Array {
  const body = encode({ ...receipt, v: 1, by: signer.peerId } satisfies HeldReceipt);
  return encode({ body, sig: signer.sign(CONTEXT, body) });
}

/**
 * Throws `frame_malformed` or `signature_invalid`. Whether `by` is the machine that the envelope was left at, and
 * whether the hash is that envelope's, is the caller's to check.
 */
export function verifyHeldReceipt(bytes: Uint8Array): HeldReceipt {
  const signed = zSigned.safeParse(decode(bytes));
  if (!signed.success) throw new PatchcordError('frame_malformed', 'Not a signed held receipt.');
  const receipt = zHeldReceipt.safeParse(decode(signed.data.body));
  if (!receipt.success) {
    throw new PatchcordError('frame_malformed', 'Not a held receipt.', '', { cause: receipt.error });
  }
  verifySignature(receipt.data.by, CONTEXT, signed.data.body, signed.data.sig);
  return receipt.data;
}
