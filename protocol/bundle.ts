import { createHash, type Hash } from 'node:crypto';
import { z } from 'zod';
import { decode, encode, equalBytes } from './codec.ts';
import { WITHDRAWAL_SIZE_BYTES } from './delivery/withdrawal.ts';
import { PatchcordError } from './errors.ts';
import { BUNDLE_ITEMS_MAX, BUNDLE_SIZE_BYTES_MAX, FRAME_SIZE_BYTES_MAX } from './limits.ts';
import { bytesOf, zBytes, zNamespaceId, zPeerId, zTimeMs } from './shapes.ts';
import { verifySignature, type Signer } from './signing.ts';

/**
 * A bundle: what links would carry, in a file, for gaps that no network crosses.
 *
 *     magic line    patchcord bundle v1, LF
 *     items         each 4 bytes of length, big-endian; the first 8 bytes of SHA-256 of the body; the body, in
 *                   deterministic CBOR: head, then statements, prekeys and mail, then end
 *
 * Every item stands for itself: statements and prekeys are signed, envelopes sealed, so each is taken or refused
 * alone and what came before a cut counts. The eight bytes tell damage from forgery and keep a damaged envelope for
 * somebody else from being held; the end tells a whole file from a cut one, and that nobody took something out.
 */
const BUNDLE_VERSION = 1;
export const BUNDLE_TYPE = 'application/vnd.patchcord.bundle';

const MAGIC = Buffer.from('patchcord bundle v1\n', 'utf8');
const MAGIC_ANY = /^patchcord bundle v(\d{1,6})\n/;
const CHECK_SIZE_BYTES = 8;
const HEAD_SIZE_BYTES = 4 + CHECK_SIZE_BYTES;
const CONTEXT = 'patchcord bundle v1';

const zCount = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

const zItem = z.discriminatedUnion('t', [
  /** Whose bundle it is, and of which namespace. First. */
  z.strictObject({
    t: z.literal('head'),
    v: z.literal(BUNDLE_VERSION),
    ns: zNamespaceId,
    from: zPeerId,
    made_at: zTimeMs,
  }),
  /** A signed statement of the namespace log; each comes after those that it follows. */
  z.strictObject({ t: z.literal('statement'), statement: zBytes }),
  /** The newest prekey of a member that the maker knows. */
  z.strictObject({ t: z.literal('prekey'), prekey: zBytes }),
  /**
   * An envelope for a member. `withdraw` is what its sender's machine leaves at mailboxes with it: the same for each
   * sealing of one letter, so that a mailbox that gets a letter in every bundle keeps one copy.
   */
  z.strictObject({ t: z.literal('mail'), envelope: zBytes, withdraw: bytesOf(WITHDRAWAL_SIZE_BYTES) }),
  /**
   * Last: how many items came before it, head included; SHA-256 of all bytes before it; how much stayed behind because
   * no prekey of its machine is known, or because the bundle was full; the signature of `from` over all that.
   */
  z.strictObject({
    t: z.literal('end'),
    items: zCount,
    sha256: bytesOf(32),
    unsealed: zCount,
    left_out: zCount,
    sig: bytesOf(64),
  }),
]);
export type BundleItem = z.infer<typeof zItem>;
export type BundleItemOf<T extends BundleItem['t']> = Extract<BundleItem, { t: T }>;
/** What lies between head and end. */
export type BundleContent = BundleItemOf<'statement' | 'prekey' | 'mail'>;

/** Bytes that are kept for the end, so that it always fits. */
const END_SIZE_BYTES = 1_024;

/** Makes a bundle, item by item; the caller puts the bytes one behind another. */
export class BundleWriter {
  readonly #hash = createHash('sha256');
  readonly #limits: { items: number; sizeBytes: number };
  #items = 0;
  #sizeBytes = 0;

  /** The limits of protocol/limits.ts unless a test needs smaller ones. */
  constructor(limits = { items: BUNDLE_ITEMS_MAX, sizeBytes: BUNDLE_SIZE_BYTES_MAX }) {
    this.#limits = limits;
  }

