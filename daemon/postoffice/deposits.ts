import { encode, equalBytes } from '../../protocol/codec.ts';
import { withdrawalHash } from '../../protocol/delivery/withdrawal.ts';
import { chooseMailboxes } from '../../protocol/delivery/mailboxes.ts';
import { sha256 } from '../../protocol/digest.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import { envelopeHash, verifyHeldReceipt } from '../../protocol/held-receipt.ts';
import { isAddressed } from '../../protocol/letter.ts';
import { MAILBOXES_PER_RECIPIENT, RETRY_MAX_MS } from '../../protocol/limits.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { MeshLinks } from '../directory/mesh-links.ts';
import type { Log } from '../log.ts';
import type { Network, Window } from '../network/network.ts';
import type { MailStore, OutboxEntry, Settled } from '../store/mail-store.ts';
import { CourierRun } from './courier-run.ts';

/** What one run may have unanswered at one mailbox. */
const RUN_WINDOW: Window = { frames: 64, sizeBytes: 256 * 1024 };
/** Runs at one mailbox at a time; others wait their turn. With RUN_WINDOW a quarter of what a link takes. */
const RUNS_PER_MAILBOX_MAX = 2;
/** Sealed envelopes that are kept so that all mailboxes of one get the same bytes. */
const SEALED_MAX = 256;
/** Receipts for a machine with which no link is kept leave the outbox when so many hold them. */
const RECEIPTS_HELD_MIN = 2;
/** A run that its mailbox takes nothing of is not tried again before this; another mailbox may be chosen meanwhile. */
const REST_MS = RETRY_MAX_MS;

/** One mailbox that is given what waits for one machine in one namespace. */
interface Run {
  courier: CourierRun;
  mailbox: string;
  ns: string;
  to: string;
}

/**
 * Gives what waits for a machine that is away to members that keep it. The outbox keeps its copy until the home
 * machine itself has answered, so a mailbox can only add to what is safe.
 *
 * Invariants: an entry goes to at most MAILBOXES_PER_RECIPIENT members, but for a choice that changes while they are
 * asked; all get the same bytes, but for restarts; `held` is said only with a mailbox's signature under those bytes.
 */
export class Deposits {
  readonly #mail: MailStore;
  readonly #directory: Directory;
  readonly #links: MeshLinks;
  readonly #network: Network;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #seal: (machine: string, entry: OutboxEntry) => Uint8Array | undefined;
  readonly #onHeld: (settled: Settled) => void;
  readonly #onClosed: (machine: string, number: number) => void;
  /** By `TO NS MAILBOX`. */
  readonly #runs = new Map<string, Run>();
  /** Places for which nothing is left to bring, until there is something new. */
  readonly #quiet = new Set<string>();
  /** Machines for which there may be something new since the last look. */
  #news: Set<string> | 'all' = 'all';
  /** Whether some run waits for its turn at its mailbox. */
  #crowded = false;
  /** Runs that were refused everything for now, by place, until they are tried again. */
  readonly #resting = new Map<string, Timer>();
  /** By outbox number; the oldest goes first. */
  readonly #sealed = new Map<number, Uint8Array>();
  /** By outbox number and mailbox that has answered for it, who holds it: that one, or one to which it passed it on. */
  readonly #left = new Map<number, Map<string, string>>();
  readonly #withheld = new Set<number>();
  #looking = false;
  #lookAgain = false;
  #stopped = false;

  constructor(parts: {
    mail: MailStore;
    directory: Directory;
    links: MeshLinks;
    network: Network;
    signer: Signer;
    clock: Clock;
    log: Log;
    /** The envelope of an entry for a machine; undefined when nothing can be sealed to it. */
    seal: (machine: string, entry: OutboxEntry) => Uint8Array | undefined;
    onHeld: (settled: Settled) => void;
    /** An entry needs no answer, and has left the outbox. */
    onClosed: (machine: string, number: number) => void;
  }) {
    this.#mail = parts.mail;
    this.#directory = parts.directory;
    this.#links = parts.links;
    this.#network = parts.network;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#seal = parts.seal;
    this.#onHeld = parts.onHeld;
    this.#onClosed = parts.onClosed;
  }

