/**
 * Length, bytes, zeros, up to a size class: Padmé (Nikitin et al., PETS 2019, section 4), at most 12 % more, so
 * that a size tells its class only.
 */
export function pad(bytes: Uint8Array, sizeBytesMin: number): Uint8Array {
  const padded = new Uint8Array(sizeClass(Math.max(sizeBytesMin, 4 + bytes.length)));
  new DataView(padded.buffer).setUint32(0, bytes.length);
  padded.set(bytes, 4);
  return padded;
}

/** The bytes that {@link pad} was given; undefined for what it never makes. */
export function unpad(padded: Uint8Array): Uint8Array | undefined {
  const length = padded.length < 4 ? Infinity : new DataView(padded.buffer, padded.byteOffset).getUint32(0);
  return 4 + length > padded.length ? undefined : padded.subarray(4, 4 + length);
}

function sizeClass(sizeBytes: number): number {
  const exponent = Math.floor(Math.log2(sizeBytes));
  const step = 2 ** Math.max(0, exponent - Math.floor(Math.log2(exponent)) - 1);
  return Math.ceil(sizeBytes / step) * step;
}
