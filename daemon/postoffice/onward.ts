import { equalBytes } from '../../protocol/codec.ts';
import { chooseMailboxes } from '../../protocol/delivery/mailboxes.ts';
import { hex } from '../../protocol/digest.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import { envelopeHash, verifyHeldReceipt } from '../../protocol/held-receipt.ts';
import {
  OFFER_HASHES_MAX,
  ONWARD_AGAIN_MS,
  ONWARD_ANSWER_MS,
  ONWARD_ASIDE_MS,
} from '../../protocol/limits.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { MeshLinks } from '../directory/mesh-links.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { HeldStore } from '../store/held-store.ts';

/** Parcels that go on have numbers from here, so that none is taken for one of the outbox or of what is handed over. */
const FIRST_NUMBER = 2 ** 50;
/** What one machine may have unanswered; within what a link takes beside own mail, deposits and what is handed over. */
const UNANSWERED_MAX = 64;
const UNANSWERED_SIZE_BYTES_MAX = 256 * 1024;
/** Envelopes of one recipient that go on side by side. */
const MOVED_AT_ONCE = 16;
/** Machines that took nothing for some recipient lately. */
const RESTING_MAX = 1_000;

/** An envelope on its way, with the withdrawal that its sender left. */
export interface Travelling {
  ns: string;
  to: string;
  envelope: Uint8Array;
  withdraw: Uint8Array;
}

interface Asked {
  machine: string;
  travelling: Travelling;
  answer: (held: Uint8Array | undefined) => void;
  timer: Timer;
}

/**
 * Brings envelopes nearer to machines with which this one is not linked, where not all link with all. It gives them
 * only to a member that is nearer to the recipient in the mesh, so none goes in a circle, and calls one passed on only
 * with the signature of whoever keeps it now. But a neighbour of a recipient that is there, as presence knows, and has
 * no link with it, gives what it keeps to any other member: once a minute, and never what it is just being given.
 */
export class Onward {
  readonly #held: HeldStore;
  readonly #directory: Directory;
  readonly #links: MeshLinks;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  /** By number. */
  readonly #asked = new Map<number, Asked>();
  /** By `TO MACHINE`, until when. */
  readonly #resting = new Map<string, number>();
  /** By machine that is there and not linked with this one, its neighbour: when another neighbour is to try next. */
  readonly #asideAt = new Map<string, number>();
  /** Hashes in hex of what is kept here and being passed on. */
  readonly #moving = new Set<string>();
  #number = FIRST_NUMBER;
  #timer: Timer | undefined;
  #looking = false;
  #lookAgain = false;
  #stopped = false;

