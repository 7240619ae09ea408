import { Allowance } from '../../protocol/discovery/allowance.ts';
import {
  openAnnouncement,
  sealAnnouncement,
  tagOf,
  type Circle,
} from '../../protocol/discovery/announcement.ts';
import { encodeAnswer, encodeQuestion, parseDatagram } from '../../protocol/discovery/datagram.ts';
import {
  decideHerald,
  heraldDueMs,
  silentHerald,
  type HeraldEvent,
} from '../../protocol/discovery/herald.ts';
import { isLoopback, type Whereabouts } from '../../protocol/discovery/whereabouts.ts';
import { DATAGRAM_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Multicast } from './multicast.ts';
import type { Place } from './network-watch.ts';

/** Namespaces that are called out; each costs a datagram on every network. */
const CIRCLES_MAX = 64;
/** How often the namespaces are looked at for one that is new or has another key. */
const CIRCLES_INTERVAL_MS = 1_000;

export interface LanDiscoveryParts {
  clock: Clock;
  random: Random;
  multicast: Multicast;
  places: () => readonly Place[];
  /** The namespaces of this machine whose key it holds. */
  circles: () => readonly Circle[];
  /** Where this machine is, signed just now. */
  own: () => Whereabouts;
  /** A member of a namespace has called. What it says is unchecked but for the seal. */
  heard: (ns: string, whereabouts: Uint8Array) => void;
}

/**
 * Finds the members of this machine's namespaces on its networks, and is found by them. It says who is here only to
 * them, and only where somebody could come in: a machine that listens on loopback addresses calls on loopback alone.
 */
export class LanDiscovery {
  readonly #parts: LanDiscoveryParts;
  readonly #allowance = new Allowance();
  #circles = new Map<string, Circle>();
  #herald = silentHerald;
  #timer: Timer | undefined;
  #beat: Timer | undefined;
  #stopped = false;

  constructor(parts: LanDiscoveryParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    this.#readCircles();
    this.#scheduleBeat();
    await this.changed();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#beat?.cancel();
    await this.#parts.multicast.close();
  }

  /** The networks are others than before, or everybody may have forgotten this machine: it calls and asks anew. */
  async changed(): Promise<void> {
    if (this.#stopped) return;
    const onlyHere = this.#parts.own().addresses.every(isLoopback);
    const places = this.#parts
      .places()
      .filter(({ internal, family }) => (internal ? family === 4 : !onlyHere));
    await this.#parts.multicast.open(places);
    if (!this.#stopped) this.#decide('changed');
  }

  /** What came in from a network. Costs next to nothing unless it is sealed for one of the namespaces. */
  datagram(bytes: Uint8Array, source: string): void {
    const said = parseDatagram(bytes);
    const circle = said && this.#circles.get(said.tag);
    if (!said || !circle || this.#stopped) return;
    if (said.k === 'question') return this.#decide('asked');
    if (!this.#allowance.allows(source, this.#parts.clock.elapsed())) return;
    const content = openAnnouncement(said.box, circle);
    if (content) this.#parts.heard(circle.ns, content);
  }

  #decide(event: HeraldEvent): void {
    const { clock, random } = this.#parts;
    const { herald, call, ask } = decideHerald(this.#herald, event, clock.elapsed(), random.fraction());
    this.#herald = herald;
    if (call) this.#call();
    if (ask) for (const tag of this.#circles.keys()) this.#parts.multicast.send(encodeQuestion(tag));
    this.#timer?.cancel();
    const dueMs = heraldDueMs(herald);
    if (dueMs === Infinity) return;
    this.#timer = clock.after(Math.max(0, dueMs - clock.elapsed()), () => this.#decide('time'));
  }

  #call(): void {
    const { own, random, multicast } = this.#parts;
    if (this.#circles.size === 0) return;
    const { addresses, bytes } = own();
    if (addresses.length === 0) return;
    for (const [tag, circle] of this.#circles) {
      const datagram = encodeAnswer(tag, sealAnnouncement(bytes, circle, random.bytes));
      if (datagram.length <= DATAGRAM_SIZE_BYTES_MAX) multicast.send(datagram);
    }
  }

  #scheduleBeat(): void {
    this.#beat = this.#parts.clock.after(CIRCLES_INTERVAL_MS, () => {
      if (this.#readCircles()) this.#decide('changed');
      this.#scheduleBeat();
    });
  }

  /** True when there is a namespace, or a key of one, that was not there before. */
  #readCircles(): boolean {
    const circles = this.#parts.circles().slice(0, CIRCLES_MAX);
    const known = new Map([...this.#circles].map(([tag, circle]) => [circle.key, tag]));
    const before = this.#circles;
    // A key is replaced, never changed, so the one that is held tells its tag without deriving it again.
    this.#circles = new Map(circles.map((circle) => [known.get(circle.key) ?? tagOf(circle), circle]));
    return [...this.#circles.keys()].some((tag) => !before.has(tag));
  }
}
