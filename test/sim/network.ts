import type { Network, NetworkHandlers, LinkStatus } from '../../daemon/network/network.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Frame } from '../../protocol/frame.ts';
import { ADDRESSES_MAX } from '../../protocol/limits.ts';
import type { SimWire } from './wire.ts';

/**
 * The network as one start of a machine sees it. What it does with links and frames is decided by the wire that
 * all machines of a simulation share.
 */
export class SimNetwork implements Network {
  readonly peerId: string;
  readonly boot: string;
  readonly #wire: SimWire;
  readonly #address: string;
  #handlers: NetworkHandlers | undefined;
  #peers: ReadonlyMap<string, readonly string[]> = new Map();

  constructor(parts: { wire: SimWire; peerId: string; boot: string; address: string }) {
    this.#wire = parts.wire;
    this.peerId = parts.peerId;
    this.boot = parts.boot;
    this.#address = parts.address;
  }

  /** Undefined unless it runs. */
  get handlers(): NetworkHandlers | undefined {
    return this.#handlers;
  }

  async start(handlers: NetworkHandlers): Promise<void> {
    this.#handlers = handlers;
    this.#wire.plugIn(this);
    for (const peer of this.#peers.keys()) this.#wire.dial(this.peerId, peer);
  }

  addresses(): string[] {
    return this.#handlers ? [this.#address] : [];
  }

  setPeers(peers: ReadonlyMap<string, readonly string[]>): void {
    const before = this.#peers;
    this.#peers = peers;
    if (!this.#handlers) return;
    for (const peer of before.keys()) if (!peers.has(peer)) this.drop(peer, 'no longer a peer');
    for (const peer of peers.keys()) this.#wire.dial(this.peerId, peer);
  }

  /** Whether it would dial that machine at that address. */
  dials(peerId: string, address: string | undefined): boolean {
    const known = this.#peers.get(peerId)?.slice(0, ADDRESSES_MAX) ?? [];
    return address !== undefined && known.includes(address);
  }

  send(peerId: string, frames: readonly Frame[]): boolean {
    return this.#handlers !== undefined && this.#wire.send(this, peerId, frames);
  }

  wake(): void {}

  nudge(): void {}

  drop(peerId: string, reason: string): void {
    this.#wire.part(this, peerId, reason);
  }

  async requestJoin(peerId: string, addresses: readonly string[], request: Uint8Array): Promise<Uint8Array> {
    if (!this.#handlers) throw new PatchcordError('stopping', 'The network is not running.');
    return this.#wire.requestJoin(this, peerId, addresses, request);
  }

  links(): LinkStatus[] {
    return [...this.#peers.keys()].map((peerId) => ({
      peerId,
      up: this.#wire.isUp(this, peerId),
      attempts: 1,
    }));
  }

  async stop(): Promise<void> {
    this.#wire.unplug(this, 'quick');
    this.#handlers = undefined;
  }

  /** The power is cut: nobody is told anything. */
  crash(): void {
    this.#handlers = undefined;
    this.#wire.unplug(this, 'any');
  }
}
