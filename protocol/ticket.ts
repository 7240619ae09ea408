import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { PatchcordError } from './errors.ts';
import { ADDRESSES_MAX, TICKET_LENGTH_MAX } from './limits.ts';
import { zBytes, zLabel, zMultiaddr, zNamespaceId, zPeerId, zTimeMs } from './shapes.ts';

/**
 * The invite to a namespace: one line of text, `pc1:` and base64url (RFC 4648 section 5) of a deterministic CBOR
 * map followed by the first 4 bytes of its SHA-256, so that a damaged line is told from a refused one.
 */
const PREFIX = 'pc1:';
const CHECK_SIZE_BYTES = 4;
const SECRET_SIZE_BYTES = 16;

const zTicket = z.strictObject({
  /** The namespace to join. */
  ns: zNamespaceId,
  /** The machine that invites, and where it listens. */
  peer: zPeerId,
  addresses: z.array(zMultiaddr).min(1).max(ADDRESSES_MAX),
  /** 128 bits, good for one join. */
  secret: zBytes.refine((bytes) => bytes.length === SECRET_SIZE_BYTES),
  /** By the inviter's clock, which alone decides. */
  expires_at: zTimeMs,
});
export type Ticket = z.infer<typeof zTicket>;

export function formatTicket(ticket: Ticket): string {
  const body = encode(ticket);
  return PREFIX + Buffer.concat([body, checkOf(body)]).toString('base64url');
}

/** Throws `ticket_damaged` or `ticket_version`. */
export function parseTicket(text: string): Ticket {
  const line = text.trim();
  if (/^pc\d+:/.test(line) && !line.startsWith(PREFIX)) {
    throw new PatchcordError(
      'ticket_version',
      'The ticket is of another version.',
      'Update patchcord on both machines.',
    );
  }
  if (!line.startsWith(PREFIX) || line.length > TICKET_LENGTH_MAX) throw damaged();
  const bytes = Buffer.from(line.slice(PREFIX.length), 'base64url');
  const body = bytes.subarray(0, -CHECK_SIZE_BYTES);
  if (bytes.length <= CHECK_SIZE_BYTES || !checkOf(body).equals(bytes.subarray(-CHECK_SIZE_BYTES)))
    throw damaged();
  try {
    return zTicket.parse(decode(body));
  } catch (cause) {
    throw damaged(cause);
  }
}

/**
 * HMAC-SHA256 (RFC 2104) by which the joiner shows that it has the ticket's secret, bound to both machines, which
 * Noise has proved to each other: overheard or forwarded, it is of no use to a third.
 */
export function joinProof(
  secret: Uint8Array,
  bound: { ns: string; inviter: string; joiner: string },
): Uint8Array {
  const message = encode(['patchcord join v1', bound.ns, bound.inviter, bound.joiner]);
  return new Uint8Array(createHmac('sha256', secret).update(message).digest());
}

/** Compares in constant time. */
export function isJoinProof(
  proof: Uint8Array,
  secret: Uint8Array,
  bound: Parameters<typeof joinProof>[1],
): boolean {
  const expected = joinProof(secret, bound);
  return proof.length === expected.length && timingSafeEqual(proof, expected);
}

/** What the joiner asks. */
const zJoinRequest = z.strictObject({
  v: z.literal(1),
  ns: zNamespaceId,
  label: zLabel,
  proof: zBytes.refine((bytes) => bytes.length === 32),
});
export type JoinRequest = z.infer<typeof zJoinRequest>;

/** What the inviter answers: the log that admits the joiner and where members are, or why not. */
const zJoinAnswer = z.discriminatedUnion('k', [
  z.strictObject({
    k: z.literal('admitted'),
    statements: z.array(zBytes).min(1).max(1_000),
    machines: z
      .array(z.strictObject({ peer: zPeerId, addresses: z.array(zMultiaddr).max(ADDRESSES_MAX) }))
      .max(1_000),
  }),
  z.strictObject({
    k: z.literal('refused'),
    code: z.enum(['ticket_expired', 'ticket_used', 'ticket_refused']),
  }),
]);
export type JoinAnswer = z.infer<typeof zJoinAnswer>;

export function encodeJoin(join: JoinRequest | JoinAnswer): Uint8Array {
  return encode(join);
}

/** Throws `frame_malformed`. */
export function decodeJoinRequest(bytes: Uint8Array): JoinRequest {
  return parsed(zJoinRequest.safeParse(decode(bytes)), 'join request');
}

/** Throws `frame_malformed`. */
export function decodeJoinAnswer(bytes: Uint8Array): JoinAnswer {
  return parsed(zJoinAnswer.safeParse(decode(bytes)), 'join answer');
}

function parsed<T>(result: { success: true; data: T } | { success: false; error: unknown }, what: string): T {
  if (result.success) return result.data;
  throw new PatchcordError('frame_malformed', `Not a ${what}.`, '', { cause: result.error });
}

function checkOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, CHECK_SIZE_BYTES);
}

function damaged(cause?: unknown): PatchcordError {
  return new PatchcordError(
    'ticket_damaged',
    'That is not a complete ticket.',
    'Copy the whole line that `patchcord namespace invite` printed; it starts with pc1:',
    { cause },
  );
}
