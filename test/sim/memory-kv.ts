import type { Kv, KvOperation, KvRange } from '../../daemon/store/kv.ts';

/**
 * A store in memory that fails like a disk: what was not synced is gone after `crash`. For tests of the store's
 * users and for simulations; resolves in microtasks only, so that a run is a function of its seed.
 */
export class MemoryKv implements Kv {
  readonly #current = new Map<string, Uint8Array>();
  /** What to put back, newest last, to undo what was not synced. */
  #undo: KvOperation[] = [];
  #sorted: string[] | undefined;

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#current.get(key);
  }

  async range(range: KvRange): Promise<[string, Uint8Array][]> {
    this.#sorted ??= [...this.#current.keys()].sort();
    const keys = this.#sorted;
    const start = lowerBound(keys, range.from);
    const end = lowerBound(keys, range.to);
    const limit = Math.max(0, Math.min(range.limit ?? Infinity, end - start));
    const found = range.reverse ? keys.slice(end - limit, end).reverse() : keys.slice(start, start + limit);
    return found.map((key) => [key, this.#current.get(key)!]);
  }

  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    for (const operation of operations) {
      this.#undo.push({ key: operation.key, value: this.#current.get(operation.key) });
      this.#apply(operation);
    }
    if (options.sync) this.#undo = [];
  }

  async close(): Promise<void> {}

  /** A power cut: back to what was synced last. */
  crash(): void {
    for (const operation of this.#undo.reverse()) this.#apply(operation);
    this.#undo = [];
  }

  #apply({ key, value }: KvOperation): void {
    if (this.#current.has(key) !== (value !== undefined)) this.#sorted = undefined;
    if (value === undefined) this.#current.delete(key);
    else this.#current.set(key, value);
  }
}

function lowerBound(keys: readonly string[], wanted: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
