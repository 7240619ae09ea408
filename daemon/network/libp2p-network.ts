import { networkInterfaces } from 'node:os';
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Frame } from '../../protocol/frame.ts';
import { ADDRESSES_MAX } from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import type { Clock, Random } from '../clock.ts';
import type { Log } from '../log.ts';
import { checkListenAddresses } from './addresses.ts';
import { Admission } from './admission.ts';
import { deadline, pause } from './deadline.ts';
import { ADDRESS_TIMEOUT_MS, dialFirst } from './dial.ts';
import { dialOrder } from './dial-plan.ts';
import { Dialer } from './dialer.ts';
import type { Ending } from './frame-stream.ts';
import { Gossip } from './gossip.ts';
import { JOIN_PROTOCOL, JoinDesk, JOINS_PER_PEER_MAX, requestJoin } from './join.ts';
import { createNode, startNode, stopNode, type Node } from './libp2p-node.ts';
import { LINK_PROTOCOL, type Greeting, type Link } from './link.ts';
import { LinkCare } from './link-care.ts';
import { LinkTable, type LinkTableEvents } from './link-table.ts';
import type { LinkStatus, Network, NetworkHandlers, RecordTable, SeenAs } from './network.ts';
import { Relaying, type RelayingOptions } from './relaying.ts';
import { Tables } from './tables.ts';

/** What was sent last, a farewell, has this long to leave before the links are closed. */
const FAREWELL_MS = 50;
/** Stopping waits this long for libp2p; sockets that are left then end with the process. */
const STOP_TIMEOUT_MS = 2_000;

export interface Libp2pNetworkOptions {
  /** The machine's 32-byte Ed25519 seed. */
  seed: Uint8Array;
  /** Multiaddrs like /ip4/0.0.0.0/tcp/0. */
  listen: readonly string[];
  /** Multiaddrs at which this machine is reached by other ways, such as a port that a router forwards. */
  announce?: readonly string[];
  clock: Clock;
  random: Random;
  log: Log;
  /** A UUIDv7 of this start, by which peers tell a restart from a second connection. */
  bootId: string;
}

/** A network over TCP or WebSocket, Noise and Yamux. Throws `invalid_input` for what cannot be listened on. */
export function createLibp2pNetwork(options: Libp2pNetworkOptions): Network {
  return new Libp2pNetwork(options);
}

/** The parts that exist between start and stop. */
interface Running {
  handlers: NetworkHandlers;
  node: Node;
  admission: Admission;
  links: LinkTable;
  relaying: Relaying;
  care: LinkCare;
  gossip: Gossip;
  tables: Tables;
}

class Libp2pNetwork implements Network {
  readonly peerId: string;
  readonly #options: Libp2pNetworkOptions;
  readonly #listen: string[];
  readonly #dialer: Dialer;
  readonly #stopping = new AbortController();
  #peers: ReadonlyMap<string, readonly string[]> = new Map();
  #topics: ReadonlySet<string> = new Set();
  #tables: readonly RecordTable[] = [];
  #running: Running | undefined;
  #guestsUntilMs = 0;

