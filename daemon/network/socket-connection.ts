import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { AbortOptions, ComponentLogger, Upgrader } from '@libp2p/interface';
import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { asPatchcordError } from '../../protocol/errors.ts';
import { parsePeerAddress } from './addresses.ts';
import type { DialFrom } from './dial.ts';

/** As in libp2p's TCP: a socket on which nothing came or went for so long is dead. Links say something every 3 s. */
const SILENCE_MS_MAX = 120_000;

/**
 * Dials TCP from a port of our choice, as the side of the handshake that is asked for. libp2p's own transport does so
 * too with `initiator: false`, but both ends of what it opens are clients to Yamux (@libp2p/tcp 11).
 */
export function dialerFrom({ upgrader, logger }: { upgrader: Upgrader; logger: ComponentLogger }): DialFrom {
  return async (address, { localPort, initiator }, signal) => {
    const place = parsePeerAddress(address);
    if (place?.transport !== 'tcp' || place.relay !== undefined) throw new Error(`not TCP: ${address}`);
    const socket = await open(place.host, place.port, localPort, signal);
    const connection = new SocketConnection(socket, {
      remoteAddr: multiaddr(address),
      direction: initiator ? 'outbound' : 'inbound',
      log: logger.forComponent('socket'),
    });
    try {
      return await upgrader.upgradeOutbound(connection, { signal, initiator });
    } catch (error) {
      connection.abort(asPatchcordError(error));
      throw error;
    }
  };
}

/**
 * A port that nobody has. Another program may take it before we do: then a dial from it fails, and the next is from
 * another one.
 */
export async function freePort(family: 'ip4' | 'ip6'): Promise<number> {
  const server = createServer().listen(0, family === 'ip6' ? '::' : '0.0.0.0');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function open(host: string, port: number, localPort: number, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const socket = connect({ host, port, localPort, noDelay: true, keepAlive: true });
  try {
    await once(socket, 'connect', { signal });
    return socket;
  } catch (error) {
    // What it still has to say nobody wants to hear, and unheard it would end the process.
    socket.on('error', () => {});
    socket.destroy();
    throw error;
  }
}

/** An open socket as the pipe of bytes that libp2p encrypts. */
class SocketConnection extends AbstractMultiaddrConnection {
  readonly #socket: Socket;

  constructor(socket: Socket, init: ConstructorParameters<typeof AbstractMultiaddrConnection>[0]) {
    super(init);
    this.#socket = socket;
    socket.on('data', (data) => this.onData(data));
    socket.on('drain', () => this.safeDispatchEvent('drain'));
    socket.on('error', (error) => this.abort(error));
    socket.on('end', () => this.onTransportClosed());
    socket.on('close', () => this.onTransportClosed());
    socket.setTimeout(SILENCE_MS_MAX, () => this.abort(new Error('silence')));
  }

  override sendData(data: { byteLength: number; subarray(): Uint8Array }): SendResult {
    return { sentBytes: data.byteLength, canSendMore: this.#socket.write(data.subarray()) };
  }

  override sendReset(): void {
    // A socket that is being closed in peace can not be reset any more.
    if (this.#socket.writableEnded) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  override async sendClose(options?: AbortOptions): Promise<void> {
    if (this.#socket.destroyed) return;
    const closed = once(this.#socket, 'close', options);
    this.#socket.destroySoon();
    await closed;
  }

  override sendPause(): void {
    this.#socket.pause();
  }

  override sendResume(): void {
    this.#socket.resume();
  }
}