  /** Magic line and head. */
  start(head: Omit<BundleItemOf<'head'>, 't' | 'v'>): Uint8Array {
    const item = encodeItem({ t: 'head', v: BUNDLE_VERSION, ...head });
    return this.#count(Buffer.concat([MAGIC, item]));
  }

  /** One item, or undefined when the bundle has no room for it. */
  item(content: BundleContent): Uint8Array | undefined {
    const bytes = encodeItem(content);
    const { items, sizeBytes } = this.#limits;
    // One place is the end's.
    const full = this.#items + 2 > items || this.#sizeBytes + bytes.length + END_SIZE_BYTES > sizeBytes;
    return full ? undefined : this.#count(bytes);
  }

  /** The end. Nothing comes after it. */
  end(behind: { unsealed: number; left_out: number }, signer: Signer): Uint8Array {
    const sha256 = digestOf(this.#hash);
    const end = { items: this.#items, sha256, ...behind };
    return encodeItem({ t: 'end', ...end, sig: signer.sign(CONTEXT, signedPart(end)) });
  }

  #count(bytes: Uint8Array): Uint8Array {
    this.#items += 1;
    this.#sizeBytes += bytes.length;
    this.#hash.update(bytes);
    return bytes;
  }
}

/**
 * How a bundle ended: `whole`; `cut` when its end is not there; `altered` when its end does not fit what came before,
 * something comes after it, or the rest cannot be told into items; `too_large` when the rest was not looked at.
 */
export type BundleEnding = 'whole' | 'cut' | 'altered' | 'too_large';

/** Reads a bundle from its bytes, however they are cut into chunks. It holds at most one incomplete item. */
export class BundleReader {
  /** Items that could not be read. */
  damaged = 0;
  head: BundleItemOf<'head'> | undefined;
  end: BundleItemOf<'end'> | undefined;
  readonly #hash = createHash('sha256');
  readonly #limits: { items: number; sizeBytes: number };
  #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #wantedBytes = MAGIC.length;
  #sizeBytes = 0;
  #items = 0;
  #begun = false;
  #over: BundleEnding | undefined;

  constructor(limits = { items: BUNDLE_ITEMS_MAX, sizeBytes: BUNDLE_SIZE_BYTES_MAX }) {
    this.#limits = limits;
  }

  /** Whether nothing that still comes can be read. */
  get over(): boolean {
    return this.#over !== undefined;
  }

  /**
   * What `chunk` completes, without head and end, which are kept aside. Throws `invalid_input` for what is no bundle
   * at all, `protocol_version` for one of another version.
   */
  push(chunk: Uint8Array): BundleContent[] {
    const contents: BundleContent[] = [];
    if (this.#over !== undefined) {
      if (chunk.length > 0 && this.#over === 'whole') this.#over = 'altered';
      return contents;
    }
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes < this.#wantedBytes) return contents;
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    let at = this.#begun ? 0 : this.#begin(bytes);
    for (let next = this.#next(bytes, at); next !== undefined; next = this.#next(bytes, at)) {
      const content = this.#item(bytes.subarray(at, next));
      at = next;
      if (content) contents.push(content);
    }
    const rest = bytes.subarray(at);
    if (this.#over === 'whole' && rest.length > 0) this.#over = 'altered';
    this.#chunks = rest.length > 0 && !this.over ? [rest] : [];
    this.#waitingBytes = this.over ? 0 : rest.length;
    return contents;
  }

  /** To be called when there are no more bytes. Throws `invalid_input` when there was no bundle in them. */
  finish(): BundleEnding {
    if (!this.head) throw noBundle();
    return this.#over ?? 'cut';
  }

  #begin(bytes: Uint8Array): number {
    const line = Buffer.from(bytes.subarray(0, MAGIC.length + 8)).toString('latin1');
    if (!equalBytes(bytes.subarray(0, MAGIC.length), MAGIC)) {
      const version = MAGIC_ANY.exec(line)?.[1];
      if (version === undefined) throw noBundle();
      throw anotherVersion(version);
    }
    this.#begun = true;
    this.#take(bytes.subarray(0, MAGIC.length));
    return MAGIC.length;
  }

  /** Where the item that starts at `at` ends; undefined while it is not all there, or when there is none. */
  #next(bytes: Uint8Array, at: number): number | undefined {
    if (this.#over !== undefined) return undefined;
    this.#wantedBytes = HEAD_SIZE_BYTES;
    if (bytes.length - at < HEAD_SIZE_BYTES) return undefined;
    const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
    // Where the next item would begin nobody knows.
    if (length === 0 || length > FRAME_SIZE_BYTES_MAX) return this.#stop('altered');
    const sizeBytes = HEAD_SIZE_BYTES + length;
    if (this.#items + 1 > this.#limits.items || this.#sizeBytes + sizeBytes > this.#limits.sizeBytes) {
      return this.#stop('too_large');
    }
    this.#wantedBytes = sizeBytes;
    return bytes.length - at < sizeBytes ? undefined : at + sizeBytes;
  }

  #stop(why: BundleEnding): undefined {
    if (!this.head) throw noBundle();
    this.#over = why;
    return undefined;
  }

