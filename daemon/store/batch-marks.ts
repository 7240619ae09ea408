import { PatchcordError } from '../../protocol/errors.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Kv, KvOperation } from './kv.ts';
import { below, digits } from './mail-records.ts';
import type { RecordSeal } from './record-seal.ts';

/**
 * How many of the last batches are marked. LevelDB keeps what is younger than about 4 MB in its log, the only place
 * where whole batches can vanish unseen, and a batch of mail is seldom below a kilobyte.
 */
export const MARKS = 4_096;
/** How often the file is written at most; what a power cut takes from it is only a part of the alarm. */
const FILE_INTERVAL_MS = 1_000;
const FILE_KEY = 'store.tally';
const RANGE = below('batch/');

/** A small file beside the store, replaced as a whole. */
export interface TallyFile {
  read(): Promise<Uint8Array | undefined>;
  /** Resolves when the new content, and only it, survives a power cut. */
  write(bytes: Uint8Array): Promise<void>;
}

/** What the marks and the file say of the batches before this start. */
export interface Reckoning {
  /** The last batch that was ever committed, as far as anything tells. */
  seq: number;
  /** Batches that were committed and are not there. */
  lostBatches: number;
  /** Slots whose mark has to be written again. */
  slots: number[];
  /** Marks that are there and cannot be opened: their batches may be well. */
  damagedMarks: number;
  /** Without the file nobody knows whether the very last batches are there. */
  file: 'read' | 'missing' | 'damaged' | 'none';
}

/**
 * Compares the marks with the file. `marks` are by slot, undefined for one that cannot be opened; `filed` is the
 * number in the file.
 */
export function reckon(
  marks: ReadonlyMap<number, number | undefined>,
  filed: number | undefined,
  file: Reckoning['file'],
): Reckoning {
  const highest = Math.max(0, ...[...marks.values()].map((seq) => seq ?? 0));
  const seq = Math.max(highest, filed ?? 0);
  // What lies before the marks that are kept cannot be counted one by one.
  let lostBatches = Math.max(0, seq - highest - MARKS);
  const damagedMarks = [...marks.values()].filter((mark) => mark === undefined).length;
  const slots: number[] = [];
  for (let at = Math.max(1, seq - MARKS + 1); at <= seq; at++) {
    const slot = at % MARKS;
    if (marks.get(slot) === at) continue;
    slots.push(slot);
    if (!marks.has(slot) || marks.get(slot) !== undefined) lostBatches += 1;
  }
  return { seq, lostBatches, slots, damagedMarks, file };
}

/**
 * Numbers the batches of a home for life, so that a lost one is missed: LevelDB opens a damaged log cleanly, without
 * the batches that were in it. Each batch carries a mark with its number, and a file beside the store names the last
 * number that was fsynced.
 */
export class BatchMarks {
  readonly #seal: RecordSeal;
  readonly #file: TallyFile | undefined;
  readonly #clock: Clock;
  readonly #log: Log;
  #seq = 0;
  /** Nothing is written before it is opened. */
  #filedSeq = 0;
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;

  constructor(parts: { seal: RecordSeal; file: TallyFile | undefined; clock: Clock; log: Log }) {
    this.#seal = parts.seal;
    this.#file = parts.file;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** Reads what earlier starts have left. Before any batch, once. */
  async open(kv: Kv): Promise<Reckoning> {
    const found = await this.read(kv);
    this.#seq = found.seq;
    this.#filedSeq = -1;
    await this.#write();
    return found;
  }

  /** The same without beginning anything. */
  async read(kv: Kv): Promise<Reckoning> {
    const marks = new Map<number, number | undefined>();
    for (const [key, bytes] of await kv.range(RANGE))
      marks.set(Number(key.slice(-12)), this.#open(key, bytes));
    const bytes = await this.#file?.read();
    const filed = bytes && this.#open(FILE_KEY, bytes);
    // The file is written before the first batch; a home without marks has never been marked.
    const isNew = marks.size === 0 && bytes === undefined;
    const state =
      bytes === undefined ? (isNew ? 'none' : 'missing') : filed === undefined ? 'damaged' : 'read';
    return reckon(marks, filed, this.#file ? state : 'none');
  }

  /** Marks the batches of these slots again, so that their loss is told once. */
  renew(slots: readonly number[], seq: number, put: (key: string, value: unknown) => void): void {
    for (const slot of slots) {
      const behind = (((seq - slot) % MARKS) + MARKS) % MARKS;
      put(keyOf(slot), { seq: seq - behind });
    }
  }

  /** The number of the last batch that is fsynced. */
  get last(): number {
    return this.#seq;
  }

  /** The mark of the next batch. The same until that is committed: a batch that failed may have landed. */
  next(): KvOperation {
    const seq = this.#seq + 1;
    const key = keyOf(seq % MARKS);
    return { key, value: this.#seal.seal(key, { seq }) };
  }

  /** The batch with the next mark is fsynced. */
  committed(): void {
    this.#seq += 1;
    if (!this.#file) return;
    this.#timer ??= this.#clock.after(FILE_INTERVAL_MS, () => {
      this.#timer = undefined;
      void this.#write();
    });
  }

  /** Writes the last number down. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#writing;
    await this.#write();
  }

  async #write(): Promise<void> {
    const seq = this.#seq;
    if (!this.#file || seq === this.#filedSeq) return;
    this.#writing = this.#file.write(this.#seal.seal(FILE_KEY, { seq })).then(
      () => void (this.#filedSeq = seq),
      // An older number only says less.
      (error: unknown) => this.#log.warn({ error }, 'the tally of the store could not be written'),
    );
    await this.#writing;
  }

  #open(key: string, bytes: Uint8Array): number | undefined {
    try {
      const value = this.#seal.open(key, bytes);
      const seq = typeof value === 'object' && value !== null && 'seq' in value ? value.seq : undefined;
      return typeof seq === 'number' ? seq : undefined;
    } catch (error) {
      if (error instanceof PatchcordError && error.code === 'store_damaged') return undefined;
      throw error;
    }
  }
}

/** Whether a record is a mark, which says something of this one store alone. */
export function isMark(key: string): boolean {
  return key.startsWith(RANGE.from);
}

function keyOf(slot: number): string {
  return `batch/${digits(slot)}`;
}
