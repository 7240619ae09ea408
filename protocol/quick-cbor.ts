/**
 * Deterministic CBOR (RFC 8949 section 4.2) of what this product says and stores all the time: whole numbers, text, bytes,
 * lists, records with ASCII names, true, false and null. For anything else both directions give `undefined`, and codec.ts
 * asks the library, whose word counts; test/unit/quick-cbor holds the two against each other.
 */

/** Longer text is turned into bytes faster by Node than one by one. */
const SHORT_TEXT_LENGTH = 64;
const NESTED_MAX = 32;
/** What is kept to write into; a longer value gets more for a while. */
const SCRATCH_SIZE_BYTES = 1 << 16;

const UNUSUAL = new Error('not usual');

const scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE_BYTES);
/** What is written into, and how far. */
let out = scratch;
let at = 0;

/** The encoding, which nobody else has a view of. */
export function quickEncode(value: unknown): Uint8Array | undefined {
  out = scratch;
  at = 0;
  try {
    write(value, 0);
    return plain(out).slice(0, at);
  } catch (error) {
    if (error === UNUSUAL) return undefined;
    throw error;
  }
}

function room(sizeBytes: number): void {
  if (at + sizeBytes <= out.length) return;
  const more = Buffer.allocUnsafeSlow(2 * (at + sizeBytes));
  more.set(out.subarray(0, at));
  out = more;
}

function write(value: unknown, nested: number): void {
  if (nested > NESTED_MAX) throw UNUSUAL;
  if (typeof value === 'string') writeText(value);
  else if (typeof value === 'number') writeNumber(value);
  else if (value === false) writeByte(0xf4);
  else if (value === true) writeByte(0xf5);
  else if (value === null) writeByte(0xf6);
  else if (value instanceof Uint8Array) writeBytes(value);
  else if (Array.isArray(value)) {
    writeHead(4, value.length);
    for (const part of value) write(part, nested + 1);
  } else if (isRecord(value)) writeRecord(value, nested);
  else throw UNUSUAL;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function writeByte(byte: number): void {
  room(1);
  out[at++] = byte;
}

function writeNumber(value: number): void {
  if (!Number.isSafeInteger(value)) throw UNUSUAL;
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
  if (value.length > SHORT_TEXT_LENGTH || !writeAscii(value)) {
    const sizeBytes = Buffer.byteLength(value);
    writeHead(3, sizeBytes);
    room(sizeBytes);
    at += out.write(value, at, sizeBytes);
  }
}

/** Whether it is ASCII; if not, nothing is written. */
function writeAscii(value: string): boolean {
  const { length } = value;
  const start = at;
  writeHead(3, length);
  room(length);
  for (let index = 0; index < length; index++) {
    const code = value.charCodeAt(index);
    if (code > 0x7f) {
      at = start;
      return false;
    }
    out[at++] = code;
  }
  return true;
}

function writeRecord(value: Record<string, unknown>, nested: number): void {
  const names: string[] = [];
  let isSorted = true;
  for (const name of Object.keys(value)) {
    if (value[name] === undefined) continue;
    if (names.length > 0) isSorted &&= isBefore(names.at(-1)!, name);
    names.push(name);
  }
  if (!isSorted) names.sort((a, b) => (isBefore(a, b) ? -1 : 1));
  writeHead(5, names.length);
  for (const name of names) {
    if (name.length > SHORT_TEXT_LENGTH || !writeAscii(name)) throw UNUSUAL;
    write(value[name], nested + 1);
  }
}

/** Shorter first, then by bytes (RFC 8949 section 4.2.3), which for ASCII is the order of text. */
function isBefore(name: string, other: string): boolean {
  return name.length === other.length ? name < other : name.length < other.length;
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
    at = out.writeUInt32BE(size, at);
  } else {
    out[at++] = kind | 27;
    at = out.writeUInt32BE(Math.floor(size / 0x100000000), at);
    at = out.writeUInt32BE(size % 0x100000000, at);
  }
}

/** The value, with copies of the bytes in it. `undefined`, too, for what is no deterministic CBOR. */
export function quickDecode(bytes: Uint8Array): unknown {
  try {
    const reader = new Reader(bytes);
    const value = reader.value(0);
    return reader.isAtEnd ? value : undefined;
  } catch (error) {
    if (error === UNUSUAL) return undefined;
    throw error;
  }
}

class Reader {
  /** Two views of the same: one is read and sliced faster, the other knows text. */
  readonly #bytes: Uint8Array;
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = plain(bytes);
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  value(nested: number): unknown {
    const first = this.#bytes[this.#at++];
    if (first === undefined || nested > NESTED_MAX) throw UNUSUAL;
    if (first === 0xf4) return false;
    if (first === 0xf5) return true;
    if (first === 0xf6) return null;
    const size = this.#size(first & 31);
    switch (first >> 5) {
      case 0:
        return size;
      case 1:
        if (size === Number.MAX_SAFE_INTEGER) throw UNUSUAL;
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
        throw UNUSUAL;
    }
  }

  #record(size: number, nested: number): Record<string, unknown> {
    const record: Record<string, unknown> = {};
    let before: string | undefined;
    for (let index = 0; index < size; index++) {
      const first = this.#bytes[this.#at++];
      if (first === undefined || first >> 5 !== 3) throw UNUSUAL;
      const name = this.#ascii(this.#size(first & 31));
      if (name === undefined || name === '__proto__') throw UNUSUAL;
      if (before !== undefined && !isBefore(before, name)) throw UNUSUAL;
      before = name;
      record[name] = this.value(nested + 1);
    }
    return record;
  }

  #text(size: number): string {
    const start = this.#at;
    const text = this.#ascii(size);
    if (text !== undefined) return text;
    const end = start + size;
    const read = this.#buffer.toString('utf8', start, end);
    // What is no UTF-8 is read as another character.
    if (read.includes('\ufffd')) throw UNUSUAL;
    this.#at = end;
    return read;
  }

  /** Undefined, with nothing read, for what is no ASCII. */
  #ascii(size: number): string | undefined {
    const start = this.#at;
    const end = start + size;
    if (end > this.#bytes.length) throw UNUSUAL;
    for (let index = start; index < end; index++) if (this.#bytes[index]! > 0x7f) return undefined;
    this.#at = end;
    return this.#buffer.toString('latin1', start, end);
  }

  #copy(size: number): Uint8Array {
    const start = this.#at;
    this.#at += size;
    if (this.#at > this.#bytes.length) throw UNUSUAL;
    return this.#bytes.slice(start, this.#at);
  }

  /** Only the shortest form of a number is taken. */
  #size(short: number): number {
    if (short < 24) return short;
    const width = short < 28 ? 1 << (short - 24) : 0;
    if (width === 0 || this.#at + width > this.#bytes.length) throw UNUSUAL;
    let size = 0;
    for (const end = this.#at + width; this.#at < end; this.#at++) size = size * 256 + this.#bytes[this.#at]!;
    if (size < LEAST[short - 24]! || !Number.isSafeInteger(size)) throw UNUSUAL;
    return size;
  }
}

/** What needs so many bytes, by 24 to 27. */
const LEAST = [24, 0x100, 0x10000, 0x100000000];

function plain(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array
    ? bytes
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
