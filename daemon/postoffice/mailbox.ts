import { hex } from '../../protocol/digest.ts';
import { readAddress } from '../../protocol/envelope.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Frame, FrameOf } from '../../protocol/frame.ts';
import { signHeldReceipt } from '../../protocol/held-receipt.ts';
import { HELD_SWEEP_INTERVAL_MS, OFFER_HASHES_MAX } from '../../protocol/limits.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { MeshLinks } from '../directory/mesh-links.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { Deposit, Held, HeldStore } from '../store/held-store.ts';
import { Onward } from './onward.ts';

/** Bytes of parcels passed on to one machine and not answered; a quarter of what a link takes. */
const PASSING_SIZE_BYTES_MAX = 512 * 1024;
/** Parcels that are passed on have numbers from here, so that none is taken for one of the outbox. */
const FIRST_NUMBER = 2 ** 40;
/** Envelopes that one batch of a sweep removes. */
const SWEPT_AT_ONCE = 200;
/** When nothing is heard for so long, everything is offered again. */
const SILENCE_MS = 5_000;

/** Who leaves what no link brought: nobody knows, so all of it counts as one depositor's. */
const CARRIED = 'carried';

/** An envelope as it goes by another way than a link. */
interface Carried {
  envelope: Uint8Array;
  /** See withdrawalHash. */
  withdraw: Uint8Array;
}

/** What is passed on to a linked machine for which mail is held. */
interface Passing {
  /** Namespaces still to be offered, the current one first, and after which offer. */
  places: { ns: string; after: number }[];
  offered: boolean;
  /** Asked for and not yet sent, by hash in hex. */
  wanted: { ns: string; hash: Uint8Array }[];
  /** Sent and not answered, by number. */
  passed: Map<number, { hash: Uint8Array; sizeBytes: number }>;
  /** Something was refused for now, or came while other things were passed on. */
  again: boolean;
  timer: Timer | undefined;
}

/**
 * Keeps envelopes for members that are away, and passes them on when they come. It learns for whom, by which prekey,
 * how large and when; neither content nor sender.
 *
 * Invariants: what is acknowledged is fsynced; a copy goes only when its recipient has answered for it, its depositor
 * has taken it back, the recipient was removed, or its time is over.
 */
export class Mailbox {
  readonly #held: HeldStore;
  readonly #directory: Directory;
  readonly #network: Network;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onward: Onward;
  readonly #passing = new Map<string, Passing>();
  #number = FIRST_NUMBER;
  #sweep: Timer | undefined;

  constructor(parts: {
    held: HeldStore;
    directory: Directory;
    links: MeshLinks;
    network: Network;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
  }) {
    this.#held = parts.held;
    this.#directory = parts.directory;
    this.#network = parts.network;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#onward = new Onward(parts);
  }

  start(): void {
    this.#scheduleSweep();
  }

