import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { ComponentLogger, Listener, ListenerEvents, Upgrader } from '@libp2p/interface';
import { TypedEventEmitter } from '@libp2p/interface';
import { getThinWaistAddresses, ipPortToMultiaddr } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Clock, Timer } from '../clock.ts';
import { createServer } from '../node-http.ts';
import { parsePeerAddress } from './addresses.ts';
import { WebSocketConnection, WEB_SOCKET_OPTIONS } from './web-socket-connection.ts';

/** Sockets that are not WebSockets yet; after that libp2p counts and times them. */
const HANDSHAKES_MAX = 64;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const HEADER_SIZE_BYTES_MAX = 8 * 1024;

export interface WebSocketListenerParts {
  upgrader: Upgrader;
  logger: ComponentLogger;
  clock: Clock;
}

/** One port that takes WebSockets and nothing else. */
export class WebSocketListener extends TypedEventEmitter<ListenerEvents> implements Listener {
  readonly #parts: WebSocketListenerParts;
  readonly #http: Server;
  readonly #handshakes: WebSocketServer;
  readonly #stopping = new AbortController();
  readonly #sockets = new Set<Socket>();
  /** Those that are not upgraded yet, and what ends their patience. */
  readonly #handshaking = new Map<Socket, Timer>();
  #address: Multiaddr | undefined;

  constructor(parts: WebSocketListenerParts) {
    super();
    this.#parts = parts;
    this.#handshakes = new WebSocketServer({ ...WEB_SOCKET_OPTIONS, noServer: true, clientTracking: false });
    this.#http = createServer({ maxHeaderSize: HEADER_SIZE_BYTES_MAX, keepAlive: false });
    this.#http.on('connection', (socket: Socket) => this.#connected(socket));
    this.#http.on('request', (_, response) => {
      response.writeHead(426, { connection: 'close' }).end('Only WebSockets here.\n');
    });
    this.#http.on('clientError', (_, socket) => socket.destroy());
    this.#http.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      this.#handshakes.handleUpgrade(request, socket, head, (webSocket) => this.#open(webSocket, socket));
    });
  }

  async listen(address: Multiaddr): Promise<void> {
    const parsed = parsePeerAddress(address.toString());
    if (parsed === undefined) throw new Error(`not a WebSocket address: ${address.toString()}`);
    this.#address = address;
    const { host, port, kind } = parsed;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#http.once('error', reject);
    this.#http.listen({ host, port, ipv6Only: kind === 'ip6', exclusive: true }, resolve);
    await promise;
    this.#http.off('error', reject);
    this.#http.on('error', () => {});
    this.safeDispatchEvent('listening');
  }

  getAddrs(): Multiaddr[] {
    const address = this.#http.address();
    if (address === null || typeof address === 'string' || this.#address === undefined) return [];
    return getThinWaistAddresses(this.#address, address.port).map((found) => found.encapsulate('/ws'));
  }

  updateAnnounceAddrs(): void {}

  async close(): Promise<void> {
    this.#stopping.abort(new Error('stopping'));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#http.close(() => resolve());
    for (const socket of this.#sockets) socket.destroy();
    await promise;
    this.safeDispatchEvent('close');
  }

  #connected(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#handshaking.size >= HANDSHAKES_MAX) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#upgraded(socket);
    });
    this.#handshaking.set(
      socket,
      this.#parts.clock.after(HANDSHAKE_TIMEOUT_MS, () => socket.destroy()),
    );
  }

  #upgraded(socket: Socket): void {
    this.#handshaking.get(socket)?.cancel();
    this.#handshaking.delete(socket);
  }

  #open(webSocket: WebSocket, socket: Socket): void {
    this.#upgraded(socket);
    const { upgrader, logger, clock } = this.#parts;
    const { remoteAddress = '0.0.0.0', remotePort = 0 } = socket;
    const connection = new WebSocketConnection(webSocket, {
      remoteAddr: ipPortToMultiaddr(remoteAddress, remotePort).encapsulate('/ws'),
      direction: 'inbound',
      log: logger.forComponent('web-socket'),
      clock,
    });
    upgrader
      .upgradeInbound(connection, { signal: this.#stopping.signal })
      .catch((error: unknown) => connection.abort(error instanceof Error ? error : new Error(String(error))));
  }
}
