import { z } from 'zod';
import { openOnce, sealOnce } from '../aead.ts';
import { decode, encode } from '../codec.ts';
import { PatchcordError } from '../errors.ts';
import { hkdf } from '../hkdf.ts';
import type { RandomBytes } from '../ids.ts';
import {
  MEMBERS_MAX,
  PRESENCE_BOX_SIZE_BYTES_MAX,
  PRESENCE_STATEMENTS_MAX,
  SUSPECTS_MAX,
} from '../limits.ts';
import { pad, unpad } from '../padding.ts';
import { zBytes } from '../shapes.ts';
import { BEAT_SIZE_BYTES, POSITION_SIZE_BYTES, TAGS_SIZE_BYTES } from './beat.ts';

/** A list of things of one size, one behind the other. */
const packed = (sizeBytes: number, countMax: number): z.ZodType<Uint8Array, Uint8Array> =>
  zBytes.refine(
    ({ length }) => length > 0 && length % sizeBytes === 0 && length <= sizeBytes * countMax,
    'not a list of that kind',
  );

/** What machines tell each other of presence, the same over gossip and over links. */
const zPresenceMessage = z.strictObject({
  /** See statement.ts. */
  statements: z.array(zBytes).min(1).max(PRESENCE_STATEMENTS_MAX).optional(),
  /** See beat.ts. */
  beats: packed(BEAT_SIZE_BYTES, MEMBERS_MAX).optional(),
  /** The sender has chosen the receiver to pass beats to, and wants them back; over links only. */
  chosen: z.literal(true).optional(),
  /** The receiver has chosen the sender, which passes beats to as many as it does already; over links only. */
  full: z.literal(true).optional(),
  /** The sender does not reach these; a machine that is named says that it lives. */
  suspects: packed(POSITION_SIZE_BYTES, SUSPECTS_MAX).optional(),
  /** Asks for anything newer of these, a machine that is named for its next beat; over links only. */
  probes: packed(POSITION_SIZE_BYTES, SUSPECTS_MAX).optional(),
  /** Asks for the statements of machines by their tags; over links only. */
  wants: packed(TAGS_SIZE_BYTES, MEMBERS_MAX).optional(),
});
export type PresenceMessage = z.infer<typeof zPresenceMessage>;

const SEAL_CONTEXT = 'patchcord presence box v1';
const TOPIC_CONTEXT = 'patchcord presence topic v1';
const SALT_SIZE_BYTES = 16;
/** Statements are padded, for their size tells how many agents a machine has; beats tell nothing. */
const STATEMENT_SIZE_BYTES_MIN = 512;
const BEATS_SIZE_BYTES_MIN = 64;

/** Of which namespace and key epoch a box is. Bound to the box, not in it. */
export interface PresencePlace {
  ns: string;
  epoch: number;
}

/**
 * The box under the namespace key.
 *
 *     box   salt, 16 bytes; padded content under HKDF-SHA256(namespace key, salt, purpose and place)
 */
export function sealPresence(
  message: PresenceMessage,
  place: PresencePlace,
  key: Uint8Array,
  randomBytes: RandomBytes,
): Uint8Array {
  const salt = randomBytes(SALT_SIZE_BYTES);
  const least = message.statements ? STATEMENT_SIZE_BYTES_MIN : BEATS_SIZE_BYTES_MIN;
  const sealed = sealOnce(derive(key, salt, place), salt, pad(encode(message), least));
  return Buffer.concat([salt, sealed]);
}

/** Throws `frame_malformed` for what was altered, is too long, was sealed with another key, or says nothing. */
export function openPresence(box: Uint8Array, place: PresencePlace, key: Uint8Array): PresenceMessage {
  if (box.length > PRESENCE_BOX_SIZE_BYTES_MAX)
    throw new PatchcordError('frame_malformed', 'A box of presence that is too long.');
  const salt = box.subarray(0, SALT_SIZE_BYTES);
  const padded = openOnce(derive(key, salt, place), salt, box.subarray(SALT_SIZE_BYTES));
  const plain = padded && unpad(padded);
  if (!plain) throw new PatchcordError('frame_malformed', 'A box that this namespace key does not open.');
  const message = zPresenceMessage.safeParse(decode(plain));
  if (message.success) return message.data;
  throw new PatchcordError('frame_malformed', 'Nothing that tells of presence.', '', {
    cause: message.error,
  });
}

/** Where the members of a namespace gossip. It follows from the key, so that it tells nothing and changes with it. */
export function presenceTopic({ ns, epoch }: PresencePlace, key: Uint8Array): string {
  const topic = hkdf(key, new Uint8Array(0), encode([TOPIC_CONTEXT, ns, epoch])).subarray(0, 16);
  return Buffer.from(topic).toString('base64url');
}

function derive(key: Uint8Array, salt: Uint8Array, { ns, epoch }: PresencePlace): Uint8Array {
  return hkdf(key, salt, encode([SEAL_CONTEXT, ns, epoch]));
}
