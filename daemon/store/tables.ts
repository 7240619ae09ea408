import { open, readdir, rename, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { storedChecksum } from './crc32c.ts';
import { unpackSnappy } from './snappy.ts';
import { readVarint } from './varint.ts';

/**
 * Checks LevelDB's tables as LevelDB itself does not: every block of a table carries a CRC-32C, which is ignored when
 * it is read, and a damaged block can end the process by a failed assertion. The format is that of LevelDB's
 * doc/table_format.md: data blocks, meta blocks, index, and a footer of 48 bytes; a block is followed by one byte that
 * names its compression, and by its checksum.
 */
const FOOTER_SIZE_BYTES = 48;
const TRAILER_SIZE_BYTES = 5;
const MAGIC = 0xdb4775248b80fb57n;
const UNCOMPRESSED = 0;
const SNAPPY = 1;
/** What follows the user's key in a table. */
const KEY_TAIL_SIZE_BYTES = 8;
/** Tables are about 2 MB; what is far larger is none. */
const TABLE_SIZE_BYTES_MAX = 64 * 1024 * 1024;

interface Handle {
  offset: number;
  sizeBytes: number;
}

/** A block by its entry in an index, whose key is not before the block's last one and before the next block's first. */
interface Place {
  block: Handle;
  end: Buffer;
  /** The same of the block before. */
  start: Buffer | undefined;
}

export interface TableDamage {
  file: string;
  /** Blocks that LevelDB must not read as they are; undefined when the table cannot be read at all. */
  blocks: Handle[] | undefined;
  /** Other blocks are not as they were written and can be read: whatever is altered in them, its seal tells. */
  readable: number;
  /** The part that names the filter, which must not be believed once any meta block is damaged. */
  meta?: Handle;
}

/**
 * The tables of a store's folder that are not as they were written. Names no missing ones. With `live` only tables of
 * these numbers: a process that is killed leaves others half written, which LevelDB removes.
 */
export async function damagedTables(folder: string, live?: ReadonlySet<number>): Promise<TableDamage[]> {
  const found: TableDamage[] = [];
  for (const file of await tablesIn(folder)) {
    if (live && !live.has(Number.parseInt(file, 10))) continue;
    const damage = checkTable(file, await readFile(join(folder, file)));
    if (damage) found.push(damage);
  }
  return found;
}

/**
 * Makes the tables of a folder harmless: damaged blocks become empty ones, and tables that cannot be read go to the
 * folder `lost`. The caller has made a copy.
 */
export async function exciseTables(folder: string, damages: readonly TableDamage[]): Promise<void> {
  for (const { file, blocks, meta } of damages) {
    if (!blocks) {
      await mkdir(join(folder, 'lost'), { recursive: true });
      await rename(join(folder, file), join(folder, 'lost', file));
      continue;
    }
    const table = await open(join(folder, file), 'r+');
    try {
      for (const block of meta ? [...blocks, meta] : blocks) {
        const empty = emptyBlock(block.sizeBytes);
        await table.write(empty, 0, empty.length, block.offset);
      }
      await table.sync();
    } finally {
      await table.close();
    }
  }
}

async function tablesIn(folder: string): Promise<string[]> {
  const names: string[] = await readdir(folder).catch(() => []);
  return names.filter((name) => /\.(ldb|sst)$/.test(name)).sort();
}

/** Undefined for a table that is whole. */
function checkTable(file: string, table: Buffer): TableDamage | undefined {
  const unreadable = { file, blocks: undefined, readable: 0 };
  const footerAt = table.length - FOOTER_SIZE_BYTES;
  if (footerAt < 0 || table.length > TABLE_SIZE_BYTES_MAX) return unreadable;
  if (table.readBigUInt64LE(table.length - 8) !== MAGIC) return unreadable;
  const [meta, next] = readHandle(table, footerAt, table.length - 8) ?? [];
  const [index] = (next !== undefined && readHandle(table, next, table.length - 8)) || [];
  if (!meta || !index || !isWhole(table, index)) return unreadable;
  const data = placesIn(table, index);
  if (!data) return unreadable;
  const altered = data.filter(({ block }) => !isWhole(table, block));
  const blocks = altered.filter((place) => !isOrderly(table, place)).map(({ block }) => block);
  const filters = isWhole(table, meta) ? placesIn(table, meta) : undefined;
  const isMetaWhole = filters?.every(({ block }) => isWhole(table, block)) ?? false;
  if (altered.length === 0 && isMetaWhole) return undefined;
  const isCut = [...altered.map(({ block }) => block), meta].some(
    (block) => block.offset + block.sizeBytes + TRAILER_SIZE_BYTES > footerAt,
  );
  if (isCut) return unreadable;
  return { file, blocks, readable: altered.length - blocks.length, ...(isMetaWhole ? {} : { meta }) };
}

/**
 * Whether LevelDB can read an altered block without falling over it: entries and keys of the right form and order, and
 * between those of the blocks around it, where alone they can be found and deleted.
 */
function isOrderly(table: Buffer, { block: { offset, sizeBytes }, start, end }: Place): boolean {
  if (table[offset + sizeBytes] !== UNCOMPRESSED) return false;
  const block = table.subarray(offset, offset + sizeBytes);
  const entries = entriesOf(block);
  if (!entries) return false;
  const limit = limitOf(block);
  const starts = new Set(entries.filter(({ shared }) => shared === 0).map(({ at }) => at));
  for (let at = limit; at < block.length - 4; at += 4) if (!starts.has(block.readUInt32LE(at))) return false;
  const keys = keysOf(entries);
  if (!keys?.every((key) => key.length >= KEY_TAIL_SIZE_BYTES && key[key.length - KEY_TAIL_SIZE_BYTES]! <= 1))
    return false;
  let before = start;
  for (const key of keys) {
    if (before && compareKeys(before, key) >= 0) return false;
    before = key;
  }
  return keys.length === 0 || compareKeys(keys.at(-1)!, end) <= 0;
}

/** User keys rise; of one, the newest comes first. The tail is a type byte and seven bytes of sequence, little-endian. */
function compareKeys(a: Buffer, b: Buffer): number {
  const [endA, endB] = [a.length - KEY_TAIL_SIZE_BYTES, b.length - KEY_TAIL_SIZE_BYTES];
  const order = a.subarray(0, endA).compare(b.subarray(0, endB));
  return order !== 0 ? order : Number(b.readBigUInt64LE(endB) - a.readBigUInt64LE(endA));
}

interface Entry {
  at: number;
  shared: number;
  rest: Buffer;
  value: Buffer;
}

/** Where the entries of a block end and its restart points begin. */
function limitOf(block: Buffer): number {
  return block.length - 4 * (1 + block.readUInt32LE(block.length - 4));
}

/** Undefined for bytes that are no block. */
function entriesOf(block: Buffer): Entry[] | undefined {
  if (block.length < 4) return undefined;
  const limit = limitOf(block);
  if (limit < 0) return undefined;
  const entries: Entry[] = [];
  let at = 0;
  while (at < limit) {
    const [shared, second] = readVarint(block, at, limit) ?? [];
    const [restSize, third] = (second !== undefined && readVarint(block, second, limit)) || [];
    const [valueSize, restAt] = (third !== undefined && readVarint(block, third, limit)) || [];
    if (shared === undefined || restSize === undefined || valueSize === undefined) return undefined;
    const valueAt = restAt! + restSize;
    const next = valueAt + valueSize;
    if (next > limit) return undefined;
    entries.push({ at, shared, rest: block.subarray(restAt, valueAt), value: block.subarray(valueAt, next) });
    at = next;
  }
  return entries;
}

/** The keys of a block's entries, each of which says how much it shares with the one before; undefined for nonsense. */
function keysOf(entries: readonly Entry[]): Buffer[] | undefined {
  const keys: Buffer[] = [];
  for (const { shared, rest } of entries) {
    const before = keys.at(-1) ?? Buffer.alloc(0);
    if (shared > before.length) return undefined;
    keys.push(Buffer.concat([before.subarray(0, shared), rest]));
  }
  return keys;
}

function isWhole(table: Buffer, { offset, sizeBytes }: Handle): boolean {
  const end = offset + sizeBytes;
  if (end + TRAILER_SIZE_BYTES > table.length) return false;
  return table.readUInt32LE(end + 1) === storedChecksum(table, offset, end + 1);
}

/** The blocks that the entries of an index or meta index name; undefined when it is no such block. */
function placesIn(table: Buffer, { offset, sizeBytes }: Handle): Place[] | undefined {
  const stored = table.subarray(offset, offset + sizeBytes);
  const packed = table[offset + sizeBytes] === SNAPPY;
  const bytes = packed ? unpackSnappy(stored, TABLE_SIZE_BYTES_MAX) : stored;
  const entries = bytes && entriesOf(bytes);
  const keys = entries && keysOf(entries);
  const places: Place[] = [];
  for (const [at, { value }] of entries?.entries() ?? []) {
    const [block] = readHandle(value, 0, value.length) ?? [];
    if (!block || !keys) return undefined;
    places.push({ block, end: keys[at]!, start: keys[at - 1] });
  }
  return keys && places;
}

function readHandle(table: Buffer, at: number, limit: number): [handle: Handle, next: number] | undefined {
  const [offset, second] = readVarint(table, at, limit) ?? [];
  const [sizeBytes, next] = (second !== undefined && readVarint(table, second, limit)) || [];
  if (offset === undefined || sizeBytes === undefined || next === undefined) return undefined;
  return [{ offset, sizeBytes }, next];
}

/** A block of that size in which nothing is: its count of restarts, the last four bytes, is zero. */
function emptyBlock(sizeBytes: number): Buffer {
  const block = Buffer.alloc(sizeBytes + TRAILER_SIZE_BYTES);
  block.writeUInt32LE(storedChecksum(block, 0, sizeBytes + 1), sizeBytes + 1);
  return block;
}
