import type { Frame } from '../../protocol/frame.ts';

/**
 * The wire between machines, as the rest of the daemon sees it. daemon/network/libp2p-network.ts is the real
 * one; test/sim has a seeded one.
 *
 * A link is a pair of ordered frame streams with one machine; there is at most one per machine. A frame given
 * to `send` may be lost when the link breaks, never reordered within a link. Whoever needs more acknowledges.
 */
export interface Network {
  /** This machine. */
  readonly peerId: string;
  /** Starts to listen and dial; `handlers` are called from then on. Throws `port_in_use`. */
  start(handlers: NetworkHandlers): Promise<void>;
  /** Multiaddrs, each ending in /p2p/PEER, at which this machine can be reached now. */
  addresses(): string[];
  /**
   * The machines to stay linked with and where they may be found, replacing what was said before. Each is
   * dialled until linked, and again whenever its link breaks, for ever; a machine no longer named loses its link.
   */
  setPeers(peers: ReadonlyMap<string, readonly string[]>): void;
  /** Puts frames on the link. False when there is none, or when the reader is so slow that it was dropped. */
  send(peerId: string, frames: readonly Frame[]): boolean;
  /**
   * This machine slept, or its own addresses changed: asks every link whether it is still there, and dials at once
   * whoever is not linked.
   */
  wake(): void;
  /** There is news of a machine: it is dialled soon unless it is linked, however long it was not reached. */
  nudge(peerId: string): void;
  /** Breaks the link with a machine, if there is one. */
  drop(peerId: string, reason: string): void;
  /**
   * Asks a machine that need not hold a link: connects to it at one of the addresses unless it is connected, sends
   * one request of protocol/ticket.ts, resolves with the one answer. Throws `peer_unreachable` or `timeout`.
   */
  requestJoin(peerId: string, addresses: readonly string[], request: Uint8Array): Promise<Uint8Array>;
  /** This machine has open invites until then, by its clock: relays let strangers through to it. */
  expectGuests?(untilMs: number): void;
  /** Tells all who listen to a topic, near and far, perhaps; without it there is no gossip on this network. */
  publish?(topic: string, data: Uint8Array): void;
  /** The topics to listen to, replacing those before. */
  setTopics?(topics: ReadonlySet<string>): void;
  /**
   * The tables that this machine keeps with others, replacing those before; known by their protocols. To be said again
   * every second or so while there are any: links are looked at for members that do not take part yet.
   */
  setTables?(tables: readonly RecordTable[]): void;
  /** Leaves a record with members of a table; resolves with how many took it, 0 where there is no such table. */
  putRecord?(protocol: string, record: { key: Uint8Array; value: Uint8Array }): Promise<number>;
  /** Asks members of a table for the records of a key; `found` may be called several times. Never rejects. */
  findRecord?(protocol: string, key: Uint8Array, found: (value: Uint8Array) => void): Promise<void>;
  /** What is known of each machine named by setPeers; for status and doctor. */
  links(): LinkStatus[];
  /** What this machine looks like from the outside, as far as a relay has told. */
  seenAs?(): SeenAs | undefined;
  stop(): Promise<void>;
}

/** A distributed hash table of signed records among some machines. */
export interface RecordTable {
  /** Its libp2p protocol. */
  protocol: string;
  /** What keys begin with, between slashes. */
  kind: string;
  /** Whether a machine takes part; asked again with every stream. */
  hasMember(peerId: string): boolean;
  /** Where a machine may be reached, to ask it. */
  addressesOf(peerId: string): readonly string[];
  /** Where a record comes among others of its key, the highest counts. Throws for one that does not belong there. */
  check(key: Uint8Array, value: Uint8Array): number;
}

export interface NetworkHandlers {
  /** This machine's epoch, for its hello; 0 is the first. */
  epoch?(): number;
  /** What a machine has given this one to keep, for the hello to it. */
  kept?(peerId: string): Uint8Array | undefined;
  /** Whether a machine may hold a link; asked when a connection is encrypted and again in the link handler. */
  admits(peerId: string): boolean;
  /** Whether a machine that may not hold a link may connect to ask, see {@link Network.requestJoin}. */
  admitsJoin(peerId: string): boolean;
  /** Whether this machine passes bytes on between members that cannot reach each other. */
  relays?(): boolean;
  /** Whether two machines are members of one namespace that this machine is a member of. */
  mayRelay?(from: string, to: string): boolean;
  /** {@link Network.addresses} says something else than before. */
  addressesChanged?(): void;
  /** A link is up, both hellos seen. */
  linkUp(peerId: string, link: LinkUp): void;
  linkDown(peerId: string, reason: string): void;
  /** A peer was reached and would not link: it may know of a removal that this machine has not heard of. */
  refused(peerId: string): void;
  /** One frame from a linked machine, in order; never `hello`. Must not throw. */
  frame(peerId: string, frame: Frame): void;
  /**
   * Something on a topic that is listened to, from the peer that passed it on; the answer says whether it goes on from
   * here. Must not throw.
   */
  gossip?(topic: string, data: Uint8Array, from: string): 'accept' | 'ignore' | 'reject';
  /** A join request of at most FRAME_SIZE_BYTES_MAX bytes; the answer goes back to the asker. Must not reject. */
  join(peerId: string, request: Uint8Array): Promise<Uint8Array>;
}

/** A link that is up. */
export interface LinkUp {
  window: Window;
  boot: string;
  address: string;
  epoch?: number;
  /** What this machine had given the other one to keep. */
  kept?: Uint8Array;
  /** The other machine's clock when it said hello. */
  atMs?: number;
}

/** How much may be unacknowledged: parcels sent and not yet answered by `ack` or `refuse`. */
export interface Window {
  frames: number;
  sizeBytes: number;
}

export interface LinkStatus {
  peerId: string;
  up: boolean;
  /** The address in use, when up. */
  address?: string;
  /** The machine that passes the link's bytes on, when one does. */
  relay?: string;
  /** The link leads through holes in the NATs of both sides. */
  punched?: true;
  /** Why the last attempt failed, when down. */
  lastError?: string;
  attempts: number;
  /** Round trip of the last probe, in milliseconds, where there was one. */
  rttMs?: number;
  /** Where it is dialled, in no order. */
  addresses?: readonly string[];
  /** What the last attempt met at each address that it came to, when down. */
  tried?: readonly (Tried & { atMs: number })[];
  /** When it was reached last and would not link, when down. */
  refusedAtMs?: number;
}

/** An outside address of this machine. */
export interface SeenAs {
  ip: string;
  port: number;
  /** Who has seen it. */
  relay: string;
  /** It is none of this machine's own. */
  behindNat: boolean;
}

/** What one address came to. */
export interface Tried {
  address: string;
  error: string;
}