  constructor(parts: {
    held: HeldStore;
    directory: Directory;
    links: MeshLinks;
    network: Network;
    clock: Clock;
    random: Random;
    log: Log;
  }) {
    this.#held = parts.held;
    this.#directory = parts.directory;
    this.#links = parts.links;
    this.#network = parts.network;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
    // A neighbour may be back that does not link with this machine.
    parts.directory.onPresenceChanged((ns) => {
      if (this.#links.overlay(ns)?.isFull === false) this.#again();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const number of this.#asked.keys()) this.#answer(number, undefined);
  }

  /**
   * Gives an envelope to a linked member that is nearer to its recipient. Resolves with the held receipt of whoever
   * keeps it now, which need not be that member; undefined when it is still this machine's to see to.
   */
  give(travelling: Travelling, from: string): Promise<Uint8Array | undefined> {
    return this.#ask(travelling, this.#next(travelling, { from }));
  }

  #ask(travelling: Travelling, machine: string | undefined): Promise<Uint8Array | undefined> {
    if (machine === undefined) return Promise.resolve(undefined);
    const n = ++this.#number;
    const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
    const timer = this.#clock.after(ONWARD_ANSWER_MS, () => this.#notTaken(n));
    this.#asked.set(n, { machine, travelling, answer: resolve, timer });
    const { envelope, withdraw } = travelling;
    if (!this.#network.send(machine, [{ t: 'parcel', n, envelope, withdraw }])) this.#answer(n, undefined);
    return promise;
  }

  /**
   * Whether an envelope is kept here and may be gone in a moment. Nobody is told then that it is kept here: two machines
   * that gave it to each other would both believe that the other has it.
   */
  isMoving(envelope: Uint8Array): boolean {
    return this.#moving.size > 0 && this.#moving.has(hex(envelopeHash(envelope)));
  }

  /** The answer of a linked machine to a parcel; false when that was none of these. */
  answered(machine: string, frame: FrameOf<'ack'> | FrameOf<'refuse'>): boolean {
    const asked = this.#asked.get(frame.n);
    if (asked?.machine !== machine) return frame.n >= FIRST_NUMBER;
    if (frame.t === 'refuse' || !this.#isFor(asked.travelling, frame.held)) this.#notTaken(frame.n);
    else this.#answer(frame.n, frame.held);
    return true;
  }

  linkDown(machine: string): void {
    for (const [number, asked] of this.#asked) if (asked.machine === machine) this.#answer(number, undefined);
  }

  /** Something is kept here for a machine that is not linked. */
  kept(ns: string, to: string): void {
    if (this.#isOnTheWay(ns, to)) this.update();
    else if (this.#links.overlay(ns)?.isFull === false) this.#again();
  }

  /** Links changed, or something is kept that might go on: looks through what is kept, unless all link with all. */
  update(): void {
    const isFull = [...this.#directory.logs.keys()].every((ns) => this.#links.overlay(ns)?.isFull !== false);
    if (isFull) return;
    this.#lookAgain = true;
    if (!this.#looking) void this.#look();
  }

  async #look(): Promise<void> {
    this.#looking = true;
    try {
      while (this.#lookAgain && !this.#stopped) {
        this.#lookAgain = false;
        for (const { ns, to } of await this.#held.recipients()) await this.#moveAll(ns, to);
      }
    } catch (error) {
      this.#log.error({ error }, 'held mail could not be passed on toward its recipients');
      this.#again();
    } finally {
      this.#looking = false;
    }
  }

  async #moveAll(ns: string, to: string): Promise<void> {
    if (this.#directory.linked.has(to)) return void this.#asideAt.delete(to);
    const isAside = !this.#isOnTheWay(ns, to);
    // Its neighbours keep what there is for it, and hand it over when it is there.
    if (isAside && !this.#isAsideDue(ns, to)) return;
    if (this.#candidates(ns, to, isAside).length === 0) {
      this.#links.want(to);
      return this.#again();
    }
    for (let after = 0; !this.#stopped;) {
      const offers = await this.#held.offers(to, ns, after, OFFER_HASHES_MAX);
      const last = offers.at(-1);
      if (!last) return;
      after = last.number;
      for (let at = 0; at < offers.length; at += MOVED_AT_ONCE) {
        const some = offers
          .slice(at, at + MOVED_AT_ONCE)
          .map(({ hash }) => this.#move(ns, to, hash, isAside));
        if ((await Promise.all(some)).includes(false)) return this.#again();
      }
    }
  }

  /** False when it is still here and nobody takes it now. */
  async #move(ns: string, to: string, hash: Uint8Array, isAside: boolean): Promise<boolean> {
    this.#moving.add(hex(hash));
    try {
      const copy = await this.#held.copy(to, hash);
      if (!copy) return true;
      const travelling = { ns, to, ...copy };
      if (!(await this.#ask(travelling, this.#next(travelling, { isAside })))) return false;
      await this.#held.drop(to, [hash]);
      return true;
    } finally {
      this.#moving.delete(hex(hash));
    }
  }

  /** Looks once more before long. */
  #again(): void {
    if (this.#stopped || this.#timer) return;
    this.#timer = this.#clock.after(ONWARD_AGAIN_MS, () => {
      this.#timer = undefined;
      this.update();
    });
  }

  /** Whether mail for that machine is to wait elsewhere: this one is no neighbour of it. */
  #isOnTheWay(ns: string, to: string): boolean {
    const distance = this.#links.overlay(ns)?.distance(this.#directory.self.peerId, to) ?? 0;
    return distance > 1 && distance < Infinity;
  }

  /** Whether a neighbour is there, has not been linked with for a while, and it is time for another to try. */
  #isAsideDue(ns: string, to: string): boolean {
    if (this.#links.overlay(ns)?.isFull !== false || this.#directory.presence(ns, to) !== true) {
      this.#asideAt.delete(to);
      return false;
    }
    const now = this.#clock.elapsed();
    const dueAt = this.#asideAt.get(to);
    this.#again();
    if (dueAt !== undefined && dueAt > now) return false;
    this.#asideAt.set(to, now + ONWARD_ASIDE_MS);
    return dueAt !== undefined;
  }

  /** Linked members that are nearer to the recipient than this one; aside one that is a link farther may know another way. */
  #candidates(ns: string, to: string, isAside: boolean) {
    const log = this.#directory.logs.get(ns);
    const overlay = this.#links.overlay(ns);
    if (!log || !overlay) return [];
    const { linked, self } = this.#directory;
    const own = overlay.distance(self.peerId, to) + (isAside ? 2 : 0);
    if (own === Infinity) return [];
    const now = this.#clock.elapsed();
    return [...linked].flatMap((machine) => {
      const distance = overlay.distance(machine, to);
      const role = log.members.get(machine)?.role;
      if (role === undefined || distance >= own || distance === 0) return [];
      if ((this.#resting.get(`${to} ${machine}`) ?? -1) > now) return [];
      return { machine, role, distance, uptimeMs: 0, host: machine };
    });
  }

  #next(
    { ns, to, envelope }: Travelling,
    { from, isAside = false }: { from?: string; isAside?: boolean },
  ): string | undefined {
    const free = this.#candidates(ns, to, isAside).filter(
      ({ machine }) => machine !== from && this.#hasRoom(machine, envelope.length),
    );
    if (!isAside) return chooseMailboxes(to, free, 1)[0];
    // Any may be the one that knows a way.
    return free[Math.floor(this.#random.fraction() * free.length)]?.machine;
  }

  #hasRoom(machine: string, sizeBytes: number): boolean {
    let count = 0;
    let waitingBytes = 0;
    for (const asked of this.#asked.values()) {
      if (asked.machine !== machine) continue;
      count += 1;
      waitingBytes += asked.travelling.envelope.length;
    }
    return count === 0 || (count < UNANSWERED_MAX && waitingBytes + sizeBytes <= UNANSWERED_SIZE_BYTES_MAX);
  }

  #isFor({ ns, to, envelope }: Travelling, held: Uint8Array | undefined): held is Uint8Array {
    if (!held) return false;
    try {
      const receipt = verifyHeldReceipt(held);
      const isOther = receipt.by !== this.#directory.self.peerId && receipt.by !== to;
      const isMember = this.#directory.shares(ns, receipt.by);
      return isOther && isMember && receipt.ns === ns && equalBytes(receipt.envelope, envelopeHash(envelope));
    } catch {
      return false;
    }
  }

  /** It was refused, or nothing was heard: another way is tried before this one again. */
  #notTaken(number: number): void {
    const asked = this.#asked.get(number);
    if (!asked) return;
    const key = `${asked.travelling.to} ${asked.machine}`;
    this.#resting.delete(key);
    this.#resting.set(key, this.#clock.elapsed() + ONWARD_AGAIN_MS);
    if (this.#resting.size > RESTING_MAX) this.#resting.delete(this.#resting.keys().next().value!);
    this.#answer(number, undefined);
  }

  #answer(number: number, held: Uint8Array | undefined): void {
    const asked = this.#asked.get(number);
    if (!asked) return;
    this.#asked.delete(number);
    asked.timer.cancel();
    asked.answer(held);
  }
}
