import { systemRandom, type Clock, type Random, type Timer } from '../../daemon/clock.ts';
import { silentLog, type Log } from '../../daemon/log.ts';
import { createMachine, type Machine } from '../../daemon/machine.ts';
import type { LinkStatus, Network, NetworkHandlers } from '../../daemon/network/network.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { decodeFrameBody, encodeFrame, type Frame } from '../../protocol/frame.ts';
import { newId } from '../../protocol/ids.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import { copyOf, MemoryKv } from '../sim/memory-kv.ts';
import { MemoryPrekeyFile } from './memory-prekey-file.ts';

/** Whole machines in one process, on a wire of microtasks and a clock that the test drives. */

/** Lets everything run that waits for no timer: here all of it runs in microtasks. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Randomness that is the same in every run: it counts. */
export function countingRandom(from: number): Random {
  let count = from;
  return {
    bytes(length) {
      const bytes = new Uint8Array(Math.max(4, length));
      new DataView(bytes.buffer).setUint32(bytes.length - 4, (count += 1));
      return bytes.slice(-length);
    },
    fraction: () => 0.5,
  };
}

/** When a hand-driven clock starts. */
export const START_MS = 1_790_000_000_000;

/** Time stands still until the test moves it. What is due at once does not wait for that, only for its turn. */
export class HandClock implements Clock {
  #nowMs = START_MS;
  #timers: { atMs: number; task: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }

  elapsed(): number {
    return this.#nowMs;
  }

