import { PatchcordError } from '../../../protocol/errors.ts';

/**
 * The same deterministic CBOR as protocol/codec.ts, for what this product encodes: whole numbers, text, bytes,
 * lists, records with ASCII names, true, false and null. test/unit/sim-codec holds it against the real one.
 */
const text = new TextDecoder('utf-8', { fatal: true });
const NESTED_MAX = 64;

/** What is encoded follows one another in chunks: most is short, and space of its own costs more than its bytes. */
const CHUNK_SIZE_BYTES = 1 << 16;

let out = Buffer.allocUnsafeSlow(CHUNK_SIZE_BYTES);
/** Where the value that is being encoded begins. */
let start = 0;
let at = 0;

export function encode(value: unknown): Uint8Array {
  at = start;
  write(value);
  const bytes = new Uint8Array(out.buffer, start, at - start);
  start = at;
  return bytes;
}

function room(sizeBytes: number): void {
  if (at + sizeBytes <= out.length) return;
  const begun = at - start;
  const next = Buffer.allocUnsafeSlow(Math.max(CHUNK_SIZE_BYTES, 2 * (begun + sizeBytes)));
  next.set(out.subarray(start, at));
  out = next;
  start = 0;
  at = begun;
}

function write(value: unknown): void {
  if (typeof value === 'string') writeText(value);
  else if (typeof value === 'number') writeNumber(value);
  else if (value === false) writeByte(0xf4);
  else if (value === true) writeByte(0xf5);
  else if (value === null) writeByte(0xf6);
  else if (value instanceof Uint8Array) writeBytes(value);
  else if (Array.isArray(value)) {
    writeHead(4, value.length);
    for (const part of value) write(part);
  } else if (typeof value === 'object' && isRecord(value)) writeRecord(value);
  else throw new Error(`not to be encoded: ${typeof value}`);
}

function writeByte(byte: number): void {
  room(1);
  out[at++] = byte;
}

function writeNumber(value: number): void {
  if (!Number.isSafeInteger(value)) throw new Error(`not a whole number: ${value}`);
  if (value < 0) writeHead(1, -1 - value);
  else writeHead(0, value);
}

function writeBytes(value: Uint8Array): void {
  writeHead(2, value.length);
  room(value.length);
  out.set(value, at);
  at += value.length;
}

function writeText(value: string): void {
  const { length } = value;
  if (length < 24) {
    room(1 + 3 * length);
    for (let index = 0; index < length; index++) {
      const code = value.charCodeAt(index);
      if (code > 0x7f) return writeLongText(value);
      out[at + 1 + index] = code;
    }
    out[at] = 0x60 | length;
    at += 1 + length;
  } else writeLongText(value);
}

function writeLongText(value: string): void {
  const sizeBytes = Buffer.byteLength(value);
  writeHead(3, sizeBytes);
  room(sizeBytes);
  at += out.write(value, at, sizeBytes);
}

function writeRecord(value: Record<string, unknown>): void {
  const names: string[] = [];
  for (const name in value) if (value[name] !== undefined) insert(names, name);
  writeHead(5, names.length);
  for (const name of names) {
    writeText(name);
    write(value[name]);
  }
}

/** Most are few, and in order already. */
function insert(names: string[], name: string): void {
  let place = names.length;
  while (place > 0 && byEncoding(name, names[place - 1]!) < 0) place -= 1;
  if (place === names.length) names.push(name);
  else names.splice(place, 0, name);
}

function isRecord(value: object): value is Record<string, unknown> {
  return !Array.isArray(value);
}

/** Shorter first, then by bytes (RFC 8949 section 4.2.3). */
function byEncoding(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : 1);
}

function writeHead(major: number, size: number): void {
  room(9);
  const kind = major << 5;
  if (size < 24) out[at++] = kind | size;
  else if (size < 0x100) {
    out[at++] = kind | 24;
    out[at++] = size;
  } else if (size < 0x10000) {
    out[at++] = kind | 25;
    out[at++] = size >>> 8;
    out[at++] = size;
  } else if (size < 0x100000000) {
    out[at++] = kind | 26;
    writeWord(size);
  } else {
    out[at++] = kind | 27;
    writeWord(Math.floor(size / 0x100000000));
    writeWord(size % 0x100000000);
  }
}

function writeWord(word: number): void {
  out[at++] = word >>> 24;
  out[at++] = word >>> 16;
  out[at++] = word >>> 8;
  out[at++] = word;
}

export function decode(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (!reader.isAtEnd) throw malformed();
  return value;
}

