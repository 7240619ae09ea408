import { equalBytes } from '../../protocol/codec.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import type { Frame, FrameOf } from '../../protocol/frame.ts';
import { BEAT_INTERVAL_MS } from '../../protocol/limits.ts';
import { findStatement, type NamespaceLog } from '../../protocol/membership/log.ts';
import { departureOf, isKnownTo, landmarks, missing } from '../../protocol/membership/sync.ts';
import { readPrekey, type Prekey } from '../../protocol/prekey.ts';
import { openShared, sealShared, type Shared } from '../../protocol/shared.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';
import type { AddressBook } from './address-book.ts';
import type { Directory, LogStep } from './directory.ts';
import type { MeshLinks } from './mesh-links.ts';
import type { NamespaceKeys } from './namespace-keys.ts';
import { logDigest } from './log-digest.ts';
import { firstPage, pages } from './pages.ts';
import { PrekeyAsks } from './prekey-asks.ts';
import { takeStatements } from './take-statements.ts';

/** Prekeys of others that one link brings at a time; a kilobyte each. */
const PREKEYS_TOLD_MAX = 500;
/** Members that are told a prekey which is news: each tells as many again, so that all hear of it and the work stays small. */
const PREKEY_PASSED_TO_MAX = 16;
/** The same for where a member is, which is told again on every new link. */
const WHEREABOUTS_PASSED_TO_MAX = 8;

type SyncFrame = FrameOf<'prekey' | 'heads' | 'log' | 'key' | 'shared' | 'digest' | 'want'>;

export function isSyncFrame(frame: Frame): frame is SyncFrame {
  return ['prekey', 'heads', 'log', 'key', 'shared', 'digest', 'want'].includes(frame.t);
}

/**
 * Keeps the directories of linked machines alike. A new link starts with what each side holds, changes are told as
 * they happen, and every 15 s a digest, so that whatever was lost is asked for again. It speaks of a namespace only
 * to its members; what it tells of machines and agents is sealed with the namespace key.
 */
export class DirectorySync {
  readonly #directory: Directory;
  readonly #links: MeshLinks;
  readonly #keys: NamespaceKeys;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #prekeys: PrekeyRing;
  readonly #book: AddressBook;
  readonly #onPrekey: (machine: string) => void;
  readonly #onOwnChanged: (ns: string) => void;
  /** Revisions of this machine's own rosters, by namespace; each rises with every announcement. */
  readonly #ownRevisions = new Map<string, number>();
  /** The revision of each machine's roster that is held, by `NS/MACHINE`; forgotten with the link. */
  readonly #revisions = new Map<string, number>();
  readonly #statics: ReadonlyMap<string, readonly string[]>;
  readonly #prekeyAsks: PrekeyAsks;
  #beat: Timer | undefined;
  /** Who waits for a machine's first roster on a link. */
  readonly #awaited = new Map<string, Set<() => void>>();

  constructor(parts: {
    directory: Directory;
    links: MeshLinks;
    keys: NamespaceKeys;
    network: Network;
    clock: Clock;
    random: Random;
    log: Log;
    /** Addresses that the user named, by machine. */
    statics: ReadonlyMap<string, readonly string[]>;
    prekeys: PrekeyRing;
    book: AddressBook;
    /** Called when a machine has told its prekey. */
    onPrekey: (machine: string) => void;
    /** Called when this machine has something else to say of itself in a namespace, or another key to say it with. */
    onOwnChanged: (ns: string) => void;
  }) {
    this.#directory = parts.directory;
    this.#prekeyAsks = new PrekeyAsks(parts);
    this.#links = parts.links;
    parts.links.onPeers = () => this.updatePeers();
    this.#keys = parts.keys;
    this.#network = parts.network;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
    this.#statics = parts.statics;
    this.#prekeys = parts.prekeys;
    this.#book = parts.book;
    this.#onPrekey = parts.onPrekey;
    this.#onOwnChanged = parts.onOwnChanged;
  }

  start(): void {
    this.updatePeers();
    this.#scheduleBeat();
  }

  stop(): void {
    this.#beat?.cancel();
  }