  /**
   * Links, members or the outbox changed: starts what can be given to mailboxes now, and ends what cannot. When only the
   * outbox changed, `machines` says for whom.
   */
  update(machines?: readonly string[]): void {
    if (machines === undefined) {
      this.#quiet.clear();
      this.#news = 'all';
    } else {
      const news = new Set(machines);
      for (const place of this.#quiet) if (news.has(place.split(' ')[0]!)) this.#quiet.delete(place);
      if (this.#news !== 'all') for (const machine of news) this.#news.add(machine);
    }
    this.#lookAgain = true;
    if (!this.#looking) void this.#look();
  }

  /** Forgets what was read of the outbox and sealed; `update` begins anew. */
  halt(): void {
    for (const [place, run] of this.#runs) this.#end(place, run);
    this.#sealed.clear();
  }

  stop(): void {
    this.#stopped = true;
    for (const run of this.#runs.values()) run.courier.stop();
    for (const timer of this.#resting.values()) timer.cancel();
    this.#runs.clear();
    this.#resting.clear();
  }

  /** Whether a member is there that would keep mail for a machine. */
  hasMailbox(machine: string): boolean {
    return this.#directory.common(machine).some(({ id }) => this.#mailboxes(machine, id).length > 0);
  }

  /** The answer of a linked machine to a parcel; false when that was none of these. */
  answered(mailbox: string, frame: FrameOf<'ack'> | FrameOf<'refuse'>): boolean {
    for (const [place, run] of this.#runs) {
      const entry = run.mailbox === mailbox ? run.courier.inFlight(frame.n) : undefined;
      if (!entry) continue;
      if (frame.t === 'refuse') this.#refused(place, run, frame);
      else void this.#held(run, entry, frame);
      return true;
    }
    return false;
  }

  #refused(place: string, run: Run, { n, code }: FrameOf<'refuse'>): void {
    run.courier.postponed(n);
    if (!run.courier.stuck) return;
    // It stays full for a while: another one may have room.
    if (code === 'mailbox_full') this.#rest(place, run);
    this.update();
  }

  /** Handed to a mailbox since this daemon started. */
  hasLeft(number: number): boolean {
    return this.#left.has(number);
  }

  /** Keeps an entry from mailboxes while `decide` replaces it in the store. */
  async withhold<T>(to: string, number: number, decide: () => Promise<T>): Promise<T> {
    this.#withheld.add(number);
    try {
      return await decide();
    } finally {
      this.#sealed.delete(number);
      for (const run of this.#runs.values()) {
        // What it has read of the outbox may be from before.
        if (run.to === to) await run.courier.withhold(number, async () => undefined);
      }
      this.#withheld.delete(number);
    }
  }

  /** The entry is answered for: nothing about it is needed any more. */
  settled(number: number): void {
    this.#left.delete(number);
    this.#sealed.delete(number);
  }

  /** Takes back what mailboxes hold of an entry, as far as they are linked. */
  withdraw(to: string, entry: Pick<OutboxEntry, 'ns' | 'letter'>, mailboxes: readonly string[]): void {
    const secret = secretOf(this.#signer, to, entry);
    for (const mailbox of mailboxes) this.#network.send(mailbox, [{ t: 'withdraw', secrets: [secret] }]);
  }

  async #look(): Promise<void> {
    this.#looking = true;
    try {
      while (this.#lookAgain && !this.#stopped) {
        this.#lookAgain = false;
        await this.#choose();
      }
    } catch (error) {
      this.#log.error({ error }, 'the outbox could not be looked through for mailboxes');
    } finally {
      this.#looking = false;
    }
  }

  async #choose(): Promise<void> {
    const waiting = await this.#mail.outboxMachines();
    const { linked, self, prekeys } = this.#directory;
    const news = this.#news;
    this.#news = new Set();
    this.#crowded = false;
    const underway = new Set([...this.#runs.values()].map(({ to }) => to));
    const away = waiting.filter((machine) => {
      if (machine === self.peerId || linked.has(machine) || !prekeys.has(machine)) return false;
      // A link of its own may be there in a moment.
      const isTried = this.#links.want(machine);
      return !isTried || underway.has(machine);
    });
    const wanted = new Map<string, Omit<Run, 'courier'>>();
    for (const to of away) {
      for (const { id: ns } of this.#directory.common(to)) {
        for (const mailbox of this.#mailboxes(to, ns)) {
          const place = placeOf({ to, ns, mailbox });
          if (!this.#quiet.has(place)) wanted.set(place, { to, ns, mailbox });
        }
      }
    }
    for (const [place, run] of this.#runs) if (!wanted.has(place)) this.#end(place, run);
    // Before they are told to look into the outbox again.
    const stuck = new Map([...this.#runs].filter(([, run]) => run.courier.stuck));
    for (const [place, run] of wanted) {
      const known = this.#runs.get(place);
      if (!known && this.#hasRoom(run.mailbox, stuck)) this.#start(place, run);
      else if (!known) this.#crowded = true;
      else if (news === 'all' || news.has(run.to)) known.courier.appended();
    }
  }

  /** Whether a mailbox can be given another run; one that it takes nothing of makes room. */
  #hasRoom(mailbox: string, stuck: Map<string, Run>): boolean {
    if (this.#busyAt(mailbox) < RUNS_PER_MAILBOX_MAX) return true;
    const found = [...stuck].find(([, run]) => run.mailbox === mailbox);
    if (!found) return false;
    stuck.delete(found[0]);
    this.#rest(...found);
    return true;
  }

  #rest(place: string, run: Run): void {
    this.#end(place, run);
    const again = () => {
      this.#resting.delete(place);
      this.update();
    };
    this.#resting.set(place, this.#clock.after(REST_MS, again));
  }

  #mailboxes(to: string, ns: string): string[] {
    const { logs, linked, self } = this.#directory;
    const overlay = this.#links.overlay(ns);
    const candidates = [...(logs.get(ns)?.members.values() ?? [])]
      .filter(
        ({ peerId }) => peerId !== to && linked.has(peerId) && !this.#resting.has(`${to} ${ns} ${peerId}`),
      )
      .map(({ peerId, role }) => {
        return { machine: peerId, role, uptimeMs: 0, host: peerId, distance: overlay!.distance(peerId, to) };
      });
    // Who is farther away than this machine might send it back here: only for want of others.
    const own = overlay?.distance(self.peerId, to) ?? 0;
    const near = candidates.filter(({ distance }) => distance <= own);
    return chooseMailboxes(to, near.length > 0 ? near : candidates, MAILBOXES_PER_RECIPIENT);
  }

  /** Runs that still have something to bring to a mailbox. */
  #busyAt(mailbox: string): number {
    return [...this.#runs.values()].filter((run) => run.mailbox === mailbox).length;
  }

  /** A run that has nothing to bring makes room for the next. */
  #endIfIdle(place: string, run: Run): void {
    const hasNews = this.#news === 'all' || this.#news.has(run.to);
    if (hasNews || !run.courier.idle || this.#runs.get(place) !== run) return;
    this.#end(place, run);
    this.#quiet.add(place);
    if (this.#crowded) this.update([]);
  }

  #start(place: string, { to, ns, mailbox }: Omit<Run, 'courier'>): void {
    const courier: CourierRun = new CourierRun({
      machine: to,
      mail: this.#mail,
      clock: this.#clock,
      log: this.#log,
      wants: (entry) => {
        const held = entry.held ?? [];
        if (this.#isEnough({ to, ns }, entry)) {
          void this.#close(to, entry.number);
          return false;
        }
        if (held.includes(mailbox) || this.#left.get(entry.number)?.has(mailbox)) return false;
        return entry.ns === ns && held.length < MAILBOXES_PER_RECIPIENT;
      },
      transmit: (entry) => this.#transmit(to, mailbox, entry),
      onIdle: () => this.#endIfIdle(place, run),
    });
    const run: Run = { to, ns, mailbox, courier };
    this.#runs.set(place, run);
    courier.linkUp(RUN_WINDOW);
  }

  #end(place: string, run: Run): void {
    run.courier.stop();
    this.#runs.delete(place);
  }

  #transmit(to: string, mailbox: string, entry: OutboxEntry): void {
    if (this.#withheld.has(entry.number)) return;
    // Removed meanwhile, though another namespace still links it.
    if (!this.#directory.shares(entry.ns, mailbox)) return this.update();
    const envelope = this.#sealed.get(entry.number) ?? this.#seal(to, entry);
    if (!envelope) return;
    this.#sealed.set(entry.number, envelope);
    if (this.#sealed.size > SEALED_MAX) this.#sealed.delete(this.#sealed.keys().next().value!);
    const withdraw = withdrawalOf(this.#signer, to, entry);
    if (!this.#left.has(entry.number)) this.#left.set(entry.number, new Map());
    this.#network.send(mailbox, [{ t: 'parcel', n: entry.number, envelope, withdraw }]);
  }

  /**
   * Whether holders answer for an entry in place of its machine: receipts for one with which no link is kept, which may
   * never say that it has them. The sender tells of them again when the message comes again.
   */
  #isEnough({ to, ns }: Pick<Run, 'to' | 'ns'>, { letter, number, held = [] }: OutboxEntry): boolean {
    if (letter.k !== 'receipts' || this.#links.isNeighbour(to)) return false;
    const answers = this.#left.get(number);
    const holders = new Set([...held, ...(answers?.values() ?? [])]);
    if (holders.size === 0) return false;
    return holders.size >= RECEIPTS_HELD_MIN || (answers?.size ?? 0) >= this.#mailboxes(to, ns).length;
  }

  async #close(to: string, number: number): Promise<void> {
    try {
      await this.#mail.settle(to, number, undefined);
      this.#onClosed(to, number);
    } catch (error) {
      this.#log.error({ error }, 'a letter that is held could not be taken out of the outbox');
    }
  }

  async #held(run: Run, entry: OutboxEntry, { held, n }: FrameOf<'ack'>): Promise<void> {
    try {
      const receipt = verifyHeldReceipt(held ?? new Uint8Array(0));
      const sealed = this.#sealed.get(n);
      const isMailbox = receipt.by !== run.to && receipt.by !== this.#signer.peerId;
      const matches =
        isMailbox &&
        this.#directory.shares(entry.ns, receipt.by) &&
        receipt.ns === entry.ns &&
        sealed !== undefined &&
        equalBytes(receipt.envelope, envelopeHash(sealed));
      // Of an envelope that is not known any more: it is sent again, and then it is.
      if (!matches) return run.courier.postponed(n);
      const settled = await this.#mail.markHeld(run.to, n, receipt.by);
      this.#left.get(n)?.set(run.mailbox, receipt.by);
      if (this.#isEnough(run, entry)) await this.#close(run.to, n);
      run.courier.settled(n);
      this.#onHeld(settled);
      this.#endIfIdle(placeOf(run), run);
    } catch (error) {
      const { code } = asPatchcordError(error);
      this.#log.warn({ mailbox: run.mailbox, code }, 'a receipt of a mailbox was not taken');
      run.courier.postponed(n);
    }
  }
}

function placeOf({ to, ns, mailbox }: Omit<Run, 'courier'>): string {
  return `${to} ${ns} ${mailbox}`;
}

type Waiting = Pick<OutboxEntry, 'ns' | 'letter'>;

/** What is left with an entry wherever it is held: the same however often it is sealed. */
export function withdrawalOf(signer: Signer, to: string, entry: Waiting): Uint8Array {
  return withdrawalHash(secretOf(signer, to, entry));
}

/** What takes an entry back from mailboxes: only this machine can make it, and it is the same after a restart. */
function secretOf(signer: Signer, to: string, { ns, letter }: Waiting): Uint8Array {
  const about = isAddressed(letter) ? letter.id : sha256(encode(letter));
  return sha256(signer.sign('patchcord withdraw v1', encode([ns, to, letter.k, about])));
}