  stop(): void {
    this.#sweep?.cancel();
    this.#onward.stop();
    for (const machine of this.#passing.keys()) this.linkDown(machine);
  }

  /** Takes an envelope that is sealed to another member. Throws `not_member`, `envelope_invalid`. */
  async hold(depositor: string, frame: FrameOf<'parcel'>): Promise<Frame> {
    const { ns, to } = readAddress(frame.envelope);
    if (!this.#directory.shares(ns, depositor) || !this.#directory.member(ns, to)) {
      throw new PatchcordError(
        'not_member',
        'Mail of a namespace that is not shared, or for no member of it.',
      );
    }
    if (!frame.withdraw) throw new PatchcordError('envelope_invalid', 'It is sealed to another machine.');
    const { envelope, withdraw } = frame;
    if (this.#onward.isMoving(envelope)) {
      throw new PatchcordError('peer_unreachable', 'It is being passed on from here.');
    }
    if (!this.#directory.linked.has(to)) {
      const elsewhere = await this.#onward.give({ ns, to, envelope, withdraw }, depositor);
      if (elsewhere) return { t: 'ack', n: frame.n, held: elsewhere };
    }
    const kept = await this.#hold({ ns, to, envelope, withdraw, depositor });
    if (!kept.held) return { t: 'refuse', n: frame.n, code: kept.code, retry: kept.retry };
    const held = signHeldReceipt({ ns, envelope: kept.hash }, this.#signer);
    return { t: 'ack', n: frame.n, held };
  }

  /**
   * Takes an envelope for another member that no link brought. One letter is sealed anew for each bundle, so what was
   * left with the same withdrawal is the same letter. Throws `not_member`, `mailbox_full`, `envelope_invalid`.
   */
  async holdCarried(ns: string, { envelope, withdraw }: Carried): Promise<'held' | 'known'> {
    const address = readAddress(envelope);
    const { to } = address;
    if (address.ns !== ns || !this.#directory.member(ns, to) || to === this.#signer.peerId) {
      throw new PatchcordError('not_member', 'Mail of another namespace, or for no member of it.');
    }
    if (await this.#held.holdsFor(to, withdraw)) return 'known';
    const kept = await this.#hold({ ns, to, envelope, withdraw, depositor: CARRIED });
    if (kept.held) return 'held';
    throw new PatchcordError(kept.code, 'This machine holds as much for that one as it may.');
  }

  /** What is held in a namespace, for members of it, page by page. */
  async *carry(ns: string): AsyncGenerator<Carried> {
    for (const place of await this.#held.recipients()) {
      const { to } = place;
      if (place.ns !== ns || !this.#directory.member(ns, to)) continue;
      let after = 0;
      for (;;) {
        const offers = await this.#held.offers(to, ns, after, OFFER_HASHES_MAX);
        const last = offers.at(-1);
        if (!last) break;
        after = last.number;
        for (const { hash } of offers) {
          const copy = await this.#held.copy(to, hash);
          if (copy) yield copy;
        }
      }
    }
  }

  /** Removes what a depositor takes back. */
  async withdraw(frame: FrameOf<'withdraw'>): Promise<void> {
    for (const secret of frame.secrets) await this.#held.withdraw(secret);
  }

  linkUp(machine: string): void {
    this.linkDown(machine);
    const places = this.#directory.common(machine).map(({ id }) => ({ ns: id, after: 0 }));
    const passing: Passing = {
      places,
      offered: false,
      wanted: [],
      passed: new Map(),
      again: false,
      timer: undefined,
    };
    this.#passing.set(machine, passing);
    void this.#next(machine, passing);
    this.#onward.update();
  }

  linkDown(machine: string): void {
    this.#onward.linkDown(machine);
    this.#passing.get(machine)?.timer?.cancel();
    this.#passing.delete(machine);
  }

  /** What a machine wants of the offer, and what it has. */
  async take(machine: string, { ns, want, have }: FrameOf<'take'>): Promise<void> {
    const passing = this.#passing.get(machine);
    if (!passing || !this.#directory.shares(ns, machine)) return;
    if (have.length > 0) await this.#held.drop(machine, have);
    passing.offered = false;
    const asked = new Set(passing.wanted.map(({ hash }) => hex(hash)));
    passing.wanted.push(...want.filter((hash) => !asked.has(hex(hash))).map((hash) => ({ ns, hash })));
    passing.wanted.splice(OFFER_HASHES_MAX);
    await this.#next(machine, passing);
  }

  /** The answer of a machine to a parcel that was passed on; false when it was none. */
  answered(machine: string, frame: FrameOf<'ack'> | FrameOf<'refuse'>): boolean {
    if (this.#onward.answered(machine, frame)) return true;
    const passing = this.#passing.get(machine);
    const passed = passing?.passed.get(frame.n);
    if (!passing || !passed) return frame.n >= FIRST_NUMBER;
    passing.passed.delete(frame.n);
    void this.#settle(machine, passing, passed.hash, frame);
    return true;
  }

  /** Drops what is kept of a namespace for machines that are out. */
  async membersLeft(ns: string): Promise<void> {
    const recipients = (await this.#held.recipients()).filter((one) => one.ns === ns);
    for (const { to } of recipients) {
      if (this.#directory.shares(ns, to)) continue;
      let after: string | undefined;
      do ({ next: after } = await this.#held.dropNamespace(ns, to, after));
      while (after !== undefined);
    }
  }

  async #hold(deposit: Omit<Deposit, 'nowMs'>): Promise<Held> {
    const kept = await this.#held.hold({ ...deposit, nowMs: this.#clock.now() });
    if (kept.held) this.#arrived(deposit.to, deposit.ns);
    return kept;
  }

  async #settle(
    machine: string,
    passing: Passing,
    hash: Uint8Array,
    frame: FrameOf<'ack'> | FrameOf<'refuse'>,
  ): Promise<void> {
    try {
      if (frame.t === 'refuse' && frame.retry) passing.again = true;
      else await this.#held.drop(machine, [hash]);
      await this.#next(machine, passing);
    } catch (error) {
      this.#log.error({ machine, error }, 'held mail could not be settled');
    }
  }

  /** Something new is held: if its recipient is linked, it gets it at once. */
  #arrived(to: string, ns: string): void {
    const passing = this.#passing.get(to);
    if (!passing) return this.#onward.kept(ns, to);
    passing.again = true;
    if (this.#isIdle(passing)) this.#again(to, passing);
    else if (passing.places.length === 0) passing.places.push({ ns, after: 0 });
  }

  /** Sends what is asked for, as far as it fits; then offers the next. */
  async #next(machine: string, passing: Passing): Promise<void> {
    if (this.#passing.get(machine) !== passing) return;
    this.#watch(machine, passing);
    try {
      while (passing.wanted.length > 0 && sizeOf(passing) < PASSING_SIZE_BYTES_MAX) {
        const { ns, hash } = passing.wanted.shift()!;
        const envelope = await this.#held.envelope(machine, hash);
        if (this.#passing.get(machine) !== passing) return;
        if (!envelope || !this.#directory.shares(ns, machine)) continue;
        const n = ++this.#number;
        passing.passed.set(n, { hash, sizeBytes: envelope.length });
        this.#network.send(machine, [{ t: 'parcel', n, envelope }]);
      }
      if (passing.wanted.length + passing.passed.size === 0 && !passing.offered) {
        await this.#offer(machine, passing);
      }
    } catch (error) {
      this.#log.error({ machine, error }, 'held mail could not be passed on');
    }
  }

  async #offer(machine: string, passing: Passing): Promise<void> {
    passing.offered = true;
    for (;;) {
      const [place] = passing.places;
      if (!place) break;
      const offers = await this.#held.offers(machine, place.ns, place.after, OFFER_HASHES_MAX);
      if (this.#passing.get(machine) !== passing) return;
      const last = offers.at(-1);
      if (!last) {
        passing.places.shift();
        continue;
      }
      place.after = last.number;
      this.#network.send(machine, [{ t: 'offer', ns: place.ns, hashes: offers.map(({ hash }) => hash) }]);
      return;
    }
    passing.offered = false;
    if (!passing.again) passing.timer?.cancel();
  }

  #isIdle(passing: Passing): boolean {
    return !passing.offered && passing.places.length + passing.wanted.length + passing.passed.size === 0;
  }

  /** Offers everything from the start: what was passed on already is not wanted twice. */
  #again(machine: string, passing: Passing): void {
    passing.timer?.cancel();
    if (this.#passing.get(machine) === passing) this.linkUp(machine);
  }

  /** Frames may be lost, and refusals for now pass: looks again when nothing has moved for a while. */
  #watch(machine: string, passing: Passing): void {
    passing.timer?.cancel();
    passing.timer = this.#clock.after(SILENCE_MS, () => {
      if (passing.again || !this.#isIdle(passing)) this.#again(machine, passing);
    });
  }

  #scheduleSweep(): void {
    this.#sweep = this.#clock.after(HELD_SWEEP_INTERVAL_MS, () => {
      void this.#sweepAll().finally(() => this.#scheduleSweep());
    });
  }

  async #sweepAll(): Promise<void> {
    try {
      let after: string | undefined;
      do ({ next: after } = await this.#held.sweep(this.#clock.now(), SWEPT_AT_ONCE, after));
      while (after !== undefined);
    } catch (error) {
      this.#log.error({ error }, 'held mail could not be swept');
    }
  }
}

function sizeOf(passing: Passing): number {
  let sizeBytes = 0;
  for (const passed of passing.passed.values()) sizeBytes += passed.sizeBytes;
  return sizeBytes;
}
