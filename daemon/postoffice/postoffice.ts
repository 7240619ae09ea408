import { hex } from '../../protocol/digest.ts';
import { openEnvelope, readAddress, sealEnvelope } from '../../protocol/envelope.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import type { Frame, FrameOf } from '../../protocol/frame.ts';
import { envelopeHash } from '../../protocol/held-receipt.ts';
import type { Letter } from '../../protocol/letter.ts';
import { UNSEND_ANSWER_MS } from '../../protocol/limits.ts';
import { isUsable } from '../../protocol/prekey.ts';
import {
  receiptOf,
  signReceipt,
  verifyReceipt,
  type Receipt,
  type ReceiptState,
} from '../../protocol/receipt.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Random } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import { lives, lostName } from '../directory/listings.ts';
import type { Log } from '../log.ts';
import type { Network, Window } from '../network/network.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';
import type {
  Accepted,
  MailRecord,
  MailStore,
  Mark,
  Outgoing,
  OutboxEntry,
  Released,
  Settled,
} from '../store/mail-store.ts';
import type { HeldStore } from '../store/held-store.ts';
import { CarriedMail } from './carried.ts';
import { CourierRun } from './courier-run.ts';
import { Deposits, withdrawalOf } from './deposits.ts';
import { Mailbox } from './mailbox.ts';
import { OutboxEnds } from './outbox-ends.ts';
import { Settlements } from './settlements.ts';
import { Slices } from './slices.ts';

type ParcelAnswer = FrameOf<'ack'> | FrameOf<'refuse'>;

/** Envelopes that were taken lately, by hash: a second mailbox that holds one need not send it. */
const TAKEN_MAX = 8_192;

/** No bound: between two agents of one machine nothing is in the way. */
const LOCAL_WINDOW: Window = { frames: 512, sizeBytes: 8 * 1024 * 1024 };

/**
 * Carries mail between home machines: out of the outbox until it is acknowledged, and in through every check
 * before it is stored. It acknowledges a parcel only after the store has fsynced it. Mail between two agents of
 * one machine takes the same way without the wire.
 */
export class Postoffice {
  readonly settlements: Settlements;
  readonly mailbox: Mailbox;
  readonly outboxEnds: OutboxEnds;
  readonly #deposits: Deposits;
  /** Hashes in hex. */
  readonly #taken = new Set<string>();
  readonly #mail: MailStore;
  readonly #network: Network;
  readonly #directory: Directory;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: string;
  readonly #onReleased: (released: readonly Released[]) => void;
  readonly #couriers = new Map<string, CourierRun>();
  readonly #prekeys: PrekeyRing;
  readonly #random: Random;
  /** See SealContext in protocol/envelope.ts. */
  readonly #bootSecret: Uint8Array;
  readonly #slices: Slices;
  /** Links whose machine has not told its prekey yet: nothing can be sealed to it. */
  readonly #unkeyed = new Map<string, Window>();
  #gapTimer: { timer: Timer; atMs: number } | undefined;

