import type { Urgency } from '../../protocol/delivery/wakes.ts';
import { hex } from '../../protocol/digest.ts';
import { openEnvelope, readAddress } from '../../protocol/envelope.ts';
import { asPatchcordError, PatchcordError, type ErrorCode } from '../../protocol/errors.ts';
import type { Frame, FrameOf } from '../../protocol/frame.ts';
import { envelopeHash } from '../../protocol/held-receipt.ts';
import {
  isAddressed,
  type Addressed,
  type Doubts,
  type Letter,
  type Message,
  type Told,
  type Void,
} from '../../protocol/letter.ts';
import { receiptOf, signReceipt, heardReceipt, type Receipt } from '../../protocol/receipt.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import { lives, lostName } from '../directory/listings.ts';
import type { Log } from '../log.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';
import type { Arrived, MailStore, OutboxEntry, Received, Released } from '../store/mail-store.ts';
import { WhenDue } from '../when-due.ts';
import { CarriedMail } from './carried.ts';

export type ParcelAnswer = FrameOf<'ack'> | FrameOf<'refuse'>;

/** Faults of this machine, not of what it was sent: the sender is to try again. */
const OWN_FAULTS: ReadonlySet<ErrorCode> = new Set(['internal', 'store_damaged']);

/** Envelopes that were taken lately, by hash: a second mailbox that holds one need not send it. */
const TAKEN_MAX = 8_192;

/** A letter that was opened, and the machine that signed it. */
export interface Opened {
  ns: string;
  from: string;
  letter: Letter;
}

/** What answers a letter that somebody else brought, and whether an answer for its sender's machine was queued. */
export interface Relayed {
  answer: ParcelAnswer;
  told: boolean;
}

/** Sessions that wait for a message get it from the batch that stores it. */
export interface HandOff {
  /** Asked within that batch. Who says yes is told by `onReleased`, or by `disclaim`. */
  claim(agent: string, number: number, urgency: Urgency): boolean;
  /** The batch failed. */
  disclaim(agent: string, number: number): void;
}

export interface ArrivalParts {
  mail: MailStore;
  directory: Directory;
  prekeys: PrekeyRing;
  signer: Signer;
  clock: Clock;
  log: Log;
  /** This start of the daemon. */
  boot: string;
  /** Keeps what is for a third machine. */
  hold: (depositor: string, frame: FrameOf<'parcel'>) => Promise<Frame>;
  /** A letter of receipts answered an entry of the outbox. */
  onSettled: (machine: string, number: number) => void;
  /** A letter told something new of a message that was sent from here. */
  onReceipt: (receipt: Receipt) => void;
  /** Called for what became visible to an agent of this machine. */
  onReleased: (released: readonly Released[]) => void;
  handOff: HandOff;
  /** The outbox for that machine has something new. */
  appended: (machine: string) => void;
}

/**
 * The receiving side of the post office: what comes by link, by mailbox, by bundle, or from another agent of this
 * machine goes through every check before it is stored, and is answered only after the store has fsynced it.
 */
export class Arrivals {
  readonly #mail: MailStore;
  readonly #directory: Directory;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: string;
  readonly #prekeys: PrekeyRing;
  readonly #hold: ArrivalParts['hold'];
  readonly #onSettled: ArrivalParts['onSettled'];
  readonly #onReceipt: ArrivalParts['onReceipt'];
  readonly #onReleased: ArrivalParts['onReleased'];
  readonly #handOff: HandOff;
  readonly #appended: ArrivalParts['appended'];
  /** Hashes in hex. */
  readonly #taken = new Set<string>();
  readonly #gaps: WhenDue;

  constructor(parts: ArrivalParts) {
    this.#mail = parts.mail;
    this.#directory = parts.directory;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#boot = parts.boot;
    this.#prekeys = parts.prekeys;
    this.#hold = parts.hold;
    this.#onSettled = parts.onSettled;
    this.#onReceipt = parts.onReceipt;
    this.#onReleased = parts.onReleased;
    this.#handOff = parts.handOff;
    this.#appended = parts.appended;
    this.#gaps = new WhenDue({ ...parts, what: 'giving up gaps', run: () => this.#giveUpGaps() });
  }

  async start(): Promise<void> {
    await this.#gaps.now();
  }

  stop(): void {
    this.#gaps.stop();
  }

