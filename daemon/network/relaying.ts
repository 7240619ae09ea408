import type { Connection } from '@libp2p/interface';
import { chooseRelays } from '../../protocol/relaying.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import type { Clock, Random } from '../clock.ts';
import type { Log } from '../log.ts';
import { parsePeerAddress, relayOf } from './addresses.ts';
import type { Admission } from './admission.ts';
import { dialOrder } from './dial-plan.ts';
import { ADDRESS_TIMEOUT_MS, type DialOne } from './dial.ts';
import { deadline } from './deadline.ts';
import { DirectSeeker } from './direct-seeker.ts';
import { askWhatIsSeen } from './hole-punch-door.ts';
import { HolePunching, PUNCH_PROTOCOL } from './hole-punching.ts';
import type { Node } from './libp2p-node.ts';
import type { Link } from './link.ts';
import type { LinkTable } from './link-table.ts';
import { freePort } from './dial-from.ts';
import { MEET_PROTOCOL, Meetings } from './meetings.ts';
import type { NetworkHandlers, SeenAs } from './network.ts';
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
  /** Makes a connection the link; rejects when it cannot. */
  link(peerId: string, connection: Connection, signal: AbortSignal): Promise<void>;
  /** Addresses of this machine's own interfaces. */
  ownIps: () => ReadonlySet<string>;
  /** There are other ways to machines than before. */
  changed(): void;
}

/** Streams of one machine's questions about holes. */
const TALKS_MAX = 4;

/** All that this machine has to do with relays: it may be one, reaches others through some, and is reached. */
export class Relaying {
  readonly server: RelayServer;
  /** Dials directly or through a relay, as the address says. */
  readonly dialOne: DialOne;
  readonly #options: RelayingOptions;
  readonly #client: RelayClient;
  readonly #seeker: DirectSeeker;
  readonly #meetings: Meetings;
  readonly #punching: HolePunching;
  /** What relays have seen of this machine, by relay. */
  readonly #seen = new Map<string, SeenAs>();
  /** The relays that this machine is linked with, without another between, and the link's address. */
  readonly #relays = new Map<string, string>();
  #chosen: readonly string[] = [];

  constructor(options: RelayingOptions) {
    this.#options = options;
    const { admission, links, node } = options;
    const linkWith = (peerId: string): Connection | undefined => links.get(peerId)?.connection;
    const gate = { linkWith, mayLink: (peerId: string) => admission.mayLink(peerId) };
    this.server = new RelayServer({ ...options, ...gate });
    this.#meetings = new Meetings({ ...options, ...gate });
    this.#punching = new HolePunching({
      ...options,
      dialFrom: node.dialFrom,
      freePort,
      linkWith,
      relayAddresses: (relay) => this.#doorsOf(relay),
    });
    const client = new RelayClient({ ...options, ...node, linkWith });
    this.#client = client;
    this.dialOne = (address, signal) =>
      relayOf(address) === undefined ? node.dialOne(address, signal) : client.dial(address, signal);
    this.#seeker = new DirectSeeker({
      ...options,
      addresses: (peerId) => this.#directAddresses(peerId),
      connect: (peerId, addresses, signal) => this.#connect(peerId, addresses, signal),
    });
  }

  /** What this machine looks like from the outside, as far as a relay has told. */
  get seenAs(): SeenAs | undefined {
    const seen = [...this.#seen.values()];
    return seen.find(({ behindNat }) => behindNat) ?? seen[0];
  }

  /** Whether a machine's link leads through holes in NATs. */
  isPunched(peerId: string): boolean {
    const connection = this.#options.links.get(peerId)?.connection;
    return connection !== undefined && this.#punching.isPunched(connection);
  }

  /** Has the node answer all protocols of this. */
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
    const few = { maxInboundStreams: TALKS_MAX, maxOutboundStreams: TALKS_MAX };
    await libp2p.handle(MEET_PROTOCOL, (stream, connection) => this.#meetings.serve(stream, connection), few);
    await libp2p.handle(
      PUNCH_PROTOCOL,
      (stream, connection) => this.#punching.serve(stream, connection),
      few,
    );
  }

  /** Multiaddrs at which this machine is reached through relays. A relay itself is reached, or is no use as one. */
  addresses(): string[] {
    const { self } = this.#options;
    if (this.server.relays) return [];
    return this.#chosen.flatMap((relay) => {
      const known = this.#options.peers().get(relay) ?? [];
      return relayedAddresses(self, relay, [...this.#dialledAt(relay), ...known]);
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
    void this.#askWhatIsSeen(link);
  }

  linkDown(link: Link): void {
    this.#seeker.forget(link.peerId);
    this.#seen.delete(link.peerId);
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

  /**
   * A direct link with a machine that is linked through a relay, by its addresses or else in the middle; of the two the one
   * with the lower peer id sees to that. Rejects when neither comes about.
   */
  async #connect(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const { self, log } = this.#options;
    try {
      return await this.#options.connect(peerId, addresses, signal);
    } catch (error) {
      if (signal.aborted || self > peerId) throw error;
    }
    try {
      const connection = await this.#punching.start(peerId, signal);
      await this.#options.link(peerId, connection, signal);
    } catch (error) {
      log.debug({ peer: peerId, reason: asPatchcordError(error).message }, 'no hole');
      throw error;
    }
  }

  /** Asks a relay that we have dialled what it sees, which tells whether a NAT is in between. */
  async #askWhatIsSeen({ peerId, connection }: Link): Promise<void> {
    const { clock, stopping, ownIps, links } = this.#options;
    if (connection.direction !== 'outbound') return;
    const limit = deadline(clock, ADDRESS_TIMEOUT_MS, stopping);
    try {
      const { you } = await askWhatIsSeen(connection, undefined, limit.signal);
      if (links.get(peerId)?.connection !== connection) return;
      this.#seen.set(peerId, { ...you, relay: peerId, behindNat: !ownIps().has(you.ip) });
    } catch {
      // It does not see it, or is of a version that does not know the question.
    } finally {
      limit.cancel();
    }
  }

  /** The address of a relay's link, if it is one to dial: a port that we did not dial is none that listens. */
  #dialledAt(relay: string): string[] {
    const address = parsePeerAddress(this.#relays.get(relay) ?? '');
    return address?.peerId === relay && !this.isPunched(relay) ? [address.text] : [];
  }

  /** Where a relay that we are linked with is reached by plain TCP, the way that has worked first. */
  #doorsOf(relay: string): string[] {
    if (!this.#relays.has(relay)) return [];
    const { peers, own } = this.#options;
    const dialled = this.#dialledAt(relay);
    const known = dialOrder(relay, peers().get(relay) ?? [], own());
    const all = [...new Set([...dialled.map((text) => `${text}/p2p/${relay}`), ...known])];
    return all.filter((address) => {
      const way = parsePeerAddress(address);
      return way?.transport === 'tcp' && way.relay === undefined;
    });
  }

  #directAddresses(peerId: string): string[] {
    const { peers, own } = this.#options;
    const known = (peers().get(peerId) ?? []).filter((address) => relayOf(address) === undefined);
    return dialOrder(peerId, known, own());
  }
}
