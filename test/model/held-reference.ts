import type { HeldBounds } from '../../daemon/store/kv-held-store.ts';
import { MAILBOX_RETENTION_MS } from '../../protocol/limits.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** One envelope that the reference holds; `which` stands for its bytes. */
export interface HeldEntry {
  ns: string;
  to: string;
  which: number;
  sizeBytes: number;
  withdraw: number;
  atMs: number;
}

/** What a held store does, as a plain list; the newest deposit is last. */
export class HeldReference {
  readonly #bounds: HeldBounds;
  entries: HeldEntry[] = [];
  nowMs: number;
  #spent: { depositor: string; sizeBytes: number; atMs: number }[] = [];

  constructor(bounds: HeldBounds, nowMs: number) {
    this.#bounds = bounds;
    this.nowMs = nowMs;
  }

  /** Whether it is held afterwards. */
  hold(deposit: Omit<HeldEntry, 'atMs'> & { depositor: string }): boolean {
    const { depositor, ...entry } = deposit;
    const { to, ns, which, sizeBytes } = entry;
    if (this.entries.some((other) => other.to === to && other.which === which)) return true;
    const ofNs = this.entries.filter((other) => other.ns === ns);
    const ofTo = ofNs.filter((other) => other.to === to);
    const hour = this.#spent.filter((one) => one.depositor === depositor && this.#isWithinHour(one.atMs));
    const { whole, namespaceSizeBytes, recipient, depositor: each } = this.#bounds;
    const isFull =
      this.entries.length + 1 > whole.count ||
      bytes(this.entries) + sizeBytes > whole.sizeBytes ||
      bytes(ofNs) + sizeBytes > namespaceSizeBytes ||
      ofTo.length + 1 > recipient.count ||
      bytes(ofTo) + sizeBytes > recipient.sizeBytes ||
      hour.length + 1 > each.count ||
      bytes(hour) + sizeBytes > each.sizeBytes;
    if (isFull) return false;
    this.entries.push({ ...entry, atMs: this.nowMs });
    this.#spent.push({ depositor, sizeBytes, atMs: this.nowMs });
    return true;
  }

  /** Removes what fits, and says how many that were. */
  remove(fits: (entry: HeldEntry) => boolean): number {
    const before = this.entries.length;
    this.entries = this.entries.filter((entry) => !fits(entry));
    return before - this.entries.length;
  }

  isDue({ atMs }: HeldEntry): boolean {
    return Math.floor(atMs / DAY_MS) < Math.floor((this.nowMs - MAILBOX_RETENTION_MS) / DAY_MS);
  }

  restart(): void {
    this.#spent = [];
  }

  #isWithinHour(atMs: number): boolean {
    return Math.floor(this.nowMs / MINUTE_MS) - Math.floor(atMs / MINUTE_MS) <= 60;
  }
}

function bytes(list: readonly { sizeBytes: number }[]): number {
  return list.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
