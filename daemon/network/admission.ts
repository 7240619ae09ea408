import type { Connection, ConnectionGater } from '@libp2p/interface';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { NetworkHandlers } from './network.ts';

/** Connections of machines that may not link, here to ask something; twice what the join desk answers at once. */
const GUESTS_MAX = 64;
/** Of one machine: what it may ask at once, and as many dials. So a few machines cannot keep the others out. */
const GUESTS_PER_PEER_MAX = 4;
/** A guest asks and goes; one that lingers is shown out. */
const GUEST_STAY_MS = 30_000;
/** One machine needs one connection, two while both dial, a few while addresses race. */
const CONNECTIONS_PER_PEER_MAX = 8;

export interface AdmissionOptions {
  handlers: Pick<NetworkHandlers, 'admits' | 'admitsJoin'>;
  clock: Clock;
  log: Log;
  /** Whether a stranger may come to be passed on to a machine behind this one. */
  expectsGuests?: () => boolean;
}

/**
 * Who may be connected. Asked as soon as a connection is encrypted, which is when the other side's key is
 * known, and again by each protocol's handler, because membership changes while connections last.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #guests = new Set<Connection>();
  /** Machines that we are asking; they need not be members of anything of ours. */
  readonly #hosts = new Map<string, number>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  get gater(): ConnectionGater {
    return {
      denyInboundEncryptedConnection: (peer) =>
        !this.mayJoin(peer.toString()) && this.#options.expectsGuests?.() !== true,
      denyOutboundEncryptedConnection: (peer) =>
        !this.mayLink(peer.toString()) && !this.#hosts.has(peer.toString()),
    };
  }

  mayLink(peerId: string): boolean {
    return this.#options.handlers.admits(peerId);
  }

  mayJoin(peerId: string): boolean {
    return this.#options.handlers.admitsJoin(peerId) || this.mayLink(peerId);
  }

  /** Lets us connect to a machine to ask it; returns what takes that back. */
  visit(peerId: string): () => void {
    this.#hosts.set(peerId, (this.#hosts.get(peerId) ?? 0) + 1);
    return () => {
      const rest = this.#hosts.get(peerId)! - 1;
      if (rest === 0) this.#hosts.delete(peerId);
      else this.#hosts.set(peerId, rest);
    };
  }

  /** A connection is open, one of so many with its machine. */
  opened(connection: Connection, withSamePeer: number): void {
    const peerId = connection.remotePeer.toString();
    if (withSamePeer > CONNECTIONS_PER_PEER_MAX) return this.#refuse(connection, 'too many connections');
    if (connection.direction === 'outbound' || this.mayLink(peerId)) return;
    const ofPeer = [...this.#guests].filter((guest) => guest.remotePeer.toString() === peerId).length;
    if (this.#guests.size >= GUESTS_MAX || ofPeer >= GUESTS_PER_PEER_MAX) {
      return this.#refuse(connection, 'too many guests');
    }
    this.#guests.add(connection);
    const stay = this.#options.clock.after(GUEST_STAY_MS, () => {
      this.#guests.delete(connection);
      if (!this.mayLink(peerId)) this.#refuse(connection, 'stayed too long');
    });
    connection.addEventListener('close', () => {
      stay.cancel();
      this.#guests.delete(connection);
    });
  }

  /** Closes the connections of machines that are members no more; guests may finish what they came for. */
  sweep(connections: readonly Connection[]): void {
    for (const connection of connections) {
      const peerId = connection.remotePeer.toString();
      if (this.#guests.has(connection) || this.#hosts.has(peerId) || this.mayLink(peerId)) continue;
      this.#refuse(connection, 'not a member');
    }
  }

  #refuse(connection: Connection, reason: string): void {
    this.#options.log.info({ peer: connection.remotePeer.toString(), reason }, 'connection refused');
    connection.abort(new Error(reason));
  }
}
