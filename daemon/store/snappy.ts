/**
 * Unpacks what LevelDB packed: the raw format of Snappy (google/snappy, format_description.txt). Undefined for bytes
 * that are not of that format, or that would unpack to more than `sizeBytesMax`.
 */
export function unpackSnappy(packed: Buffer, sizeBytesMax: number): Buffer | undefined {
  let at = 0;
  let sizeBytes = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = packed[at++];
    if (byte === undefined || shift > 28) return undefined;
    sizeBytes += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  if (sizeBytes > sizeBytesMax) return undefined;
  const plain = Buffer.alloc(sizeBytes);
  let filled = 0;
  while (at < packed.length) {
    const tag = packed[at++]!;
    const kind = tag & 3;
    if (kind === 0) {
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const width = length - 60;
        if (at + width > packed.length) return undefined;
        length = packed.readUIntLE(at, width) + 1;
        at += width;
      }
      if (at + length > packed.length || filled + length > sizeBytes) return undefined;
      packed.copy(plain, filled, at, at + length);
      at += length;
      filled += length;
      continue;
    }
    const width = kind === 3 ? 4 : kind;
    if (at + width > packed.length) return undefined;
    const low = packed.readUIntLE(at, width);
    at += width;
    const back = kind === 1 ? ((tag >>> 5) << 8) | low : low;
    const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    if (back === 0 || back > filled || filled + length > sizeBytes) return undefined;
    // Byte by byte: what is copied may be what is being written.
    for (let end = filled + length; filled < end; filled++) plain[filled] = plain[filled - back]!;
  }
  return filled === sizeBytes ? plain : undefined;
}
