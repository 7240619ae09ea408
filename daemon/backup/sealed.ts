import { hkdfSync } from 'node:crypto';
import { openOnce, sealOnce } from '../../protocol/aead.ts';
import { encode, equalBytes } from '../../protocol/codec.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { damaged } from './items.ts';

/**
 * A sealed stream: the line `patchcord backup v1` and LF, 16 bytes by which the right secret is known, then chunks, each
 * 4 bytes of length, big-endian, and a text of at most 64 KiB sealed with ChaCha20-Poly1305. Each chunk has a key of its
 * own: HKDF-SHA256 of the secret over its number and whether it is the last. So a chunk that is missing, moved, or last
 * without being the end does not open.
 */
const MAGIC = Buffer.from('patchcord backup v1\n', 'utf8');
const CONTEXT = 'patchcord backup v1';
const CHECK_SIZE_BYTES = 16;
const HEAD_SIZE_BYTES = MAGIC.length + CHECK_SIZE_BYTES;
const CHUNK_SIZE_BYTES = 64 * 1024;
const TAG_SIZE_BYTES = 16;
const LENGTH_SIZE_BYTES = 4;
const NO_AAD = new Uint8Array(0);

/** Bytes of the secret: 24 words spell it. One secret seals one stream. */
export const BACKUP_SECRET_SIZE_BYTES = 32;

export async function* sealed(
  secret: Uint8Array,
  plain: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield Buffer.concat([MAGIC, checkOf(secret)]);
  let number = 0;
  const chunk = (text: Uint8Array, isLast: boolean): Uint8Array => {
    const body = sealOnce(keyOf(secret, number, isLast), NO_AAD, text);
    number += 1;
    const length = Buffer.alloc(LENGTH_SIZE_BYTES);
    length.writeUInt32BE(body.length);
    return Buffer.concat([length, body]);
  };
  let waiting: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of plain) {
    waiting.push(piece);
    sizeBytes += piece.length;
    // One byte stays behind: whatever comes last is the last chunk.
    if (sizeBytes <= CHUNK_SIZE_BYTES) continue;
    const bytes = Buffer.concat(waiting);
    let at = 0;
    for (; bytes.length - at > CHUNK_SIZE_BYTES; at += CHUNK_SIZE_BYTES) {
      yield chunk(bytes.subarray(at, at + CHUNK_SIZE_BYTES), false);
    }
    waiting = [bytes.subarray(at)];
    sizeBytes = bytes.length - at;
  }
  yield chunk(Buffer.concat(waiting), true);
}

/** Throws `invalid_input` for what is no backup, `forbidden` for another secret, `store_damaged`. */
export async function* opened(
  secret: Uint8Array,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  let isBegun = false;
  const open = (body: Uint8Array, isLast: boolean): Uint8Array => {
    const text = openOnce(keyOf(secret, number, isLast), NO_AAD, body);
    if (text === undefined) throw damaged();
    number += 1;
    return text;
  };
  for await (const piece of chunks) {
    rest = Buffer.concat([rest, piece]);
    if (!isBegun && rest.length < HEAD_SIZE_BYTES) continue;
    if (!isBegun) {
      checkHead(secret, rest);
      rest = rest.subarray(HEAD_SIZE_BYTES);
      isBegun = true;
    }
    // A chunk is the last when nothing follows it, so one stays behind.
    for (let end = chunkEnd(rest); end !== undefined && rest.length > end; end = chunkEnd(rest)) {
      yield open(rest.subarray(LENGTH_SIZE_BYTES, end), false);
      rest = rest.subarray(end);
    }
  }
  if (!isBegun) throw noBackup();
  if (chunkEnd(rest) !== rest.length) throw damaged();
  yield open(rest.subarray(LENGTH_SIZE_BYTES), true);
}

/** Where the first chunk ends; undefined when not even its length is there. */
function chunkEnd(bytes: Buffer): number | undefined {
  if (bytes.length < LENGTH_SIZE_BYTES) return undefined;
  const length = bytes.readUInt32BE(0);
  if (length < TAG_SIZE_BYTES || length > CHUNK_SIZE_BYTES + TAG_SIZE_BYTES) throw damaged();
  return LENGTH_SIZE_BYTES + length;
}

function checkHead(secret: Uint8Array, bytes: Buffer): void {
  if (!equalBytes(bytes.subarray(0, MAGIC.length), MAGIC)) throw noBackup();
  if (equalBytes(bytes.subarray(MAGIC.length, HEAD_SIZE_BYTES), checkOf(secret))) return;
  throw new PatchcordError(
    'forbidden',
    'These are the words of another backup.',
    'Give the words that `patchcord backup` printed for this file.',
  );
}

function keyOf(secret: Uint8Array, number: number, isLast: boolean): Uint8Array {
  return derived(secret, ['chunk', number, isLast], 32);
}

function checkOf(secret: Uint8Array): Uint8Array {
  return derived(secret, ['check'], CHECK_SIZE_BYTES);
}

function derived(secret: Uint8Array, what: (string | number | boolean)[], length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, NO_AAD, encode([CONTEXT, ...what]), length));
}

function noBackup(): PatchcordError {
  return new PatchcordError(
    'invalid_input',
    'That is no backup.',
    'Name a file that `patchcord backup` wrote.',
  );
}
