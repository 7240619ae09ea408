import type { Connection, Stream } from '@libp2p/interface';
import type { Frame } from '../../protocol/frame.ts';
import type { Clock, Timer } from '../clock.ts';
import { relayOf } from './addresses.ts';
import type { Ending } from './frame-stream.ts';
import { Link, type Greeting } from './link.ts';

/** Streams with one machine that may be open at once without being its link. */
const PENDING_MAX = 4;
/** How long a second stream may be a leftover of simultaneous dials before it counts as a replacement. */
const REPLACE_AFTER_MS = 1_000;

export interface LinkTableEvents {
  up(link: Link): void;
  down(link: Link, reason: string, lastedMs: number): void;
  frame(link: Link, frame: Frame): void;
}

export interface LinkTableOptions {
  self: string;
  bootId: string;
  /** What is said to a machine besides. */
  greeting?: (peerId: string) => Greeting;
  clock: Clock;
  events: LinkTableEvents;
}

/** How an adopted stream turned out: undefined when it became the link, else why not. */
export type Settled = (failure: Ending | undefined) => void;

interface Entry {
  current?: { link: Link; sinceMs: number };
  pending: Map<Link, Settled>;
  replace?: Timer;
}

/**
 * Keeps one link per machine, though both may dial at once.
 *
 * Of two machines the one with the lower peer id chooses. The other says hello on every stream at once; the
 * chooser says hello only on the stream it takes, and that hello is the choice. So both agree, and a link that
 * is up is never given up for its twin. Whoever sees a link up drops the other streams; the chooser keeps one
 * that came later for a moment, because it is either the other side's twin, which the other side is about to
 * drop, or the replacement of a link that is dead there and not yet here. A hello from another boot settles
 * that at once, and so does a direct stream where the link leads through a relay.
 *
 * Invariants: a link is `current` or `pending`, not both, and neither once it ended; `up` and `down` alternate
 * for each machine; no frame is passed on but of the current link.
 */
export class LinkTable {
  readonly #options: LinkTableOptions;
  readonly #peers = new Map<string, Entry>();
  /** Links that ended here and wait for the other side to close them. */
  readonly #parting = new Set<Link>();

  constructor(options: LinkTableOptions) {
    this.#options = options;
  }

  get(peerId: string): Link | undefined {
    return this.#peers.get(peerId)?.current?.link;
  }

  /** Whether there is a link with a machine, or a stream that may become one. */
  has(peerId: string): boolean {
    return this.#peers.has(peerId);
  }

  /** Whether a connection is left open only until its machine has read what it was sent. */
  isParting(connection: Connection): boolean {
    return [...this.#parting].some((link) => link.connection === connection);
  }

  /** The links that are up. */
  links(): Link[] {
    return [...this.#peers.values()].flatMap(({ current }) => current?.link ?? []);
  }

  /** The machines that are linked. */
  peerIds(): string[] {
    return [...this.#peers].flatMap(([peerId, entry]) => (entry.current === undefined ? [] : peerId));
  }

  /** Makes an opened stream a candidate. `settled` is called once, when that is decided. */
  adopt(stream: Stream, connection: Connection, settled: Settled): void {
    const link = new Link(stream, connection, this.#options.clock, {
      greeted: (link) => this.#greeted(link),
      frame: (link, frame) => this.#options.events.frame(link, frame),
      ended: (link, ending) => this.#ended(link, ending),
    });
    const entry = this.#peers.get(link.peerId) ?? { pending: new Map() };
    this.#peers.set(link.peerId, entry);
    entry.pending.set(link, settled);
    if (entry.pending.size > PENDING_MAX) oldest(entry)?.end('too many streams');
    if (!this.#chooses(link)) this.#greet(link);
  }

  /** Ends whatever there is with a machine. What it was sent before it may still read. */
  drop(peerId: string, reason: string): void {
    const entry = this.#peers.get(peerId);
    if (entry === undefined) return;
    endPending(entry, reason);
    const link = entry.current?.link;
    if (link === undefined) return;
    this.#parting.add(link);
    link.connection.addEventListener('close', () => this.#parting.delete(link));
    link.part(reason);
  }

  /** Ends whatever there is, at once and with all that is on its way. */
  dropAll(reason: string): void {
    for (const entry of this.#peers.values()) {
      endPending(entry, reason);
      entry.current?.link.end(reason);
    }
  }

  #greeted(link: Link): void {
    const entry = this.#peers.get(link.peerId)!;
    if (!this.#chooses(link) || entry.current === undefined) return this.#take(entry, link);
    const { link: current } = entry.current;
    if (current.hello?.boot !== link.hello?.boot) return this.#take(entry, link);
    if (isRelayed(current) && !isRelayed(link)) return this.#take(entry, link);
    entry.replace?.cancel();
    entry.replace = this.#options.clock.after(REPLACE_AFTER_MS, () => {
      if (entry.pending.has(link)) this.#take(entry, link);
    });
  }

  #take(entry: Entry, link: Link): void {
    if (this.#chooses(link)) this.#greet(link);
    const before = entry.current;
    if (before !== undefined) {
      delete entry.current;
      this.#down(before, 'superseded');
      before.link.end('superseded');
    }
    const settled = entry.pending.get(link);
    // Whoever heard of the link that went down may have dropped this one as well.
    if (settled === undefined) return;
    entry.pending.delete(link);
    entry.current = { link, sinceMs: this.#options.clock.now() };
    endPending(entry, 'superseded');
    this.#options.events.up(link);
    settled(undefined);
  }

  #ended(link: Link, ending: Ending): void {
    const entry = this.#peers.get(link.peerId);
    // A superseded link ends after its entry, when whoever heard of it dropped the machine.
    if (entry === undefined) return;
    const settled = entry.pending.get(link);
    entry.pending.delete(link);
    const lost = entry.current?.link === link ? entry.current : undefined;
    if (lost !== undefined) delete entry.current;
    if (entry.current === undefined && entry.pending.size === 0) this.#peers.delete(link.peerId);
    if (lost !== undefined) {
      this.#down(lost, ending.reason);
      const heir = [...entry.pending.keys()].find((link) => link.hello !== undefined);
      if (heir !== undefined && entry.current === undefined) this.#take(entry, heir);
    }
    settled?.(ending);
  }

  #down(lost: { link: Link; sinceMs: number }, reason: string): void {
    this.#options.events.down(lost.link, reason, this.#options.clock.now() - lost.sinceMs);
  }

  #greet(link: Link): void {
    const { bootId, greeting } = this.#options;
    link.greet(bootId, greeting?.(link.peerId));
  }

  #chooses(link: Link): boolean {
    return this.#options.self < link.peerId;
  }
}

function isRelayed(link: Link): boolean {
  return relayOf(link.address) !== undefined;
}

function oldest(entry: Entry): Link | undefined {
  return entry.pending.keys().next().value;
}

function endPending(entry: Entry, reason: string): void {
  for (const link of entry.pending.keys()) link.end(reason);
}
