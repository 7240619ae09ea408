import type { AbortOptions, Stream } from '@libp2p/interface';
import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';

/** A stream to a relay as the pipe of bytes that libp2p encrypts to the machine behind it. */
export class StreamConnection extends AbstractMultiaddrConnection {
  readonly #stream: Stream;

  constructor(stream: Stream, remoteAddr: Multiaddr) {
    super({ remoteAddr, direction: stream.direction, log: stream.log });
    this.#stream = stream;
    stream.addEventListener('message', ({ data }) => this.onData(data));
    stream.addEventListener('drain', () => this.safeDispatchEvent('drain'));
    stream.addEventListener('close', ({ error }) => this.onTransportClosed(error));
    stream.addEventListener('end', () => this.abort(new Error('closed by the relay')));
    if (stream.status !== 'open') queueMicrotask(() => this.onTransportClosed());
  }

  override sendData(data: Parameters<Stream['send']>[0]): SendResult {
    return { sentBytes: data.byteLength, canSendMore: this.#stream.send(data) };
  }

  override sendReset(error: Error): void {
    this.#stream.abort(error);
  }

  override async sendClose(options?: AbortOptions): Promise<void> {
    await this.#stream.close(options);
  }

  override sendPause(): void {
    this.#stream.pause();
  }

  override sendResume(): void {
    this.#stream.resume();
  }
}