  /** Tells the network whom to stay linked with, after members or addresses changed. */
  updatePeers(): void {
    const peers = new Map<string, readonly string[]>();
    const wanted = this.#links.peers();
    // Whom the user named is linked with wherever it is in the mesh.
    for (const machine of this.#statics.keys())
      if (this.#directory.common(machine).length > 0) wanted.add(machine);
    for (const machine of wanted) {
      const known = this.#directory.addresses.get(machine) ?? [];
      peers.set(machine, [...new Set([...(this.#statics.get(machine) ?? []), ...known])]);
    }
    this.#network.setPeers(peers);
  }

  linkUp(machine: string): void {
    this.#directory.linked.add(machine);
    this.#network.send(machine, [this.#prekeyFrame()]);
    for (const log of this.#directory.common(machine)) this.#introduce(machine, log);
    this.#presenceChanged(machine);
  }

  linkDown(machine: string): void {
    this.#directory.linked.delete(machine);
    for (const place of this.#revisions.keys())
      if (place.endsWith(`/${machine}`)) this.#revisions.delete(place);
    this.#presenceChanged(machine);
  }

  #presenceChanged(machine: string): void {
    for (const { id } of this.#directory.common(machine)) this.#directory.presenceChanged(id, machine);
  }

  /** Resolves when a machine is linked and has told its agents, or after `timeoutMs`. */
  async linked(machine: string, timeoutMs: number): Promise<void> {
    if (this.#directory.linked.has(machine) || machine === this.#directory.self.peerId) return;
    this.#links.want(machine);
    await new Promise<void>((resolve) => {
      const waiting = this.#awaited.get(machine) ?? new Set();
      this.#awaited.set(machine, waiting);
      const done = () => {
        timer.cancel();
        waiting.delete(done);
        resolve();
      };
      const timer = this.#clock.after(timeoutMs, done);
      waiting.add(done);
    });
  }

  /** Tells the members of a namespace what changed on this machine. */
  announceRoster(ns: string): void {
    this.#ownRevisions.set(ns, this.#ownRevision(ns) + 1);
    this.#tellMembers(ns, this.#sharedFrames(ns, [this.#ownRoster(ns)]));
    this.#onOwnChanged(ns);
    this.#directory.presenceChanged(ns, this.#directory.self.peerId);
  }

  /**
   * Tells whom it concerns what changed in a namespace log: those who were members as well, so that a machine that
   * was removed hears of it on the link that ends with this.
   */
  logChanged({ before, after, added, from }: LogStep): void {
    const frames = logFrames(after.id, added);
    for (const machine of this.#directory.linked) {
      if (machine === from) continue;
      if (after.members.has(machine)) this.#network.send(machine, frames);
      else if (before?.members.has(machine)) this.#network.send(machine, farewell(after, machine, added));
    }
    this.updatePeers();
    const { peerId } = this.#directory.self;
    for (const machine of this.#directory.linked) {
      const shared = before?.members.has(machine) === true && before.members.has(peerId);
      if (!shared && this.#directory.shares(after.id, machine)) this.#introduce(machine, after);
    }
    if (before?.key?.hash !== after.key?.hash) this.#keyChanged(after.id);
  }

  /** Tells everybody where this machine is, if that is news to them. True when it was. */
  announceWhereabouts(): boolean {
    if (!this.#book.hasMoved()) return false;
    this.#tellWhereabouts();
    return true;
  }

  #tellWhereabouts(): void {
    const { bytes } = this.#book.own();
    for (const log of this.#directory.logs.values()) {
      if (!this.#directory.isMember(log)) continue;
      this.#tellMembers(log.id, this.#sharedFrames(log.id, [{ k: 'addresses', machines: [bytes] }]));
    }
  }

  /**
   * A member's word on where it is was heard, over a link or on the LAN (`from` undefined). Never rejects; what is wrong
   * with it is logged.
   */
  async heardWhereabouts(ns: string, bytes: Uint8Array, from?: string): Promise<void> {
    const log = this.#directory.logs.get(ns);
    if (!log || !this.#directory.isMember(log)) return;
    try {
      const heard = await this.#book.take(bytes, log);
      if (heard.k === 'overtaken') this.#tellWhereabouts();
      if (heard.k !== 'news') return;
      if (heard.moved) {
        this.updatePeers();
        this.#passOn(ns, bytes, heard.machine, from);
      }
      if (from === undefined) this.#network.nudge(heard.machine);
    } catch (error) {
      this.#log.info({ machine: from, ns, code: asPatchcordError(error).code }, 'refused an address');
    }
  }

  /** Tells a few others what is news here: they may have no link with its owner. */
  #passOn(ns: string, bytes: Uint8Array, owner: string, from: string | undefined): void {
    const others = [...this.#directory.linked].filter(
      (machine) => machine !== owner && machine !== from && this.#directory.shares(ns, machine),
    );
    const frames = this.#sharedFrames(ns, [{ k: 'addresses', machines: [bytes] }]);
    for (let told = 0; told < WHEREABOUTS_PASSED_TO_MAX && others.length > 0; told++) {
      const [machine] = others.splice(Math.floor(this.#random.fraction() * others.length), 1);
      this.#network.send(machine!, frames);
    }
  }

  /** Tells everybody this machine's new prekey. */
  announcePrekey(): void {
    for (const machine of this.#directory.linked) this.#network.send(machine, [this.#prekeyFrame()]);
  }

  /** Handles a frame of a linked machine; what it may not say is refused and named in the log. */
  async frame(machine: string, frame: SyncFrame): Promise<void> {
    if (frame.t === 'digest') return this.#digest(machine, frame);
    if (frame.t === 'prekey') return this.#prekey(machine, frame);
    const log = this.#directory.common(machine).find(({ id }) => id === frame.ns);
    if (!log) {
      this.#log.warn({ machine, ns: frame.ns, frame: frame.t }, 'refused: not a member of that namespace');
      if (frame.t === 'heads') this.#tellRemoval(machine, frame);
      return;
    }
    switch (frame.t) {
      case 'heads':
        return this.#heads(machine, log, frame);
      case 'log':
        return this.#statements(machine, log, frame);
      case 'key':
        if (await this.#keys.take(log.id, frame.key)) this.#keyChanged(log.id);
        return;
      case 'shared':
        return this.#shared(machine, log, frame);
      case 'want':
        this.#network.send(machine, [this.#prekeyFrame(), ...this.#ownFrames(log)]);
    }
  }

  #digest(machine: string, frame: FrameOf<'digest'>): void {
    const keyed = (this.#directory.prekeys.get(machine)?.seq ?? -1) >= frame.prekey;
    for (const { ns, log: digest, roster } of frame.namespaces) {
      const log = this.#directory.common(machine).find(({ id }) => id === ns);
      if (!log) {
        // It was told that it is out, and what told it was lost.
        const left = this.#directory.logs.get(ns);
        const removal = left && findStatement(left, left.removed.get(machine)?.hash ?? '');
        if (removal) this.#network.send(machine, logFrames(ns, [removal]));
        continue;
      }
      if (!equalBytes(digest, logDigest(log)) || !this.#keys.current(ns)) {
        this.#network.send(machine, [this.#headsFrame(log, true)]);
      }
      const heard = this.#revisions.get(`${ns}/${machine}`) === roster;
      if (!keyed || !heard) this.#network.send(machine, [{ t: 'want', ns }]);
    }
  }

  async #prekey(machine: string, frame: FrameOf<'prekey'>): Promise<void> {
    try {
      const prekey = readPrekey(frame.prekey);
      if (prekey.machine === this.#directory.self.peerId) return;
      // Its own, or that of a member which both know: the signature is the owner's.
      const known = this.#directory.common(machine).some(({ members }) => members.has(prekey.machine));
      if (!known) throw new PatchcordError('forbidden', 'A prekey of a machine that is no member.');
      const before = this.#directory.prekeys.get(prekey.machine)?.seq;
      await this.#directory.learnPrekey(prekey);
      if (before !== prekey.seq) this.#passPrekeyOn(prekey, machine);
      this.#onPrekey(prekey.machine);
    } catch (error) {
      this.#log.warn({ machine, code: asPatchcordError(error).code }, 'refused a prekey');
    }
  }

  /** Answers with what the other lacks: a page of statements, and after the last the key. */
  #heads(machine: string, log: NamespaceLog, frame: FrameOf<'heads'>): void {
    const { send, ask } = missing(log, frame.hashes);
    const { page, more } = firstPage(send);
    if (page.length > 0) {
      this.#network.send(machine, [{ t: 'log', ns: log.id, statements: page, more }]);
    }
    const held = this.#keys.current(log.id);
    const hasKey = frame.key && log.key && equalBytes(frame.key, log.key.keyHash);
    if (!more && held && !hasKey) {
      this.#network.send(machine, [{ t: 'key', ns: log.id, key: held.key }]);
    }
    if (frame.ask && ask.length > 0) this.#network.send(machine, [this.#headsFrame(log, false)]);
  }

  /** A machine that shares another namespace with this one asks about one that it was removed from: it is told so. */
  #tellRemoval(machine: string, { ns, hashes }: FrameOf<'heads'>): void {
    const log = this.#directory.logs.get(ns);
    const departure = log && departureOf(log, machine);
    if (!log || !departure || this.#directory.common(machine).length === 0) return;
    const { page, more } = firstPage(missing(log, hashes, departure).send);
    if (page.length > 0) this.#network.send(machine, [{ t: 'log', ns, statements: page, more }]);
  }

  async #statements(machine: string, { id: ns }: NamespaceLog, frame: FrameOf<'log'>): Promise<void> {
    const parts = { directory: this.#directory, clock: this.#clock, log: this.#log };
    const { waiting } = await takeStatements(parts, { ns, machine, list: frame.statements });
    const incomplete = frame.more || waiting.length > 0;
    const after = this.#directory.logs.get(ns);
    if (after && incomplete && this.#directory.shares(ns, machine)) {
      this.#network.send(machine, [this.#headsFrame(after, false)]);
    }
  }

  async #shared(machine: string, log: NamespaceLog, frame: FrameOf<'shared'>): Promise<void> {
    const held = this.#keys.current(log.id);
    if (held && frame.epoch < held.epoch) return;
    let shared: Shared;
    try {
      if (held?.epoch !== frame.epoch) throw new PatchcordError('frame_malformed', 'Of another key epoch.');
      shared = openShared(frame.box, { ns: log.id, epoch: frame.epoch, from: machine }, held.key);
    } catch (error) {
      this.#log.info({ machine, ns: log.id, why: asPatchcordError(error).message }, 'could not open a box');
      // One of the two does not know the other's key.
      this.#network.send(machine, [this.#headsFrame(log, true)]);
      return;
    }
    if (shared.k === 'roster') await this.#roster(machine, log, shared);
    else if (shared.k === 'prekeys') this.#tellPrekeys(machine, log, shared);
    else for (const bytes of shared.machines) await this.heardWhereabouts(log.id, bytes, machine);
  }

  async #roster(machine: string, { id }: NamespaceLog, shared: Shared & { k: 'roster' }): Promise<void> {
    const place = `${id}/${machine}`;
    if ((this.#revisions.get(place) ?? -1) >= shared.revision) return;
    await this.#directory.setRoster(id, machine, shared.roster);
    this.#revisions.set(place, shared.revision);
    for (const done of this.#awaited.get(machine) ?? []) done();
  }

  /** Gives a machine the prekeys of members that it does not know, or knows older ones of: they may be away. */
  #tellPrekeys(machine: string, log: NamespaceLog, { known }: Shared & { k: 'prekeys' }): void {
    const told = new Map(known.map((one) => [one.machine, one.seq]));
    const newer = this.#memberPrekeys(log).filter(
      (prekey) => prekey.machine !== machine && prekey.seq > (told.get(prekey.machine) ?? -1),
    );
    const frames = newer
      .slice(0, PREKEYS_TOLD_MAX)
      .map(({ bytes }) => ({ t: 'prekey', prekey: bytes }) as const);
    if (frames.length > 0) this.#network.send(machine, frames);
  }

  /** Tells a prekey that is news here to others: they may have no link with its owner. Known to all, it goes no further. */
  #passPrekeyOn({ machine: owner, bytes }: Prekey, from: string): void {
    const others = [...this.#directory.linked].filter(
      (machine) =>
        machine !== owner &&
        machine !== from &&
        this.#directory.common(machine).some(({ members }) => members.has(owner)),
    );
    for (let told = 0; told < PREKEY_PASSED_TO_MAX && others.length > 0; told++) {
      const [machine] = others.splice(Math.floor(this.#random.fraction() * others.length), 1);
      this.#network.send(machine!, [{ t: 'prekey', prekey: bytes }]);
    }
  }

  #memberPrekeys({ members }: NamespaceLog): Prekey[] {
    return [...members.keys()].flatMap((peer) => this.#directory.prekeys.get(peer) ?? []);
  }

  /** What two members tell each other first. */
  #introduce(machine: string, log: NamespaceLog): void {
    this.#network.send(machine, [this.#headsFrame(log, false), ...this.#ownFrames(log)]);
  }

  /** Another key is current: whoever lacks it gets it, and all that is shared is told again under it. */
  #keyChanged(ns: string): void {
    const log = this.#directory.logs.get(ns);
    const held = this.#keys.current(ns);
    this.#onOwnChanged(ns);
    if (!log || !held) return;
    this.#tellMembers(ns, [{ t: 'key', ns, key: held.key }, ...this.#ownFrames(log), { t: 'want', ns }]);
  }

  #tellMembers(ns: string, frames: readonly Frame[]): void {
    if (frames.length === 0) return;
    for (const machine of this.#directory.linked) {
      if (this.#directory.shares(ns, machine)) this.#network.send(machine, frames);
    }
  }

  #prekeyFrame(): Frame {
    return { t: 'prekey', prekey: this.#prekeys.current.bytes };
  }

  #headsFrame(log: NamespaceLog, ask: boolean): Frame {
    const key = this.#keys.heldHash(log.id);
    return { t: 'heads', ns: log.id, hashes: landmarks(log), ask, ...(key && { key }) };
  }

  /** What this machine shares, sealed; nothing while it does not hold the key. */
  #ownFrames(log: NamespaceLog): Frame[] {
    const list = [this.#ownRoster(log.id), ...this.#knownAddresses(log), this.#knownPrekeys(log)];
    return this.#sharedFrames(log.id, list);
  }

  #knownPrekeys(log: NamespaceLog): Shared {
    const known = this.#memberPrekeys(log).map(({ machine, seq }) => ({ machine, seq }));
    return { k: 'prekeys', known };
  }

  #askForPrekeys(): void {
    for (const log of this.#directory.logs.values()) {
      const machine = this.#prekeyAsks.next(log);
      if (machine === undefined || !this.#directory.shares(log.id, machine)) continue;
      this.#network.send(machine, this.#sharedFrames(log.id, [this.#knownPrekeys(log)]));
    }
  }

  #sharedFrames(ns: string, list: readonly Shared[]): Frame[] {
    const held = this.#keys.current(ns);
    if (!held) return [];
    const { epoch, key } = held;
    const place = { ns, epoch, from: this.#directory.self.peerId };
    return list.map((shared) => ({
      t: 'shared',
      ns,
      epoch,
      box: sealShared(shared, place, key, this.#random.bytes),
    }));
  }

  #ownRevision(ns: string): number {
    return this.#ownRevisions.get(ns) ?? 0;
  }

  #ownRoster(ns: string): Shared {
    return { k: 'roster', revision: this.#ownRevision(ns), roster: this.#directory.ownRoster(ns) };
  }

  #knownAddresses(log: NamespaceLog): Shared[] {
    const list = pages(this.#book.ofMembers(log), (bytes) => bytes.length + 4);
    return list.map((machines) => ({ k: 'addresses', machines }));
  }

  #scheduleBeat(): void {
    this.#beat = this.#clock.after(BEAT_INTERVAL_MS, () => {
      for (const machine of this.#directory.linked) this.#network.send(machine, [this.#digestFor(machine)]);
      this.#keys.beat();
      this.#links.beat();
      this.#askForPrekeys();
      this.#scheduleBeat();
    });
  }

  #digestFor(machine: string): Frame {
    const namespaces = this.#directory
      .common(machine)
      .map((log) => ({ ns: log.id, log: logDigest(log), roster: this.#ownRevision(log.id) }));
    return { t: 'digest', prekey: this.#prekeys.current.seq, namespaces };
  }
}

/** Of what was added what a machine may know that is out by it: its removal, and what came before that. */
function farewell(log: NamespaceLog, machine: string, added: LogStep['added']): Frame[] {
  const departure = departureOf(log, machine);
  if (departure === undefined) return [];
  return logFrames(
    log.id,
    added.filter(({ hash }) => isKnownTo(log, hash, departure)),
  );
}

function logFrames(ns: string, statements: LogStep['added']): Frame[] {
  return pages(statements, ({ bytes }) => bytes.length + 8).map((page) => ({
    t: 'log',
    ns,
    statements: page.map(({ bytes }) => bytes),
    more: false,
  }));
}
