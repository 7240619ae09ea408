import { MAILBOX_DEPOSITOR_WINDOW_MS } from '../../protocol/limits.ts';

/** Deposits are counted in slots of this length, so that a busy depositor costs 61 of them and not 10,000 entries. */
const SLOT_MS = 60_000;
const SLOTS = MAILBOX_DEPOSITOR_WINDOW_MS / SLOT_MS;

interface Slot {
  number: number;
  count: number;
  sizeBytes: number;
}

/**
 * What each machine left at this mailbox within the last hour, to the minute and never less. Kept in memory only:
 * on disk it would tell a thief who wrote and when. The price is that a restart forgets it, so a machine that can
 * make this one restart, or has many keys, may leave more; what all of them may leave is bounded in the store.
 *
 * Every depositor is a member of some namespace, which bounds how many there are; one is forgotten when its hour is
 * over and another one comes.
 */
export class DepositorBudget {
  readonly #countMax: number;
  readonly #sizeBytesMax: number;
  /** By depositor; whoever left something last is last. Slots rise by number. */
  readonly #slots = new Map<string, Slot[]>();

  constructor(countMax: number, sizeBytesMax: number) {
    this.#countMax = countMax;
    this.#sizeBytesMax = sizeBytesMax;
  }

  /** How many depositors it remembers. */
  get size(): number {
    return this.#slots.size;
  }

  /** Takes one deposit from the budget. `giveBack` is for one that failed; undefined when the budget is spent. */
  spend(depositor: string, sizeBytes: number, nowMs: number): { giveBack(): void } | undefined {
    const now = Math.floor(nowMs / SLOT_MS);
    const slots = recent(this.#slots.get(depositor) ?? [], now);
    const count = slots.reduce((sum, slot) => sum + slot.count, 0);
    const spentBytes = slots.reduce((sum, slot) => sum + slot.sizeBytes, 0);
    if (count + 1 > this.#countMax || spentBytes + sizeBytes > this.#sizeBytesMax) return undefined;
    let slot = slots.at(-1);
    if (slot?.number !== now) {
      slot = { number: now, count: 0, sizeBytes: 0 };
      slots.push(slot);
    }
    slot.count += 1;
    slot.sizeBytes += sizeBytes;
    this.#slots.delete(depositor);
    this.#slots.set(depositor, slots);
    this.#forget(now);
    return {
      giveBack: () => {
        slot.count -= 1;
        slot.sizeBytes -= sizeBytes;
      },
    };
  }

  /** Forgets those who left nothing for an hour. */
  #forget(now: number): void {
    for (const [depositor, slots] of this.#slots) {
      if (recent(slots, now).length > 0) return;
      this.#slots.delete(depositor);
    }
  }
}

/** Slots that count still. One of a moment to come is from before the clock was set back: it counts from now. */
function recent(slots: readonly Slot[], now: number): Slot[] {
  for (const slot of slots) slot.number = Math.min(slot.number, now);
  return slots.filter(({ number }) => now - number <= SLOTS);
}