  constructor(parts: {
    mail: MailStore;
    held: HeldStore;
    network: Network;
    directory: Directory;
    prekeys: PrekeyRing;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
    /** Id of this start of the daemon. */
    boot: string;
    /** Called for what became visible to an agent of this machine. */
    onReleased: (released: readonly Released[]) => void;
  }) {
    this.#mail = parts.mail;
    this.#network = parts.network;
    this.#directory = parts.directory;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#boot = parts.boot;
    this.#onReleased = parts.onReleased;
    this.#prekeys = parts.prekeys;
    this.#random = parts.random;
    this.#bootSecret = parts.random.bytes(32);
    this.#slices = new Slices(parts.clock, parts.log);
    this.settlements = new Settlements(parts.clock);
    this.mailbox = new Mailbox(parts);
    this.outboxEnds = new OutboxEnds({
      ...parts,
      self: parts.signer.peerId,
      neverLeft: (machine, entry) => this.#neverLeft(machine, entry),
      onEnded: (machine, number, settled) => {
        this.#settled(machine, number);
        this.#ended(settled);
      },
    });
    this.#deposits = new Deposits({
      ...parts,
      seal: (machine, entry) => this.#seal(machine, entry),
      onHeld: ({ about }) => about && this.settlements.announce(about),
    });
  }

  async start(): Promise<void> {
    this.#courier(this.#signer.peerId).linkUp(LOCAL_WINDOW);
    await this.#giveUpGaps();
    this.mailbox.start();
    this.#deposits.update();
    this.outboxEnds.start();
  }

  stop(): void {
    this.outboxEnds.stop();
    this.#deposits.stop();
    this.mailbox.stop();
    this.#gapTimer?.timer.cancel();
    for (const courier of this.#couriers.values()) courier.stop();
  }

  /** Resolves when the message is fsynced here; it is on its way by then. */
  async accept(outgoing: Omit<Outgoing, 'boot'>): Promise<Accepted> {
    const accepted = await this.#mail.accept({ ...outgoing, boot: this.#boot });
    this.#appended({ machines: [...new Set(outgoing.copies.map((copy) => copy.machine))] });
    return accepted;
  }

  async mark(agent: string, mark: Mark): Promise<void> {
    this.#appended(await this.#mail.mark(agent, mark, this.#boot, this.#clock.now()));
  }

  async confirm(agent: string, numbers: readonly number[]): Promise<void> {
    this.#appended(await this.#mail.confirm(agent, numbers, this.#boot, this.#clock.now()));
  }

  /** Takes a message back, waiting a few seconds for the recipient's machine to say whether it was in time. */
  async takeBack(agent: string, record: MailRecord): Promise<'unsent' | 'already_read' | 'requested'> {
    const messageId = record.message.id;
    const neverLeft = (machine: string, entry: OutboxEntry) => this.#neverLeft(machine, entry);
    const decide = () => this.#mail.takeBack({ agent, messageId, neverLeft, boot: this.#boot });
    const answer = this.settlements.next(
      agent,
      messageId,
      UNSEND_ANSWER_MS,
      ({ kind }) => kind !== 'message',
    );
    const outcome =
      record.outbox === undefined ? await decide() : await this.#withhold(record, record.outbox, decide);
    if (outcome.status !== 'asked') {
      answer.forget();
      return outcome.status === 'unknown' ? 'requested' : outcome.status;
    }
    if (outcome.replaced !== undefined) this.#settled(record.machine, outcome.replaced);
    if (record.held)
      this.#deposits.withdraw(record.machine, { ns: record.ns, letter: record.message }, record.held);
    this.#appended({ machines: [record.machine] });
    const settled = this.#isUp(record.machine) ? await answer.promise : undefined;
    if (!settled) {
      answer.forget();
      await this.#mail.unsendAsked(agent, messageId);
      return 'requested';
    }
    // Given up meanwhile: its machine has not answered.
    if (settled.state === 'refused' || settled.state === 'expired') return 'requested';
    return settled.state === 'unsent' ? 'unsent' : 'already_read';
  }

  linkUp(machine: string, { frames, sizeBytes }: Window): void {
    // Half is for this machine's own mail; a quarter each for what it deposits and what it passes on.
    const window = { frames: Math.ceil(frames / 2), sizeBytes: Math.ceil(sizeBytes / 2) };
    if (this.#directory.prekeys.has(machine)) this.#courier(machine).linkUp(window);
    else this.#unkeyed.set(machine, window);
    this.mailbox.linkUp(machine);
    this.#deposits.update();
  }

  /** A machine told its prekey: what waited for it can be sealed. */
  keyed(machine: string): void {
    this.#deposits.update();
    const window = this.#unkeyed.get(machine);
    if (!window) return;
    this.#unkeyed.delete(machine);
    this.#courier(machine).linkUp(window);
  }

  linkDown(machine: string): void {
    this.#unkeyed.delete(machine);
    this.#courier(machine).linkDown();
    this.mailbox.linkDown(machine);
    this.#deposits.update();
  }

  /** Whether what is sent to a machine can go further than this one's disk now. */
  reaches(machine: string): boolean {
    return this.#isUp(machine) || this.#deposits.hasMailbox(machine);
  }

  /** A parcel from a linked machine; answers it by an ack or a refusal. */
  parcel(machine: string, frame: FrameOf<'parcel'>): void {
    this.#slices.run(() => {
      void this.#parcel(machine, frame).then((told) => this.#network.send(machine, [told]));
    });
  }

  /** An entry of the outbox, sealed for another way than a link; undefined when it cannot be sealed or is gone. */
  async carry(machine: string, number: number) {
    const entry = await this.#courier(machine).carry(number);
    const envelope = entry && this.#seal(machine, entry);
    return envelope && { envelope, withdraw: withdrawalOf(this.#signer, machine, entry) };
  }

  /** Takes what comes by another way than a link, such as the mail of one bundle. */
  carried(): CarriedMail {
    return new CarriedMail({
      mail: this.#mail,
      signer: this.#signer,
      clock: this.#clock,
      boot: this.#boot,
      open: (envelope) => this.#open(envelope),
      takeReceipts: (ns, letter) => this.#takeReceipts(ns, letter),
      take: ({ from: machine, ns, letter }, relayedIn) =>
        this.#guarded(machine, 0, () => this.#take({ machine, n: 0, ns, letter }, relayedIn)),
      appended: (machine) => this.#appended({ machines: [machine] }),
    });
  }

  /** What a mailbox holds for this machine: asks for what it does not have. */
  offered(machine: string, { ns, hashes }: FrameOf<'offer'>): void {
    if (!this.#directory.shares(ns, machine)) return;
    const have = hashes.filter((hash) => this.#taken.has(hex(hash)));
    const want = hashes.filter((hash) => !this.#taken.has(hex(hash)));
    this.#network.send(machine, [{ t: 'take', ns, want, have }]);
  }

  /** The answer of a linked machine to a parcel of ours. */
  async answered(machine: string, frame: ParcelAnswer): Promise<void> {
    if (this.mailbox.answered(machine, frame) || this.#deposits.answered(machine, frame)) return;
    const courier = this.#courier(machine);
    const entry = courier.inFlight(frame.n);
    if (!entry) return;
    try {
      if (frame.t === 'refuse') await this.#refused(machine, entry, frame);
      else await this.#acknowledged(machine, entry, frame);
    } catch (error) {
      this.#log.warn({ machine, code: asPatchcordError(error).code }, 'an answer to a parcel was not taken');
    }
  }

  async #refused(machine: string, entry: OutboxEntry, frame: FrameOf<'refuse'>): Promise<void> {
    const courier = this.#courier(machine);
    if (frame.retry) {
      courier.postponed(entry.number);
      return;
    }
    this.#log.warn({ machine, code: frame.code }, 'a parcel was refused');
    const settled = await this.#mail.refuse(machine, entry.number, frame.code);
    this.#settled(machine, entry.number);
    this.#ended(settled);
  }

  async #acknowledged(machine: string, entry: OutboxEntry, frame: FrameOf<'ack'>): Promise<void> {
    const receipt = frame.receipt === undefined ? undefined : verifyReceipt(frame.receipt);
    if (entry.letter.k !== 'receipts') assertReceiptFor(entry, machine, receipt);
    const settled = await this.#mail.settle(machine, entry.number, receipt);
    this.#settled(machine, entry.number);
    this.#ended(settled);
  }

  async #parcel(machine: string, frame: FrameOf<'parcel'>): Promise<Frame> {
    const { n, envelope } = frame;
    const answer = await this.#guarded(machine, n, async () => {
      if (readAddress(envelope).to !== this.#signer.peerId) return this.mailbox.hold(machine, frame);
      const { ns, from, letter } = this.#open(envelope);
      if (from === machine) return this.#take({ machine, n, ns, letter });
      const told = await this.#takeRelayed({ machine: from, n, ns, letter });
      this.#appended({ machines: [from] });
      return told;
    });
    if (answer.t === 'ack' && answer.held === undefined) this.#remember(envelope);
    return answer;
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
      return { t: 'refuse', n, code: fault.code, retry: fault.retryable || fault.code === 'internal' };
    }
  }

  /**
   * Takes what a mailbox passed on. The mailbox is told that it may go, and nothing else; the sender's machine is told
   * by a letter of its own, also when it is refused for good.
   */
  async #takeRelayed(arrival: Arrival): Promise<ParcelAnswer> {
    const { machine, n, ns, letter } = arrival;
    const answer = await this.#guarded(machine, n, () => this.#take(arrival, this.#boot));
    if (answer.t === 'ack') return { t: 'ack', n };
    if (letter.k === 'receipts' || answer.retry) return answer;
    const refused = receiptOf(ns, letter, 'refused', this.#clock.now());
    await this.#mail.tell(machine, ns, signReceipt(refused, this.#signer), this.#boot);
    return answer;
  }

  /** Runs every check on a letter, stores it, and says what the sender's machine is to be told. */
  async #take({ machine, n, ns, letter }: Arrival, relayedIn?: string): Promise<ParcelAnswer> {
    const nowMs = this.#clock.now();
    if (letter.k === 'receipts') {
      await this.#takeReceipts(ns, letter);
      return { t: 'ack', n };
    }
    this.#assertParties(machine, ns, letter);
    if (letter.k === 'unsend') {
      const { receipt } = await this.#mail.receiveUnsend({ ns, machine, letter, nowMs, relayedIn });
      return { t: 'ack', n, receipt };
    }
    const received = await this.#mail.receive({ ns, machine, letter, nowMs, relayedIn });
    if (!received.taken) return { t: 'refuse', n, code: received.code, retry: received.retry };
    if (received.gapDueAtMs !== undefined) this.#watchGaps(received.gapDueAtMs);
    if (received.released.length > 0) this.#onReleased(received.released);
    return { t: 'ack', n, receipt: received.receipt };
  }

  /** Says how many of the receipts told something new. */
  async #takeReceipts(ns: string, letter: Letter & { k: 'receipts' }): Promise<number> {
    const taken = await this.#mail.receiveReceipts(ns, letter.receipts.map(verifyReceipt));
    for (const { receipt, settled, released } of taken) {
      if (settled) this.#settled(settled.machine, settled.number);
      this.#announce(receipt);
      if (released.length > 0) this.#onReleased(released);
    }
    return taken.length;
  }

  /** The letter, and the machine that signed it, whoever brought it. */
  #open(envelope: Uint8Array): { ns: string; from: string; letter: Letter } {
    const { ns, from, letter } = openEnvelope(envelope, this.#signer.peerId, this.#prekeys.keyOf);
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
  #assertParties(machine: string, ns: string, letter: Exclude<Letter, { k: 'receipts' }>): void {
    if (this.#directory.agents.get(letter.to.id)?.ns !== ns) {
      throw new PatchcordError('unknown_recipient', 'No such agent on this machine.');
    }
    if (lives(this.#directory, ns, machine, letter.from)) return;
    if (lostName(this.#directory, ns, machine, letter.from)) {
      throw new PatchcordError('name_taken', 'The sender uses a name that another agent holds.');
    }
    // Its claim may still be on the way: not now, rather than never.
    throw new PatchcordError('peer_unreachable', 'The sender is not known to live on that machine.');
  }

  #courier(machine: string): CourierRun {
    let courier = this.#couriers.get(machine);
    if (!courier) {
      const transmit = machine === this.#signer.peerId ? this.#transmitHere : this.#transmitTo(machine);
      courier = new CourierRun({ machine, mail: this.#mail, clock: this.#clock, log: this.#log, transmit });
      this.#couriers.set(machine, courier);
    }
    return courier;
  }

  readonly #transmitHere = ({ number: n, ns, letter }: OutboxEntry): void => {
    const { peerId } = this.#signer;
    const answer = this.#guarded(peerId, n, () => this.#take({ machine: peerId, n, ns, letter }));
    void answer.then((frame) => this.answered(peerId, frame));
  };

  #transmitTo(machine: string): (entry: OutboxEntry) => void {
    return (entry) =>
      this.#slices.run(() => {
        const envelope = this.#seal(machine, entry);
        if (envelope) this.#network.send(machine, [{ t: 'parcel', n: entry.number, envelope }]);
      });
  }

  /** Keeps an entry from its machine and from mailboxes while it is decided whether it goes at all. */
  #withhold<T>({ machine }: MailRecord, number: number, decide: () => Promise<T>): Promise<T> {
    return this.#courier(machine).withhold(number, () => this.#deposits.withhold(machine, number, decide));
  }

  /** Whether it is certain that no other machine has seen an entry. */
  #neverLeft(machine: string, entry: OutboxEntry): boolean {
    const seen = this.#courier(machine).hasLeft(entry.number) || this.#deposits.hasLeft(entry.number);
    return entry.boot === this.#boot && !seen && entry.held === undefined;
  }

  /** The envelope of an entry; undefined when it may not be sealed to that machine now. */
  #seal(machine: string, { ns, letter }: OutboxEntry): Uint8Array | undefined {
    const prekey = this.#directory.prekeys.get(machine);
    if (!this.#directory.shares(ns, machine) || !prekey || !isUsable(prekey, this.#clock.now()))
      return undefined;
    const { bytes: randomBytes } = this.#random;
    return sealEnvelope(ns, prekey, letter, {
      signer: this.#signer,
      randomBytes,
      bootSecret: this.#bootSecret,
    });
  }

  #isUp(machine: string): boolean {
    return machine === this.#signer.peerId || this.#directory.linked.has(machine);
  }

  #appended({ machines }: { machines: readonly string[] }): void {
    for (const machine of machines) this.#courier(machine).appended();
    if (!machines.every((machine) => this.#isUp(machine))) this.#deposits.update();
    // For a machine that was removed meanwhile: nobody will take it.
    const logs = [...this.#directory.logs.values()];
    const mayBeGone = (machine: string) =>
      logs.some((log) => log.removed.has(machine) || !this.#directory.isMember(log));
    if (machines.some(mayBeGone)) this.outboxEnds.giveUp();
  }

  /** An entry has left the outbox. */
  #settled(machine: string, number: number): void {
    this.#courier(machine).settled(number);
    this.#deposits.settled(number);
  }

  /** Tells whoever waits what an outbox entry came to. */
  #ended({ about, released }: Settled): void {
    if (about) this.settlements.announce(about);
    if (released && released.length > 0) this.#onReleased(released);
  }

  #announce(receipt: Receipt): void {
    const { sender, id, state } = receipt;
    this.settlements.announce({ agent: sender, messageId: id, kind: 'message', state });
  }

  #watchGaps(atMs: number): void {
    if (this.#gapTimer && this.#gapTimer.atMs <= atMs) return;
    this.#gapTimer?.timer.cancel();
    const timer = this.#clock.after(Math.max(0, atMs - this.#clock.now()), () => {
      this.#gapTimer = undefined;
      void this.#giveUpGaps();
    });
    this.#gapTimer = { timer, atMs };
  }

  async #giveUpGaps(): Promise<void> {
    try {
      const { released, dueAtMs } = await this.#mail.giveUpGaps(this.#clock.now());
      if (dueAtMs !== undefined) this.#watchGaps(dueAtMs);
      if (released.length > 0) this.#onReleased(released);
    } catch (error) {
      this.#log.error({ error }, 'overdue gaps could not be given up');
      this.#watchGaps(this.#clock.now() + 5_000);
    }
  }
}

/** A letter that was opened, by whose machine, under which number of the parcel. */
interface Arrival {
  machine: string;
  n: number;
  ns: string;
  letter: Letter;
}

/** A state is claimed only with the home machine's own receipt for that very message. */
function assertReceiptFor(entry: OutboxEntry, machine: string, receipt: Receipt | undefined): void {
  const { letter, ns } = entry;
  if (letter.k === 'receipts') return;
  const states: ReceiptState[] = ['delivered', 'read', 'deferred', 'replied', 'unsent'];
  const matches =
    receipt !== undefined &&
    receipt.by === machine &&
    receipt.ns === ns &&
    receipt.id === letter.id &&
    receipt.sender === letter.from.id &&
    receipt.recipient === letter.to.id &&
    states.includes(receipt.state);
  if (!matches)
    throw new PatchcordError('signature_invalid', 'An acknowledgement without the receipt for its message.');
}
