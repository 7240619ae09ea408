import { PatchcordError } from './errors.ts';

/** Fills a fresh array of `length` bytes; node:crypto's randomBytes in the daemon, a seeded one in simulations. */
export type RandomBytes = (length: number) => Uint8Array;

const ID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * A UUIDv7 (RFC 9562 section 5.7) in lower case: 48 bits of `nowMs`, the rest random. Ids name things; their
 * time is never used for order, dedupe or delivery.
 */
export function newId(nowMs: number, randomBytes: RandomBytes): string {
  const bytes = randomBytes(16);
  let rest = Math.max(0, Math.floor(nowMs));
  for (let index = 5; index >= 0; index--) {
    bytes[index] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = Buffer.from(bytes).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function isId(text: string): boolean {
  return ID_PATTERN.test(text);
}

/** The id in its canonical form; throws `invalid_id` for anything that is no UUIDv7. */
export function parseId(text: string, what = 'message_id'): string {
  const id = text.trim().toLowerCase();
  if (!isId(id)) {
    throw new PatchcordError(
      'invalid_id',
      `${what} is not a message id: ${JSON.stringify(text.slice(0, 60))}.`,
      'Use the message_id exactly as inbox(), wait_for_message() or recall() showed it.',
    );
  }
  return id;
}
