import type { Stream, StreamMessageEvent } from '@libp2p/interface';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';

/** One message on a stream of its own: a 4-byte big-endian length and at most FRAME_SIZE_BYTES_MAX bytes. Wire. */
export const LENGTH_SIZE_BYTES = 4;

/** Throws `frame_too_long`. */
export function writeBlock(stream: Stream, bytes: Uint8Array): void {
  if (bytes.length > FRAME_SIZE_BYTES_MAX) throw tooLong(bytes.length);
  const head = Buffer.alloc(LENGTH_SIZE_BYTES);
  head.writeUInt32BE(bytes.length);
  stream.send(Buffer.concat([head, bytes]));
}

/**
 * The stream's first message; what follows it is ignored. Rejects with `frame_too_long` before such a message
 * is read, with `peer_unreachable` when the stream ends early, and when the signal aborts.
 */
export function readBlock(stream: Stream, signal: AbortSignal): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  let needed = LENGTH_SIZE_BYTES;
  let lengthKnown = false;

  const onMessage = (event: StreamMessageEvent): void => {
    const chunk = event.data.subarray();
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes < needed) return;
    const bytes = Buffer.concat(chunks);
    if (!lengthKnown) {
      const length = bytes.readUInt32BE(0);
      if (length > FRAME_SIZE_BYTES_MAX) return reject(tooLong(length));
      lengthKnown = true;
      needed = LENGTH_SIZE_BYTES + length;
    }
    if (sizeBytes >= needed) resolve(new Uint8Array(bytes.subarray(LENGTH_SIZE_BYTES, needed)));
  };
  const onEnd = (): void => reject(endedEarly());
  const onAbort = (): void => reject(asPatchcordError(signal.reason));

  stream.addEventListener('message', onMessage);
  stream.addEventListener('end', onEnd);
  stream.addEventListener('close', onEnd);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  else if (stream.status !== 'open' || stream.readableEnded) onEnd();
  return promise.finally(() => {
    stream.removeEventListener('message', onMessage);
    stream.removeEventListener('end', onEnd);
    stream.removeEventListener('close', onEnd);
    signal.removeEventListener('abort', onAbort);
  });
}

export function endedEarly(): PatchcordError {
  return new PatchcordError(
    'peer_unreachable',
    'The other machine closed the connection before it answered.',
  );
}

function tooLong(length: number): PatchcordError {
  return new PatchcordError(
    'frame_too_long',
    `A message of ${length} bytes; at most ${FRAME_SIZE_BYTES_MAX}.`,
  );
}
