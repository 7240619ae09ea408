import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { PatchcordError } from './errors.ts';
import { JOIN_NONCE_SIZE_BYTES } from './join-check.ts';
import { ADDRESSES_MAX, MEMBERS_MAX, TICKET_LENGTH_MAX } from './limits.ts';
import { LANDMARKS_MAX } from './membership/sync.ts';
import { NAMESPACE_KEY_SIZE_BYTES } from './shared.ts';
import { bytesOf, zBytes, zLabel, zMultiaddr, zNamespaceId, zPeerId, zTimeMs } from './shapes.ts';

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
  /** People compare six digits before the machine is admitted; see join-check.ts. */
  confirm: z.literal(true).optional(),
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

const zStatements = z.array(zBytes).max(1_000);
const zLandmarks = z.array(zNamespaceId).min(1).max(LANDMARKS_MAX);

/** What is asked outside of links, each in one request and one answer. */
const zJoinRequest = z.discriminatedUnion('k', [
  /** Asks for admission by a ticket. */
  z.strictObject({
    v: z.literal(1),
    k: z.literal('join'),
    ns: zNamespaceId,
    label: zLabel,
    proof: bytesOf(32),
    /** When the ticket says `confirm`: the commitment to the joiner's nonce. */
    commit: bytesOf(32).optional(),
  }),
  /** Opens the commitment, and waits for the decision; asked again while the answer is `pending`. */
  z.strictObject({
    v: z.literal(1),
    k: z.literal('reveal'),
    ns: zNamespaceId,
    nonce: bytesOf(JOIN_NONCE_SIZE_BYTES),
  }),
  /**
   * Asks where one stands: a member gets the statements that it lacks, a machine that was removed those that removed
   * it. `known` are landmarks of what the asker has; `offer` are statements by which it is a member after all.
   */
  z.strictObject({
    v: z.literal(1),
    k: z.literal('standing'),
    ns: zNamespaceId,
    known: zLandmarks,
    offer: zStatements.optional(),
  }),
]);
export type JoinRequest = z.infer<typeof zJoinRequest>;

const zJoinAnswer = z.discriminatedUnion('k', [
  /** The log as far as it fits, the namespace key, and where members are. The rest is asked for by `standing`. */
  z.strictObject({
    k: z.literal('admitted'),
    statements: zStatements,
    key: bytesOf(NAMESPACE_KEY_SIZE_BYTES).optional(),
    machines: z
      .array(z.strictObject({ peer: zPeerId, addresses: z.array(zMultiaddr).max(ADDRESSES_MAX) }))
      .max(MEMBERS_MAX),
  }),
  /** The inviter's nonce; open the commitment. */
  z.strictObject({ k: z.literal('check'), nonce: bytesOf(JOIN_NONCE_SIZE_BYTES) }),
  /** Nobody has compared the digits yet. */
  z.strictObject({ k: z.literal('pending') }),
  /** Statements that the asker lacks, and landmarks of what the answerer has. */
  z.strictObject({ k: z.literal('standing'), statements: zStatements, known: zLandmarks }),
  z.strictObject({
    k: z.literal('refused'),
    code: z.enum(['ticket_expired', 'ticket_used', 'ticket_refused', 'join_rejected', 'not_member']),
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
