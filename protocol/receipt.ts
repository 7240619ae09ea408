import { z } from 'zod';
import { decode, decodeOwn, encode } from './codec.ts';
import { PatchcordError } from './errors.ts';
import { EPOCH_MAX } from './limits.ts';
import { zAgentId, zBytes, zMessageId, zNamespaceId, zPeerId, zTimeMs } from './shapes.ts';
import { verifySignature, type Signer } from './signing.ts';

/**
 * The receipt ladder: how far a message is known to have come. A rung is only ever claimed with proof.
 *
 *     queued -> held -> delivered -> read -> deferred -> replied
 *        \________\_________\-> unsent | expired | refused
 */
export const RECEIPT_STATES = [
  'queued',
  'held',
  'delivered',
  'read',
  'deferred',
  'replied',
  'unsent',
  'expired',
  'refused',
] as const;
export type ReceiptState = (typeof RECEIPT_STATES)[number];
export const zReceiptState = z.enum(RECEIPT_STATES);

/** What only the recipient's home machine can say of a message, and all that it may say. */
const HOME_STATES: ReadonlySet<ReceiptState> = new Set([
  'delivered',
  'read',
  'deferred',
  'replied',
  'unsent',
  'refused',
]);

/** Whether a state is the recipient's home machine's to claim; the others the sender's machine knows by itself. */
export function isHomeState(state: ReceiptState): boolean {
  return HOME_STATES.has(state);
}

const RUNG: Record<ReceiptState, number> = {
  queued: 0,
  held: 1,
  delivered: 2,
  read: 3,
  deferred: 4,
  replied: 5,
  unsent: 3,
  expired: 3,
  refused: 3,
};

/**
 * The state after learning `next`. States only climb; read and unsent (or expired, refused) exclude each
 * other, so whichever transition out of unread was first stays.
 */
export function climb(current: ReceiptState, next: ReceiptState): ReceiptState {
  const ended = current === 'unsent' || current === 'expired' || current === 'refused';
  if (ended) return current;
  return RUNG[next] > RUNG[current] ? next : current;
}

/** A signed statement of the recipient's home machine that a message reached a state. */
const zReceipt = z.strictObject({
  v: z.literal(1),
  ns: zNamespaceId,
  /** The message. */
  id: zMessageId,
  /** The agent that sent the message, and the one it is addressed to. */
  sender: zAgentId,
  recipient: zAgentId,
  state: zReceiptState,
  at: zTimeMs,
  /** The machine that says so. */
  by: zPeerId,
  /** The epoch of that machine in which it said so: what it had before may be lost. Absent in the first. */
  epoch: z.int().min(1).max(EPOCH_MAX).optional(),
  /** The epoch of the sender in which the copy that it speaks of had its place. Absent in the first. */
  line: z.int().min(1).max(EPOCH_MAX).optional(),
});
export type Receipt = z.infer<typeof zReceipt>;

const zSigned = z.strictObject({ body: zBytes, sig: zBytes });
const CONTEXT = 'patchcord receipt v1';

/** What is said of a letter: that its message has reached a state. */
export function receiptOf(
  ns: string,
  letter: { id: string; from: { id: string }; to: { id: string }; epoch?: number | undefined },
  state: ReceiptState,
  nowMs: number,
): Omit<Receipt, 'v' | 'by'> {
  const { id, from, to, epoch: line } = letter;
  return { ns, id, sender: from.id, recipient: to.id, state, at: nowMs, ...(line && { line }) };
}

export function signReceipt(receipt: Omit<Receipt, 'v' | 'by'>, signer: Signer): Uint8Array {
  const body = encode({ ...receipt, v: 1, by: signer.peerId } satisfies Receipt);
  return encode({ body, sig: signer.sign(CONTEXT, body) });
}

/** Throws `frame_malformed` or `signature_invalid`. Whether `by` may speak for the agent is the caller's to check. */
export function verifyReceipt(bytes: Uint8Array): Receipt {
  return readReceipt(bytes, undefined);
}

/**
 * The same for a receipt that came over the link of the machine `from`, or in a letter that it has signed. What it says of
 * itself is known to be its word by that; only what it passes on for others needs their signature.
 */
export function heardReceipt(bytes: Uint8Array, from: string): Receipt {
  return readReceipt(bytes, from);
}

function readReceipt(bytes: Uint8Array, from: string | undefined): Receipt {
  const signed = zSigned.safeParse(decode(bytes));
  if (!signed.success) throw new PatchcordError('frame_malformed', 'Not a signed receipt.');
  const { body, sig } = signed.data;
  const receipt = zReceipt.safeParse(decode(body));
  if (!receipt.success)
    throw new PatchcordError('frame_malformed', 'Not a receipt.', '', { cause: receipt.error });
  if (receipt.data.by !== from) verifySignature(receipt.data.by, CONTEXT, body, sig);
  return receipt.data;
}

/** A receipt that this machine signed and has kept sealed since: form and signature are not checked again. */
export function readOwnReceipt(bytes: Uint8Array): Receipt {
  const { body } = zSigned.parse(decodeOwn(bytes));
  return zReceipt.parse(decodeOwn(body));
}
