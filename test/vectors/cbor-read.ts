import { item } from './raw-cbor.ts';

/**
 * Reads CBOR by hand: null, booleans, whole numbers from 0, bytes, text, arrays, and maps with keys of text. Throws
 * for anything else, and for what `item` would have written otherwise.
 */
export function read(bytes: Uint8Array): unknown {
  const { value, end } = readAt(bytes, 0, 0);
  if (end !== bytes.length) throw new Error(`${bytes.length - end} bytes too many`);
  if (Buffer.compare(item(value), bytes) !== 0) throw new Error('not in deterministic form');
  return value;
}

const DEPTH_MAX = 16;

interface Read {
  value: unknown;
  end: number;
}

function readAt(bytes: Uint8Array, at: number, depth: number): Read {
  if (depth > DEPTH_MAX) throw new Error('nested too deep');
  const [major, info] = [byteAt(bytes, at) >> 5, byteAt(bytes, at) & 31];
  if (major === 7) return { value: simple(info), end: at + 1 };
  const { count, start } = countAt(bytes, at + 1, info);
  if (major === 0) return { value: count, end: start };
  if (major === 2 || major === 3) {
    if (start + count > bytes.length) throw new Error('cut short');
    const part = bytes.slice(start, start + count);
    return { value: major === 2 ? part : new TextDecoder('utf-8', { fatal: true }).decode(part), end: start + count };
  }
  if (major === 4) return list(bytes, start, count, depth);
  if (major === 5) return map(bytes, start, count, depth);
  throw new Error(`a kind of item (${major}) that is not used here`);
}

function list(bytes: Uint8Array, start: number, count: number, depth: number): Read {
  const value: unknown[] = [];
  let end = start;
  for (let index = 0; index < count; index++) {
    const one = readAt(bytes, end, depth + 1);
    value.push(one.value);
    end = one.end;
  }
  return { value, end };
}

function map(bytes: Uint8Array, start: number, count: number, depth: number): Read {
  const fields: [string, unknown][] = [];
  let end = start;
  for (let index = 0; index < count; index++) {
    const key = readAt(bytes, end, depth + 1);
    if (typeof key.value !== 'string') throw new Error('a key that is no text');
    const field = readAt(bytes, key.end, depth + 1);
    fields.push([key.value, field.value]);
    end = field.end;
  }
  return { value: Object.fromEntries(fields), end };
}

function countAt(bytes: Uint8Array, at: number, info: number): { count: number; start: number } {
  if (info < 24) return { count: info, start: at };
  if (info > 27) throw new Error('a length that is not definite');
  const sizeBytes = 2 ** (info - 24);
  let count = 0;
  for (let index = 0; index < sizeBytes; index++) count = count * 256 + byteAt(bytes, at + index);
  if (!Number.isSafeInteger(count)) throw new Error('a number beyond 2^53');
  return { count, start: at + sizeBytes };
}

function simple(info: number): boolean | null {
  if (info === 20 || info === 21) return info === 21;
  if (info === 22) return null;
  throw new Error('a simple value or a float');
}

function byteAt(bytes: Uint8Array, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new Error('cut short');
  return byte;
}
