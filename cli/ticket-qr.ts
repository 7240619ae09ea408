import { encode, renderUnicodeCompact } from 'uqr';

/** A light frame of two modules is enough for cameras in use; the standard asks for four (ISO/IEC 18004). */
const OPTIONS = { ecc: 'L', border: 2 } as const;
/** What the largest code holds at correction level L (ISO/IEC 18004, version 40, bytes). */
const LENGTH_MAX = 2_953;

/**
 * A ticket as a QR code of block characters, or one line that says why there is none. `columns` is the width of the
 * terminal, where that is known: a code whose lines wrap is of no use.
 */
export function ticketQr(ticket: string, columns: number | undefined): string {
  const length = Buffer.byteLength(ticket);
  if (length > LENGTH_MAX) {
    return `The ticket is too long for a QR code (${length} characters, at most ${LENGTH_MAX}): copy the line instead.`;
  }
  const { size } = encode(ticket, OPTIONS);
  // Some terminals tell 0 for a width that they do not know.
  if (columns !== undefined && columns > 0 && columns < size) {
    return `The QR code needs ${size} columns and the terminal has ${columns}: widen it, or copy the line instead.`;
  }
  return renderUnicodeCompact(ticket, OPTIONS);
}
