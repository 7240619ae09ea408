import { networkInterfaces } from 'node:os';
import type { Clock, Timer } from '../clock.ts';

/** How often the system is asked for its addresses; it says nothing of its own accord. */
const LOOK_INTERVAL_MS = 1_000;
/** A look that comes so much later than it was due: the machine slept, or the process stood still. */
const SLEPT_MS = 4_000;

/** An address that this machine has on one of its networks. */
export interface Place {
  /** The network interface, e.g. "eth0". */
  name: string;
  family: 4 | 6;
  address: string;
  /** Whether it leads to this machine only. */
  internal: boolean;
  /** The number by which IPv6 tells networks apart whose addresses look alike. */
  scope: number;
}

/** The addresses that the system has now. */
export function systemPlaces(): Place[] {
  const all = Object.entries(networkInterfaces());
  return all.flatMap(([name, list = []]) =>
    list.map(({ family, address, internal, ...more }) => ({
      name,
      family: family === 'IPv4' ? (4 as const) : (6 as const),
      address,
      internal,
      scope: 'scopeid' in more ? more.scopeid : 0,
    })),
  );
}

export interface NetworkWatchEvents {
  /** Addresses came or went, or the machine woke from sleep. */
  changed(why: 'addresses' | 'sleep'): void;
}

/** Notices within a second that this machine's networks changed, or that it slept. */
export class NetworkWatch {
  readonly #clock: Clock;
  readonly #places: () => readonly Place[];
  readonly #events: NetworkWatchEvents;
  #known = '';
  #timer: Timer | undefined;
  #lookedMs = 0;
  #lookedAtMs = 0;

  constructor(parts: { clock: Clock; places: () => readonly Place[]; events: NetworkWatchEvents }) {
    this.#clock = parts.clock;
    this.#places = parts.places;
    this.#events = parts.events;
  }

  start(): void {
    this.#known = keyOf(this.#places());
    this.#look();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    this.#lookedMs = this.#clock.elapsed();
    this.#lookedAtMs = this.#clock.now();
    this.#timer = this.#clock.after(LOOK_INTERVAL_MS, () => {
      // Some clocks stop while a machine sleeps, and none runs on for a process that is stopped.
      const passedMs = Math.max(this.#clock.elapsed() - this.#lookedMs, this.#clock.now() - this.#lookedAtMs);
      const key = keyOf(this.#places());
      const moved = key !== this.#known;
      this.#known = key;
      this.#look();
      if (moved) this.#events.changed('addresses');
      else if (passedMs >= LOOK_INTERVAL_MS + SLEPT_MS) this.#events.changed('sleep');
    });
  }
}

function keyOf(places: readonly Place[]): string {
  return places
    .map(({ name, address, scope }) => `${name} ${address} ${scope}`)
    .sort()
    .join('\n');
}