  #item(bytes: Uint8Array): BundleContent | undefined {
    const item = readItem(bytes);
    if (!this.head) {
      if (item?.t !== 'head') throw noBundle();
      this.head = item;
    } else if (item?.t === 'end') {
      this.end = item;
      this.#over = this.#fits(item, this.head) ? 'whole' : 'altered';
      return undefined;
    } else if (!item || item.t === 'head') this.damaged += 1;
    this.#items += 1;
    this.#take(bytes);
    return item && item.t !== 'head' ? item : undefined;
  }

  #fits(end: BundleItemOf<'end'>, { from }: BundleItemOf<'head'>): boolean {
    const sha256 = digestOf(this.#hash);
    if (end.items !== this.#items || !equalBytes(end.sha256, sha256)) return false;
    try {
      verifySignature(from, CONTEXT, signedPart(end), end.sig);
      return true;
    } catch {
      return false;
    }
  }

  #take(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.length;
  }
}

function encodeItem(item: BundleItem): Uint8Array {
  const body = encode(item);
  if (body.length > FRAME_SIZE_BYTES_MAX) {
    throw new PatchcordError('frame_too_long', `An item of ${body.length} bytes in a bundle.`);
  }
  const head = new Uint8Array(HEAD_SIZE_BYTES);
  new DataView(head.buffer).setUint32(0, body.length);
  head.set(checkOf(body), 4);
  return Buffer.concat([head, body]);
}

/** Undefined for what is damaged, or of no known kind. */
function readItem(bytes: Uint8Array): BundleItem | undefined {
  const body = bytes.subarray(HEAD_SIZE_BYTES);
  if (!equalBytes(bytes.subarray(4, HEAD_SIZE_BYTES), checkOf(body))) return undefined;
  try {
    return zItem.safeParse(decode(body)).data;
  } catch {
    return undefined;
  }
}

function checkOf(body: Uint8Array): Uint8Array {
  return digestOf(createHash('sha256').update(body)).subarray(0, CHECK_SIZE_BYTES);
}

/** Of what went in so far; more may follow. */
function digestOf(hash: Hash): Uint8Array {
  return new Uint8Array(hash.copy().digest());
}

function signedPart(end: Omit<BundleItemOf<'end'>, 't' | 'sig'>): Uint8Array {
  return encode([end.items, end.sha256, end.unsealed, end.left_out]);
}

function noBundle(): PatchcordError {
  return new PatchcordError(
    'invalid_input',
    'That is no bundle, or its beginning is damaged.',
    'Make one with `patchcord bundle export NS FILE`.',
  );
}

function anotherVersion(version: string): PatchcordError {
  return new PatchcordError(
    'protocol_version',
    `A bundle of version ${version}; this machine reads version ${BUNDLE_VERSION}.`,
    'Bring both machines to the same version of patchcord.',
  );
}
