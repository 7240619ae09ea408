import { openEnvelope, sealEnvelope } from '../../protocol/envelope.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import type { Letter } from '../../protocol/letter.ts';
import { UNSEND_ANSWER_MS } from '../../protocol/limits.ts';
import { isUsable } from '../../protocol/prekey.ts';
import { verifyReceipt, type Receipt, type ReceiptState } from '../../protocol/receipt.ts';
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
  RefusedAll,
  Released,
} from '../store/mail-store.ts';
import { CourierRun } from './courier-run.ts';
import { Settlements } from './settlements.ts';
import { Slices } from './slices.ts';

/** After a failure of the store, what cannot be delivered any more is ended later. */
const GIVE_UP_AGAIN_MS = 5_000;

type ParcelAnswer = FrameOf<'ack'> | FrameOf<'refuse'>;

/** No bound: between two agents of one machine nothing is in the way. */
const LOCAL_WINDOW: Window = { frames: 512, sizeBytes: 8 * 1024 * 1024 };

/**
 * Carries mail between home machines: out of the outbox until it is acknowledged, and in through every check
 * before it is stored. It acknowledges a parcel only after the store has fsynced it. Mail between two agents of
 * one machine takes the same way without the wire.
 */
export class Postoffice {
  readonly settlements: Settlements;
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
  #givingUp = false;
  #giveUpAgain = false;
  #gapTimer: { timer: Timer; atMs: number } | undefined;

  constructor(parts: {
    mail: MailStore;
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
  }

  async start(): Promise<void> {
    this.#courier(this.#signer.peerId).linkUp(LOCAL_WINDOW);
    await this.#giveUpGaps();
    this.giveUp();
  }

  stop(): void {
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
    const courier = this.#courier(record.machine);
    const neverLeft = (machine: string, entry: OutboxEntry) => this.#neverLeft(machine, entry);
    const decide = () => this.#mail.takeBack({ agent, messageId, neverLeft, boot: this.#boot });
    const answer = this.settlements.next(
      agent,
      messageId,
      UNSEND_ANSWER_MS,
      ({ kind }) => kind !== 'message',
    );
    const outcome =
      record.outbox === undefined ? await decide() : await courier.withhold(record.outbox, decide);
    if (outcome.status !== 'asked') {
      answer.forget();
      return outcome.status === 'unknown' ? 'requested' : outcome.status;
    }
    if (outcome.replaced !== undefined) courier.settled(outcome.replaced);
    this.#appended({ machines: [record.machine] });
    if (!this.#isUp(record.machine)) {
      answer.forget();
      return 'requested';
    }
    const settled = await answer.promise;
    // Given up meanwhile: its machine has not answered.
    if (!settled || settled.state === 'refused') return 'requested';
    return settled.state === 'unsent' ? 'unsent' : 'already_read';
  }

  /**
   * Ends what waits for machines with which this one does not share the namespace any more: it can never be taken.
   * Their senders find it refused. Goes on until it is done, also when the store fails meanwhile.
   */
  giveUp(): void {
    this.#giveUpAgain = true;
    if (!this.#givingUp) void this.#giveUpAll();
  }

  linkUp(machine: string, window: Window): void {
    if (this.#directory.prekeys.has(machine)) this.#courier(machine).linkUp(window);
    else this.#unkeyed.set(machine, window);
  }

  /** A machine told its prekey: what waited for it can be sealed. */
  keyed(machine: string): void {
    const window = this.#unkeyed.get(machine);
    if (!window) return;
    this.#unkeyed.delete(machine);
    this.#courier(machine).linkUp(window);
  }

  linkDown(machine: string): void {
    this.#unkeyed.delete(machine);
    this.#courier(machine).linkDown();
  }

  /** A parcel from a linked machine; answers it by an ack or a refusal. */
  parcel(machine: string, frame: FrameOf<'parcel'>): void {
    this.#slices.run(() => {
      const answer = this.#answer(machine, frame.n, () => this.#open(machine, frame.envelope));
      void answer.then((told) => this.#network.send(machine, [told]));
    });
  }

  /** The answer of a linked machine to a parcel of ours. */
  async answered(machine: string, frame: ParcelAnswer): Promise<void> {
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
    courier.settled(entry.number);
    if (settled.about) this.settlements.announce(settled.about);
  }

  async #acknowledged(machine: string, entry: OutboxEntry, frame: FrameOf<'ack'>): Promise<void> {
    const receipt = frame.receipt === undefined ? undefined : verifyReceipt(frame.receipt);
    if (entry.letter.k !== 'receipts') assertReceiptFor(entry, machine, receipt);
    const settled = await this.#mail.settle(machine, entry.number, receipt);
    this.#courier(machine).settled(entry.number);
    if (settled.about) this.settlements.announce(settled.about);
  }

  /** Runs every check on a letter, stores it, and says what the sender's machine is to be told. */
  async #answer(
    machine: string,
    n: number,
    open: () => { ns: string; letter: Letter },
  ): Promise<ParcelAnswer> {
    try {
      const { ns, letter } = open();
      return await this.#take(machine, n, ns, letter);
    } catch (error) {
      const fault = asPatchcordError(error);
      if (fault.code === 'internal') this.#log.error({ machine, error }, 'a parcel could not be handled');
      else this.#log.warn({ machine, code: fault.code }, 'refused a parcel');
      return { t: 'refuse', n, code: fault.code, retry: fault.retryable || fault.code === 'internal' };
    }
  }