  after(delayMs: number, task: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, task };
    this.#timers.push(timer);
    if (delayMs <= 0) setImmediate(() => this.#run(timer));
    return { cancel: () => void (this.#timers = this.#timers.filter((one) => one !== timer)) };
  }

  /** Moves on, one timer after another; what each sets off runs before the next. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      await turn();
      const [next] = this.#timers.toSorted((a, b) => a.atMs - b.atMs);
      if (!next || next.atMs > endMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#run(next);
    }
    this.#nowMs = endMs;
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.length;
  }

  #run(timer: { atMs: number; task: () => void }): void {
    if (!this.#timers.includes(timer)) return;
    this.#timers = this.#timers.filter((one) => one !== timer);
    timer.task();
  }
}

/** Joins the networks of several machines. */
export class Wire {
  readonly networks = new Map<string, WireNetwork>();
  /** Whether machines that start from now on gossip: each passes on to its links what it accepts. */
  gossips = false;
  /** Pairs whose link was ended in this turn: ended once more, it comes up in the next. */
  readonly #parted = new Set<string>();
  readonly #cut = new Set<string>();
  /** Who was told that whom refuses it, `ASKER>PEER`; told once, and again when that had changed meanwhile. */
  readonly #refused = new Set<string>();
  #links = 0;

  network(signer: Signer): WireNetwork {
    const network = new WireNetwork(this, signer.peerId);
    this.networks.set(signer.peerId, network);
    return network;
  }

  /** No link between the two until `mend`. */
  cut(a: string, b: string): void {
    this.#cut.add(pair(a, b));
    this.settle();
  }

  mend(a: string, b: string): void {
    this.#cut.delete(pair(a, b));
    this.settle();
  }

  isCut(a: string, b: string): boolean {
    return this.#cut.has(pair(a, b));
  }

  /** Makes and breaks links as the machines want them now; `by` is the machine that has just changed its mind. */
  settle(by?: string): void {
    const networks = [...this.networks.values()];
    for (const [index, a] of networks.entries()) {
      for (const b of networks.slice(index + 1)) {
        this.#settlePair(a, b, by);
        this.#tellRefused(a, b);
        this.#tellRefused(b, a);
      }
    }
  }

  unplug(peerId: string): void {
    this.networks.delete(peerId);
    for (const key of this.#refused) if (key.split('>').includes(peerId)) this.#refused.delete(key);
  }

  /** Ends a link: at once for the machine that does it, for the other one when it has read what it was sent. */
  part(from: WireNetwork, to: WireNetwork): void {
    const link = from.linked.get(to.peerId);
    const key = pair(from.peerId, to.peerId);
    const isAgain = this.#parted.has(key);
    this.#parted.add(key);
    setImmediate(() => this.#parted.delete(key));
    from.linkDown(to.peerId);
    queueMicrotask(() => {
      if (to.linked.get(from.peerId) === link) to.linkDown(from.peerId);
      if (isAgain) setImmediate(() => this.settle());
      else this.settle();
    });
  }

  #settlePair(a: WireNetwork, b: WireNetwork, by: string | undefined): void {
    const isLinked = a.linked.has(b.peerId);
    // One side has parted and the other is about to hear of it.
    if (isLinked !== b.linked.has(a.peerId)) return;
    const wanted =
      !this.isCut(a.peerId, b.peerId) &&
      a.accepts(b.peerId) &&
      b.accepts(a.peerId) &&
      (a.wants(b.peerId) || b.wants(a.peerId));
    if (wanted === isLinked) return;
    if (wanted) {
      const link = (this.#links += 1);
      a.linkUp(b.peerId, link);
      b.linkUp(a.peerId, link);
    } else if (by === a.peerId) this.part(a, b);
    else if (by === b.peerId) this.part(b, a);
    else {
      a.linkDown(b.peerId);
      b.linkDown(a.peerId);
    }
  }

  #tellRefused(asker: WireNetwork, peer: WireNetwork): void {
    const key = `${asker.peerId}>${peer.peerId}`;
    const refused = (): boolean =>
      !this.isCut(asker.peerId, peer.peerId) &&
      asker.wants(peer.peerId) &&
      asker.accepts(peer.peerId) &&
      peer.runs &&
      !peer.accepts(asker.peerId);
    if (!refused()) this.#refused.delete(key);
    else if (!this.#refused.has(key)) {
      this.#refused.add(key);
      queueMicrotask(() => refused() && asker.refusedBy(peer.peerId));
    }
  }
}

function pair(a: string, b: string): string {
  return [a, b].sort().join(' ');
}

/** One machine's end of the wire. Frames are encoded and decoded on the way, as on a real one. */
export class WireNetwork implements Network {
  readonly peerId: string;
  /** Machines linked now, each with a number of the link. */
  readonly linked = new Map<string, number>();
  publish?: (topic: string, data: Uint8Array) => void;
  /** Frames that it was given for others, by their type. */
  readonly sent = new Map<Frame['t'], number>();
  readonly #wire: Wire;
  #handlers: NetworkHandlers | undefined;
  #peers: ReadonlyMap<string, readonly string[]> = new Map();

  constructor(wire: Wire, peerId: string) {
    this.#wire = wire;
    this.peerId = peerId;
    if (wire.gossips) this.publish = (topic, data) => this.#passOn(topic, data, peerId);
  }

  async start(handlers: NetworkHandlers): Promise<void> {
    this.#handlers = handlers;
    this.#wire.settle();
  }

  addresses(): string[] {
    return [`/ip4/127.0.0.1/tcp/4001/p2p/${this.peerId}`];
  }

  setPeers(peers: ReadonlyMap<string, readonly string[]>): void {
    this.#peers = peers;
    this.#wire.settle(this.peerId);
  }

  send(peerId: string, frames: readonly Frame[]): boolean {
    const link = this.linked.get(peerId);
    if (link === undefined) return false;
    for (const frame of frames) {
      this.sent.set(frame.t, (this.sent.get(frame.t) ?? 0) + 1);
      const bytes = encodeFrame(frame);
      queueMicrotask(() => {
        const other = this.#wire.networks.get(peerId);
        if (other?.linked.get(this.peerId) === link) {
          other.deliver(this.peerId, decodeFrameBody(bytes.subarray(4)));
        }
      });
    }
    return true;
  }

  wake(): void {}

  nudge(): void {}

  drop(peerId: string): void {
    if (this.linked.has(peerId)) this.#wire.part(this, this.#wire.networks.get(peerId)!);
  }

  async requestJoin(peerId: string, _addresses: readonly string[], request: Uint8Array): Promise<Uint8Array> {
    const other = this.#wire.networks.get(peerId)?.joinHandlers(this.peerId);
    if (!other || this.#wire.isCut(this.peerId, peerId))
      throw new PatchcordError('peer_unreachable', 'Nobody there.');
    return other.join(this.peerId, request);
  }

  links(): LinkStatus[] {
    return [...this.#peers.keys()].map((peerId) => ({ peerId, up: this.linked.has(peerId), attempts: 0 }));
  }

  async stop(): Promise<void> {
    for (const peerId of this.linked.keys()) {
      this.linkDown(peerId);
      this.#wire.networks.get(peerId)?.linkDown(this.peerId);
    }
    this.#handlers = undefined;
    this.#wire.unplug(this.peerId);
  }

  get epoch(): number {
    return this.#handlers?.epoch?.() ?? 0;
  }

  kept(peerId: string): Uint8Array | undefined {
    return this.#handlers?.kept?.(peerId);
  }

  get runs(): boolean {
    return this.#handlers !== undefined;
  }

  accepts(peerId: string): boolean {
    return this.#handlers?.admits(peerId) ?? false;
  }

  wants(peerId: string): boolean {
    return this.#peers.has(peerId);
  }

  joinHandlers(peerId: string): NetworkHandlers | undefined {
    const handlers = this.#handlers;
    return handlers && (handlers.admitsJoin(peerId) || handlers.admits(peerId)) ? handlers : undefined;
  }

  linkUp(peerId: string, link: number): void {
    this.linked.set(peerId, link);
    const window = { frames: 512, sizeBytes: 2 * 1024 * 1024 };
    const boot = newId(0, systemRandom.bytes);
    const other = this.#wire.networks.get(peerId);
    const kept = other?.kept(this.peerId);
    const epoch = other?.epoch ?? 0;
    this.#handlers!.linkUp(peerId, { window, boot, epoch, address: '', ...(kept && { kept }) });
  }

  linkDown(peerId: string): void {
    if (this.linked.delete(peerId)) this.#handlers?.linkDown(peerId, 'cut');
  }

  refusedBy(peerId: string): void {
    this.#handlers?.refused(peerId);
  }

  hear(topic: string, data: Uint8Array, from: string): void {
    if (this.#handlers?.gossip?.(topic, data, from) === 'accept') this.#passOn(topic, data, from);
  }

  #passOn(topic: string, data: Uint8Array, from: string): void {
    for (const peer of this.linked.keys()) {
      if (peer === from) continue;
      queueMicrotask(() => this.#wire.networks.get(peer)?.hear(topic, data, this.peerId));
    }
  }

  deliver(from: string, frame: Frame): void {
    this.#handlers?.frame(from, frame);
  }
}

/** A machine of the test, with everything it runs on. */
export interface TestMachine extends Machine {
  readonly peerId: string;
  readonly signer: Signer;
  readonly kv: MemoryKv;
  readonly prekeyFile: MemoryPrekeyFile;
  readonly clock: Clock;
}

/** The file of prekeys that lies beside a store, so that a machine started on that store finds its own. */
const prekeyFiles = new WeakMap<MemoryKv, MemoryPrekeyFile>();

export async function startMachine(
  wire: Wire,
  options: {
    seed: number;
    label: string;
    clock: Clock;
    kv?: MemoryKv;
    random?: Random;
    log?: Log;
    hopsMax?: number;
    linksMax?: number;
    retentionMs?: number;
  },
): Promise<TestMachine> {
  const { hopsMax, linksMax } = options;
  const { seed, label, clock, kv = new MemoryKv(), random = systemRandom, log = silentLog } = options;
  const prekeyFile = prekeyFiles.get(kv) ?? new MemoryPrekeyFile();
  prekeyFiles.set(kv, prekeyFile);
  const signer = signerFromSeed(new Uint8Array(32).fill(seed));
  const machine = await createMachine({
    signer,
    kv,
    storeKey: new Uint8Array(32).fill(seed),
    prekeyFile,
    network: wire.network(signer),
    clock,
    random,
    log,
    boot: newId(clock.now(), random.bytes),
    label,
    platform: 'test',
    peers: [],
    hopsMax,
    linksMax,
    ...(options.retentionMs !== undefined && { retentionMs: options.retentionMs }),
  });
  await machine.start();
  return { ...machine, peerId: signer.peerId, signer, kv, prekeyFile, clock };
}

/** What lies on the disk of a machine now; one that is started on it finds its prekeys too. */
export async function diskOf(machine: TestMachine): Promise<MemoryKv> {
  const copy = await copyOf(machine.kv);
  const prekeyFile = new MemoryPrekeyFile();
  prekeyFile.bytes = machine.prekeyFile.bytes;
  prekeyFiles.set(copy, prekeyFile);
  return copy;
}

/** Lets one machine into a namespace of another. */
export async function admit(from: TestMachine, to: TestMachine, namespace = 'myproject'): Promise<void> {
  const { ticket } = await from.admin.invite(namespace);
  await to.admin.join(ticket);
  await turn();
}