  /** Takes a parcel from a linked machine and says what answers it. Never rejects. */
  async parcel(machine: string, frame: FrameOf<'parcel'>): Promise<Frame> {
    const { n, envelope } = frame;
    const answer = await this.#guarded(machine, n, async () => {
      if (readAddress(envelope).to !== this.#signer.peerId) return this.#hold(machine, frame);
      const opened = this.#open(envelope);
      if (opened.from === machine) return (await this.#take(n, opened)).answer;
      const { answer: own } = await this.#takeRelayed(n, opened);
      return own.t === 'ack' ? { t: 'ack', n } : own;
    });
    if (answer.t === 'ack' && answer.held === undefined) this.#remember(envelope);
    return answer;
  }

  /** Takes what one agent of this machine sends to another. Never rejects. */
  local({ number: n, ns, letter }: OutboxEntry): Promise<ParcelAnswer> {
    const from = this.#signer.peerId;
    return this.#guarded(from, n, async () => (await this.#take(n, { ns, from, letter })).answer);
  }

  /** Takes what comes by another way than a link, such as the mail of one bundle. */
  carried(): CarriedMail {
    return new CarriedMail({
      mail: this.#mail,
      open: (envelope) => this.#open(envelope),
      takeReceipts: (opened, letter) => this.#takeReceipts(opened, letter),
      takeRelayed: (opened) => this.#takeRelayed(0, opened),
    });
  }

  /** What this machine wants of that which a mailbox holds for it; undefined when that is none of its namespaces. */
  wanted(mailbox: string, { ns, hashes }: FrameOf<'offer'>): FrameOf<'take'> | undefined {
    if (!this.#directory.shares(ns, mailbox)) return undefined;
    const have = hashes.filter((hash) => this.#taken.has(hex(hash)));
    const want = hashes.filter((hash) => !this.#taken.has(hex(hash)));
    return { t: 'take', ns, want, have };
  }

  /** Runs what answers a parcel, and answers for it when it throws. */
  async #guarded<A extends Frame>(
    machine: string,
    n: number,
    run: () => Promise<A>,
  ): Promise<A | FrameOf<'refuse'>> {
    try {
      return await run();
    } catch (error) {
      const fault = asPatchcordError(error);
      if (fault.code === 'internal') this.#log.error({ machine, error }, 'a parcel could not be handled');
      else this.#log.warn({ machine, code: fault.code }, 'refused a parcel');
      return { t: 'refuse', n, code: fault.code, retry: fault.retryable || OWN_FAULTS.has(fault.code) };
    }
  }

  /**
   * Takes what was not brought by the machine that signed it. That one is answered by a letter of its own, also when
   * it is refused for good; the same answer waits there once, however often the letter is passed on.
   */
  async #takeRelayed(n: number, opened: Opened): Promise<Relayed> {
    const { ns, from, letter } = opened;
    let told = false;
    const answer = await this.#guarded(from, n, async () => {
      const taken = await this.#take(n, opened, this.#boot);
      ({ told } = taken);
      return taken.answer;
    });
    // A message whose taking back is refused has arrived: that refusal says nothing of it.
    if (answer.t === 'refuse' && !answer.retry && (letter.k === 'message' || letter.k === 'void')) {
      const refused = signReceipt(receiptOf(ns, letter, 'refused', this.#clock.now()), this.#signer);
      const { machines } = await this.#mail.tell(from, ns, refused, this.#boot);
      told = machines.length > 0;
    }
    if (told) this.#appended(from);
    return { answer, told };
  }

  /** Runs every check on a letter, stores it, and says what the sender's machine is to be told. */
  async #take(n: number, opened: Opened, relayedIn?: string): Promise<Relayed> {
    const { ns, from: machine, letter } = opened;
    const nowMs = this.#clock.now();
    if (letter.k === 'receipts') {
      await this.#takeReceipts(opened, letter);
      return { answer: { t: 'ack', n }, told: false };
    }
    if (!isAddressed(letter)) {
      return { answer: await this.#takeAsked(n, { ns, from: machine, letter }), told: false };
    }
    await this.#assertParties(machine, ns, letter);
    if (letter.k === 'unsend') {
      const { receipt, told } = await this.#mail.receiveUnsend({ ns, machine, letter, nowMs, relayedIn });
      return { answer: { t: 'ack', n, receipt }, told };
    }
    const received = await this.#receive({ ns, machine, letter, nowMs, relayedIn });
    if (!received.taken) {
      return { answer: { t: 'refuse', n, code: received.code, retry: received.retry }, told: false };
    }
    if (received.gapDueAtMs !== undefined) this.#gaps.at(received.gapDueAtMs);
    if (received.released.length > 0) this.#onReleased(received.released);
    return { answer: { t: 'ack', n, receipt: received.receipt }, told: received.told };
  }

  async #receive(arrival: Arrived<Message | Void>): Promise<Received> {
    const claims: [agent: string, number: number][] = [];
    const handOff = (agent: string, number: number, urgency: Urgency) => {
      const isClaimed = this.#handOff.claim(agent, number, urgency);
      if (isClaimed) claims.push([agent, number]);
      return isClaimed;
    };
    try {
      return await this.#mail.receive({ ...arrival, handOff });
    } catch (error) {
      for (const [agent, number] of claims) this.#handOff.disclaim(agent, number);
      throw error;
    }
  }

