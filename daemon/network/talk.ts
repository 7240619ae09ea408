import type { Stream } from '@libp2p/interface';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { endedEarly, LENGTH_SIZE_BYTES, writeBlock } from './block.ts';

/** What may have come that nobody has read yet: messages are short here, and wait for answers. */
const UNREAD_BYTES_MAX = 4 * 1024;

/** A stream on which two sides say short messages in turn, as blocks. Who says more than is read loses the stream. */
export class Talk {
  readonly #stream: Stream;
  #unread = Buffer.alloc(0);
  #look = (): void => {};

  constructor(stream: Stream) {
    this.#stream = stream;
    stream.addEventListener('message', ({ data }) => {
      this.#unread = Buffer.concat([this.#unread, data.subarray()]);
      if (this.#unread.length > UNREAD_BYTES_MAX) {
        stream.abort(new PatchcordError('frame_too_long', `More than ${UNREAD_BYTES_MAX} bytes unasked.`));
      }
      this.#look();
    });
    for (const event of ['end', 'close'] as const) stream.addEventListener(event, () => this.#look());
  }

  say(bytes: Uint8Array): void {
    writeBlock(this.#stream, bytes);
  }

  /** The next message. Rejects with `peer_unreachable` when the stream ends before it, and when the signal aborts. */
  async hear(signal: AbortSignal): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const onAbort = (): void => reject(asPatchcordError(signal.reason));
    this.#look = () => {
      const bytes = this.#next();
      if (bytes !== undefined) resolve(bytes);
      else if (this.#stream.status !== 'open' || this.#stream.readableEnded) reject(endedEarly());
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    else this.#look();
    try {
      return await promise;
    } finally {
      this.#look = () => {};
      signal.removeEventListener('abort', onAbort);
    }
  }

  #next(): Uint8Array | undefined {
    if (this.#unread.length < LENGTH_SIZE_BYTES) return undefined;
    const end = LENGTH_SIZE_BYTES + this.#unread.readUInt32BE(0);
    if (this.#unread.length < end) return undefined;
    const bytes = new Uint8Array(this.#unread.subarray(LENGTH_SIZE_BYTES, end));
    this.#unread = this.#unread.subarray(end);
    return bytes;
  }
}
