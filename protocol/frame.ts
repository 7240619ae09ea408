import { z } from 'zod';
import { decode, encode } from './codec.ts';
import { isErrorCode, PatchcordError } from './errors.ts';
import { EPOCH_MAX, FRAME_SIZE_BYTES_MAX, MILESTONE_SIZE_BYTES_MAX, OFFER_HASHES_MAX } from './limits.ts';
import { LANDMARKS_MAX } from './membership/sync.ts';
import { bytesOf, zBytes, zMessageId, zNamespaceId, zTimeMs } from './shapes.ts';

/**
 * What two machines say on a link, after Noise: a sequence of frames, each a 4-byte big-endian length and that
 * many bytes of deterministic CBOR. The first frame of each side is `hello`.
 */
export const PROTOCOL_VERSION = 1;

const zCount = z.int().min(0);
const zMilestone = zBytes.refine(({ length }) => length <= MILESTONE_SIZE_BYTES_MAX, 'too long');

const FRAMES = {
  /**
   * Who speaks which version, since which start, and how much it takes unacknowledged. A higher `epoch` than before:
   * it may have lost what it acknowledged.
   */
  hello: z.strictObject({
    t: z.literal('hello'),
    v: z.int().min(1),
    boot: zMessageId,
    window_frames: z.int().min(1).max(65_536),
    window_bytes: z.int().min(FRAME_SIZE_BYTES_MAX),
    epoch: z.int().min(1).max(EPOCH_MAX).optional(),
    /** Passes bytes on between members that cannot reach each other, see relaying.ts. */
    relay: z.literal(true).optional(),
    /** The sender's clock: nothing is decided by it, but people are told of clocks that are apart. */
    at: zTimeMs.optional(),
    /** The last `milestone` that the other side gave the sender. */
    kept: zMilestone.optional(),
  }),
  /** Asks whether the other side is there; answered by `pong`. */
  ping: z.strictObject({ t: z.literal('ping') }),
  /** The sender is there. Also said unasked by whoever only listens, so that a long transfer is no silence. */
  pong: z.strictObject({ t: z.literal('pong') }),
  /**
   * An envelope in custody transfer; `n` is the sender's number for it, answered by `ack` or `refuse`. One that is
   * sealed to a third machine asks the receiver to keep it for that machine; `withdraw` is the SHA-256 of what takes
   * it back.
   */
  parcel: z.strictObject({
    t: z.literal('parcel'),
    n: zCount,
    envelope: zBytes,
    withdraw: bytesOf(32).optional(),
  }),
  /**
   * The parcel is fsynced here. The ack of a message's own home machine carries the receipt of the state it reached,
   * that of a mailbox the receipt that it is held; that for a parcel which a mailbox passed on carries none.
   */
  ack: z.strictObject({
    t: z.literal('ack'),
    n: zCount,
    receipt: zBytes.optional(),
    held: zBytes.optional(),
  }),
  /** The parcel is not taken: for good, or for now when `retry` says so. */
  refuse: z.strictObject({
    t: z.literal('refuse'),
    n: zCount,
    code: z.string().max(60).refine(isErrorCode, 'not an error code'),
    retry: z.boolean(),
  }),
  /** Hashes of envelopes that the sender keeps for the receiver, oldest first; answered by `take`. */
  offer: z.strictObject({
    t: z.literal('offer'),
    ns: zNamespaceId,
    hashes: z.array(bytesOf(32)).min(1).max(OFFER_HASHES_MAX),
  }),
  /** Of what was offered: `want` is to be sent as parcels, `have` is here already and may go. */
  take: z.strictObject({
    t: z.literal('take'),
    ns: zNamespaceId,
    want: z.array(bytesOf(32)).max(OFFER_HASHES_MAX),
    have: z.array(bytesOf(32)).max(OFFER_HASHES_MAX),
  }),
  /** Takes back what was given to be kept: what hashes to its `withdraw`. */
  withdraw: z.strictObject({
    t: z.literal('withdraw'),
    secrets: z.array(bytesOf(32)).min(1).max(OFFER_HASHES_MAX),
  }),
  /**
   * What the sender holds of a namespace: landmarks of its log, and which namespace key. Answered by the statements
   * and the key that it lacks, and with `ask` by the same frame when it names statements that are not known.
   */
  heads: z.strictObject({
    t: z.literal('heads'),
    ns: zNamespaceId,
    hashes: z.array(zNamespaceId).min(1).max(LANDMARKS_MAX),
    /** SHA-256 of the newest namespace key that the sender holds. */
    key: bytesOf(32).optional(),
    ask: z.boolean(),
  }),
  /** Statements of a namespace log, in an order in which each can be checked; with `more`, say heads again for the next. */
  log: z.strictObject({
    t: z.literal('log'),
    ns: zNamespaceId,
    statements: z.array(zBytes).min(1).max(1_000),
    more: z.boolean(),
  }),
  /** The namespace key whose hash the log names. */
  key: z.strictObject({ t: z.literal('key'), ns: zNamespaceId, key: bytesOf(32) }),
  /** What the sender tells the members of a namespace, sealed with the namespace key; see shared.ts. */
  shared: z.strictObject({
    t: z.literal('shared'),
    ns: zNamespaceId,
    epoch: z.int().min(1),
    box: zBytes,
  }),
  /** A prekey of the sender, or of another member that was away; see prekey.ts. */
  prekey: z.strictObject({ t: z.literal('prekey'), prekey: zBytes }),
  /** The sequence of the sender's prekey, and of each common namespace SHA-256 over the heads of its log, ascending, and its own roster's revision. */
  digest: z.strictObject({
    t: z.literal('digest'),
    prekey: zCount,
    namespaces: z.array(z.strictObject({ ns: zNamespaceId, log: bytesOf(32), roster: zCount })).max(1_000),
  }),
  /** For the receiver to keep, and to say in its hello: how far the sender's store has got, in the sender's own seal. */
  milestone: z.strictObject({ t: z.literal('milestone'), mark: zMilestone }),
  /** Who is here, sealed with the namespace key; see presence/message.ts. */
  presence: z.strictObject({
    t: z.literal('presence'),
    ns: zNamespaceId,
    epoch: z.int().min(1),
    box: zBytes,
  }),
  /** Asks for prekey, roster and addresses: the digest differed, or what came could not be opened. */
  want: z.strictObject({ t: z.literal('want'), ns: zNamespaceId }),
};

