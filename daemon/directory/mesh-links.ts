import {
  BRIEF_LINK_IDLE_MS,
  BRIEF_LINK_MOMENT_MS,
  BRIEF_LINK_REST_MS,
  BRIEF_LINK_TRY_MS,
  BRIEF_LINKS_MAX,
  LINKS_FEW,
  LINKS_MAX,
  VISITORS_MAX,
} from '../../protocol/limits.ts';
import type { NamespaceLog } from '../../protocol/membership/log.ts';
import { overlayOf, type Overlay } from '../../protocol/mesh/overlay.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Directory } from './directory.ts';

/** Members that are tried at a time by a machine that has hardly a link. */
const TRIED_AT_ONCE = 4;

/** A link that is made for a time. */
interface Brief {
  since: number;
  /** When it last carried something; of one that is not up yet, when it was wanted. */
  usedAt: number;
  up: boolean;
  timer: Timer;
}

/**
 * With whom this machine links: for good with its neighbours in the mesh of each namespace, for a time with whoever
 * there is something for. It decides nothing but that; dialling is the network's, mail the post office's.
 *
 * Invariants: at most BRIEF_LINKS_MAX links for a time; each has one timer; a machine that could not be reached rests.
 */
export class MeshLinks {
  /** Whom to link with has changed. */
  onPeers: () => void = () => {};
  /** What waits for that machine need not wait for a link any more. */
  onGivenUp: (machine: string) => void = () => {};
  readonly linksMax: number;
  readonly #directory: Directory;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #brief = new Map<string, Brief>();
  readonly #resting = new Map<string, Timer>();
  /** An overlay follows from its log, and a log is a value. */
  readonly #overlays = new WeakMap<NamespaceLog, Overlay>();
  #stopped = false;

  constructor(parts: { directory: Directory; clock: Clock; random: Random; linksMax?: number | undefined }) {
    this.#directory = parts.directory;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.linksMax = parts.linksMax ?? LINKS_MAX;
  }

  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#brief.values()) timer.cancel();
    for (const timer of this.#resting.values()) timer.cancel();
  }

  /** The mesh of a namespace; undefined for one that is not known. */
  overlay(ns: string): Overlay | undefined {
    const log = this.#directory.logs.get(ns);
    return log && this.#overlayOf(log);
  }

