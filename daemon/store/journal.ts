import { PatchcordError } from '../../protocol/errors.ts';
import type { BatchMarks } from './batch-marks.ts';
import type { Kv, KvOperation, KvRange } from './kv.ts';
import type { RecordSeal } from './record-seal.ts';

/**
 * Bounds of what is kept in memory of committed records: those of the messages that are on their way. V8 lets tens of
 * megabytes of what falls out of a larger cache lie about.
 */
const RECENT_MAX = 256;
const RECENT_SIZE_BYTES_MAX = 4_096;
/** Where the bytes of records that do not open are kept. */
export const QUARANTINE = 'quarantine/';

/**
 * Transactions over a {@link Kv}: one after another they decide, together they are committed.
 *
 * A transaction reads what all earlier ones decided, committed or not, so two never decide on the same facts;
 * it resolves only when its writes, and all they rest on, are fsynced. While one synced write runs, the
 * transactions that arrive meanwhile gather for the next: one fsync for all of them (group commit). When a write
 * fails, everything that was not committed fails with it.
 *
 * Reads outside transactions see committed records only: nothing is shown that a crash could take back.
 */
export class Journal {
  readonly #kv: Kv;
  readonly #seal: RecordSeal;
  /** The newest uncommitted operation of each key. */
  #staged = new Map<string, KvOperation>();
  /** Small records that were committed last: counters and lines are read for every message. */
  readonly #recent = new Map<string, KvOperation>();
  /** What goes with the next batch. */
  readonly #riding = new Map<string, KvOperation>();
  #queue: Commit[] = [];
  #writing: Promise<void> | undefined;
  #deciding: Promise<unknown> = Promise.resolve();
  /** The failed write that took the staged records with it; another one, another object. */
  #failure: { error: unknown } | undefined;
  readonly #marks: BatchMarks | undefined;
  readonly #opened: Opened;

  /** `marks` number the batches; `onDamaged` is told of each record that cannot be opened, before it throws. */
  constructor(
    kv: Kv,
    seal: RecordSeal,
    care: { marks?: BatchMarks; onDamaged?: (error: PatchcordError) => void } = {},
  ) {
    this.#kv = kv;
    this.#seal = seal;
    this.#marks = care.marks;
    this.#opened = watchedOpening(seal, care.onDamaged);
  }

  /**
   * Runs `decide` alone, then commits what it wrote. When `decide` throws, nothing is written. A transaction that
   * wrote nothing still waits for those it may have read from.
   */
  async transact<T>(decide: (tx: CareTx) => Promise<T>): Promise<T> {
    const turn = this.#deciding.then(() => this.#decide(decide));
    this.#deciding = turn.catch(() => undefined);
    const { value, committed } = await turn;
    await committed;
    return value;
  }

