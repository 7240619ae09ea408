import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { storedChecksum } from './crc32c.ts';
import { readVarint } from './varint.ts';

/**
 * Reads which tables a LevelDB store consists of. Its MANIFEST is a log (doc/log_format.md) of version edits
 * (db/version_edit.cc), each a list of tags with their values.
 */
const BLOCK_SIZE_BYTES = 32 * 1024;
const HEADER_SIZE_BYTES = 7;
/** Types of a record's pieces. */
const [FULL, FIRST, MIDDLE, LAST] = [1, 2, 3, 4];
/** Tags of an edit. */
const [COMPARATOR, LOG, NEXT_FILE, SEQUENCE, POINTER, DELETED, ADDED, PREVIOUS_LOG] = [
  1, 2, 3, 4, 5, 6, 7, 9,
];

/** Numbers of the tables that the store in a folder consists of; undefined when what tells them cannot be read. */
export async function liveTables(folder: string): Promise<Set<number> | undefined> {
  const current = await readFile(join(folder, 'CURRENT'), 'utf8').catch(() => '');
  if (!/^MANIFEST-\d+\n$/.test(current)) return undefined;
  const manifest = await readFile(join(folder, current.trim())).catch(() => undefined);
  const records = manifest && recordsIn(manifest);
  const live = new Set<number>();
  if (!records || records.length === 0) return undefined;
  return records.every((record) => applyEdit(record, live)) ? live : undefined;
}

/** The records of a log; one that a crash has cut at the end is none. Undefined when a piece is not as it was written. */
function recordsIn(log: Buffer): Buffer[] | undefined {
  const records: Buffer[] = [];
  let pieces: Buffer[] = [];
  for (let at = 0; at + HEADER_SIZE_BYTES <= log.length;) {
    const left = BLOCK_SIZE_BYTES - (at % BLOCK_SIZE_BYTES);
    if (left < HEADER_SIZE_BYTES) {
      at += left;
      continue;
    }
    const start = at + HEADER_SIZE_BYTES;
    const end = start + log.readUInt16LE(at + 4);
    if (end > log.length) break;
    const type = log[at + 6];
    if (log.readUInt32LE(at) !== storedChecksum(log, at + 6, end)) return undefined;
    if (type === FULL || type === FIRST) pieces = [];
    pieces.push(log.subarray(start, end));
    if (type === FULL || type === LAST) records.push(Buffer.concat(pieces));
    else if (type !== FIRST && type !== MIDDLE) return undefined;
    at = end;
  }
  return records;
}

/** Applies one edit; false when it is none. */
function applyEdit(edit: Buffer, live: Set<number>): boolean {
  let at = 0;
  const number = (): number => {
    const [value, next] = readVarint(edit, at, edit.length) ?? [Number.NaN, edit.length + 1];
    at = next;
    return value;
  };
  const skipText = () => {
    const size = number();
    at += size;
  };
  while (at < edit.length) {
    const tag = number();
    if (tag === COMPARATOR) skipText();
    else if (tag === LOG || tag === PREVIOUS_LOG || tag === NEXT_FILE || tag === SEQUENCE) number();
    else if (tag === POINTER) {
      number();
      skipText();
    } else if (tag === DELETED) {
      number();
      live.delete(number());
    } else if (tag === ADDED) {
      number();
      live.add(number());
      number();
      skipText();
      skipText();
    } else return false;
  }
  return at === edit.length;
}