  /** What a machine that was restored asks, and what it is told. */
  async #takeAsked(
    n: number,
    { ns, from: machine, letter }: Opened & { letter: Doubts | Told },
  ): Promise<ParcelAnswer> {
    const run = { boot: this.#boot, nowMs: this.#clock.now() };
    const { refusal, released } = await this.#mail.receiveAsked({ ns, machine, letter, ...run });
    if (refusal !== undefined) return { t: 'refuse', n, code: refusal, retry: true };
    if (released.length > 0) this.#onReleased(released);
    if (letter.k === 'doubts') this.#appended(machine);
    return { t: 'ack', n };
  }

  /** Says how many of the receipts told something new. */
  async #takeReceipts(
    { ns, from }: Pick<Opened, 'ns' | 'from'>,
    letter: Letter & { k: 'receipts' },
  ): Promise<number> {
    const receipts = letter.receipts.map((receipt) => heardReceipt(receipt, from));
    const taken = await this.#mail.receiveReceipts(ns, receipts);
    for (const { receipt, settled, released } of taken) {
      if (settled) this.#onSettled(settled.machine, settled.number);
      this.#onReceipt(receipt);
      if (released.length > 0) this.#onReleased(released);
    }
    return taken.length;
  }

  /** The letter, and the machine that signed it, whoever brought it. */
  #open(envelope: Uint8Array): Opened {
    const { ns, from, letter } = openEnvelope(envelope, this.#signer.peerId, this.#prekeys.keyOf);
    const log = this.#directory.logs.get(ns);
    if (log && this.#directory.isMember(log) && !log.members.has(from) && !log.removed.has(from)) {
      // Its admission may still be on the way: not now, rather than never.
      throw new PatchcordError('peer_unreachable', 'The sender is not known to be a member.');
    }
    if (!this.#directory.shares(ns, from)) {
      throw new PatchcordError('not_member', 'An envelope of a namespace that is not shared.');
    }
    return { ns, from, letter };
  }

  #remember(envelope: Uint8Array): void {
    this.#taken.add(hex(envelopeHash(envelope)));
    if (this.#taken.size > TAKEN_MAX) this.#taken.delete(this.#taken.keys().next().value!);
  }

  /** The recipient lives here, and the sender lives where the letter comes from, under the name it uses. */
  async #assertParties(machine: string, ns: string, letter: Addressed): Promise<void> {
    if (this.#directory.agents.get(letter.to.id)?.ns !== ns) {
      throw new PatchcordError('unknown_recipient', 'No such agent on this machine.');
    }
    if (lives(this.#directory, ns, machine, letter.from)) return;
    if (lostName(this.#directory, ns, machine, letter.from)) {
      // What came while it had the name is answered for as it is, and can be taken back.
      if (await this.#mail.knows(letter.to.id, letter.id)) return;
      throw new PatchcordError('name_taken', 'The sender uses a name that another agent holds.');
    }
    // Its claim may still be on the way: not now, rather than never.
    throw new PatchcordError('peer_unreachable', 'The sender is not known to live on that machine.');
  }

  async #giveUpGaps(): Promise<number | undefined> {
    const { released, dueAtMs } = await this.#mail.giveUpGaps(this.#clock.now());
    if (released.length > 0) this.#onReleased(released);
    return dueAtMs;
  }
}
