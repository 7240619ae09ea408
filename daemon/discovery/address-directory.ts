import type { Circle } from '../../protocol/discovery/announcement.ts';
import {
  openRecord,
  RECORD_KIND,
  recordKey,
  recordProtocol,
  sealRecord,
} from '../../protocol/discovery/record.ts';
import {
  isPublishDue,
  notePublished,
  noteSought,
  whomToSeek,
  type Published,
  type Sought,
} from '../../protocol/discovery/seeking.ts';
import type { Whereabouts } from '../../protocol/discovery/whereabouts.ts';
import { TABLE_TICK_MS } from '../../protocol/limits.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { LinkStatus, Network, RecordTable } from '../network/network.ts';

/** A namespace that is too large for everybody to hear of everybody over links. */
export interface LargeCircle extends Circle {
  isMember: (machine: string) => boolean;
}

export interface AddressDirectoryParts {
  network: Pick<Network, 'peerId' | 'links' | 'setTables' | 'putRecord' | 'findRecord'>;
  clock: Clock;
  random: Random;
  log: Log;
  /** The large namespaces of this machine whose key it holds. */
  circles: () => readonly LargeCircle[];
  /** Where this machine is. */
  own: () => Whereabouts;
  addressesOf: (machine: string) => readonly string[];
  /** A member's word was found; it is checked but for its being news. */
  heard: (ns: string, word: Uint8Array) => void;
}

interface Kept {
  circle: LargeCircle;
  table: RecordTable;
  published?: Published;
}

/**
 * Where the members of large namespaces are: each leaves its own word with a few others, in a table that all keep
 * together, and whoever cannot reach a member asks there. It does one thing at a time.
 */
export class AddressDirectory {
  readonly #parts: AddressDirectoryParts;
  readonly #sought = new Map<string, Sought>();
  /** By protocol, which is another one with each namespace key. */
  #kept = new Map<string, Kept>();
  #timer: Timer | undefined;
  #isBusy = false;

  constructor(parts: AddressDirectoryParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#parts.network.setTables === undefined) return;
    this.#look();
    this.#timer = this.#parts.clock.after(TABLE_TICK_MS, () => this.start());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    const { network } = this.#parts;
    const before = this.#kept;
    const circles = this.#parts.circles();
    if (before.size === 0 && circles.length === 0) return;
    this.#kept = new Map(circles.map((circle) => this.#keep(circle, before)));
    network.setTables?.([...this.#kept.values()].map(({ table }) => table));
    const links = network.links();
    if (this.#isBusy || !links.some(({ up }) => up)) return;
    this.#isBusy = true;
    void this.#act(links).finally(() => {
      this.#isBusy = false;
    });
  }

  #keep(circle: LargeCircle, before: ReadonlyMap<string, Kept>): [string, Kept] {
    const protocol = recordProtocol(circle);
    const known = before.get(protocol);
    if (known) {
      known.circle = circle;
      return [protocol, known];
    }
    // The members may change while the key stays.
    const isMember = (machine: string): boolean =>
      this.#kept.get(protocol)?.circle.isMember(machine) ?? circle.isMember(machine);
    const table: RecordTable = {
      protocol,
      kind: RECORD_KIND,
      hasMember: isMember,
      addressesOf: this.#parts.addressesOf,
      check: (key, value) => openRecord({ key, value }, circle, isMember).at,
    };
    return [protocol, { circle, table }];
  }

  async #act(links: readonly LinkStatus[]): Promise<void> {
    const { clock, log } = this.#parts;
    try {
      for (const kept of this.#kept.values()) await this.#publish(kept);
      const unreached = links.filter(({ up, lastError }) => !up && lastError !== undefined);
      const machine = whomToSeek(
        unreached.map(({ peerId }) => peerId),
        this.#sought,
        clock.elapsed(),
      );
      if (machine !== undefined) await this.#seek(machine);
    } catch (error) {
      log.warn({ error }, 'where members are could not be asked or told');
    }
  }

  async #publish(kept: Kept): Promise<void> {
    const { network, clock, random, log, own } = this.#parts;
    const word = own();
    const addresses = word.addresses.join();
    if (!isPublishDue(kept.published, addresses, clock.elapsed())) return;
    const { circle, table } = kept;
    const key = recordKey(circle, network.peerId);
    const value = sealRecord(word.bytes, circle, random.bytes);
    const holders = (await network.putRecord?.(table.protocol, { key, value })) ?? 0;
    kept.published = notePublished(kept.published, addresses, holders, clock.elapsed());
    log.debug({ ns: circle.ns, holders }, 'left word of where this machine is');
  }

  async #seek(machine: string): Promise<void> {
    const { network, clock, log, heard } = this.#parts;
    noteSought(this.#sought, machine, clock.elapsed());
    for (const { circle, table } of this.#kept.values()) {
      if (!circle.isMember(machine)) continue;
      const key = recordKey(circle, machine);
      await network.findRecord?.(table.protocol, key, (value) => {
        try {
          heard(circle.ns, openRecord({ key, value }, circle, circle.isMember).bytes);
        } catch (error) {
          log.info({ error, machine, ns: circle.ns }, 'refused a record of where a machine is');
        }
      });
    }
  }
}
