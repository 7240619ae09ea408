import type { Stream, StreamMessageEvent } from '@libp2p/interface';
import {
  RELAYED_BUFFER_BYTES_MAX,
  RELAYED_BUFFER_COUNTED_BYTES,
  RELAYED_GUEST_MS_MAX,
  RELAYED_GUEST_SIZE_BYTES_MAX,
  RELAYED_SILENCE_MS,
} from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';

export interface RelayPipeOptions {
  clock: Clock;
  /** One of the ends is no member yet. */
  guest: boolean;
  /** Whether all pipes together hold no more than they may. */
  hasRoom: () => boolean;
  /** Called once. */
  onEnd: (reason: string) => void;
}

/**
 * Two streams whose bytes are passed on to each other until one of them ends. What a slow reader leaves waiting is
 * bounded, and whoever lets more pile up loses the connection: links keep within their windows. libp2p's own joins
 * streams by `for await` and onDrain(), of which the one buffers without bound and the other works once.
 */
export class RelayPipe {
  readonly #ends: readonly [Stream, Stream];
  readonly #clock: Clock;
  readonly #guest: boolean;
  readonly #hasRoom: () => boolean;
  readonly #onEnd: (reason: string) => void;
  #lastMs: number;
  #sizeBytes = 0;
  #timer: Timer;
  #over = false;

  constructor(ends: readonly [Stream, Stream], options: RelayPipeOptions) {
    this.#ends = ends;
    this.#clock = options.clock;
    this.#lastMs = options.clock.elapsed();
    this.#guest = options.guest;
    this.#hasRoom = options.hasRoom;
    this.#onEnd = options.onEnd;
    this.#timer = this.#watch();
    this.#pass(ends[0], ends[1]);
    this.#pass(ends[1], ends[0]);
  }

  /** Bytes that wait for slow readers. */
  get waitingBytes(): number {
    return this.#ends[0].writeBufferLength + this.#ends[1].writeBufferLength;
  }

  /** Cuts both ends off. */
  end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    for (const stream of this.#ends) stream.abort(new Error(reason));
    this.#onEnd(reason);
  }

  #pass(source: Stream, target: Stream): void {
    source.addEventListener('message', (event: StreamMessageEvent) => this.#send(event.data, target));
    source.addEventListener('close', () => this.end('closed'));
    source.addEventListener('end', () => this.end('closed'));
    if (source.status !== 'open' || source.readableEnded) queueMicrotask(() => this.end('closed'));
  }

  #send(data: StreamMessageEvent['data'], target: Stream): void {
    if (this.#over) return;
    this.#lastMs = this.#clock.elapsed();
    this.#sizeBytes += data.byteLength;
    if (this.#guest && this.#sizeBytes > RELAYED_GUEST_SIZE_BYTES_MAX)
      return this.end('too much for a guest');
    try {
      target.send(data);
    } catch {
      return this.end('closed');
    }
    const waitingBytes = target.writeBufferLength;
    if (waitingBytes > RELAYED_BUFFER_BYTES_MAX) this.end('slow reader');
    else if (waitingBytes > RELAYED_BUFFER_COUNTED_BYTES && !this.#hasRoom())
      this.end('too many slow readers');
  }

  /** Looks now and then instead of setting a timer for each message. */
  #watch(): Timer {
    return this.#clock.after(RELAYED_GUEST_MS_MAX, () => {
      if (this.#guest) return this.end('stayed too long');
      if (this.#clock.elapsed() - this.#lastMs >= RELAYED_SILENCE_MS) return this.end('silence');
      this.#timer = this.#watch();
    });
  }
}
