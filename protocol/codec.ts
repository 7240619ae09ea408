import { decode as cborDecode, encode as cborEncode } from 'cborg';
import { PatchcordError } from './errors.ts';
import { quickDecode, quickEncode } from './quick-cbor.ts';

/**
 * Deterministic CBOR (RFC 8949 section 4.2): shortest integers, sorted keys, definite lengths, no floats for
 * integers, no undefined. One value has exactly one encoding, so bytes can be hashed, signed and compared.
 */
export function encode(value: unknown): Uint8Array {
  return quickEncode(value) ?? encodeByLibrary(value);
}

/**
 * The value that `bytes` encode. Throws `frame_malformed` for whatever {@link encode} would not have written:
 * trailing bytes, duplicate or unsorted keys, long integers, indefinite lengths, tags, nesting so deep that the
 * decoder's stack ends. Cost is linear in the length of `bytes`, which the caller bounds.
 */
export function decode(bytes: Uint8Array): unknown {
  return quickDecode(bytes) ?? decodeByLibrary(bytes);
}

/** {@link encode} without the short way of quick-cbor.ts. */
export function encodeByLibrary(value: unknown): Uint8Array {
  return cborEncode(value, { ignoreUndefinedProperties: true });
}

const OPTIONS = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  rejectDuplicateMapKeys: true,
  useMaps: false,
} as const;

/** {@link decode} without the short way. */
export function decodeByLibrary(bytes: Uint8Array): unknown {
  try {
    const value: unknown = cborDecode(bytes, OPTIONS);
    if (equalBytes(encodeByLibrary(value), bytes)) return value;
  } catch (cause) {
    throw new PatchcordError('frame_malformed', 'Not CBOR in deterministic form.', '', { cause });
  }
  throw new PatchcordError('frame_malformed', 'CBOR in another than its one deterministic form.');
}

/** The value of bytes that {@link encode} wrote and a seal has kept since; what comes from outside goes to {@link decode}. */
export function decodeOwn(bytes: Uint8Array): unknown {
  return quickDecode(bytes) ?? cborDecode(bytes, OPTIONS);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
