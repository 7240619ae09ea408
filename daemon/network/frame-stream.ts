import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface';
import { asPatchcordError } from '../../protocol/errors.ts';
import { encodeFrame, FrameReader, type Frame } from '../../protocol/frame.ts';
import { LINK_BUFFER_BYTES_MAX } from '../../protocol/limits.ts';
import { tellWindowLate } from './late-window.ts';

export interface FrameStreamEvents {
  /** Bytes arrived, be it part of a frame only. */
  heard?(): void;
  /** Frames that arrived together, in order. Not called any more once `closed` was. */
  frames(frames: readonly Frame[]): void;
  /** The stream is over. Called once. */
  closed(ending: Ending): void;
}

/** How something on the wire ended. */
export interface Ending {
  reason: string;
  /** Whether this machine ended it; else the other one did, or the connection broke. */
  ours: boolean;
}

/**
 * A libp2p stream as a pipe of frames.
 *
 * Frames sent within one tick leave as one chunk, because a chunk costs an encryption and a write. While the
 * stream says that it is full they wait here, up to LINK_BUFFER_BYTES_MAX with what waits in the stream; past
 * that the reader is too slow to keep. The 'drain' event, and not onDrain(), says when to go on: the latter
 * works only once (libp2p 3.3). What arrives within one tick is read as one chunk too, lest a peer that sends its
 * bytes one by one makes the reader join them one by one.
 */
export class FrameStream {
  readonly #stream: Stream;
  readonly #events: FrameStreamEvents;
  readonly #reader = new FrameReader();
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #flushing = false;
  #arrived: Uint8Array[] = [];
  #over = false;

  constructor(stream: Stream, events: FrameStreamEvents) {
    this.#stream = stream;
    this.#events = events;
    tellWindowLate(stream);
    stream.addEventListener('drain', () => this.#flushSoon());
    stream.addEventListener('message', (event) => this.#readSoon(event));
    stream.addEventListener('close', (event) => {
      this.#read();
      this.#close({ reason: closeReason(event), ours: event.local === true });
    });
    stream.addEventListener('end', () => {
      this.#read();
      this.#ended();
    });
    // It may have ended before we listened; the owner is told once it has its reference to us.
    if (stream.status !== 'open' || stream.readableEnded) queueMicrotask(() => this.#ended());
  }

  /** False when the stream is over, or when these frames were too many for a slow reader and ended it. */
  send(frames: readonly Frame[]): boolean {
    if (this.#over) return false;
    const chunks = frames.map(encodeFrame);
    for (const chunk of chunks) this.#queuedBytes += chunk.length;
    this.#queue.push(...chunks);
    if (this.#queuedBytes + this.#stream.writeBufferLength > LINK_BUFFER_BYTES_MAX) {
      this.end('slow reader');
      return false;
    }
    this.#flushSoon();
    return true;
  }

  /** Ends the stream at once, with whatever it still holds. */
  end(reason: string): void {
    this.#abort({ reason, ours: true });
  }

  /**
   * Ends the stream for us at once, yet lets what was sent before go out. That takes as long as the peer takes to
   * read it; whoever cannot wait ends the connection.
   */
  part(reason: string): void {
    if (this.#over) return;
    try {
      // The stream holds what it cannot send yet, so there is no need to heed that it is full.
      if (this.#queue.length > 0) this.#stream.send(Buffer.concat(this.#queue));
    } catch {
      return this.end(reason);
    }
    this.#close({ reason, ours: true });
    this.#stream.close().catch((error: unknown) => this.#stream.abort(asPatchcordError(error)));
  }

  #flushSoon(): void {
    if (this.#flushing || this.#over) return;
    this.#flushing = true;
    // After all that this turn has to do: its frames go together, and nobody on this machine waits for the wire.
    process.nextTick(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#over || this.#queue.length === 0 || this.#stream.writableNeedsDrain) return;
    const bytes = this.#queue.length === 1 ? this.#queue[0]! : Buffer.concat(this.#queue, this.#queuedBytes);
    this.#queue = [];
    this.#queuedBytes = 0;
    try {
      this.#stream.send(bytes);
    } catch {
      // The stream closed for writing under us, and its close event has not come yet.
      this.#abort({ reason: 'closed', ours: false });
    }
  }

  #readSoon(event: StreamMessageEvent): void {
    if (this.#over) return;
    this.#events.heard?.();
    if (this.#arrived.length === 0) queueMicrotask(() => this.#read());
    if (event.data instanceof Uint8Array) this.#arrived.push(event.data);
    else this.#arrived.push(...event.data);
  }

  #read(): void {
    const bytes = this.#arrived.length === 1 ? this.#arrived[0]! : Buffer.concat(this.#arrived);
    this.#arrived = [];
    if (this.#over || bytes.length === 0) return;
    let frames: Frame[];
    try {
      frames = this.#reader.push(bytes);
    } catch (error) {
      this.end(asPatchcordError(error).code);
      return;
    }
    if (frames.length > 0) this.#events.frames(frames);
  }

  /** Nothing more will come: the peer has said so, or this machine has aborted the connection. */
  #ended(): void {
    const ours = this.#stream.status === 'aborted';
    this.#abort({ reason: ours ? 'connection closed' : 'closed by peer', ours });
  }

  #abort(ending: Ending): void {
    if (this.#close(ending)) this.#stream.abort(new Error(ending.reason));
  }

  #close(ending: Ending): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#arrived = [];
    this.#events.closed(ending);
    return true;
  }
}

function closeReason(event: StreamCloseEvent): string {
  if (event.error === undefined) return 'connection closed';
  return event.local === true ? `connection lost: ${event.error.message}` : 'reset by peer';
}
