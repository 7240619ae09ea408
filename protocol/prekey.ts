import { z } from 'zod';
import { decode, encode, equalBytes } from './codec.ts';
import { PatchcordError } from './errors.ts';
import { PREKEY_SEQUENCE_MAX, PREKEY_STALE_MS } from './limits.ts';
import { zBytes, zPeerId, zTimeMs } from './shapes.ts';
import { verifySignature, type Signer } from './signing.ts';
import { checkPublicKey, XWING_PUBLIC_KEY_SIZE_BYTES } from './xwing.ts';

/**
 * The public key to which envelopes for a machine are sealed, signed by the machine. It changes daily, so that a
 * stolen machine opens only what was sealed to it lately.
 *
 * Invariants of a machine's prekeys, as others keep them:
 * - the sequence never falls: an older prekey is refused even with a good signature;
 * - of one sequence there is one key: another is refused.
 */
const zPrekey = z.strictObject({
  v: z.literal(1),
  machine: zPeerId,
  /** Rises with every rotation. */
  seq: z.int().min(1).max(PREKEY_SEQUENCE_MAX),
  /** X-Wing. */
  key: zBytes.refine((bytes) => bytes.length === XWING_PUBLIC_KEY_SIZE_BYTES, 'not an X-Wing public key'),
  made_at: zTimeMs,
  /** Past this the key is stale: still used for a while when there is no newer one, and then marked. */
  valid_until: zTimeMs,
});

export interface Prekey extends z.infer<typeof zPrekey> {
  /** As it travels and is stored. */
  bytes: Uint8Array;
}

const zSigned = z.strictObject({ body: zBytes, sig: zBytes });
const CONTEXT = 'patchcord prekey v1';

export function signPrekey(
  prekey: { seq: number; key: Uint8Array; made_at: number; valid_until: number },
  signer: Signer,
): Prekey {
  const fields = { v: 1 as const, machine: signer.peerId, ...prekey };
  const body = encode(fields);
  return { ...fields, bytes: encode({ body, sig: signer.sign(CONTEXT, body) }) };
}

/** Throws `frame_malformed`, `signature_invalid`, or `envelope_invalid` for a key that nothing can be sealed to. */
export function readPrekey(bytes: Uint8Array): Prekey {
  const signed = zSigned.safeParse(decode(bytes));
  if (!signed.success) throw new PatchcordError('frame_malformed', 'Not a signed prekey.');
  const prekey = zPrekey.safeParse(decode(signed.data.body));
  if (!prekey.success)
    throw new PatchcordError('frame_malformed', 'Not a prekey.', '', { cause: prekey.error });
  verifySignature(prekey.data.machine, CONTEXT, signed.data.body, signed.data.sig);
  checkPublicKey(prekey.data.key);
  return { ...prekey.data, bytes };
}

/** Whether an offered prekey takes the place of the one that is held. */
export function supersedes(held: Prekey | undefined, offered: Prekey): 'newer' | 'same' | 'refused' {
  if (!held || offered.seq > held.seq) return 'newer';
  return offered.seq === held.seq && equalBytes(offered.key, held.key) ? 'same' : 'refused';
}

/** Whether a prekey may still be sealed to: while it is valid, and for want of a newer one up to 30 days longer. */
export function isUsable(prekey: Prekey, nowMs: number): boolean {
  return nowMs <= prekey.valid_until + PREKEY_STALE_MS;
}

/** Past its validity: used, but said so. */
export function isStale(prekey: Prekey, nowMs: number): boolean {
  return nowMs > prekey.valid_until;
}