export function decodeOwn(bytes: Uint8Array): unknown {
  return decode(bytes);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** V8 keeps the bytes of arrays up to this size among its objects. */
const COPIED_SIZE_BYTES_MAX = 64;
const NAME_LENGTH_MAX = 23;
const NAMES_MAX = 500;
const names = new Map<number, string>();

class Reader {
  readonly #bytes: Uint8Array;
  #buffer: Buffer | undefined;
  #at = 0;

  constructor(bytes: Uint8Array) {
    // Plain arrays are sliced faster than Buffers.
    const { buffer, byteOffset, length } = bytes;
    this.#bytes = bytes.constructor === Uint8Array ? bytes : new Uint8Array(buffer, byteOffset, length);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  value(nested: number): unknown {
    if (nested > NESTED_MAX) throw malformed();
    const first = this.#bytes[this.#at++];
    if (first === undefined) throw malformed();
    if (first === 0xf4) return false;
    if (first === 0xf5) return true;
    if (first === 0xf6) return null;
    const size = this.#size(first & 31);
    switch (first >> 5) {
      case 0:
        return size;
      case 1:
        if (size === Number.MAX_SAFE_INTEGER) throw malformed();
        return -1 - size;
      case 2:
        return this.#copy(size);
      case 3:
        return this.#text(size);
      case 4: {
        const list: unknown[] = [];
        for (let index = 0; index < size; index++) list.push(this.value(nested + 1));
        return list;
      }
      case 5:
        return this.#record(size, nested);
      default:
        throw malformed();
    }
  }

  #record(size: number, nested: number): Record<string, unknown> {
    const record: Record<string, unknown> = {};
    let before: string | undefined;
    for (let index = 0; index < size; index++) {
      const first = this.#bytes[this.#at++];
      if (first === undefined || first >> 5 !== 3) throw malformed();
      const name = this.#name(this.#size(first & 31));
      if (name === '__proto__' || (before !== undefined && byEncoding(before, name) >= 0)) throw malformed();
      before = name;
      record[name] = this.value(nested + 1);
    }
    return record;
  }

  #text(size: number): string {
    const start = this.#at;
    const end = this.#skip(size);
    for (let index = start; index < end; index++) {
      if (this.#bytes[index]! > 0x7f) return utf8(this.#bytes.subarray(start, end));
    }
    this.#buffer ??= Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    return this.#buffer.toString('latin1', start, end);
  }

  /** The names of fields are few, and each is met very often. */
  #name(size: number): string {
    if (size > NAME_LENGTH_MAX) return this.#text(size);
    let hash = size;
    for (let index = 0; index < size; index++)
      hash = (Math.imul(hash, 31) + (this.#bytes[this.#at + index] ?? 0)) >>> 0;
    const known = names.get(hash);
    if (known !== undefined && this.#says(known, size)) {
      this.#skip(size);
      return known;
    }
    const name = this.#text(size);
    if (names.size < NAMES_MAX) names.set(hash, name);
    return name;
  }

  #says(name: string, size: number): boolean {
    if (name.length !== size) return false;
    for (let index = 0; index < size; index++) {
      if (name.charCodeAt(index) !== this.#bytes[this.#at + index]) return false;
    }
    return true;
  }

  /** Short ones are copied, as then they need no space of their own; nobody writes into what was encoded. */
  #copy(size: number): Uint8Array {
    const start = this.#at;
    const end = this.#skip(size);
    return size <= COPIED_SIZE_BYTES_MAX ? this.#bytes.slice(start, end) : this.#bytes.subarray(start, end);
  }

  /** Where so many bytes end. */
  #skip(size: number): number {
    this.#at += size;
    if (this.#at > this.#bytes.length) throw malformed();
    return this.#at;
  }

  /** Only the shortest form of a number is taken. */
  #size(short: number): number {
    if (short < 24) return short;
    const width = short < 28 ? 1 << (short - 24) : 0;
    if (width === 0 || this.#at + width > this.#bytes.length) throw malformed();
    let size = 0;
    for (const end = this.#at + width; this.#at < end; this.#at++) size = size * 256 + this.#bytes[this.#at]!;
    if (size < LEAST[short - 24]! || !Number.isSafeInteger(size)) throw malformed();
    return size;
  }
}

/** What needs so many bytes, by 24 to 27. */
const LEAST = [24, 0x100, 0x10000, 0x100000000];

function utf8(bytes: Uint8Array): string {
  try {
    return text.decode(bytes);
  } catch {
    throw malformed();
  }
}

function malformed(): PatchcordError {
  return new PatchcordError('frame_malformed', 'Not CBOR in deterministic form.');
}
