import { z } from 'zod';
import { decode, encode } from '../codec.ts';
import { PatchcordError } from '../errors.ts';
import { ADDRESSES_MAX, WHEREABOUTS_SIZE_BYTES_MAX } from '../limits.ts';
import { bytesOf, zBytes, zMultiaddr, zPeerId, zTimeMs } from '../shapes.ts';
import { verifySignature, type Signer } from '../signing.ts';

/**
 * Where a machine can be reached, by its own word: members pass it on as it is, and it is what a machine calls out on
 * its LAN. `at` orders what one machine says, by no clock but its own: a later one replaces an earlier one, so that a
 * rumour that comes late changes nothing.
 */
const zWhereabouts = z.strictObject({
  v: z.literal(1),
  machine: zPeerId,
  at: zTimeMs,
  /** Without the machine's own peer id at their ends. */
  addresses: z.array(zMultiaddr).max(ADDRESSES_MAX),
});
const zSigned = z.strictObject({ body: zBytes, sig: bytesOf(64) });
const CONTEXT = 'patchcord whereabouts v1';
/** What signature, peer id, time and field names take beside the addresses. */
const FRAME_SIZE_BYTES = 200;

export interface Whereabouts {
  machine: string;
  at: number;
  /** Multiaddrs that end in the machine's peer id, best first. */
  addresses: string[];
  /** As they are passed on. */
  bytes: Uint8Array;
}

/** Of a machine's own addresses those that it tells: as many as fit, and loopback ones only if there are no others. */
export function tellable(addresses: readonly string[], machine: string): string[] {
  const bare = [...new Set(addresses.map((address) => withoutEnd(address, `/p2p/${machine}`)))];
  const far = bare.filter((address) => !isLoopback(address));
  const told: string[] = [];
  let sizeBytes = FRAME_SIZE_BYTES;
  for (const address of far.length > 0 ? far : bare) {
    sizeBytes += Buffer.byteLength(address) + 3;
    if (told.length < ADDRESSES_MAX && sizeBytes <= WHEREABOUTS_SIZE_BYTES_MAX) told.push(address);
  }
  return told;
}

export function isLoopback(address: string): boolean {
  return address.startsWith('/ip4/127.') || address.startsWith('/ip6/::1/');
}

/** `addresses` as {@link tellable} gives them. */
export function signWhereabouts(addresses: readonly string[], at: number, signer: Signer): Whereabouts {
  const { peerId } = signer;
  const body = encode({ v: 1, machine: peerId, at, addresses });
  const bytes = encode({ body, sig: signer.sign(CONTEXT, body) });
  return { machine: peerId, at, addresses: addresses.map((address) => `${address}/p2p/${peerId}`), bytes };
}

/**
 * What the bytes say, or undefined when `isNews` says that it need not be looked at: the signature is checked after
 * that, since most of what is heard was heard before. Throws `frame_malformed`, `signature_invalid`.
 */
export function readWhereabouts(
  bytes: Uint8Array,
  isNews: (machine: string, at: number) => boolean,
): Whereabouts | undefined {
  if (bytes.length > WHEREABOUTS_SIZE_BYTES_MAX) throw malformed();
  const signed = zSigned.safeParse(decode(bytes));
  if (!signed.success) throw malformed(signed.error);
  const { body, sig } = signed.data;
  const said = zWhereabouts.safeParse(decode(body));
  if (!said.success) throw malformed(said.error);
  const { machine, at } = said.data;
  if (!isNews(machine, at)) return undefined;
  verifySignature(machine, CONTEXT, body, sig);
  const addresses = said.data.addresses.map((address) => `${address}/p2p/${machine}`);
  return { machine, at, addresses, bytes };
}

function malformed(cause?: unknown): PatchcordError {
  return new PatchcordError('frame_malformed', 'Nothing that says where a machine is.', '', { cause });
}

function withoutEnd(text: string, end: string): string {
  return text.endsWith(end) ? text.slice(0, -end.length) : text;
}
