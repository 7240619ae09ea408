import { systemRandom, type Clock, type Random, type Timer } from '../../daemon/clock.ts';
import { silentLog, type Log } from '../../daemon/log.ts';
import { createMachine, type Machine } from '../../daemon/machine.ts';
import type { LinkStatus, Network, NetworkHandlers } from '../../daemon/network/network.ts';
import { openEnvelope, type Opened } from '../../protocol/envelope.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { decodeFrameBody, encodeFrame, type Frame, type FrameOf } from '../../protocol/frame.ts';
import { newId } from '../../protocol/ids.ts';
import { PREKEY_VALID_MS } from '../../protocol/limits.ts';
import { readPrekey, signPrekey, type Prekey } from '../../protocol/prekey.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import {
  decodeJoinAnswer,
  encodeJoin,
  joinProof,
  parseTicket,
  type JoinAnswer,
} from '../../protocol/ticket.ts';
import { xwingKey, type XWingKey } from '../../protocol/xwing.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
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
const START_MS = 1_790_000_000_000;

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
  readonly #cut = new Set<string>();

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

  /** Makes and breaks links as the machines want them now. */
  settle(): void {
    const networks = [...this.networks.values()];
    for (const [index, a] of networks.entries()) {
      for (const b of networks.slice(index + 1)) {
        const wanted =
          !this.isCut(a.peerId, b.peerId) &&
          a.accepts(b.peerId) &&
          b.accepts(a.peerId) &&
          (a.wants(b.peerId) || b.wants(a.peerId));
        if (wanted === a.linked.has(b.peerId)) continue;
        for (const [one, other] of [
          [a, b],
          [b, a],
        ] as const) {
          if (wanted) one.linkUp(other.peerId);
          else one.linkDown(other.peerId);
        }
      }
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
  readonly #wire: Wire;
  #handlers: NetworkHandlers | undefined;
  #peers: ReadonlyMap<string, readonly string[]> = new Map();
  #links = 0;

  constructor(wire: Wire, peerId: string) {
    this.#wire = wire;
    this.peerId = peerId;
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
    this.#wire.settle();
  }

  send(peerId: string, frames: readonly Frame[]): boolean {
    const link = this.linked.get(peerId);
    if (link === undefined) return false;
    for (const frame of frames) {
      const bytes = encodeFrame(frame);
      queueMicrotask(() => {
        if (this.linked.get(peerId) !== link) return;
        this.#wire.networks.get(peerId)!.deliver(this.peerId, decodeFrameBody(bytes.subarray(4)));
      });
    }
    return true;
  }

  drop(peerId: string): void {
    if (!this.linked.has(peerId)) return;
    this.linkDown(peerId);
    this.#wire.networks.get(peerId)!.linkDown(this.peerId);
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
    for (const peerId of this.linked.keys()) this.drop(peerId);
    this.#handlers = undefined;
    this.#wire.networks.delete(this.peerId);
  }

  accepts(peerId: string): boolean {
    return this.#handlers?.admits(peerId) ?? false;
  }

  wants(peerId: string): boolean {
    return this.#peers.has(peerId);
  }

  joinHandlers(peerId: string): NetworkHandlers | undefined {
    const handlers = this.#handlers;
    return handlers && (handlers.admitsJoin() || handlers.admits(peerId)) ? handlers : undefined;
  }

  linkUp(peerId: string): void {
    this.linked.set(peerId, (this.#links += 1));
    const window = { frames: 512, sizeBytes: 2 * 1024 * 1024 };
    this.#handlers!.linkUp(peerId, { window, boot: newId(0, systemRandom.bytes), address: '' });
  }

  linkDown(peerId: string): void {
    this.linked.delete(peerId);
    this.#handlers?.linkDown(peerId, 'cut');
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
  options: { seed: number; label: string; clock: Clock; kv?: MemoryKv; random?: Random; log?: Log },
): Promise<TestMachine> {
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
  });
  await machine.start();
  return { ...machine, peerId: signer.peerId, signer, kv, prekeyFile, clock };
}

/** Lets one machine into a namespace of another. */
export async function admit(from: TestMachine, to: TestMachine, namespace = 'myproject'): Promise<void> {
  const { ticket } = await from.admin.invite(namespace);
  await to.admin.join(ticket);
  await turn();
}

/** A machine without a daemon: it says what the test wants and remembers what it was told. */
export class HandPeer {
  readonly signer: Signer;
  readonly network: WireNetwork;
  readonly frames: { from: string; frame: Frame }[] = [];
  /** What it tells on every link that comes up, until the test makes it keep still. */
  prekey: Prekey | undefined;
  readonly #keys = new Map<number, XWingKey>();
  #waiting: (() => void)[] = [];

  constructor(wire: Wire, seed: number) {
    this.signer = signerFromSeed(new Uint8Array(32).fill(seed));
    this.network = wire.network(this.signer);
    this.prekey = this.newPrekey(1);
  }

  /** Makes a prekey of that sequence, and keeps it for `open`. */
  newPrekey(seq: number, madeAtMs = START_MS): Prekey {
    const key = xwingKey(systemRandom.bytes(32));
    this.#keys.set(seq, key);
    const times = { made_at: madeAtMs, valid_until: madeAtMs + PREKEY_VALID_MS };
    return signPrekey({ seq, key: key.publicKey, ...times }, this.signer);
  }

  forget(seq: number): void {
    this.#keys.delete(seq);
  }

  open(envelope: Uint8Array): Opened {
    return openEnvelope(envelope, this.peerId, (seq) => this.#keys.get(seq));
  }

  /** The prekey that a machine told last. */
  prekeyOf(machine: string): Prekey {
    const told = this.frames.findLast(({ from, frame }) => from === machine && frame.t === 'prekey')?.frame;
    if (told?.t !== 'prekey') throw new Error('no prekey was told');
    return readPrekey(told.prekey);
  }

  tell(to: string, prekey: Prekey): void {
    this.say(to, { t: 'prekey', prekey: prekey.bytes });
  }

  get peerId(): string {
    return this.signer.peerId;
  }

  async start(): Promise<void> {
    await this.network.start({
      admits: () => true,
      admitsJoin: () => false,
      linkUp: (machine) => this.prekey && this.tell(machine, this.prekey),
      linkDown: () => undefined,
      frame: (from, frame) => {
        this.frames.push({ from, frame });
        for (const wake of this.#waiting.splice(0)) wake();
      },
      join: async () => new Uint8Array(0),
    });
  }

  /** Asks to join, with a proof for the ticket's secret unless another is given. */
  async join(ticketText: string, proof?: Uint8Array): Promise<JoinAnswer> {
    const ticket = parseTicket(ticketText);
    const bound = { ns: ticket.ns, inviter: ticket.peer, joiner: this.peerId };
    const request = encodeJoin({
      v: 1,
      ns: ticket.ns,
      label: 'stranger',
      proof: proof ?? joinProof(ticket.secret, bound),
    });
    const answer = decodeJoinAnswer(await this.network.requestJoin(ticket.peer, ticket.addresses, request));
    await turn();
    return answer;
  }

  say(to: string, ...frames: Frame[]): void {
    this.network.send(to, frames);
  }

  all<T extends Frame['t']>(type: T): FrameOf<T>[] {
    return this.frames.map(({ frame }) => frame).filter((frame): frame is FrameOf<T> => frame.t === type);
  }

  /** The first frame of that type that `wanted` accepts, as soon as it is there. */
  async heard<T extends Frame['t']>(
    type: T,
    wanted: (frame: FrameOf<T>) => boolean = () => true,
  ): Promise<FrameOf<T>> {
    for (;;) {
      const found = this.all(type).find(wanted);
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The answer to parcel `n`. */
  async answer(n: number): Promise<FrameOf<'ack'> | FrameOf<'refuse'>> {
    for (;;) {
      const found = this.frames
        .map(({ frame }) => frame)
        .find((frame) => (frame.t === 'ack' || frame.t === 'refuse') && frame.n === n);
      if (found?.t === 'ack' || found?.t === 'refuse') return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}
