import type { AbortOptions, Logger, MessageStreamDirection } from '@libp2p/interface';
import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { WebSocket } from 'ws';
import type { Clock } from '../clock.ts';

/** Bytes of one WebSocket message: what is longer is sent as several. Noise cuts its messages to 64 KiB. */
const MESSAGE_SIZE_BYTES_MAX = 64 * 1024;
/** Bytes that the socket may hold before the sender is told to wait. */
const BUFFER_BYTES_MAX = 1024 * 1024;
/** The other side has this long to answer a close. */
const CLOSE_TIMEOUT_MS = 500;

/** For both ends. Compression would be of no use on ciphertext, and lets a peer ask for memory. */
export const WEB_SOCKET_OPTIONS = {
  maxPayload: 2 * MESSAGE_SIZE_BYTES_MAX,
  perMessageDeflate: false,
  skipUTF8Validation: true,
} as const;

export interface WebSocketConnectionInit {
  remoteAddr: Multiaddr;
  direction: MessageStreamDirection;
  log: Logger;
  clock: Clock;
}

/** An open WebSocket as the pipe of bytes that libp2p encrypts. Every error of the socket ends it, and it alone. */
export class WebSocketConnection extends AbstractMultiaddrConnection {
  readonly #socket: WebSocket;
  readonly #clock: Clock;

  constructor(socket: WebSocket, { clock, ...init }: WebSocketConnectionInit) {
    super(init);
    this.#socket = socket;
    this.#clock = clock;
    socket.on('message', (data, isBinary) => {
      if (isBinary && data instanceof Buffer) this.onData(data);
      else this.abort(new Error('not a binary message'));
    });
    socket.on('error', (error) => this.abort(error));
    socket.on('close', () => this.onTransportClosed());
    if (socket.readyState > socket.OPEN) queueMicrotask(() => this.onTransportClosed());
  }

  override sendData(data: { byteLength: number; subarray(): Uint8Array }): SendResult {
    const bytes = data.subarray();
    for (let at = 0; at < bytes.length; at += MESSAGE_SIZE_BYTES_MAX) {
      this.#socket.send(bytes.subarray(at, at + MESSAGE_SIZE_BYTES_MAX), { binary: true }, () =>
        this.#sent(),
      );
    }
    return { sentBytes: data.byteLength, canSendMore: this.#socket.bufferedAmount < BUFFER_BYTES_MAX };
  }

  override sendReset(): void {
    this.#socket.terminate();
  }

  override async sendClose(options?: AbortOptions): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const patience = this.#clock.after(CLOSE_TIMEOUT_MS, () => this.#socket.terminate());
    const onAbort = (): void => this.#socket.terminate();
    this.#socket.once('close', () => resolve());
    options?.signal?.addEventListener('abort', onAbort, { once: true });
    this.#socket.close();
    await promise;
    patience.cancel();
    options?.signal?.removeEventListener('abort', onAbort);
  }

  override sendPause(): void {
    this.#socket.pause();
  }

  override sendResume(): void {
    this.#socket.resume();
  }

  #sent(): void {
    if (this.writableNeedsDrain && this.#socket.bufferedAmount === 0) this.safeDispatchEvent('drain');
  }
}
