/** A varint of LevelDB's (util/coding.h), of at most 49 bits; undefined when it does not end before `limit`. */
export function readVarint(
  bytes: Buffer,
  at: number,
  limit: number,
): [value: number, next: number] | undefined {
  let value = 0;
  for (let index = 0; index < 7 && at + index < limit; index++) {
    const byte = bytes[at + index]!;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return [value, at + index + 1];
  }
  return undefined;
}