  constructor(options: Libp2pNetworkOptions) {
    this.#options = options;
    this.#listen = checkListenAddresses(options.listen);
    this.peerId = signerFromSeed(options.seed).peerId;
    this.#dialer = new Dialer({
      self: this.peerId,
      clock: options.clock,
      random: options.random,
      log: options.log,
      own: () => this.addresses(),
      linkAddress: (peerId) => this.#running?.links.get(peerId)?.address,
      connect: (peerId, addresses, signal) => this.#connect(peerId, addresses, signal),
    });
  }

  async start(handlers: NetworkHandlers): Promise<void> {
    const { clock, log, bootId, seed } = this.#options;
    const admission: Admission = new Admission({
      handlers,
      clock,
      log,
      expectsGuests: () => relaying.server.expectsGuests(),
    });
    const gossip = new Gossip({
      handlers,
      mayLink: (peerId) => admission.mayLink(peerId),
      connections: () => connectionsOf(links),
      clock,
      log,
    });
    const { service } = gossip;
    const node = await createNode({
      seed,
      listen: this.#listen,
      gater: admission.gater,
      gossip: service,
      clock,
    });
    const links = new LinkTable({
      self: this.peerId,
      bootId,
      greeting: (peerId) => greetingTo(peerId, handlers),
      clock,
      events: this.#linkEvents(handlers),
    });
    const relaying = this.#relayingOf({ handlers, node, admission, links });
    const tables = this.#tablesOf(node, links, relaying);
    const desk = new JoinDesk({ handlers, admission, clock, log, stopping: this.#stopping.signal });
    const { libp2p } = node;
    libp2p.addEventListener('connection:open', ({ detail: connection }) => {
      admission.opened(connection, libp2p.getConnections(connection.remotePeer).length);
    });
    // What identify notes down of a peer is of no use here, and would pile up.
    libp2p.addEventListener('peer:disconnect', ({ detail: peer }) => {
      libp2p.peerStore.delete(peer).catch(() => {});
    });
    await this.#handle(libp2p, desk);
    const care = new LinkCare(clock, () => links.links());
    await relaying.handle();
    this.#running = { handlers, node, admission, links, care, gossip, relaying, tables };
    try {
      await startNode(node, this.#listen);
    } catch (error) {
      this.#running = undefined;
      throw error;
    }
    care.start();
    gossip.setTopics(this.#topics);
    gossip.start();
    tables.set(this.#tables);
    this.#dialer.setPeers(this.#peers);
  }

  addresses(): string[] {
    const libp2p = this.#running?.node.libp2p;
    if (libp2p === undefined) return [];
    const relayed = this.#running!.relaying.addresses();
    const announced = this.#options.announce?.map((address) => `${address}/p2p/${this.peerId}`) ?? [];
    const own = [...new Set([...announced, ...libp2p.getMultiaddrs().map(String)])];
    return [...own.slice(0, ADDRESSES_MAX - relayed.length), ...relayed];
  }

  setPeers(peers: ReadonlyMap<string, readonly string[]>): void {
    this.#peers = peers;
    if (this.#running === undefined || this.#stopping.signal.aborted) return;
    const { node, admission, links } = this.#running;
    for (const peerId of this.#dialer.setPeers(this.#waysTo())) links.drop(peerId, 'no longer a peer');
    for (const peerId of links.peerIds()) {
      if (!admission.mayLink(peerId)) links.drop(peerId, 'not a member');
    }
    admission.sweep(node.libp2p.getConnections().filter((connection) => !links.isParting(connection)));
    this.#running.relaying.peersChanged();
  }

  send(peerId: string, frames: readonly Frame[]): boolean {
    return this.#running?.links.get(peerId)?.send(frames) ?? false;
  }

  wake(): void {
    this.#running?.care.askAll();
    if (this.#running) this.#dialer.wake();
  }

  nudge(peerId: string): void {
    if (this.#running) this.#dialer.nudge(peerId);
  }

  publish(topic: string, data: Uint8Array): void {
    this.#running?.gossip.publish(topic, data);
  }

  setTopics(topics: ReadonlySet<string>): void {
    this.#topics = topics;
    if (!this.#stopping.signal.aborted) this.#running?.gossip.setTopics(topics);
  }

  setTables(tables: readonly RecordTable[]): void {
    this.#tables = tables;
    if (!this.#stopping.signal.aborted) this.#running?.tables.set(tables);
  }

  async putRecord(protocol: string, record: { key: Uint8Array; value: Uint8Array }): Promise<number> {
    return (await this.#running?.tables.put(protocol, record)) ?? 0;
  }

  async findRecord(protocol: string, key: Uint8Array, found: (value: Uint8Array) => void): Promise<void> {
    await this.#running?.tables.find(protocol, key, found);
  }

  drop(peerId: string, reason: string): void {
    this.#running?.links.drop(peerId, reason);
  }

  async requestJoin(peerId: string, addresses: readonly string[], request: Uint8Array): Promise<Uint8Array> {
    const running = this.#running;
    if (running === undefined) throw new PatchcordError('stopping', 'The network is not running.');
    const { clock } = this.#options;
    return await requestJoin(peerId, {
      request,
      clock,
      admission: running.admission,
      stopping: this.#stopping.signal,
      linked: running.links.get(peerId)?.connection,
      dial: (signal) =>
        dialFirst(running.relaying.dialOne, dialOrder(peerId, addresses, this.addresses()), clock, signal),
    });
  }

  expectGuests(untilMs: number): void {
    this.#guestsUntilMs = untilMs;
    this.#running?.relaying.guestsChanged();
  }

  links(): LinkStatus[] {
    return this.#dialer.statuses().map((status) => ({
      ...status,
      ...(this.#running?.relaying.isPunched(status.peerId) && { punched: true as const }),
    }));
  }

  seenAs(): SeenAs | undefined {
    return this.#running?.relaying.seenAs;
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopping'));
    this.#dialer.stop();
    const running = this.#running;
    if (running === undefined) return;
    running.relaying.stop();
    running.care.stop();
    running.gossip.stop();
    const tablesStopped = running.tables.stop();
    if (running.links.peerIds().length > 0) await pause(this.#options.clock, FAREWELL_MS);
    running.links.dropAll('stopping');
    const stopped = tablesStopped.then(() => stopNode(running.node));
    await Promise.race([stopped, pause(this.#options.clock, STOP_TIMEOUT_MS)]);
    this.#running = undefined;
  }

  #relayingOf(parts: Pick<RelayingOptions, 'handlers' | 'node' | 'admission' | 'links'>): Relaying {
    return new Relaying({
      ...this.#options,
      ...parts,
      self: this.peerId,
      stopping: this.#stopping.signal,
      peers: () => this.#peers,
      guestsUntilMs: () => this.#guestsUntilMs,
      own: () => this.addresses(),
      ownIps,
      connect: (peerId, addresses, signal) => this.#connect(peerId, addresses, signal),
      link: (peerId, connection, signal) => this.#link(peerId, connection, signal),
      changed: () => this.#dialer.setPeers(this.#waysTo()),
    });
  }

  #tablesOf({ components }: Node, links: LinkTable, relaying: Relaying): Tables {
    const { clock, log } = this.#options;
    return new Tables({
      components,
      clock,
      log,
      stopping: this.#stopping.signal,
      links: () => connectionsOf(links),
      linkWith: (peerId) => links.get(peerId)?.connection,
      connect: (peerId, addresses, signal) =>
        dialFirst(relaying.dialOne, dialOrder(peerId, addresses, this.addresses()), clock, signal),
    });
  }

  /** Where each machine may be found, the ways through the relays that we are linked with among them. */
  #waysTo(): ReadonlyMap<string, readonly string[]> {
    return this.#running?.relaying.waysTo(this.#peers) ?? this.#peers;
  }

  #linkEvents(handlers: NetworkHandlers): LinkTableEvents {
    const { log } = this.#options;
    return {
      up: (link) => {
        log.info({ peer: link.peerId, address: link.address }, 'link up');
        this.#dialer.up(link.peerId);
        this.#running?.relaying.linkUp(link);
        this.#running?.gossip.mend();
        this.#running?.tables.linkUp(link.connection);
        handlers.linkUp(link.peerId, described(link));
      },
      down: (link, reason, lastedMs) => {
        log.info({ peer: link.peerId, reason, lastedMs }, 'link down');
        this.#dialer.down(link.peerId, reason, lastedMs);
        this.#running?.relaying.linkDown(link);
        this.#running?.tables.linkDown(link.peerId);
        handlers.linkDown(link.peerId, reason);
      },
      frame: (link, frame) => handlers.frame(link.peerId, frame),
    };
  }

  /** Has the node answer links and questions. */
  async #handle(libp2p: Libp2p, desk: JoinDesk): Promise<void> {
    const atMost = (streams: number) => ({ maxInboundStreams: streams, maxOutboundStreams: streams });
    await libp2p.handle(LINK_PROTOCOL, (stream, connection) => this.#accept(stream, connection), atMost(1));
    await libp2p.handle(
      JOIN_PROTOCOL,
      (stream, connection) => desk.serve(stream, connection),
      atMost(JOINS_PER_PEER_MAX),
    );
  }

  /** A peer has opened a link stream. */
  #accept(stream: Stream, connection: Connection): void {
    const peer = connection.remotePeer.toString();
    const { admission, links } = this.#running!;
    if (this.#stopping.signal.aborted || !admission.mayLink(peer)) {
      this.#options.log.info({ peer }, 'link refused');
      // It learns that it was refused when its stream ends without our hello. As a guest it may ask why.
      stream.abort(new Error('not a member'));
      if (this.#stopping.signal.aborted || !admission.mayJoin(peer))
        connection.abort(new Error('not a guest'));
      return;
    }
    links.adopt(stream, connection, (failure) => {
      if (failure !== undefined) {
        this.#options.log.info({ peer, reason: failure.reason }, 'incoming link ended early');
      }
    });
  }

  /** Opens a link stream to a peer; resolves when it became the link. */
  async #connect(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const { relaying } = this.#running!;
    const connection = await dialFirst(relaying.dialOne, addresses, this.#options.clock, signal);
    await this.#link(peerId, connection, signal);
  }

  /** Opens a link stream on a connection; resolves when it became the link, and aborts the connection otherwise. */
  async #link(peerId: string, connection: Connection, signal: AbortSignal): Promise<void> {
    const { links, handlers } = this.#running!;
    const limit = deadline(this.#options.clock, ADDRESS_TIMEOUT_MS, signal);
    let ended: Ending | undefined;
    try {
      const stream = await connection.newStream(LINK_PROTOCOL, { signal: limit.signal });
      limit.signal.throwIfAborted();
      limit.cancel();
      ended = await new Promise((resolve) => links.adopt(stream, connection, resolve));
      if (ended !== undefined) throw new PatchcordError('peer_unreachable', ended.reason);
    } catch (cause) {
      connection.abort(new Error('no link', { cause }));
      const ours = signal.aborted || limit.passed || (ended?.ours ?? false);
      // Of two streams the other machine ends one and keeps its twin; that is no refusal.
      if (!ours && !links.has(peerId)) {
        this.#dialer.refused(peerId);
        handlers.refused(peerId);
      }
      throw cause;
    } finally {
      limit.cancel();
    }
  }
}

function ownIps(): Set<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []),
  );
}

function connectionsOf(links: LinkTable): Connection[] {
  return links.peerIds().map((peerId) => links.get(peerId)!.connection);
}

function greetingTo(peerId: string, handlers: NetworkHandlers): Greeting {
  return {
    epoch: handlers.epoch?.() ?? 0,
    relays: handlers.relays?.() ?? false,
    kept: handlers.kept?.(peerId),
  };
}

function described(link: Link): Parameters<NetworkHandlers['linkUp']>[1] {
  const hello = link.hello!;
  return {
    window: { frames: hello.window_frames, sizeBytes: hello.window_bytes },
    boot: hello.boot,
    epoch: hello.epoch ?? 0,
    ...(hello.kept !== undefined && { kept: hello.kept }),
    address: link.address,
    ...(hello.at !== undefined && { atMs: hello.at }),
  };
}
