import type { Timer } from '../../daemon/clock.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { encodeFrame, FrameReader, type Frame } from '../../protocol/frame.ts';
import { LINK_SILENCE_MS } from '../../protocol/limits.ts';
import type { VirtualTime } from './clock.ts';
import type { SimNetwork } from './network.ts';
import type { SeededRandom } from './random.ts';

/** How bad the wire is. Shares are of frames. */
export interface WireFaults {
  lossShare: number;
  duplicateShare: number;
  reorderShare: number;
  delayMsMax: number;
}

export const NO_WIRE_FAULTS: WireFaults = {
  lossShare: 0,
  duplicateShare: 0,
  reorderShare: 0,
  delayMsMax: 20,
};

/** As long as the real network waits for an answer. */
const ANSWER_MS_MAX = 20_000;

/** One frame in so many comes in two pieces. */
const CUT_SHARE = 0.1;

/** One side of a link. It may be up while the other side has noticed already that the link is dead. */
interface End {
  network: SimNetwork;
  up: boolean;
  /** When the last frame on the way to it arrives. */
  lastArrivalMs: number;
}

interface Link {
  ends: [End, End];
}

/**
 * All links between the machines of a simulation. Frames are encoded, delayed, and with the given shares lost,
 * doubled and overtaken; links break, directions go silent. Loss and overtaking within a link is more than the
 * contract of daemon/network/network.ts allows a network to do; the protocol has to bear it all the same.
 */
export class SimWire {
  faults: WireFaults = NO_WIRE_FAULTS;
  /** How much the receiver takes unacknowledged. */
  window = { frames: 512, sizeBytes: 2 * 1024 * 1024 };
  framesDelivered = 0;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #trace: (what: string, bytes?: Uint8Array) => void;
  readonly #onSent: (from: string, to: string, frame: Frame) => void;
  readonly #onDelivered: (peerId: string, bytes: Uint8Array) => void;
  readonly #onAsked: (peerId: string, bytes: Uint8Array) => void;
  readonly #networks = new Map<string, SimNetwork>();
  readonly #links = new Map<string, Link>();
  readonly #dials = new Map<string, Timer>();
  /** Names of pairs, by both machines: looked up far more often than there are any. */
  readonly #pairs = new Map<string, Map<string, string>>();
  /** Directions that carry nothing, `FROM>TO`. */
  readonly #silent = new Set<string>();

  constructor(parts: {
    time: VirtualTime;
    random: SeededRandom;
    trace: (what: string, bytes?: Uint8Array) => void;
    /** Sees every frame that is put on a link. */
    onSent?: (from: string, to: string, frame: Frame) => void;
    /** Sees the bytes of every frame that reaches a machine, */
    onDelivered: (peerId: string, bytes: Uint8Array) => void;
    /** and of every question and answer outside of links. */
    onAsked?: (peerId: string, bytes: Uint8Array) => void;
  }) {
    this.#time = parts.time;
    this.#random = parts.random;
    this.#trace = parts.trace;
    this.#onSent = parts.onSent ?? (() => {});
    this.#onDelivered = parts.onDelivered;
    this.#onAsked = parts.onAsked ?? (() => {});
  }

  plugIn(network: SimNetwork): void {
    this.#networks.set(network.peerId, network);
  }

  /** `quick` when the others are told; otherwise they may find out by silence only. */
  unplug(network: SimNetwork, notice: 'quick' | 'any'): void {
    if (this.#networks.get(network.peerId) === network) this.#networks.delete(network.peerId);
    for (const link of this.#links.values()) {
      const own = link.ends.find((end) => end.network === network);
      if (!own?.up) continue;
      this.#end(link, own, 'stopped');
      const told = notice === 'quick' || this.#random.chance(0.7);
      this.#endLater(link, told ? this.#random.between(1, 300) : this.#silenceMs(), 'connection lost');
    }
  }

  /** Links two machines as soon as both run and want it. */
  dial(a: string, b: string): void {
    const pair = this.#pairOf(a, b);
    if (this.#dials.has(pair) || this.#isWhole(pair)) return;
    const timer = this.#time.after(this.#random.between(20, 1_500), () => {
      this.#dials.delete(pair);
      this.#connect(pair);
    });
    this.#dials.set(pair, timer);
  }

  isUp(network: SimNetwork, peerId: string): boolean {
    const link = this.#links.get(this.#pairOf(network.peerId, peerId));
    return link?.ends.some((end) => end.network === network && end.up) ?? false;
  }