  /** Runs transactions, each committed before the next and none of others between them, until one gives false. */
  async transactAlone(decide: (tx: CareTx) => Promise<boolean>): Promise<void> {
    const turn = this.#deciding.then(async () => {
      for (let more = true; more;) {
        const { value, committed } = await this.#decide(decide);
        await committed;
        more = value;
      }
    });
    this.#deciding = turn.catch(() => undefined);
    await turn;
  }

  /** Writes a record with the next batch, or when the store is closed. Until then it is not read. */
  ride(key: string, value: unknown): void {
    this.#riding.set(key, { key, value: this.#seal.seal(key, value) });
  }

  /** The number of the last batch that is fsynced, counted for the life of the home. */
  get batches(): number {
    return this.#marks?.last ?? 0;
  }

  async get<T>(key: string): Promise<T | undefined> {
    const recent = this.#recent.get(key);
    const bytes = recent ? recent.value : await this.#kv.get(key);
    return bytes && this.#opened<T>(key, bytes);
  }

  async range<T>(range: KvRange): Promise<[key: string, value: T][]> {
    const entries = await this.#kv.range(range);
    return entries.map(([key, bytes]) => [key, this.#opened<T>(key, bytes)]);
  }

  /** A transaction that may also look at records that do not open; with `dry` what it wrote is thrown away. */
  async care<T>(decide: (tx: CareTx) => Promise<T>, options: { dry: boolean }): Promise<T> {
    if (!options.dry) return this.transact(decide);
    const tx = new JournalTx(this.#kv, this.#seal, this.#opened, this.#staged, this.#recent);
    const turn = this.#deciding.then(() => decide(tx));
    this.#deciding = turn.catch(() => undefined);
    return turn;
  }

  /** Gives the space of what was deleted in a range back, where the store below can. */
  async compact(range: { from: string; to: string }): Promise<void> {
    await this.#kv.compact?.(range);
  }

  /** Waits for what is being committed, then closes the store. */
  async close(): Promise<void> {
    await this.#deciding;
    while (this.#writing) await this.#writing;
    // Without it a later start knows less.
    if (this.#riding.size > 0) await this.#write([]).catch(() => undefined);
    await this.#marks?.close();
    await this.#kv.close();
  }

  async #decide<T>(decide: (tx: CareTx) => Promise<T>): Promise<{ value: T; committed: Promise<void> }> {
    const failure = this.#failure;
    const tx = new JournalTx(this.#kv, this.#seal, this.#opened, this.#staged, this.#recent);
    const value = await decide(tx);
    // What it decided on was lost meanwhile.
    if (this.#failure && this.#failure !== failure) throw this.#failure.error;
    const operations = tx.operations();
    const committed = new Promise<void>((resolve, reject) => {
      this.#queue.push({ operations, resolve, reject });
    });
    committed.catch(() => undefined);
    for (const operation of operations) this.#staged.set(operation.key, operation);
    this.#writing ??= this.#writeQueued();
    return { value, committed };
  }

  #remember(operation: KvOperation): void {
    this.#recent.delete(operation.key);
    if (operation.value && operation.value.length > RECENT_SIZE_BYTES_MAX) return;
    this.#recent.set(operation.key, operation);
    if (this.#recent.size <= RECENT_MAX) return;
    const [oldest] = this.#recent.keys();
    if (oldest !== undefined) this.#recent.delete(oldest);
  }

  async #writeQueued(): Promise<void> {
    // One microtask later, so that transactions deciding in the same turn share the first fsync too.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#queue;
      this.#queue = [];
      try {
        const operations = group.flatMap((commit) => commit.operations);
        if (operations.length > 0) await this.#write(operations);
        for (const operation of operations) {
          this.#remember(operation);
          if (this.#staged.get(operation.key) === operation) this.#staged.delete(operation.key);
        }
        for (const commit of group) commit.resolve();
      } catch (error) {
        for (const commit of [...group, ...this.#queue]) commit.reject(error);
        this.#queue = [];
        this.#staged = new Map();
        // A batch may have landed though its fsync failed.
        this.#recent.clear();
        this.#failure = { error };
      }
    }
    this.#writing = undefined;
  }

  async #write(operations: readonly KvOperation[]): Promise<void> {
    const mark = this.#marks?.next();
    const riding = [...this.#riding.values()];
    await this.#kv.write([...operations, ...riding, ...(mark ? [mark] : [])], { sync: true });
    for (const one of riding) if (this.#riding.get(one.key) === one) this.#riding.delete(one.key);
    this.#marks?.committed();
  }
}

interface Commit {
  operations: KvOperation[];
  resolve(): void;
  reject(error: unknown): void;
}

/** What a transaction may do. Values are plain data that the codec can carry. */
export interface Tx {
  get<T>(key: string): Promise<T | undefined>;
  range<T>(range: KvRange): Promise<[key: string, value: T][]>;
  put(key: string, value: unknown): void;
  delete(key: string): void;
}

/** What whoever puts the store right may do besides. */
export interface CareTx extends Tx {
  /** Like `range`, with the records that do not open. */
  scan(range: KvRange): Promise<Scanned[]>;
  /** Moves a record's bytes, whatever they are, to `quarantine/KEY`; one that is there already gets a number. */
  quarantine(key: string): Promise<void>;
}

export type Scanned = { key: string; opens: true; value: unknown } | { key: string; opens: false };

class JournalTx implements CareTx {
  readonly #kv: Kv;
  readonly #seal: RecordSeal;
  readonly #opened: Opened;
  readonly #staged: ReadonlyMap<string, KvOperation>;
  readonly #recent: ReadonlyMap<string, KvOperation>;
  readonly #own = new Map<string, KvOperation>();

  constructor(
    kv: Kv,
    seal: RecordSeal,
    opened: Opened,
    staged: ReadonlyMap<string, KvOperation>,
    recent: ReadonlyMap<string, KvOperation>,
  ) {
    this.#kv = kv;
    this.#seal = seal;
    this.#opened = opened;
    this.#staged = staged;
    this.#recent = recent;
  }

  async get<T>(key: string): Promise<T | undefined> {
    const written = this.#written(key);
    const bytes = written ? written.value : await this.#kv.get(key);
    return bytes && this.#opened<T>(key, bytes);
  }

  async range<T>(range: KvRange): Promise<[key: string, value: T][]> {
    const entries = await this.#entries(range);
    return entries.map(([key, bytes]) => [key, this.#opened<T>(key, bytes)]);
  }

  async scan(range: KvRange): Promise<Scanned[]> {
    return (await this.#entries(range)).map(([key, bytes]) => {
      try {
        return { key, opens: true, value: this.#seal.open(key, bytes) };
      } catch {
        return { key, opens: false };
      }
    });
  }

  async quarantine(key: string): Promise<void> {
    // A key that is damaged itself is in its table and not in the table's filter: only a range finds it.
    const [[, value] = []] = await this.#entries({ from: key, to: `${key}\0` });
    if (!value) return;
    let place = `${QUARANTINE}${key}`;
    for (let copy = 2; await this.#bytes(place); copy++) place = `${QUARANTINE}${key}~${copy}`;
    this.#own.set(place, { key: place, value });
    this.delete(key);
  }

  async #bytes(key: string): Promise<Uint8Array | undefined> {
    const written = this.#written(key);
    return written ? written.value : this.#kv.get(key);
  }

  #written(key: string): KvOperation | undefined {
    return this.#own.get(key) ?? this.#staged.get(key) ?? this.#recent.get(key);
  }

  async #entries(range: KvRange): Promise<[key: string, bytes: Uint8Array][]> {
    const written = new Map<string, Uint8Array | undefined>();
    const within = (key: string) => key >= range.from && key < range.to;
    for (const [key, operation] of [...this.#staged, ...this.#own])
      if (within(key)) written.set(key, operation.value);
    const limit = range.limit ?? Infinity;
    const stored = await this.#kv.range(
      range.limit === undefined ? range : { ...range, limit: range.limit + written.size },
    );
    const merged = new Map(stored);
    for (const [key, value] of written) {
      if (value === undefined) merged.delete(key);
      else merged.set(key, value);
    }
    const sorted = [...merged].sort(([a], [b]) => (a < b ? -1 : 1));
    if (range.reverse) sorted.reverse();
    return sorted.slice(0, limit);
  }

  put(key: string, value: unknown): void {
    this.#own.set(key, { key, value: this.#seal.seal(key, value) });
  }

  delete(key: string): void {
    this.#own.set(key, { key, value: undefined });
  }

  operations(): KvOperation[] {
    return [...this.#own.values()];
  }
}

type Opened = <T>(key: string, bytes: Uint8Array) => T;

/** The record under a key. Its seal proves that this store wrote it there, so its shape is what the key says. */
function watchedOpening(seal: RecordSeal, onDamaged: ((error: PatchcordError) => void) | undefined): Opened {
  return <T>(key: string, bytes: Uint8Array): T => {
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      return seal.open(key, bytes) as T;
    } catch (error) {
      if (error instanceof PatchcordError) onDamaged?.(error);
      throw error;
    }
  };
}
