import { sealEnvelope } from '../../protocol/envelope.ts';
import { asPatchcordError, type ErrorCode } from '../../protocol/errors.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import { isAddressed } from '../../protocol/letter.ts';
import { RECEIPTS_GATHER_MS } from '../../protocol/limits.ts';
import { isUsable, type Prekey } from '../../protocol/prekey.ts';
import { heardReceipt } from '../../protocol/receipt.ts';
import type { Signer } from '../../protocol/signing.ts';
import { WrapSecrets } from '../../protocol/wrap-secrets.ts';
import type { Clock, Random } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { MeshLinks } from '../directory/mesh-links.ts';
import type { Log } from '../log.ts';
import type { Network, Window } from '../network/network.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';
import type { HeldStore } from '../store/held-store.ts';
import type {
  Accepted,
  Appended,
  MailRecord,
  MailStore,
  Mark,
  Outgoing,
  OutboxEntry,
  Released,
  Settled,
} from '../store/mail-store.ts';
import { Arrivals, type HandOff, type ParcelAnswer } from './arrivals.ts';
import type { CarriedMail } from './carried.ts';
import { CourierRun } from './courier-run.ts';
import { Deposits, withdrawalOf } from './deposits.ts';
import { Mailbox } from './mailbox.ts';
import { OutboxEnds } from './outbox-ends.ts';
import { assertReceiptFor } from './receipt-for.ts';
import { Resyncs } from './resync.ts';
import { Settlements } from './settlements.ts';
import { Slices } from './slices.ts';
import { WhenDue } from '../when-due.ts';
import { takeBack } from './taking-back.ts';

/** Refusals for now that may last: the sender is to see them. */
const LACKS_ROOM: ReadonlySet<ErrorCode> = new Set(['mailbox_full', 'disk_full']);

/** No bound: between two agents of one machine nothing is in the way. */
const LOCAL_WINDOW: Window = { frames: 512, sizeBytes: 8 * 1024 * 1024 };

/**
 * Carries mail between home machines: out of the outbox until it is acknowledged, here, and in through every check
 * before it is stored, in arrivals.ts. Mail between two agents of one machine takes the same way without the wire.
 */
export class Postoffice {
  readonly settlements: Settlements;
  readonly mailbox: Mailbox;
  readonly outboxEnds: OutboxEnds;
  readonly #deposits: Deposits;
  readonly #arrivals: Arrivals;
  readonly #mail: MailStore;
  readonly #network: Network;
  readonly #directory: Directory;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: string;
  readonly #onReleased: (released: readonly Released[]) => void;
  readonly #couriers = new Map<string, CourierRun>();
  readonly #random: Random;
  /** See SealContext in protocol/envelope.ts. */
  readonly #bootSecret: Uint8Array;
  readonly #wrapSecrets = new WrapSecrets();
  /** Envelopes of entries that were sealed while they were written. */
  readonly #sealedAhead = new WeakMap<OutboxEntry, { prekey: Prekey; envelope: Uint8Array }>();
  readonly #slices: Slices;
  readonly #resyncs: Resyncs;
  readonly #receipts: WhenDue;
  /** Links that take no mail yet: nothing can be sealed to a machine without its prekey, or more is to go before. */
  readonly #unready = new Map<string, Window>();

