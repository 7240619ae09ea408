import { z } from 'zod';
import { openOnce, sealOnce } from './aead.ts';
import { decode, encode } from './codec.ts';
import { sha256 } from './digest.ts';
import { PatchcordError } from './errors.ts';
import { hkdf } from './hkdf.ts';
import type { RandomBytes } from './ids.ts';
import { MEMBERS_MAX, PREKEY_SEQUENCE_MAX, WHEREABOUTS_SIZE_BYTES_MAX } from './limits.ts';
import { pad, unpad } from './padding.ts';
import { zRoster } from './roster.ts';
import { zBytes, zPeerId } from './shapes.ts';

/**
 * What a machine tells all members of a namespace: sealed with the namespace key, which changes whenever a machine
 * is removed, so that whoever carries it and whoever was removed learns a size class and a time.
 *
 *     box   salt, 32 bytes; padded content under HKDF-SHA256(namespace key, salt, purpose and place)
 */
export const zShared = z.discriminatedUnion('k', [
  /** The machine's own agents. A higher revision replaces a lower one. */
  z.strictObject({ k: z.literal('roster'), revision: z.int().min(0), roster: zRoster }),
  /** The newest prekeys of members that the machine knows: whoever knows a newer one, or lacks one, is told. */
  z.strictObject({
    k: z.literal('prekeys'),
    known: z
      .array(z.strictObject({ machine: zPeerId, seq: z.int().min(0).max(PREKEY_SEQUENCE_MAX) }))
      .max(MEMBERS_MAX),
  }),
  /** Where members can be reached, each by its own signed word; see discovery/whereabouts.ts. */
  z.strictObject({
    k: z.literal('addresses'),
    machines: z.array(zBytes.refine((bytes) => bytes.length <= WHEREABOUTS_SIZE_BYTES_MAX)).max(MEMBERS_MAX),
  }),
]);
export type Shared = z.infer<typeof zShared>;

export const NAMESPACE_KEY_SIZE_BYTES = 32;
const CONTEXT = 'patchcord shared v1';
const SALT_SIZE_BYTES = 32;
const SIZE_BYTES_MIN = 512;

/** Of which namespace and key epoch a box is, and which machine says it. Bound to the box, not in it. */
export interface SharedPlace {
  ns: string;
  epoch: number;
  from: string;
}

export function sealShared(
  shared: Shared,
  place: SharedPlace,
  key: Uint8Array,
  randomBytes: RandomBytes,
): Uint8Array {
  const salt = randomBytes(SALT_SIZE_BYTES);
  const sealed = sealOnce(derive(key, salt, place), salt, pad(encode(shared), SIZE_BYTES_MIN));
  return Buffer.concat([salt, sealed]);
}

/** Throws `frame_malformed` for what was altered, moved, sealed with another key, or is nothing that is shared. */
export function openShared(box: Uint8Array, place: SharedPlace, key: Uint8Array): Shared {
  const salt = box.subarray(0, SALT_SIZE_BYTES);
  const padded = openOnce(derive(key, salt, place), salt, box.subarray(SALT_SIZE_BYTES));
  const plain = padded && unpad(padded);
  if (!plain) throw new PatchcordError('frame_malformed', 'A box that this namespace key does not open.');
  const shared = zShared.safeParse(decode(plain));
  if (shared.success) return shared.data;
  throw new PatchcordError('frame_malformed', 'Nothing that machines share.', '', { cause: shared.error });
}

/** What the namespace log says of a key: SHA-256. The key is 32 random bytes, so the hash tells nothing of it. */
export function namespaceKeyHash(key: Uint8Array): Uint8Array {
  return sha256(key);
}

function derive(key: Uint8Array, salt: Uint8Array, { ns, epoch, from }: SharedPlace): Uint8Array {
  return hkdf(key, salt, encode([CONTEXT, ns, epoch, from]));
}
