import { PatchcordError } from '../protocol/errors.ts';

/**
 * A text argument, or with `-` what comes on stdin, at most `sizeBytesMax` bytes of UTF-8. Throws
 * `content_too_long` and `invalid_input`.
 */
export async function readText(
  argument: string,
  sizeBytesMax: number,
  input: AsyncIterable<Uint8Array> = process.stdin,
): Promise<string> {
  if (argument !== '-') return argument;
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of input) {
    sizeBytes += part.length;
    if (sizeBytes > sizeBytesMax) {
      throw new PatchcordError(
        'content_too_long',
        `There are more than ${sizeBytesMax} bytes on stdin.`,
        'Send less.',
      );
    }
    parts.push(part);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts));
  } catch (cause) {
    throw new PatchcordError('invalid_input', 'What came on stdin is not UTF-8 text.', 'Send text.', {
      cause,
    });
  }
}
