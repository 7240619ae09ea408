import { z } from 'zod';
import { decode, encode } from '../../protocol/codec.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { zBytes, zTimeMs } from '../../protocol/shapes.ts';

/**
 * What a backup says, before it is sealed: items, each 4 bytes of length, big-endian, and a CBOR map. The records of
 * the store are as they lie there, sealed with the store key; the files are those of the home that cannot be made
 * again.
 */
export const BACKUP_FILES = ['machine.key', 'store.key', 'prekeys', 'settings.json'] as const;
export type BackupFile = (typeof BACKUP_FILES)[number];

const ITEM_SIZE_BYTES_MAX = 16 * 1024 * 1024;
const LENGTH_SIZE_BYTES = 4;

const zItem = z.discriminatedUnion('t', [
  /** First. */
  z.strictObject({ t: z.literal('head'), v: z.literal(1), made_at: zTimeMs }),
  z.strictObject({ t: z.literal('file'), name: z.enum(BACKUP_FILES), bytes: zBytes }),
  z.strictObject({ t: z.literal('record'), key: z.string().min(1).max(1_024), value: zBytes }),
  /** Last: how many records came before it. */
  z.strictObject({ t: z.literal('end'), records: z.int().min(0) }),
]);
export type BackupItem = z.infer<typeof zItem>;

export function encodeItem(item: BackupItem): Uint8Array {
  const body = encode(item);
  const bytes = new Uint8Array(LENGTH_SIZE_BYTES + body.length);
  new DataView(bytes.buffer).setUint32(0, body.length);
  bytes.set(body, LENGTH_SIZE_BYTES);
  return bytes;
}

/** The items in a stream of bytes. Throws `store_damaged` for what is none, for an end that does not fit, and for none. */
export async function* itemsIn(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<BackupItem> {
  let waiting: Uint8Array[] = [];
  let sizeBytes = 0;
  let wantedBytes = LENGTH_SIZE_BYTES;
  let records = 0;
  let isOver = false;
  for await (const chunk of chunks) {
    waiting.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes < wantedBytes) continue;
    const bytes = waiting.length === 1 ? chunk : Buffer.concat(waiting);
    let at = 0;
    wantedBytes = LENGTH_SIZE_BYTES;
    while (bytes.length - at >= LENGTH_SIZE_BYTES) {
      const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
      if (isOver || length > ITEM_SIZE_BYTES_MAX) throw damaged();
      const end = at + LENGTH_SIZE_BYTES + length;
      if (bytes.length < end) {
        wantedBytes = end - at;
        break;
      }
      const item = readItem(bytes.subarray(at + LENGTH_SIZE_BYTES, end));
      if (item.t === 'record') records += 1;
      if (item.t === 'end') {
        if (item.records !== records) throw damaged();
        isOver = true;
      }
      yield item;
      at = end;
    }
    const rest = bytes.subarray(at);
    waiting = rest.length > 0 ? [rest] : [];
    sizeBytes = rest.length;
  }
  if (!isOver || sizeBytes > 0) throw damaged();
}

function readItem(bytes: Uint8Array): BackupItem {
  try {
    return zItem.parse(decode(bytes));
  } catch (cause) {
    throw damaged(cause);
  }
}

export function damaged(cause?: unknown): PatchcordError {
  return new PatchcordError(
    'store_damaged',
    'The backup is damaged or cut short.',
    'Nothing was restored from it. Use another copy of the file.',
    { cause },
  );
}
