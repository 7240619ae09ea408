import type { Connection, DialTransportOptions, Listener, Transport, Upgrader } from '@libp2p/interface';
import { transportSymbol } from '@libp2p/interface';
import type { ComponentLogger } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { WebSocket } from 'ws';
import type { Clock } from '../clock.ts';
import { parsePeerAddress } from './addresses.ts';
import { WebSocketConnection, WEB_SOCKET_OPTIONS } from './web-socket-connection.ts';
import { WebSocketListener } from './web-socket-listener.ts';

/** What libp2p hands to a transport. */
interface Components {
  upgrader: Upgrader;
  logger: ComponentLogger;
}

/**
 * libp2p over WebSocket (RFC 6455), for networks that let nothing else out. A transport of our own: that of libp2p 3
 * leaves a socket's error unheard, so that one bad frame of a stranger ends the process, has no bound on a frame, and
 * does not close what it aborts.
 *
 * It dials `/ws` and, checking the certificate as Node does, `/wss`; it listens on `/ws` alone, since Noise encrypts
 * all the same and a proxy in front can hold the certificate.
 */
export function webSockets(clock: Clock): (components: Components) => Transport {
  return (components) => new WebSockets(components, clock);
}

class WebSockets implements Transport {
  readonly [transportSymbol] = true as const;
  readonly [Symbol.toStringTag] = 'patchcord/web-sockets';
  readonly #components: Components;
  readonly #clock: Clock;

  constructor(components: Components, clock: Clock) {
    this.#components = components;
    this.#clock = clock;
  }

  async dial(address: Multiaddr, options: DialTransportOptions): Promise<Connection> {
    const socket = await open(urlOf(address), options.signal);
    const log = this.#components.logger.forComponent('web-socket');
    const connection = new WebSocketConnection(socket, {
      remoteAddr: address,
      direction: 'outbound',
      log,
      clock: this.#clock,
    });
    try {
      return await this.#components.upgrader.upgradeOutbound(connection, options);
    } catch (error) {
      connection.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  createListener(): Listener {
    // libp2p's components are a proxy, of which there is nothing to spread.
    const { upgrader, logger } = this.#components;
    return new WebSocketListener({ upgrader, logger, clock: this.#clock });
  }

  listenFilter(addresses: Multiaddr[]): Multiaddr[] {
    return addresses.filter((address) => isWebSocket(address, ['ws']));
  }

  dialFilter(addresses: Multiaddr[]): Multiaddr[] {
    return addresses.filter((address) => isWebSocket(address, ['ws', 'wss']));
  }
}

function isWebSocket(address: Multiaddr, transports: readonly string[]): boolean {
  const parsed = parsePeerAddress(address.toString());
  return parsed !== undefined && parsed.relay === undefined && transports.includes(parsed.transport);
}

/** Throws for what is no WebSocket address. */
function urlOf(address: Multiaddr): string {
  const parsed = parsePeerAddress(address.toString());
  if (parsed === undefined) throw new Error(`not a WebSocket address: ${address.toString()}`);
  const host = parsed.kind === 'ip6' ? `[${parsed.host}]` : parsed.host;
  return `${parsed.transport}://${host}:${parsed.port}/`;
}

function open(url: string, signal: AbortSignal | undefined): Promise<WebSocket> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
  const socket = new WebSocket(url, { ...WEB_SOCKET_OPTIONS, followRedirects: false });
  const onAbort = (): void => socket.terminate();
  const onOpen = (): void => {
    signal?.removeEventListener('abort', onAbort);
    resolve(socket);
  };
  // The listener stays: a socket whose error nobody hears ends the process.
  socket.on('error', (error) => {
    signal?.removeEventListener('abort', onAbort);
    reject(error);
  });
  socket.once('open', onOpen);
  signal?.addEventListener('abort', onAbort, { once: true });
  return promise;
}
