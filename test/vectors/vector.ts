/**
 * A file of vectors: inputs that declare their own expected outcome. Bytes are hex; a list of pairs is hex and
 * how often it is repeated. Inside values `{"hex": ...}` stands for bytes.
 */
export interface VectorFile {
  about: string;
  /** Ed25519 seeds (RFC 8032) of the machines that sign, by name. */
  seeds?: Record<string, string>;
  cases: Vector[];
}

export interface Vector {
  name: string;
  /** The input: bytes, or text for what people type. */
  bytes?: string | [hex: string, times: number][];
  text?: string;
  /** What else the operation is given: who seals, a store key, a record's key. */
  with?: Record<string, string>;
  /** Either the value that it decodes to, */
  value?: unknown;
  /** or the code of the error that it is refused with. */
  error?: string;
}

export function bytesOf(bytes: NonNullable<Vector['bytes']>): Uint8Array {
  if (typeof bytes === 'string') return new Uint8Array(Buffer.from(bytes, 'hex'));
  return new Uint8Array(
    Buffer.concat(bytes.map(([hex, times]) => Buffer.alloc((times * hex.length) / 2, hex, 'hex'))),
  );
}

export function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, toJson(field)]));
}

/** The value with its bytes back. */
export function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== 'object' || value === null) return value;
  if ('hex' in value && typeof value.hex === 'string') return new Uint8Array(Buffer.from(value.hex, 'hex'));
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, fromJson(field)]));
}