  /** Every machine to stay linked with now. */
  peers(): Set<string> {
    const peers = new Set<string>();
    for (const log of this.#shared()) {
      for (const machine of this.#overlayOf(log).neighbours(this.#directory.self.peerId)) peers.add(machine);
    }
    for (const machine of this.#brief.keys())
      if (this.#directory.common(machine).length > 0) peers.add(machine);
    return peers;
  }

  /** Whether a link with that machine is kept whatever there is for it. */
  isNeighbour(machine: string): boolean {
    const self = this.#directory.self.peerId;
    return this.#shared().some((log) => this.#overlayOf(log).distance(self, machine) === 1);
  }

  /**
   * There is something for a machine: it is linked with for a time unless it is a neighbour, was not to be reached
   * lately, or there are as many such links as there may be. Says whether to wait for it a moment; `onGivenUp` tells
   * when that is over.
   */
  want(machine: string): boolean {
    const { linked, self } = this.#directory;
    if (this.#stopped || machine === self.peerId || linked.has(machine)) return false;
    const brief = this.#brief.get(machine);
    const now = this.#clock.elapsed();
    if (brief) return !brief.up && now - brief.since < BRIEF_LINK_MOMENT_MS;
    if (this.#resting.has(machine) || this.#directory.common(machine).length === 0) return false;
    if (this.isNeighbour(machine)) return false;
    if (!this.#makeRoom()) {
      this.#rest(machine);
      return false;
    }
    this.#brief.set(machine, { since: now, usedAt: now, up: false, timer: this.#momentOf(machine) });
    this.onPeers();
    return true;
  }

  /** Mail has come from a machine, or an answer to mail. */
  used(machine: string): void {
    const brief = this.#brief.get(machine);
    if (brief) brief.usedAt = this.#clock.elapsed();
  }

  /** Whether that link may be: one that only the other side keeps is turned away when there are too many. */
  linkUp(machine: string): boolean {
    const brief = this.#brief.get(machine);
    if (!brief) return this.isNeighbour(machine) || this.#visitors() < VISITORS_MAX;
    brief.timer.cancel();
    brief.up = true;
    brief.usedAt = this.#clock.elapsed();
    brief.timer = this.#clock.after(BRIEF_LINK_IDLE_MS, () => this.#idle(machine, brief));
    return true;
  }

  linkDown(machine: string): void {
    const brief = this.#brief.get(machine);
    if (!brief?.up) return;
    // It was there a moment ago: it is tried like one that was just asked for.
    brief.timer.cancel();
    brief.up = false;
    brief.since = this.#clock.elapsed();
    brief.timer = this.#momentOf(machine);
  }

  /** A machine that has hardly a link in a namespace tries any that it has an address of. */
  beat(): void {
    const { linked, addresses } = this.#directory;
    for (const log of this.#shared()) {
      if (this.#overlayOf(log).isFull) continue;
      if (log.places.filter((machine) => linked.has(machine)).length >= LINKS_FEW) continue;
      const others = log.places.filter((machine) => addresses.has(machine) && this.#isNew(machine));
      for (let tried = 0; tried < TRIED_AT_ONCE && others.length > 0; tried++) {
        const [machine] = others.splice(Math.floor(this.#random.fraction() * others.length), 1);
        this.want(machine!);
      }
    }
  }

  #isNew(machine: string): boolean {
    return !this.#brief.has(machine) && !this.#resting.has(machine) && !this.isNeighbour(machine);
  }

  #shared(): NamespaceLog[] {
    return [...this.#directory.logs.values()].filter((log) => this.#directory.isMember(log));
  }

  #overlayOf(log: NamespaceLog): Overlay {
    let overlay = this.#overlays.get(log);
    if (!overlay) {
      const keepers = [...log.members.values()].filter(({ role }) => role === 'keeper');
      overlay = overlayOf(log.places, new Set(keepers.map(({ peerId }) => peerId)), this.linksMax);
      this.#overlays.set(log, overlay);
    }
    return overlay;
  }

  #visitors(): number {
    let visitors = 0;
    for (const machine of this.#directory.linked)
      if (!this.#brief.has(machine) && !this.isNeighbour(machine)) visitors += 1;
    return visitors;
  }

  /** Gives up the link that carried nothing for longest, if there is one. False when all are in use. */
  #makeRoom(): boolean {
    if (this.#brief.size < BRIEF_LINKS_MAX) return true;
    const idleSince = this.#clock.elapsed() - BRIEF_LINK_MOMENT_MS;
    let found: [string, Brief] | undefined;
    for (const one of this.#brief) {
      const [, { up, usedAt }] = one;
      if (up && usedAt <= idleSince && usedAt < (found?.[1].usedAt ?? Infinity)) found = one;
    }
    if (!found) return false;
    found[1].timer.cancel();
    return this.#brief.delete(found[0]);
  }

  #momentOf(machine: string): Timer {
    return this.#clock.after(BRIEF_LINK_MOMENT_MS, () => {
      const brief = this.#brief.get(machine);
      if (!brief) return;
      brief.timer = this.#clock.after(BRIEF_LINK_TRY_MS - BRIEF_LINK_MOMENT_MS, () =>
        this.#unreached(machine),
      );
      this.onGivenUp(machine);
    });
  }

  #unreached(machine: string): void {
    this.#brief.delete(machine);
    this.#rest(machine);
    this.onPeers();
  }

  #rest(machine: string): void {
    const again = () => {
      this.#resting.delete(machine);
      this.onGivenUp(machine);
    };
    this.#resting.set(machine, this.#clock.after(BRIEF_LINK_REST_MS, again));
  }

  #idle(machine: string, brief: Brief): void {
    const leftMs = brief.usedAt + BRIEF_LINK_IDLE_MS - this.#clock.elapsed();
    if (leftMs > 0) {
      brief.timer = this.#clock.after(leftMs, () => this.#idle(machine, brief));
      return;
    }
    this.#brief.delete(machine);
    this.onPeers();
  }
}