  send(from: SimNetwork, to: string, frames: readonly Frame[]): boolean {
    if (!this.isUp(from, to)) return false;
    const link = this.#links.get(this.#pairOf(from.peerId, to))!;
    for (const frame of frames) {
      this.#onSent(from.peerId, to, frame);
      this.#carry(link, from.peerId, frame);
    }
    return true;
  }

  /** Both sides lose the link, each in its own time. */
  breakLink(a: string, b: string, reason: string): void {
    const link = this.#links.get(this.#pairOf(a, b));
    if (!link) return;
    for (const end of link.ends) {
      this.#time.after(this.#random.between(0, 400), () => this.#end(link, end, reason));
    }
  }

  /** One side ends the link: at once for itself, and in a while for the other one, which may hear what is on its way. */
  part(from: SimNetwork, to: string, reason: string): void {
    const link = this.#links.get(this.#pairOf(from.peerId, to));
    const own = link?.ends.find((end) => end.network === from);
    if (!link || !own?.up) return;
    this.#end(link, own, reason);
    this.#endLater(link, this.#random.between(0, 400), 'closed by peer');
  }

  pairs(): [string, string][] {
    return [...this.#links.keys()].map(split);
  }

  /** Nothing gets from one machine to the other; after a while that is noticed. */
  silence(from: string, to: string): void {
    this.#silent.add(`${from}>${to}`);
    const link = this.#links.get(this.#pairOf(from, to));
    if (!link) return;
    this.#time.after(this.#silenceMs(), () => {
      if (!this.#silent.has(`${from}>${to}`)) return;
      const deaf = link.ends.find((end) => end.network.peerId === to)!;
      this.#end(link, deaf, 'silent');
      // Its farewell gets through unless that direction is silent too.
      this.#endLater(link, this.#random.between(1, 2 * LINK_SILENCE_MS), 'connection lost');
    });
  }

  heal(from: string, to: string): void {
    this.#silent.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#silent.clear();
  }

  async requestJoin(
    from: SimNetwork,
    to: string,
    addresses: readonly string[],
    request: Uint8Array,
  ): Promise<Uint8Array> {
    await this.#time.sleep(this.#random.between(5, 80));
    const target = this.#networks.get(to);
    const handlers = target?.handlers;
    const listed = target?.addresses().some((address) => addresses.includes(address)) ?? false;
    const reached = (listed || this.isUp(from, to)) && this.#isOpen(from.peerId, to);
    if (!handlers || !reached || !(handlers.admitsJoin(from.peerId) || handlers.admits(from.peerId))) {
      throw new PatchcordError('peer_unreachable', 'That machine does not answer.');
    }
    this.#onAsked(to, request);
    const answer = await this.#inTime(handlers.join(from.peerId, request));
    this.#onAsked(from.peerId, answer);
    await this.#time.sleep(this.#random.between(5, 80));
    return answer;
  }

  /** A machine that is switched off meanwhile never answers. */
  #inTime(answer: Promise<Uint8Array>): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const late = new PatchcordError('timeout', 'The other machine did not answer.');
      const timer = this.#time.after(ANSWER_MS_MAX, () => reject(late));
      answer.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  #connect(pair: string): void {
    const [a, b] = split(pair);
    const [one, other] = [this.#networks.get(a), this.#networks.get(b)];
    if (!one && !other) return;
    const wanted =
      (one?.dials(b, other?.addresses()[0]) ?? false) || (other?.dials(a, one?.addresses()[0]) ?? false);
    const open = this.#isOpen(a, b);
    const admitted = one?.handlers?.admits(b) && other?.handlers?.admits(a);
    if (!one || !other || !wanted || !open || !admitted) {
      this.#time.after(this.#random.between(300, 3_000), () => this.dial(a, b));
      if (one && other && open) {
        this.#tellRefused(one, other);
        this.#tellRefused(other, one);
      }
      return;
    }
    if (this.#isWhole(pair)) return;
    const stale = this.#links.get(pair);
    for (const end of stale?.ends ?? []) this.#end(stale!, end, 'superseded');
    const arrivalMs = this.#time.nowMs;
    const ends: Link['ends'] = [
      { network: one, up: true, lastArrivalMs: arrivalMs },
      { network: other, up: true, lastArrivalMs: arrivalMs },
    ];
    this.#links.set(pair, { ends });
    this.#trace(`link up ${pair}`);
    const sides = this.#random.chance(0.5) ? ends : ends.toReversed();
    for (const { network } of sides) {
      const peer = network === one ? other : one;
      const epoch = peer.handlers?.epoch?.() ?? 0;
      const kept = peer.handlers?.kept?.(network.peerId);
      const link = { window: this.window, boot: peer.boot, epoch, address: peer.addresses()[0] ?? '' };
      network.handlers?.linkUp(peer.peerId, { ...link, ...(kept && { kept }) });
    }
  }

  /** Says so to a machine that dials another and is not let in there. */
  #tellRefused(asker: SimNetwork, peer: SimNetwork): void {
    if (!asker.dials(peer.peerId, peer.addresses()[0]) || !asker.handlers?.admits(peer.peerId)) return;
    if (!peer.handlers || peer.handlers.admits(asker.peerId)) return;
    this.#trace(`refused ${asker.peerId} ${peer.peerId}`);
    asker.handlers.refused(peer.peerId);
  }

