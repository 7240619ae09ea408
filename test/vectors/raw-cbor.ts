/** CBOR (RFC 8949) put together by hand, so that the vectors do not rest on the codec that they check. */

export type Entry = readonly [key: string, value: Uint8Array];

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** The shortest head of an item: its major type and its count. */
export function head(major: number, count: number): Uint8Array {
  const type = major << 5;
  if (count < 24) return Uint8Array.of(type | count);
  if (count < 0x100) return Uint8Array.of(type | 24, count);
  if (count < 0x1_0000) return Uint8Array.of(type | 25, count >> 8, count & 0xff);
  if (count < 0x1_0000_0000) {
    const bytes = new Uint8Array(5);
    bytes[0] = type | 26;
    new DataView(bytes.buffer).setUint32(1, count);
    return bytes;
  }
  const bytes = new Uint8Array(9);
  bytes[0] = type | 27;
  new DataView(bytes.buffer).setBigUint64(1, BigInt(count));
  return bytes;
}

/** Any value of null, booleans, whole numbers from 0, strings, bytes, arrays and plain objects. */
export function item(value: unknown): Uint8Array {
  if (value === null) return hex('f6');
  if (typeof value === 'boolean') return hex(value ? 'f5' : 'f4');
  if (typeof value === 'number') return head(0, value);
  if (typeof value === 'string') {
    const text = new TextEncoder().encode(value);
    return join(head(3, text.length), text);
  }
  if (value instanceof Uint8Array) return join(head(2, value.length), value);
  if (Array.isArray(value)) return join(head(4, value.length), ...value.map(item));
  if (typeof value !== 'object') throw new TypeError(`no encoding for ${typeof value}`);
  return map(entries({ ...value }));
}

/** The entries of a map in deterministic order (section 4.2.1): by their encoded keys. */
export function entries(value: Record<string, unknown>): Entry[] {
  const all = Object.entries(value).filter(([, field]) => field !== undefined);
  return sorted(all.map(([key, field]) => [key, item(field)]));
}

export function sorted(all: readonly Entry[]): Entry[] {
  return [...all].sort(([a], [b]) => Buffer.compare(item(a), item(b)));
}

/** A map with its entries as they are given, right or wrong. */
export function map(all: readonly Entry[]): Uint8Array {
  return join(head(5, all.length), ...all.flatMap(([key, value]) => [item(key), value]));
}
