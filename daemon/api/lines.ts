import type { Duplex } from 'node:stream';
import { PatchcordError } from '../../protocol/errors.ts';

const LINE_FEED = 0x0a;

/**
 * Calls `onLine` with each line of text that comes, in order; empty ones say that somebody is still there, and are left
 * out. `head` came before. A longer line than `sizeBytesMax` destroys the stream, with `content_too_long`.
 */
export function readLines(
  stream: Duplex,
  { head, sizeBytesMax, onLine }: { head: Buffer; sizeBytesMax: number; onLine: (line: string) => void },
): void {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  const take = (chunk: Buffer): void => {
    let from = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, from)) {
      const line = chunk.subarray(from, end);
      const text = (parts.length === 0 ? line : Buffer.concat([...parts, line])).toString('utf8');
      parts = [];
      sizeBytes = 0;
      from = end + 1;
      if (text !== '') onLine(text);
    }
    if (from === chunk.length) return;
    parts.push(chunk.subarray(from));
    sizeBytes += chunk.length - from;
    if (sizeBytes > sizeBytesMax) stream.destroy(tooLong(sizeBytesMax));
  };
  if (head.length > 0) take(head);
  stream.on('data', take);
}

function tooLong(sizeBytesMax: number): PatchcordError {
  return new PatchcordError('content_too_long', `A line is longer than ${sizeBytesMax} bytes.`);
}