const zFrame = z.discriminatedUnion('t', [
  FRAMES.hello,
  FRAMES.ping,
  FRAMES.pong,
  FRAMES.parcel,
  FRAMES.ack,
  FRAMES.refuse,
  FRAMES.offer,
  FRAMES.take,
  FRAMES.withdraw,
  FRAMES.heads,
  FRAMES.log,
  FRAMES.key,
  FRAMES.shared,
  FRAMES.prekey,
  FRAMES.digest,
  FRAMES.want,
  FRAMES.presence,
  FRAMES.milestone,
]);
/** Enough of a frame to tell what it wants to be. */
const zHead = z.object({ t: z.string(), v: z.unknown().optional() });
export type Frame = z.infer<typeof zFrame>;
export type FrameOf<T extends Frame['t']> = Extract<Frame, { t: T }>;

const LENGTH_SIZE_BYTES = 4;

/** The frame with its length in front. Throws `frame_too_long`. */
export function encodeFrame(frame: Frame): Uint8Array {
  const body = encode(frame);
  if (body.length > FRAME_SIZE_BYTES_MAX) throw tooLong(body.length);
  const bytes = new Uint8Array(LENGTH_SIZE_BYTES + body.length);
  new DataView(bytes.buffer).setUint32(0, body.length);
  bytes.set(body, LENGTH_SIZE_BYTES);
  return bytes;
}

/**
 * One frame's body. Throws `frame_malformed`, `frame_unknown` for a well-formed frame of no known type, or
 * `protocol_version` for a hello of another version, whatever else that may hold.
 */
export function decodeFrameBody(body: Uint8Array): Frame {
  const value = decode(body);
  const frame = zFrame.safeParse(value);
  if (frame.success && (frame.data.t !== 'hello' || frame.data.v === PROTOCOL_VERSION)) return frame.data;
  const head = zHead.safeParse(value);
  if (!head.success) throw new PatchcordError('frame_malformed', 'Not a frame.');
  const { t, v } = head.data;
  if (!Object.hasOwn(FRAMES, t)) {
    throw new PatchcordError('frame_unknown', `Unknown frame ${JSON.stringify(t.slice(0, 40))}.`);
  }
  if (t === 'hello' && typeof v === 'number' && v !== PROTOCOL_VERSION) {
    throw new PatchcordError(
      'protocol_version',
      `The peer speaks version ${v}, this machine ${PROTOCOL_VERSION}.`,
    );
  }
  throw new PatchcordError('frame_malformed', `Not a ${t} frame.`, '', { cause: frame.error });
}

/**
 * Cuts a byte stream into frames. It holds at most one incomplete frame, and refuses a length over the limit
 * before the bytes arrive.
 */
export class FrameReader {
  /** What has arrived of the frame that is not complete, in chunks: joining them for each would be quadratic. */
  #chunks: Uint8Array[] = [];
  #sizeBytes = 0;
  /** How much must be there before looking again pays. */
  #wantedBytes = LENGTH_SIZE_BYTES;

  /** The frames that `chunk` completes. Throws like {@link decodeFrameBody}, or `frame_too_long`; then give up the stream. */
  push(chunk: Uint8Array): Frame[] {
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes < this.#wantedBytes) return [];
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const frames: Frame[] = [];
    let at = 0;
    this.#wantedBytes = LENGTH_SIZE_BYTES;
    while (bytes.length - at >= LENGTH_SIZE_BYTES) {
      const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
      if (length > FRAME_SIZE_BYTES_MAX) throw tooLong(length);
      const end = at + LENGTH_SIZE_BYTES + length;
      if (bytes.length < end) {
        this.#wantedBytes = end - at;
        break;
      }
      frames.push(decodeFrameBody(bytes.subarray(at + LENGTH_SIZE_BYTES, end)));
      at = end;
    }
    const rest = bytes.subarray(at);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#sizeBytes = rest.length;
    return frames;
  }
}

function tooLong(length: number): PatchcordError {
  return new PatchcordError('frame_too_long', `A frame of ${length} bytes; at most ${FRAME_SIZE_BYTES_MAX}.`);
}
