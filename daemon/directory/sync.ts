import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import type { Frame, FrameOf } from '../../protocol/frame.ts';
import { BEAT_INTERVAL_MS, FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import { logDigest, orderedStatements, readStatement, type NamespaceLog } from '../../protocol/membership.ts';
import { readPrekey } from '../../protocol/prekey.ts';
import { equalBytes } from '../../protocol/codec.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import type { PrekeyRing } from '../prekeys/prekey-ring.ts';
import { extend, type Directory } from './directory.ts';

/** Room that one frame leaves for a list, beside its other fields. */
const LIST_SIZE_BYTES_MAX = FRAME_SIZE_BYTES_MAX - 4_096;

type SyncFrame = FrameOf<'prekey' | 'log' | 'roster' | 'addresses' | 'digest' | 'want'>;

export function isSyncFrame(frame: Frame): frame is SyncFrame {
  return ['prekey', 'log', 'roster', 'addresses', 'digest', 'want'].includes(frame.t);
}

/**
 * Keeps the directories of linked machines alike: everything on a new link, changes as they happen, and every
 * 15 s a digest, so that whatever was lost is asked for again. It speaks of a namespace only to its members.
 */
export class DirectorySync {
  readonly #directory: Directory;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #prekeys: PrekeyRing;
  readonly #onPrekey: (machine: string) => void;
  /** Revisions of this machine's own rosters, by namespace; each rises with every announcement. */
  readonly #ownRevisions = new Map<string, number>();
  /** The revision of each machine's roster that is held, by `NS/MACHINE`; forgotten with the link. */
  readonly #revisions = new Map<string, number>();
  readonly #statics: ReadonlyMap<string, readonly string[]>;
  #beat: Timer | undefined;
  /** Who waits for a machine's first roster on a link. */
  readonly #awaited = new Map<string, Set<() => void>>();

  constructor(parts: {
    directory: Directory;
    network: Network;
    clock: Clock;
    log: Log;
    /** Addresses that the user named, by machine. */
    statics: ReadonlyMap<string, readonly string[]>;
    prekeys: PrekeyRing;
    /** Called when a machine has told its prekey. */
    onPrekey: (machine: string) => void;
  }) {
    this.#directory = parts.directory;
    this.#network = parts.network;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#statics = parts.statics;
    this.#prekeys = parts.prekeys;
    this.#onPrekey = parts.onPrekey;
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
    for (const machine of this.#directory.peers()) {
      const known = this.#directory.addresses.get(machine) ?? [];
      peers.set(machine, [...new Set([...(this.#statics.get(machine) ?? []), ...known])]);
    }
    this.#network.setPeers(peers);
  }

  linkUp(machine: string): void {
    this.#directory.linked.add(machine);
    this.#network.send(machine, [this.#prekeyFrame()]);
    for (const log of this.#directory.common(machine)) this.#sendAll(machine, log);
  }

  linkDown(machine: string): void {
    this.#directory.linked.delete(machine);
    for (const place of this.#revisions.keys())
      if (place.endsWith(`/${machine}`)) this.#revisions.delete(place);
  }

  /** Resolves when a machine is linked and has told its agents, or after `timeoutMs`. */
  async linked(machine: string, timeoutMs: number): Promise<void> {
    if (this.#directory.linked.has(machine) || machine === this.#directory.self.peerId) return;
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
    for (const machine of this.#directory.linked) {
      if (this.#directory.member(ns, machine)) this.#network.send(machine, [this.#rosterFrame(ns)]);
    }
  }

  announceLog(log: NamespaceLog): void {
    this.updatePeers();
    for (const machine of this.#directory.linked) if (log.members.has(machine)) this.#sendAll(machine, log);
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
      return;
    }
    if (frame.t === 'want') {
      this.#network.send(machine, [this.#prekeyFrame()]);
      this.#sendAll(machine, log);
    } else if (frame.t === 'log') await this.#statements(machine, log, frame);
    else if (frame.t === 'roster') await this.#roster(machine, frame);
    else await this.#addresses(machine, log, frame);
  }

  #digest(machine: string, frame: FrameOf<'digest'>): void {
    const keyed = (this.#directory.prekeys.get(machine)?.seq ?? -1) >= frame.prekey;
    for (const { ns, log: digest, roster } of frame.namespaces) {
      const log = this.#directory.common(machine).find(({ id }) => id === ns);
      if (!log) continue;
      const same =
        keyed && equalBytes(digest, logDigest(log)) && this.#revisions.get(`${ns}/${machine}`) === roster;
      if (!same) this.#network.send(machine, [{ t: 'want', ns }]);
    }
  }

  async #prekey(machine: string, frame: FrameOf<'prekey'>): Promise<void> {
    try {
      const prekey = readPrekey(frame.prekey);
      if (prekey.machine !== machine) throw new PatchcordError('forbidden', 'A prekey of another machine.');
      await this.#directory.learnPrekey(prekey);
      this.#onPrekey(machine);
    } catch (error) {
      this.#log.warn({ machine, code: asPatchcordError(error).code }, 'refused a prekey');
    }
  }

  #prekeyFrame(): Frame {
    return { t: 'prekey', prekey: this.#prekeys.current.bytes };
  }

  async #statements(machine: string, log: NamespaceLog, frame: FrameOf<'log'>): Promise<void> {
    const read = frame.statements.flatMap((bytes) => {
      try {
        return [readStatement(bytes)];
      } catch (error) {
        if (!(error instanceof PatchcordError)) throw error;
        this.#log.warn({ machine, ns: log.id, code: error.code }, 'refused a statement');
        return [];
      }
    });
    const { added, refused } = extend(log, read);
    for (const { hash } of refused)
      this.#log.warn({ machine, ns: log.id, hash }, 'refused a statement without authority');
    if (added.length === 0) return;
    this.announceLog(await this.#directory.extendLog(log.id, added));
  }

  async #roster(machine: string, frame: FrameOf<'roster'>): Promise<void> {
    const place = `${frame.ns}/${machine}`;
    if ((this.#revisions.get(place) ?? -1) >= frame.revision) return;
    await this.#directory.setRoster(frame.ns, machine, frame.roster);
    this.#revisions.set(place, frame.revision);
    for (const done of this.#awaited.get(machine) ?? []) done();
  }

  async #addresses(machine: string, log: NamespaceLog, frame: FrameOf<'addresses'>): Promise<void> {
    const members = frame.machines.filter(({ peer }) => log.members.has(peer));
    await this.#learn(
      members.map(({ peer, addresses }) => ({ machine: peer, addresses, own: peer === machine })),
    );
  }

  async #learn(entries: { machine: string; addresses: readonly string[]; own: boolean }[]): Promise<void> {
    if (await this.#directory.learnAddresses(entries)) this.updatePeers();
  }

  #sendAll(machine: string, log: NamespaceLog): void {
    const frames = [...logFrames(log), this.#rosterFrame(log.id), ...this.#addressFrames(log)];
    this.#network.send(machine, frames);
  }

  #ownRevision(ns: string): number {
    return this.#ownRevisions.get(ns) ?? 0;
  }

  #rosterFrame(ns: string): Frame {
    return { t: 'roster', ns, revision: this.#ownRevision(ns), roster: this.#directory.ownRoster(ns) };
  }

  #addressFrames(log: NamespaceLog): Frame[] {
    const own = { peer: this.#directory.self.peerId, addresses: this.#network.addresses() };
    const others = [...log.members.keys()].map((peer) => ({
      peer,
      addresses: this.#directory.addresses.get(peer) ?? [],
    }));
    const machines = [own, ...others].filter(({ peer, addresses }, index) => {
      return addresses.length > 0 && (index === 0 || peer !== own.peer);
    });
    const size = ({ addresses }: { addresses: string[] }) =>
      64 + addresses.join().length + 4 * addresses.length;
    return parts(machines, size).map((part) => ({ t: 'addresses', ns: log.id, machines: part }));
  }

  #scheduleBeat(): void {
    this.#beat = this.#clock.after(BEAT_INTERVAL_MS, () => {
      for (const machine of this.#directory.linked) this.#network.send(machine, [this.#digestFor(machine)]);
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

function logFrames(log: NamespaceLog): Frame[] {
  const statements = orderedStatements(log).map(({ bytes }) => bytes);
  return parts(statements, (bytes) => bytes.length + 8).map((part) => ({
    t: 'log',
    ns: log.id,
    statements: part,
  }));
}

/** Cuts a list into parts that each fit a frame. */
export function parts<T>(items: readonly T[], sizeBytes: (item: T) => number): T[][] {
  const all: T[][] = [];
  let part: T[] = [];
  let filled = 0;
  for (const item of items) {
    const size = sizeBytes(item);
    if (part.length > 0 && (filled + size > LIST_SIZE_BYTES_MAX || part.length >= 500)) {
      all.push(part);
      part = [];
      filled = 0;
    }
    part.push(item);
    filled += size;
  }
  if (part.length > 0) all.push(part);
  return all;
}
