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
/** Of what is read only the smallest is kept: what is asked for again and again, and changes seldom. */
const READ_SIZE_BYTES_MAX = 128;
/** Of one batch so many transactions have something got ready meanwhile: it takes up to half a millisecond each. */
const MEANWHILE_MAX = 16;
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
  /** The newest uncommitted change of each key. */
  #staged = new Map<string, Change>();
  /** Small records that were committed or read last: counters and lines are read for every message. */
  readonly #recent = new Map<string, Change>();
  /** Rises with every batch that ended, well or not. */
  #ended = 0;
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
   *
   * `meanwhile`, unless many are in one batch, gets the value while that is being written, for what can be got ready:
   * nothing that it does may be seen before this resolves. It must not throw.
   */
  async transact<T>(decide: (tx: CareTx) => Promise<T>, meanwhile?: (value: T) => void): Promise<T> {
    const turn = this.#deciding.then(() => this.#decide(decide, meanwhile));
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
    if (recent) return valueOf<T>(recent, this.#opened);
    const ended = this.#ended;
    const sealed = await this.#kv.get(key);
    const value = sealed && this.#opened<T>(key, sealed);
    const isSmall = sealed === undefined || sealed.length <= READ_SIZE_BYTES_MAX;
    // A batch may have replaced it meanwhile.
    if (isSmall && ended === this.#ended) this.#remember(sealed ? { key, put: { value } } : { key }, 0);
    return value;
  }

  async range<T>(range: KvRange): Promise<[key: string, value: T][]> {
    const entries = await this.#kv.range(range);
    return entries.map(([key, sealed]) => [key, this.#opened<T>(key, sealed)]);
  }

  /** A transaction that may also look at records that do not open; with `dry` what it wrote is thrown away. */
  async care<T>(decide: (tx: CareTx) => Promise<T>, options: { dry: boolean }): Promise<T> {
    if (!options.dry) return this.transact(decide);
    const tx = this.#newTx();
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

  async #decide<T>(
    decide: (tx: CareTx) => Promise<T>,
    meanwhile?: (value: T) => void,
  ): Promise<{ value: T; committed: Promise<void> }> {
    const failure = this.#failure;
    const tx = this.#newTx();
    const value = await decide(tx);
    // What it decided on was lost meanwhile.
    if (this.#failure && this.#failure !== failure) throw this.#failure.error;
    const { changes } = tx;
    const committed = new Promise<void>((resolve, reject) => {
      this.#queue.push({ changes, meanwhile: () => meanwhile?.(value), resolve, reject });
    });
    committed.catch(() => undefined);
    for (const change of changes) this.#staged.set(change.key, change);
    this.#writing ??= this.#writeQueued();
    return { value, committed };
  }

  #newTx(): JournalTx {
    const committed = <T>(key: string) => this.get<T>(key);
    return new JournalTx(this.#kv, this.#seal, this.#opened, this.#staged, committed);
  }

  #remember(change: Change, sizeBytes: number): void {
    this.#recent.delete(change.key);
    if (sizeBytes > RECENT_SIZE_BYTES_MAX) return;
    this.#recent.set(change.key, change);
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
        // Of what several transactions change only the last is written.
        const changes = new Map<string, Change>();
        for (const commit of group) for (const change of commit.changes) changes.set(change.key, change);
        const operations = [...changes.values()].map((change) => this.#sealed(change));
        const written = operations.length > 0 ? this.#write(operations) : undefined;
        for (const commit of group.slice(0, MEANWHILE_MAX)) commit.meanwhile();
        await written;
        this.#ended += 1;
        for (const { key, value } of operations) {
          const change = changes.get(key)!;
          this.#remember(change, value?.length ?? 0);
          if (this.#staged.get(key) === change) this.#staged.delete(key);
        }
        for (const commit of group) commit.resolve();
      } catch (error) {
        for (const commit of [...group, ...this.#queue]) commit.reject(error);
        this.#queue = [];
        this.#staged = new Map();
        this.#ended += 1;
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

  #sealed({ key, put: made, sealed }: Change): KvOperation {
    return { key, value: made ? this.#seal.seal(key, made.value) : sealed };
  }
}

interface Commit {
  changes: Change[];
  meanwhile(): void;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * What is to become of a record: its value, sealed when it is written; bytes that are moved as they are; or neither, which
 * deletes it.
 */
interface Change {
  key: string;
  put?: { value: unknown };
  sealed?: Uint8Array;
}

function put(key: string, value: unknown): Change {
  return { key, put: { value } };
}

/** What a transaction may do. Values are plain data that the codec can carry, and nobody changes one that was put or got. */
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
  readonly #staged: ReadonlyMap<string, Change>;
  readonly #committed: <T>(key: string) => Promise<T | undefined>;
  readonly #own = new Map<string, Change>();

  constructor(
    kv: Kv,
    seal: RecordSeal,
    opened: Opened,
    staged: ReadonlyMap<string, Change>,
    committed: <T>(key: string) => Promise<T | undefined>,
  ) {
    this.#kv = kv;
    this.#seal = seal;
    this.#opened = opened;
    this.#staged = staged;
    this.#committed = committed;
  }

  async get<T>(key: string): Promise<T | undefined> {
    const written = this.#written(key);
    return written ? valueOf<T>(written, this.#opened) : this.#committed<T>(key);
  }

  async range<T>(range: KvRange): Promise<[key: string, value: T][]> {
    return (await this.#entries(range)).map((entry) => [entry.key, valueOf<T>(entry, this.#opened)!]);
  }

  async scan(range: KvRange): Promise<Scanned[]> {
    return (await this.#entries(range)).map((entry) => {
      const { key } = entry;
      try {
        return {
          key,
          opens: true,
          value: entry.put ? entry.put.value : this.#seal.open(key, entry.sealed!),
        };
      } catch {
        return { key, opens: false };
      }
    });
  }

  async quarantine(key: string): Promise<void> {
    // A key that is damaged itself is in its table and not in the table's filter: only a range finds it.
    const [entry] = await this.#entries({ from: key, to: `${key}\0` });
    if (!entry) return;
    let place = `${QUARANTINE}${key}`;
    for (let copy = 2; await this.#holds(place); copy++) place = `${QUARANTINE}${key}~${copy}`;
    this.#own.set(place, { ...entry, key: place });
    this.delete(key);
  }

  async #holds(key: string): Promise<boolean> {
    const written = this.#written(key);
    return written ? !isDeletion(written) : (await this.#kv.get(key)) !== undefined;
  }

  #written(key: string): Change | undefined {
    return this.#own.get(key) ?? this.#staged.get(key);
  }

  async #entries(range: KvRange): Promise<Change[]> {
    const written = new Map<string, Change>();
    const within = (key: string) => key >= range.from && key < range.to;
    for (const [key, change] of [...this.#staged, ...this.#own]) if (within(key)) written.set(key, change);
    const limit = range.limit ?? Infinity;
    const stored = await this.#kv.range(
      range.limit === undefined ? range : { ...range, limit: range.limit + written.size },
    );
    const merged = new Map<string, Change>(stored.map(([key, sealed]) => [key, { key, sealed }]));
    for (const [key, change] of written) {
      if (isDeletion(change)) merged.delete(key);
      else merged.set(key, change);
    }
    const sorted = [...merged.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    if (range.reverse) sorted.reverse();
    return sorted.slice(0, limit);
  }

  put(key: string, value: unknown): void {
    this.#own.set(key, put(key, value));
  }

  delete(key: string): void {
    this.#own.set(key, { key });
  }

  get changes(): Change[] {
    return [...this.#own.values()];
  }
}

function isDeletion(change: Change): boolean {
  return !change.put && !change.sealed;
}

/** A record that was put, the same object for whoever asks, or one that is in the store. */
function valueOf<T>({ key, put: made, sealed }: Change, opened: Opened): T | undefined {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  if (made) return made.value as T;
  return sealed && opened<T>(key, sealed);
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
