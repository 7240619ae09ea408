import type { Kv, KvOperation, KvRange } from '../../daemon/store/kv.ts';

interface Row {
  key: string;
  value: Uint8Array;
}

/** The rows whose keys have one first word, in order. */
interface Table {
  /** That word and the slash behind it, or a whole key without any. */
  word: string;
  rows: Row[];
}

/**
 * A store in memory that fails like a disk: what was not synced is gone after `crash`. For tests of the store's
 * users and for simulations; resolves in microtasks only, so that a run is a function of its seed.
 */
export class MemoryKv implements Kv {
  readonly #rows = new Map<string, Row>();
  /** In the order of their keys, which is that of their words. */
  readonly #tables: Table[] = [];
  readonly #byWord = new Map<string, Table>();
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
    return this.#rows.get(key)?.value;
  }

  list({ from, to, limit = Infinity, reverse = false }: KvRange): [string, Uint8Array][] {
    const found: [string, Uint8Array][] = [];
    const within = this.#within(from, to);
    for (const { rows } of reverse ? within.reverse() : within) {
      const start = lowerBound(rows, from);
      const end = lowerBound(rows, to);
      const count = Math.min(end - start, limit - found.length);
      for (let at = 0; at < count; at++) {
        const { key, value } = rows[reverse ? end - 1 - at : start + at]!;
        found.push([key, value]);
      }
    }
    return found;
  }

  put(operations: readonly KvOperation[], { sync }: { sync: boolean }): void {
    for (const operation of operations) {
      if (!sync) this.#undo.push({ key: operation.key, value: this.find(operation.key) });
      this.#apply(operation);
    }
    // Later writes follow earlier ones into the log, so one sync holds all of them.
    if (sync && this.#undo.length > 0) this.#undo = [];
  }

  async close(): Promise<void> {}

  /** A power cut: back to what was synced last. */
  crash(): void {
    for (const operation of this.#undo.reverse()) this.#apply(operation);
    this.#undo = [];
  }

  /** The keys below a prefix, in order, as a look at the disk would show them. */
  keys(prefix: string): string[] {
    return this.list({ from: prefix, to: `${prefix}\uffff` }).map(([key]) => key);
  }

  #apply({ key, value }: KvOperation): void {
    const row = this.#rows.get(key);
    if (value !== undefined) {
      if (row) row.value = value;
      else this.#add({ key, value });
    } else if (row) {
      this.#rows.delete(key);
      const { rows } = this.#byWord.get(wordOf(key))!;
      rows.splice(lowerBound(rows, key), 1);
    }
  }

  #add(row: Row): void {
    this.#rows.set(row.key, row);
    const { rows } = this.#tableOf(wordOf(row.key));
    const last = rows.at(-1);
    if (!last || last.key < row.key) rows.push(row);
    else rows.splice(lowerBound(rows, row.key), 0, row);
  }

  #tableOf(word: string): Table {
    const known = this.#byWord.get(word);
    if (known) return known;
    const table = { word, rows: [] };
    this.#byWord.set(word, table);
    this.#tables.push(table);
    this.#tables.sort((a, b) => (a.word < b.word ? -1 : 1));
    return table;
  }

  /** Tables that may have keys of a range. */
  #within(from: string, to: string): Table[] {
    const word = wordOf(from);
    if (word.endsWith('/') && to.startsWith(word)) {
      const table = this.#byWord.get(word);
      return table ? [table] : [];
    }
    return this.#tables.filter(
      (table) => table.word < to && (table.word >= from || from.startsWith(table.word)),
    );
  }
}

function wordOf(key: string): string {
  const slash = key.indexOf('/');
  return slash < 0 ? key : key.slice(0, slash + 1);
}

function lowerBound(rows: readonly Row[], wanted: string): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rows[middle]!.key < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A store of its own that holds the same. */
export async function copyOf(kv: Kv): Promise<MemoryKv> {
  const copy = new MemoryKv();
  const all = await kv.range({ from: '', to: '\x7f' });
  await copy.write(
    all.map(([key, value]) => ({ key, value })),
    { sync: true },
  );
  return copy;
}