  async #take(machine: string, n: number, ns: string, letter: Letter): Promise<ParcelAnswer> {
    const nowMs = this.#clock.now();
    if (letter.k === 'receipts') {
      const receipts = letter.receipts.map(verifyReceipt);
      for (const changed of await this.#mail.receiveReceipts(ns, receipts)) this.#announce(changed);
      return { t: 'ack', n };
    }
    this.#assertParties(machine, ns, letter);
    if (letter.k === 'unsend') {
      const { receipt } = await this.#mail.receiveUnsend({ ns, machine, letter, nowMs });
      return { t: 'ack', n, receipt };
    }
    const received = await this.#mail.receive({ ns, machine, letter, nowMs });
    if (!received.taken) return { t: 'refuse', n, code: received.code, retry: received.retry };
    if (received.gapDueAtMs !== undefined) this.#watchGaps(received.gapDueAtMs);
    if (received.released.length > 0) this.#onReleased(received.released);
    return { t: 'ack', n, receipt: received.receipt };
  }

  #open(machine: string, envelope: Uint8Array): { ns: string; letter: Letter } {
    const { ns, from, letter } = openEnvelope(envelope, this.#signer.peerId, this.#prekeys.keyOf);
    if (from !== machine) throw new PatchcordError('forbidden', 'An envelope of another machine.');
    if (!this.#directory.shares(ns, machine)) {
      throw new PatchcordError('not_member', 'An envelope of a namespace that is not shared.');
    }
    return { ns, letter };
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

  readonly #transmitHere = (entry: OutboxEntry): void => {
    const { peerId } = this.#signer;
    const answer = this.#answer(peerId, entry.number, () => ({ ns: entry.ns, letter: entry.letter }));
    void answer.then((frame) => this.answered(peerId, frame));
  };

  #transmitTo(machine: string): (entry: OutboxEntry) => void {
    const context = { signer: this.#signer, randomBytes: this.#random.bytes, bootSecret: this.#bootSecret };
    return ({ number, ns, letter }) =>
      this.#slices.run(() => {
        if (!this.#directory.shares(ns, machine)) return;
        const prekey = this.#directory.prekeys.get(machine);
        if (!prekey || !isUsable(prekey, this.#clock.now())) return;
        const envelope = sealEnvelope(ns, prekey, letter, context);
        this.#network.send(machine, [{ t: 'parcel', n: number, envelope }]);
      });
  }

  /** Whether it is certain that no other machine has seen an entry. */
  #neverLeft(machine: string, entry: OutboxEntry): boolean {
    return entry.boot === this.#boot && !this.#courier(machine).hasLeft(entry.number);
  }

  #isUp(machine: string): boolean {
    return machine === this.#signer.peerId || this.#directory.linked.has(machine);
  }

  #appended({ machines }: { machines: readonly string[] }): void {
    for (const machine of machines) this.#courier(machine).appended();
    // For a machine that was removed meanwhile: nobody will take it.
    const logs = [...this.#directory.logs.values()];
    const mayBeGone = (machine: string) =>
      logs.some((log) => log.removed.has(machine) || !this.#directory.isMember(log));
    if (machines.some(mayBeGone)) this.giveUp();
  }

  async #giveUpAll(): Promise<void> {
    this.#givingUp = true;
    try {
      while (this.#giveUpAgain) {
        this.#giveUpAgain = false;
        for (const machine of await this.#mail.outboxMachines()) {
          if (machine === this.#signer.peerId) continue;
          for (const ns of this.#directory.logs.keys()) {
            if (!this.#directory.shares(ns, machine)) await this.#refuseAll(machine, ns);
          }
        }
      }
    } catch (error) {
      this.#log.error({ error }, 'what waits for removed machines could not be ended; trying again');
      this.#clock.after(GIVE_UP_AGAIN_MS, () => this.giveUp());
    } finally {
      this.#givingUp = false;
    }
  }

  async #refuseAll(machine: string, ns: string): Promise<void> {
    const courier = this.#courier(machine);
    for (let after: number | undefined = 0; after !== undefined;) {
      const refused = await this.#mail.refuseAll(machine, ns, 'not_member', after, (entry) =>
        this.#neverLeft(machine, entry),
      );
      const { numbers, settled, next }: RefusedAll = refused;
      for (const number of numbers) courier.settled(number);
      for (const { about } of settled) if (about) this.settlements.announce(about);
      after = next;
    }
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
