import { openOnce, sealOnce } from '../aead.ts';
import { encode, equalBytes } from '../codec.ts';
import { PatchcordError } from '../errors.ts';
import { hkdf } from '../hkdf.ts';
import type { RandomBytes } from '../ids.ts';
import { RECORD_SIZE_BYTES_MAX } from '../limits.ts';
import { pad, unpad } from '../padding.ts';
import type { Circle } from './announcement.ts';
import { readWhereabouts, type Whereabouts } from './whereabouts.ts';

/**
 * Where a member is, as the members of a large namespace keep it for each other in their distributed hash table. The
 * table's protocol, the keys and the seal all come from the namespace key: a machine that was removed neither takes part
 * nor knows under what to ask, and whoever is told the protocol's name learns no namespace from it.
 *
 *     protocol   /patchcord/where/1/ and 32 hex digits
 *     key        /where/ and 64 hex digits, which follow from the namespace key and the machine
 *     value      salt, 32 bytes; the machine's signed word, padded, under HKDF-SHA256(namespace key, salt, purpose)
 */

const PROTOCOL_CONTEXT = 'patchcord where protocol v1';
const KEY_CONTEXT = 'patchcord where key v1';
const BOX_CONTEXT = 'patchcord where box v1';
const NO_SALT = new Uint8Array(0);
const SALT_SIZE_BYTES = 32;
const PROTOCOL_DIGITS = 32;
/** One size for nearly all, so that a value does not tell how many addresses a machine has. */
const SIZE_BYTES_MIN = 512;

/** The part of a record's key by which kad-dht finds its validator. */
export const RECORD_KIND = 'where';

export function recordProtocol({ ns, epoch, key }: Circle): string {
  const digits = hexOf(hkdf(key, NO_SALT, encode([PROTOCOL_CONTEXT, ns, epoch])));
  return `/patchcord/where/1/${digits.slice(0, PROTOCOL_DIGITS)}`;
}

export function recordKey({ ns, epoch, key }: Circle, machine: string): Uint8Array {
  const digits = hexOf(hkdf(key, NO_SALT, encode([KEY_CONTEXT, ns, epoch, machine])));
  return new TextEncoder().encode(`/${RECORD_KIND}/${digits}`);
}

/** `word` as signWhereabouts gives its bytes. */
export function sealRecord(word: Uint8Array, circle: Circle, randomBytes: RandomBytes): Uint8Array {
  const salt = randomBytes(SALT_SIZE_BYTES);
  return Buffer.concat([salt, sealOnce(boxKey(circle, salt), salt, pad(word, SIZE_BYTES_MIN))]);
}

/**
 * The word in a record, which belongs under that key. Throws `frame_malformed` for what is too long, sealed by nobody of
 * that circle, no such word, or another machine's; `forbidden` for a machine that is no member; `signature_invalid`.
 */
export function openRecord(
  record: { key: Uint8Array; value: Uint8Array },
  circle: Circle,
  isMember: (machine: string) => boolean,
): Whereabouts {
  const { value } = record;
  if (value.length > RECORD_SIZE_BYTES_MAX) throw malformed('A record that is too long.');
  const salt = value.subarray(0, SALT_SIZE_BYTES);
  const padded = openOnce(boxKey(circle, salt), salt, value.subarray(SALT_SIZE_BYTES));
  const word = padded && unpad(padded);
  if (!word) throw malformed('A record that this namespace key does not open.');
  // Whose it is comes before the signature, which is what costs.
  const said = readWhereabouts(word, (machine) => {
    if (!isMember(machine)) throw new PatchcordError('forbidden', 'A record of a machine that is no member.');
    return equalBytes(recordKey(circle, machine), record.key);
  });
  if (!said) throw malformed("A record under another machine's key.");
  return said;
}

function boxKey({ ns, epoch, key }: Circle, salt: Uint8Array): Uint8Array {
  return hkdf(key, salt, encode([BOX_CONTEXT, ns, epoch]));
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function malformed(message: string): PatchcordError {
  return new PatchcordError('frame_malformed', message);
}
