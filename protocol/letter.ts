import { z } from 'zod';
import { encode } from './codec.ts';
import { PatchcordError } from './errors.ts';
import {
  CONTENT_LENGTH_MAX,
  DOUBTS_MAX,
  EPOCH_MAX,
  HOPS_MAX,
  REPLY_WITHIN_MS_MAX,
  REPLY_WITHIN_MS_MIN,
  SEQUENCE_MAX,
  THREAD_LENGTH_MAX,
} from './limits.ts';
import { zAgentId, zBytes, zMessageId, zName, zTimeMs } from './shapes.ts';

/**
 * What travels inside an envelope, from one agent's home machine to another's.
 *
 * `message` and `void` take a place in the sequence of their line (one sender, one recipient); the others are
 * idempotent and have no order.
 */

/**
 * Which numbering of lines a place belongs to: a machine that may have lost what it sent begins a new one, higher
 * than every one before. Absent in the first.
 */
const zEpoch = z.int().min(1).max(EPOCH_MAX).optional();

/** An agent as letters name it: the id decides, the name is what the sender's machine calls it. */
const zParty = z.strictObject({ id: zAgentId, name: zName });
export type Party = z.infer<typeof zParty>;

const zMessage = z.strictObject({
  k: z.literal('message'),
  id: zMessageId,
  /** Place in the line, from 1. */
  seq: z.int().min(1).max(SEQUENCE_MAX),
  epoch: zEpoch,
  from: zParty,
  to: zParty,
  content: z.string().max(CONTENT_LENGTH_MAX),
  /** The thread's slug and the id of the message that opened it. */
  thread: z.strictObject({ slug: z.string().min(1).max(THREAD_LENGTH_MAX), root: zMessageId }).optional(),
  reply_to: zMessageId.optional(),
  /** This message closes its thread. */
  resolve: z.literal(true).optional(),
  /** With `resolve`: the last place of the recipient's own line that had been taken in by then. */
  seen: z.strictObject({ epoch: zEpoch, seq: z.int().min(0).max(SEQUENCE_MAX) }).optional(),
  /** How many messages agents have answered one another with up to this one, since a person spoke. */
  hops: z.int().min(1).max(HOPS_MAX).optional(),
  /** An answer is asked for within this time, by each side's own clock, in milliseconds. */
  reply_within: z.int().min(REPLY_WITHIN_MS_MIN).max(REPLY_WITHIN_MS_MAX).optional(),
  /** What its sender wants of its recipient's attention, unless normal; see delivery/wakes.ts. */
  urgency: z.enum(['info', 'steer']).optional(),
  /** Shared by the copies of one send_message to several recipients. */
  group: zMessageId.optional(),
  /** It may have been shown already, by a machine that may not know it any more. */
  again: z.literal(true).optional(),
  /** The sender's clock; shown, never used for order. */
  sent_at: zTimeMs,
});
/** What one agent says to another. Content may be empty only with `resolve`. */
export type Message = z.infer<typeof zMessage>;

/** A place in the line whose message was taken back before its sender knew it delivered. */
const zVoid = z.strictObject({
  k: z.literal('void'),
  id: zMessageId,
  seq: z.int().min(1).max(SEQUENCE_MAX),
  epoch: zEpoch,
  from: zParty,
  to: zParty,
});

const zUnsend = z.strictObject({ k: z.literal('unsend'), id: zMessageId, from: zParty, to: zParty });

/** Signed receipts for messages that agents of the addressed machine sent; see receipt.ts. */
const zReceipts = z.strictObject({ k: z.literal('receipts'), receipts: z.array(zBytes).min(1).max(100) });

/**
 * Messages of the addressed machine's agents that the writer has unread, and may have shown: it was restored from a
 * backup. Answered by `told`.
 */
const zDoubts = z.strictObject({
  k: z.literal('doubts'),
  messages: z
    .array(z.strictObject({ id: zMessageId, from: zAgentId, to: zAgentId }))
    .min(1)
    .max(DOUBTS_MAX),
});

/** What the writer knows of messages that its agents sent, and the addressed machine asked about. */
const zTold = z.strictObject({
  k: z.literal('told'),
  messages: z
    .array(z.strictObject({ id: zMessageId, to: zAgentId, state: z.enum(['read', 'unsent', 'unread']) }))
    .min(1)
    .max(DOUBTS_MAX),
});

const zLetter = z.discriminatedUnion('k', [zMessage, zVoid, zUnsend, zReceipts, zDoubts, zTold]);
export type Letter = z.infer<typeof zLetter>;
export type Void = z.infer<typeof zVoid>;
export type Unsend = z.infer<typeof zUnsend>;
export type Doubts = z.infer<typeof zDoubts>;
export type Told = z.infer<typeof zTold>;
/** A letter about one message from one agent to another; it is answered by a receipt. */
export type Addressed = Message | Void | Unsend;

export function isAddressed(letter: Letter): letter is Addressed {
  return letter.k === 'message' || letter.k === 'void' || letter.k === 'unsend';
}

/** Throws `frame_malformed`. */
export function parseLetter(value: unknown): Letter {
  const letter = zLetter.safeParse(value);
  if (!letter.success)
    throw new PatchcordError('frame_malformed', 'Not a letter.', '', { cause: letter.error });
  return letter.data;
}

export function encodeLetter(letter: Letter): Uint8Array {
  return encode(letter);
}