  #carry(link: Link, from: string, frame: Frame): void {
    const bytes = encodeFrame(frame);
    const to = link.ends.find((end) => end.network.peerId !== from)!;
    const { lossShare, duplicateShare, reorderShare, delayMsMax } = this.faults;
    for (let copies = this.#random.chance(duplicateShare) ? 2 : 1; copies > 0; copies--) {
      if (this.#random.chance(lossShare)) continue;
      let arrivalMs = this.#time.nowMs + this.#random.between(1, delayMsMax);
      if (!this.#random.chance(reorderShare)) {
        arrivalMs = Math.max(arrivalMs, to.lastArrivalMs);
        to.lastArrivalMs = arrivalMs;
      }
      this.#time.after(arrivalMs - this.#time.nowMs, () => this.#deliver(link, from, to, bytes));
    }
  }

  #deliver(link: Link, from: string, to: End, bytes: Uint8Array): void {
    const { peerId, handlers } = to.network;
    if (!to.up || !handlers || this.#links.get(this.#pairOf(from, peerId)) !== link) return;
    if (this.#silent.size > 0 && this.#silent.has(`${from}>${peerId}`)) return;
    this.framesDelivered += 1;
    this.#trace(`frame ${from}>${peerId}`, bytes);
    this.#onDelivered(peerId, bytes);
    const reader = new FrameReader();
    for (const part of this.#pieces(bytes)) {
      for (const frame of reader.push(part)) handlers.frame(from, frame);
    }
  }

  /** Most arrive at once, some in two parts. */
  #pieces(bytes: Uint8Array): Uint8Array[] {
    if (!this.#random.chance(CUT_SHARE)) return [bytes];
    const cut = this.#random.between(0, bytes.length);
    return [bytes.subarray(0, cut), bytes.subarray(cut)];
  }

  #end(link: Link, end: End, reason: string): void {
    if (!end.up) return;
    end.up = false;
    const peer = link.ends.find((other) => other !== end)!.network.peerId;
    this.#trace(`link down ${end.network.peerId} ${peer} ${reason}`);
    end.network.handlers?.linkDown(peer, reason);
    this.dial(end.network.peerId, peer);
  }

  #endLater(link: Link, delayMs: number, reason: string): void {
    this.#time.after(delayMs, () => {
      for (const end of link.ends) this.#end(link, end, reason);
    });
  }

  #pairOf(a: string, b: string): string {
    const [first, second] = a < b ? [a, b] : [b, a];
    let known = this.#pairs.get(first);
    if (!known) this.#pairs.set(first, (known = new Map()));
    let pair = known.get(second);
    if (pair === undefined) known.set(second, (pair = `${first} ${second}`));
    return pair;
  }

  /** Whether both directions carry something. */
  #isOpen(a: string, b: string): boolean {
    return !this.#silent.has(`${a}>${b}`) && !this.#silent.has(`${b}>${a}`);
  }

  #isWhole(pair: string): boolean {
    return this.#links.get(pair)?.ends.every((end) => end.up) ?? false;
  }

  #silenceMs(): number {
    return this.#random.between(LINK_SILENCE_MS / 3, LINK_SILENCE_MS);
  }
}

function split(pair: string): [string, string] {
  const [a = '', b = ''] = pair.split(' ');
  return [a, b];
}
