import { z } from 'zod';
import { EPOCH_MAX } from '../../protocol/limits.ts';
import { zMessageId } from '../../protocol/shapes.ts';
import type { Journal } from './journal.ts';
import { below } from './mail-records.ts';
import type { RecordSeal } from './record-seal.ts';

/** Starts that are remembered. A milestone of one before them says nothing any more. */
export const STARTS_MAX = 100;
const STARTS_KEY = 'starts';
const PEERS = 'milestone/';
/** What a milestone is sealed for: no record of the store lies under it. */
export const SEALED_AS = 'milestone';

const zCount = z.int().min(0);
const zMilestone = z.strictObject({
  epoch: z.int().min(0).max(EPOCH_MAX),
  start: zCount,
  boot: zMessageId,
  batch: zCount,
});
/** How far the store of a machine had got. */
export type Milestone = z.infer<typeof zMilestone>;

/** A start of the daemon, by rising number, and the last batch before it. */
export interface Start {
  number: number;
  boot: string;
  batch: number;
}

/** How far the store has got now; `starts` end with the one that runs. */
export interface Progress {
  epoch: number;
  batch: number;
  starts: readonly Start[];
}

/**
 * Whether a store that has got to `now` never passed a milestone of its own machine, so that it was set back. One of
 * an earlier epoch says nothing: what was lost then was seen to when this one began.
 */
export function isAhead({ epoch, start, boot, batch }: Milestone, now: Progress): boolean {
  if (epoch !== now.epoch) return epoch > now.epoch;
  const [first] = now.starts;
  if (!first || start < first.number) return false;
  const at = now.starts.findIndex(({ number }) => number === start);
  if (now.starts[at]?.boot !== boot) return true;
  return batch > (now.starts[at + 1]?.batch ?? now.batch);
}

/**
 * What tells a machine that its store was set back behind its back: others keep for it how far it had got, sealed so
 * that only itself can make and read it, and give it back when a link comes up.
 *
 * What is kept for others goes into the store with whatever is written next: that is all that this machine can know
 * of them by then, and costs no batch of its own.
 */
export class Milestones {
  readonly #journal: Journal;
  readonly #seal: RecordSeal;
  readonly #boot: string;
  #starts: readonly Start[] = [];
  readonly #kept = new Map<string, Uint8Array>();
  #own: { epoch: number; batch: number; bytes: Uint8Array } | undefined;

  /** `boot` is this start of the daemon. */
  constructor({ journal, seal, boot }: { journal: Journal; seal: RecordSeal; boot: string }) {
    this.#journal = journal;
    this.#seal = seal;
    this.#boot = boot;
  }

  /** Notes this start, before anything of it is told, and reads what is kept for others. */
  async start(): Promise<void> {
    for (const [key, bytes] of await this.#journal.range<Uint8Array>(below(PEERS)))
      this.#kept.set(key.slice(PEERS.length), bytes);
    const { batches } = this.#journal;
    this.#starts = await this.#journal.transact(async (tx) => {
      const before = (await tx.get<Start[]>(STARTS_KEY)) ?? [];
      const number = (before.at(-1)?.number ?? 0) + 1;
      const starts = [...before, { number, boot: this.#boot, batch: batches }].slice(-STARTS_MAX);
      tx.put(STARTS_KEY, starts);
      return starts;
    });
  }

  /** How far this machine's store has got, for others to keep; undefined before the start is noted. */
  own(epoch: number): Uint8Array | undefined {
    const start = this.#starts.at(-1);
    if (!start) return undefined;
    const batch = this.#journal.batches;
    if (this.#own?.epoch !== epoch || this.#own.batch !== batch) {
      const milestone: Milestone = { epoch, start: start.number, boot: start.boot, batch };
      this.#own = { epoch, batch, bytes: this.#seal.seal(SEALED_AS, milestone) };
    }
    return this.#own.bytes;
  }

  /** What another machine gave this one to keep. */
  kept(machine: string): Uint8Array | undefined {
    return this.#kept.get(machine);
  }

  keep(machine: string, bytes: Uint8Array): void {
    this.#kept.set(machine, bytes);
    this.#journal.ride(`${PEERS}${machine}`, bytes);
  }

  /** What was given back, when this machine's store never got there. What this machine did not make says nothing. */
  ahead(bytes: Uint8Array, epoch: number): Milestone | undefined {
    const milestone = this.#read(bytes);
    const now = { epoch, batch: this.#journal.batches, starts: this.#starts };
    return milestone && isAhead(milestone, now) ? milestone : undefined;
  }

  #read(bytes: Uint8Array): Milestone | undefined {
    try {
      return zMilestone.parse(this.#seal.open(SEALED_AS, bytes));
    } catch {
      return undefined;
    }
  }
}
