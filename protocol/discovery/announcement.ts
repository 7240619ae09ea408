import { openOnce, sealOnce } from '../aead.ts';
import { encode } from '../codec.ts';
import { hkdf } from '../hkdf.ts';
import type { RandomBytes } from '../ids.ts';
import { pad, unpad } from '../padding.ts';

/**
 * How a machine calls out to the members of a namespace on its LAN: under a tag that only they can tell, and sealed.
 * Both come from the namespace key, so a machine that was removed neither finds nor reads what is called out later.
 *
 *     tag   15 letters and digits: what a DNS service is called (RFC 6335 section 5.1)
 *     box   salt, 32 bytes; padded content under HKDF-SHA256(namespace key, salt, purpose and namespace)
 */

/** A namespace as its members know it. */
export interface Circle {
  ns: string;
  epoch: number;
  /** The namespace key, 32 bytes. */
  key: Uint8Array;
}

export const TAG_LENGTH = 15;
const TAG_CONTEXT = 'patchcord lan tag v1';
const BOX_CONTEXT = 'patchcord lan box v1';
const SALT_SIZE_BYTES = 32;
const SIZE_BYTES_MIN = 512;
/** Without vowels that make words, and without what looks alike. */
const ALPHABET = 'bcdfghjkmnpqrstvwxyz23456789';

/** The same for all members, and nothing to anybody else; it stays until the namespace key changes. */
export function tagOf({ ns, epoch, key }: Circle): string {
  const bytes = hkdf(key, new Uint8Array(0), encode([TAG_CONTEXT, ns, epoch]));
  // A first letter, for a service name may not be all digits.
  const rest = Array.from(bytes.subarray(1, TAG_LENGTH), (byte) => ALPHABET[byte % 28]!);
  return ALPHABET[bytes[0]! % 20]! + rest.join('');
}

export function sealAnnouncement(content: Uint8Array, circle: Circle, randomBytes: RandomBytes): Uint8Array {
  const salt = randomBytes(SALT_SIZE_BYTES);
  return Buffer.concat([salt, sealOnce(derive(circle, salt), salt, pad(content, SIZE_BYTES_MIN))]);
}

/** Undefined for what was altered or sealed by nobody of that circle. */
export function openAnnouncement(box: Uint8Array, circle: Circle): Uint8Array | undefined {
  const salt = box.subarray(0, SALT_SIZE_BYTES);
  const padded = openOnce(derive(circle, salt), salt, box.subarray(SALT_SIZE_BYTES));
  return padded && unpad(padded);
}

function derive({ ns, epoch, key }: Circle, salt: Uint8Array): Uint8Array {
  return hkdf(key, salt, encode([BOX_CONTEXT, ns, epoch]));
}