  constructor(parts: {
    mail: MailStore;
    held: HeldStore;
    network: Network;
    directory: Directory;
    links: MeshLinks;
    prekeys: PrekeyRing;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
    /** Id of this start of the daemon. */
    boot: string;
    /** How long mail waits for its machine before it expires. */
    retentionMs: number;
    /** Called for what became visible to an agent of this machine. */
    onReleased: (released: readonly Released[]) => void;
    handOff: HandOff;
  }) {
    this.#mail = parts.mail;
    this.#network = parts.network;
    this.#directory = parts.directory;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#boot = parts.boot;
    this.#onReleased = parts.onReleased;
    this.#random = parts.random;
    this.#bootSecret = parts.random.bytes(32);
    this.#slices = new Slices(parts.clock, parts.log);
    this.settlements = new Settlements(parts.clock);
    this.#receipts = new WhenDue({ ...parts, what: 'telling what was read', run: () => this.#tellRead() });
    this.mailbox = new Mailbox(parts);
    this.#arrivals = new Arrivals({
      ...parts,
      hold: (depositor, frame) => this.mailbox.hold(depositor, frame),
      onSettled: (machine, number) => this.#settled(machine, number),
      onReceipt: ({ sender: agent, id: messageId, state }) =>
        this.settlements.announce({ agent, messageId, kind: 'message', state }),
      appended: (machine) => this.#appended({ machines: [machine] }),
    });
    this.outboxEnds = new OutboxEnds({
      ...parts,
      self: parts.signer.peerId,
      neverLeft: (machine, entry) => this.#neverLeft(machine, entry),
      withdraw: (machine, entry) => this.#deposits.withdraw(machine, entry, entry.held ?? []),
      onEnded: (machine, number, settled) => {
        this.#settled(machine, number);
        this.#ended(settled);
      },
    });
    this.#resyncs = new Resyncs({
      ...parts,
      neverLeft: (machine, entry) => this.#neverLeft(machine, entry),
      onQueued: (machine, replaced) => {
        for (const number of replaced) this.#settled(machine, number);
        this.#appended({ machines: [machine] });
      },
      onReady: (machine) => this.#begin(machine),
    });
    this.#deposits = new Deposits({
      ...parts,
      seal: (machine, entry) => this.#seal(machine, entry),
      onHeld: ({ about }) => about && this.settlements.announce(about),
      onClosed: (machine, number) => this.#settled(machine, number),
    });
    parts.links.onGivenUp = () => this.#deposits.update();
  }

  async start(): Promise<void> {
    this.#courier(this.#signer.peerId).linkUp(LOCAL_WINDOW);
    await this.#arrivals.start();
    await this.#resyncs.start();
    this.mailbox.start();
    this.#deposits.update();
    this.outboxEnds.start();
    await this.#receipts.now();
  }

  stop(): void {
    this.#receipts.stop();
    this.#resyncs.stop();
    this.outboxEnds.stop();
    this.#deposits.stop();
    this.mailbox.stop();
    this.#arrivals.stop();
    for (const courier of this.#couriers.values()) courier.stop();
  }

  /** Resolves when the message is fsynced here; it is on its way by then. */
  async accept(outgoing: Omit<Outgoing, 'boot'>): Promise<Accepted> {
    // What is older goes first.
    for (const { machine } of outgoing.copies) await this.#resyncs.running(machine);
    const accepted = await this.#mail.accept({ ...outgoing, boot: this.#boot }, ({ queued }) =>
      this.#sealAhead(queued),
    );
    const machines = [...new Set(outgoing.copies.map((copy) => copy.machine))];
    // One that also marks a message may have queued a receipt.
    this.#appended({ machines, ...(outgoing.mark ? {} : { queued: accepted.queued }) });
    return accepted;
  }

  async mark(agent: string, mark: Mark): Promise<void> {
    this.#appended(await this.#mail.mark(agent, mark, this.#boot, this.#clock.now()));
  }

  /** Tells senders soon what was read. */
  tellRead(): void {
    this.#receipts.at(this.#clock.now() + RECEIPTS_GATHER_MS);
  }

  /** Queues what is owed to senders now; what fails is done later. */
  async readTold(): Promise<void> {
    await this.#receipts.now();
  }

  async #tellRead(): Promise<undefined> {
    for (;;) {
      const told = await this.#mail.tellRead(this.#boot, this.#clock.now());
      if (told.machines.length > 0) this.#appended(told);
      if (!told.more) return;
    }
  }

  /** Takes a message back, waiting a few seconds for the recipient's machine to say whether it was in time. */
  takeBack(agent: string, record: MailRecord): ReturnType<typeof takeBack> {
    return takeBack(
      {
        mail: this.#mail,
        settlements: this.settlements,
        boot: this.#boot,
        neverLeft: (machine, entry) => this.#neverLeft(machine, entry),
        withhold: (machine, number, decide) => this.#withhold(machine, number, decide),
        withdraw: ({ machine, ns, message: letter, held }) =>
          this.#deposits.withdraw(machine, { ns, letter }, held ?? []),
        onSettled: (machine, number) => this.#settled(machine, number),
        appended: (machine) => this.#appended({ machines: [machine] }),
        isUp: (machine) => this.#isUp(machine),
      },
      agent,
      record,
    );
  }

  /** `epoch` is what that machine says of itself, see Resyncs. */
  linkUp(machine: string, { frames, sizeBytes }: Window, epoch = 0): void {
    // Half is for this machine's own mail; a quarter each for what it deposits and what it passes on.
    const window = { frames: Math.ceil(frames / 2), sizeBytes: Math.ceil(sizeBytes / 2) };
    this.#unready.set(machine, window);
    this.#resyncs.told(machine, epoch);
    this.#begin(machine);
    this.mailbox.linkUp(machine);
    this.#deposits.update();
  }

  /** Entries of the outbox may be there again: every courier begins anew, those of links when they come up again. */
  mended(): void {
    const here = this.#courier(this.#signer.peerId);
    here.linkDown();
    here.linkUp(LOCAL_WINDOW);
    for (const machine of this.#directory.linked) this.#network.drop(machine, 'the store was put right');
    this.#deposits.update();
  }

  /** Sends nothing more and ends every link, before a new epoch gives what waits in the outbox other places. */
  halt(): void {
    this.#unready.clear();
    for (const courier of this.#couriers.values()) courier.linkDown();
    this.#deposits.halt();
    for (const machine of this.#directory.linked) this.#network.drop(machine, 'a new epoch begins');
  }

  /** Sends again, to other machines when their links come up. */
  resume(): void {
    this.#courier(this.#signer.peerId).linkUp(LOCAL_WINDOW);
    this.#deposits.halt();
    this.#deposits.update();
  }

  /** A machine told its prekey: what waited for it can be sealed. */
  keyed(machine: string): void {
    this.#deposits.update();
    this.#begin(machine);
  }

  /** Begins to send on a new link, once it can. */
  #begin(machine: string): void {
    const window = this.#unready.get(machine);
    if (!window || !this.#directory.prekeys.has(machine) || this.#resyncs.running(machine)) return;
    this.#unready.delete(machine);
    this.#courier(machine).linkUp(window);
  }

  linkDown(machine: string): void {
    this.#unready.delete(machine);
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
      void this.#arrivals.parcel(machine, frame).then((told) => this.#network.send(machine, [told]));
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
    return this.#arrivals.carried();
  }

  /** What a mailbox holds for this machine: asks for what it does not have. */
  offered(machine: string, frame: FrameOf<'offer'>): void {
    const take = this.#arrivals.wanted(machine, frame);
    if (take) this.#network.send(machine, [take]);
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
      if (LACKS_ROOM.has(frame.code))
        this.#ended(await this.#mail.postponed(machine, entry.number, frame.code));
      return;
    }
    this.#log.warn({ machine, code: frame.code }, 'a parcel was refused');
    // The machine may have taken an earlier copy, and its answer was lost: a sender that is out meanwhile is not told again.
    const mayHaveArrived = !this.#leftOnce(machine, entry);
    const settled = await this.#mail.refuse(machine, entry.number, frame.code, mayHaveArrived);
    this.#settled(machine, entry.number);
    this.#ended(settled);
  }

  async #acknowledged(machine: string, entry: OutboxEntry, frame: FrameOf<'ack'>): Promise<void> {
    const receipt = frame.receipt === undefined ? undefined : heardReceipt(frame.receipt, machine);
    if (isAddressed(entry.letter)) assertReceiptFor(entry, machine, receipt);
    const settled = await this.#mail.settle(machine, entry.number, receipt);
    this.#settled(machine, entry.number);
    this.#ended(settled);
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

  readonly #transmitHere = (entry: OutboxEntry): void => {
    void this.#arrivals.local(entry).then((answer) => this.answered(this.#signer.peerId, answer));
  };

  #transmitTo(machine: string): (entry: OutboxEntry) => void {
    return (entry) =>
      this.#slices.run(() => {
        const envelope = this.#seal(machine, entry, 'linked');
        if (envelope) this.#network.send(machine, [{ t: 'parcel', n: entry.number, envelope }]);
      });
  }

  /** Keeps an entry from its machine and from mailboxes while it is decided whether it goes at all. */
  #withhold<T>(machine: string, number: number, decide: () => Promise<T>): Promise<T> {
    return this.#courier(machine).withhold(number, () => this.#deposits.withhold(machine, number, decide));
  }

  /** Whether it is certain that no other machine has seen an entry. */
  #neverLeft(machine: string, entry: OutboxEntry): boolean {
    const seen = this.#courier(machine).hasLeft(entry.number) || this.#deposits.hasLeft(entry.number);
    return entry.boot === this.#boot && !seen && entry.held === undefined && !entry.again;
  }

  /** Whether it is certain that only one copy of an entry has ever left this machine. */
  #leftOnce(machine: string, entry: OutboxEntry): boolean {
    const once = this.#courier(machine).hasLeftOnce(entry.number) && !this.#deposits.hasLeft(entry.number);
    return entry.boot === this.#boot && once && entry.held === undefined && !entry.again;
  }

  /** The envelope of an entry; undefined when it may not be sealed to that machine now. Others carry it unless `linked`. */
  #seal(machine: string, entry: OutboxEntry, linked?: 'linked'): Uint8Array | undefined {
    const prekey = this.#directory.prekeys.get(machine);
    if (!this.#directory.shares(entry.ns, machine) || !prekey || !isUsable(prekey, this.#clock.now()))
      return undefined;
    const ahead = linked && this.#sealedAhead.get(entry);
    if (ahead?.prekey === prekey) return ahead.envelope;
    const { ns, letter } = entry;
    const { bytes: randomBytes } = this.#random;
    return sealEnvelope(ns, prekey, letter, {
      signer: this.#signer,
      randomBytes,
      bootSecret: this.#bootSecret,
      ...(linked && { wrapSecrets: this.#wrapSecrets }),
    });
  }

  /** Seals what is about to go over a link, while it is being written; what fails is tried again when it goes. */
  #sealAhead(queued: readonly Appended[]): void {
    const [only, ...others] = queued;
    if (!only || others.length > 0 || !this.#directory.linked.has(only.machine)) return;
    const prekey = this.#directory.prekeys.get(only.machine);
    try {
      const envelope = this.#seal(only.machine, only.entry, 'linked');
      if (prekey && envelope) this.#sealedAhead.set(only.entry, { prekey, envelope });
    } catch (error) {
      this.#log.debug({ error }, 'an envelope could not be sealed ahead');
    }
  }

  #isUp(machine: string): boolean {
    return machine === this.#signer.peerId || this.#directory.linked.has(machine);
  }

  /** `queued` is all that the outbox got, if that is known. */
  #appended({ machines, queued }: { machines: readonly string[]; queued?: readonly Appended[] }): void {
    for (const machine of machines) {
      const [only, ...others] = queued?.filter((one) => one.machine === machine) ?? [];
      this.#courier(machine).appended(others.length === 0 ? only : undefined);
    }
    const away = machines.filter((machine) => !this.#isUp(machine));
    if (away.length > 0) this.#deposits.update(away);
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
}
