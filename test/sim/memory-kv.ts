import type { Kv, KvOperation, KvRange } from '../../daemon/store/kv.ts';

/**
 * A store in memory that fails like a disk: what was not synced is gone after `crash`. For tests of the store's
 * users and for simulations; resolves in microtasks only, so that a run is a function of its seed.
 */
export class MemoryKv implements Kv {
  readonly #current = new Map<string, Uint8Array>();
  readonly #keys: string[] = [];
  /** What to put back, newest last, to undo what was not synced. */
  #undo: KvOperation[] = [];

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.find(key);
  }

  async range(range: KvRange): Promise<[string, Uint8Array][]> {
    return this.list(range);
  }

  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    this.put(operations, options);
  }

  /** The same three at once, for whoever makes others wait by itself. */
  find(key: string): Uint8Array | undefined {
    return this.#current.get(key);
  }

  list(range: KvRange): [string, Uint8Array][] {
    const keys = this.#keys;
    const start = lowerBound(keys, range.from);
    const end = lowerBound(keys, range.to);
    const limit = Math.max(0, Math.min(range.limit ?? Infinity, end - start));
    const found = range.reverse ? keys.slice(end - limit, end).reverse() : keys.slice(start, start + limit);
    return found.map((key) => [key, this.#current.get(key)!]);
  }

  put(operations: readonly KvOperation[], options: { sync: boolean }): void {
    for (const operation of operations) {
      if (!options.sync) this.#undo.push({ key: operation.key, value: this.#current.get(operation.key) });
      this.#apply(operation);
    }
    // Later writes follow earlier ones into the log, so one sync holds all of them.
    if (options.sync) this.#undo = [];
  }

  async close(): Promise<void> {}

  /** A power cut: back to what was synced last. */
  crash(): void {
    for (const operation of this.#undo.reverse()) this.#apply(operation);
    this.#undo = [];
  }

  /** The keys below a prefix, in order, as a look at the disk would show them. */
  keys(prefix: string): string[] {
    return this.#keys.slice(lowerBound(this.#keys, prefix), lowerBound(this.#keys, `${prefix}\uffff`));
  }

  #apply({ key, value }: KvOperation): void {
    const known = this.#current.has(key);
    if (value !== undefined) {
      this.#current.set(key, value);
      if (!known) this.#keys.splice(lowerBound(this.#keys, key), 0, key);
    } else if (known) {
      this.#current.delete(key);
      this.#keys.splice(lowerBound(this.#keys, key), 1);
    }
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
