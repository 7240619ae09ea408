import type { Connection } from '@libp2p/interface';
import { chooseRelays } from '../../protocol/relaying.ts';
import type { Clock, Random } from '../clock.ts';
import type { Log } from '../log.ts';
import { parsePeerAddress, relayOf } from './addresses.ts';
import type { Admission } from './admission.ts';
import { dialOrder } from './dial-plan.ts';
import type { DialOne } from './dial.ts';
import { DirectSeeker } from './direct-seeker.ts';
import type { Node } from './libp2p-node.ts';
import type { Link } from './link.ts';
import type { LinkTable } from './link-table.ts';
import type { NetworkHandlers } from './network.ts';
import { RelayClient } from './relay-client.ts';
import { relayedAddresses, waysThrough } from './relay-plan.ts';
import { RELAYED_PROTOCOL, RELAY_PROTOCOL, RelayServer, STREAMS_MAX } from './relay-server.ts';

export interface RelayingOptions {
  self: string;
  node: Node;
  handlers: NetworkHandlers;
  admission: Admission;
  links: LinkTable;
  clock: Clock;
  random: Random;
  log: Log;
  stopping: AbortSignal;
  /** The machines to be linked with, and where they may be found. */
  peers: () => ReadonlyMap<string, readonly string[]>;
  /** Until when this machine has open invites. */
  guestsUntilMs: () => number;
  /** Our own addresses. */
  own: () => readonly string[];
  connect(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<void>;
  /** There are other ways to machines than before. */
  changed(): void;
}

/** All that this machine has to do with relays: it may be one, reaches others through some, and is reached. */
export class Relaying {
  readonly server: RelayServer;
  /** Dials directly or through a relay, as the address says. */
  readonly dialOne: DialOne;
  readonly #options: RelayingOptions;
  readonly #client: RelayClient;
  readonly #seeker: DirectSeeker;
  /** The relays that this machine is linked with, without another between, and the link's address. */
  readonly #relays = new Map<string, string>();
  #chosen: readonly string[] = [];

  constructor(options: RelayingOptions) {
    this.#options = options;
    const { admission, links, node } = options;
    const linkWith = (peerId: string): Connection | undefined => links.get(peerId)?.connection;
    this.server = new RelayServer({ ...options, linkWith, mayLink: (peerId) => admission.mayLink(peerId) });
    const client = new RelayClient({ ...options, ...node, linkWith });
    this.#client = client;
    this.dialOne = (address, signal) =>
      relayOf(address) === undefined ? node.dialOne(address, signal) : client.dial(address, signal);
    this.#seeker = new DirectSeeker({ ...options, addresses: (peerId) => this.#directAddresses(peerId) });
  }

  /** Has the node answer both protocols. */
  async handle(): Promise<void> {
    const { libp2p } = this.#options.node;
    const streams = { maxInboundStreams: STREAMS_MAX, maxOutboundStreams: STREAMS_MAX };
    await libp2p.handle(
      RELAY_PROTOCOL,
      (stream, connection) => this.server.serve(stream, connection),
      streams,
    );
    await libp2p.handle(
      RELAYED_PROTOCOL,
      (stream, connection) => this.#client.accept(stream, connection),
      streams,
    );
  }

  /** Multiaddrs at which this machine is reached through relays. A relay itself is reached, or is no use as one. */
  addresses(): string[] {
    const { self } = this.#options;
    if (this.server.relays) return [];
    return this.#chosen.flatMap((relay) => {
      const known = this.#options.peers().get(relay) ?? [];
      const dialled = parsePeerAddress(this.#relays.get(relay) ?? '');
      // The address of a link names its machine only if we dialled it; else its port is not one that listens.
      return relayedAddresses(self, relay, dialled?.peerId === relay ? [dialled.text, ...known] : known);
    });
  }

  /** The given addresses of machines, and the ways to them through relays that we are linked with. */
  waysTo(peers: ReadonlyMap<string, readonly string[]>): ReadonlyMap<string, readonly string[]> {
    if (this.#relays.size === 0) return peers;
    const relays = chooseRelays(this.#options.self, [...this.#relays.keys()]);
    const linked = relays.map((peerId) => ({ peerId, address: this.#relays.get(peerId)! }));
    return new Map([...peers].map(([peerId, known]) => [peerId, [...known, ...waysThrough(peerId, linked)]]));
  }

  linkUp(link: Link): void {
    const relay = relayOf(link.address);
    if (relay === undefined) this.#seeker.forget(link.peerId);
    else this.#seeker.seek(link.peerId);
    if (relay !== undefined || link.hello?.relay !== true) return;
    this.#relays.set(link.peerId, link.address);
    this.#choose();
  }

  linkDown(link: Link): void {
    this.#seeker.forget(link.peerId);
    if (this.#relays.delete(link.peerId)) this.#choose();
  }

  /** Members or their addresses changed. */
  peersChanged(): void {
    this.server.sweep();
    this.#seeker.again();
  }

  guestsChanged(): void {
    for (const relay of this.#chosen) this.#tellGuests(relay);
  }

  stop(): void {
    this.#seeker.stop();
  }

  #choose(): void {
    const { self, handlers, stopping } = this.#options;
    const before = this.#chosen.join();
    this.#chosen = chooseRelays(self, [...this.#relays.keys()]);
    if (stopping.aborted) return;
    this.#options.changed();
    if (this.#chosen.join() === before) return;
    for (const relay of this.#chosen) if (!before.includes(relay)) this.#tellGuests(relay);
    handlers.addressesChanged?.();
  }

  #tellGuests(relay: string): void {
    const forMs = Math.max(0, this.#options.guestsUntilMs() - this.#options.clock.now());
    if (this.#options.guestsUntilMs() > 0) void this.#client.tellGuests(relay, Math.ceil(forMs));
  }

  #directAddresses(peerId: string): string[] {
    const { peers, own } = this.#options;
    const known = (peers().get(peerId) ?? []).filter((address) => relayOf(address) === undefined);
    return dialOrder(peerId, known, own());
  }
}
