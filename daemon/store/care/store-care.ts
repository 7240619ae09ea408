import { asPatchcordError, type PatchcordError } from '../../../protocol/errors.ts';
import type { Clock, Timer } from '../../clock.ts';
import type { Log } from '../../log.ts';
import { BatchMarks, type Reckoning, type TallyFile } from '../batch-marks.ts';
import { Journal, QUARANTINE, type CareTx } from '../journal.ts';
import type { Kv } from '../kv.ts';
import { enterEpoch, leaveEpoch } from '../mail-epoch.ts';
import { below } from '../mail-records.ts';
import type { OpenedStore } from '../open-store.ts';
import type { RecordSeal } from '../record-seal.ts';
import { assertSchema, MIGRATIONS, migrateStore, SCHEMA_VERSION } from '../schema.ts';
import { Findings, type Finding } from './findings.ts';
import { mendStore, type Passed } from './pass.ts';

/** Where the last report lies until the next. */
const REPORT_KEY = 'damage';
/** After a pass that failed, the next one waits this long. */
const AGAIN_MS = 60_000;

/** What happened to the store, until somebody has seen it; then what happened last. */
export interface DamageReport {
  /** When it was noticed first, and last. */
  sinceMs: number;
  atMs: number;
  findings: Finding[];
  /** Somebody has seen it. */
  seenAtMs?: number;
}

/** What a look at the whole store tells. */
export interface StoreState {
  findings: Finding[];
  records: ReadonlyMap<string, number>;
  /** Keys in quarantine, the first of them, and how many there are. */
  quarantined: { keys: string[]; count: number };
  report: DamageReport | undefined;
}

const KEYS_TOLD_MAX = 20;

export interface CareParts {
  kv: Kv;
  seal: RecordSeal;
  /** The file beside the store; without one the very last batches may go unseen. */
  tallyFile: TallyFile | undefined;
  clock: Clock;
  log: Log;
  /** What was found in the files before. */
  opened?: Pick<OpenedStore, 'found' | 'isSuspect'> | undefined;
}

/**
 * Looks after the store: notices what is missing or altered, puts right what rests on it, and reports it until a
 * person has seen the report. Nothing that can be read is ever removed, and no bytes of what cannot.
 */
export class StoreCare {
  readonly journal: Journal;
  /** Called when records were put right behind the back of whoever waits for them. */
  onMended: () => void = () => {};
  /**
   * Set by a machine that runs, told of the epoch that has begun because something is gone that others may still have.
   * Without it that epoch begins with the next start.
   */
  onEpoch: ((epoch: number) => void) | undefined;
  readonly #parts: CareParts;
  readonly #marks: BatchMarks;
  #report: DamageReport | undefined;
  /** A pass that runs or waits to. */
  #pending: Promise<void> | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: CareParts) {
    this.#parts = parts;
    const { seal, tallyFile: file, clock, log } = parts;
    this.#marks = new BatchMarks({ seal, file, clock, log });
    this.journal = new Journal(parts.kv, seal, {
      marks: this.#marks,
      onDamaged: (error) => this.#noticed(error),
    });
  }

  /** What is known to be damaged or lost and has not been seen. */
  get unseen(): DamageReport | undefined {
    return this.#report?.seenAtMs === undefined ? this.#report : undefined;
  }

  /**
   * Before anything is read or written: asks the marks whether all is there, mends what is not, and brings the store
   * to the newest version. Throws `store_newer` and changes nothing when a later patchcord has written it.
   */
  async open(): Promise<void> {
    const { kv, log, opened } = this.#parts;
    await assertSchema(this.journal, SCHEMA_VERSION).catch((error: unknown) => {
      // A damaged record says nothing; what is damaged is mended below.
      if (asPatchcordError(error).code !== 'store_damaged') throw error;
    });
    const reckoning = await this.#marks.open(kv);
    const told = tellOf(reckoning);
    for (const what of opened?.found ?? []) told.add('damaged', what);
    if (told.list().length > 0 || opened?.isSuspect) {
      log.error({ lostBatches: reckoning.lostBatches }, 'the store is damaged; it is being put right');
      await this.#mend(told, reckoning);
    }
    await this.guarded(async () => {
      await migrateStore(this.journal, MIGRATIONS, SCHEMA_VERSION);
      this.#report = await this.journal.get<DamageReport>(REPORT_KEY);
    });
  }

  /** What the marks say is missing, in words; writes nothing, and is not for a store that goes on to be used. */
  async look(): Promise<string | undefined> {
    const found = tellOf(await this.#marks.read(this.#parts.kv)).list();
    return found.length === 0 ? undefined : found.map(({ what, count }) => `${what} (${count})`).join('; ');
  }

  /** Runs what reads the store at the start; when a record does not open, once more after it was put right. */
  async guarded<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (asPatchcordError(error).code !== 'store_damaged') throw error;
      await this.repair();
      return run();
    }
  }

  /** Looks at everything and changes nothing. */
  async examine(): Promise<StoreState> {
    const passed = await this.journal.care((tx) => mendStore(tx, this.#parts.clock.now()), { dry: true });
    return this.#state(passed);
  }

  /** Looks at everything and puts right what can be. */
  async repair(): Promise<StoreState> {
    return this.#state(await this.#mend(new Findings(), undefined));
  }

  /** A person has seen the report. */
  async acknowledge(): Promise<void> {
    await this.journal.transact(async (tx) => {
      const report = await tx.get<DamageReport>(REPORT_KEY);
      if (!report) return;
      this.#report = { ...report, seenAtMs: this.#parts.clock.now() };
      tx.put(REPORT_KEY, this.#report);
    });
  }

  async close(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#pending;
    await this.journal.close();
  }

  /** A read met a record that does not open: as soon as what runs is through, everything is looked at. */
  #noticed(error: PatchcordError): void {
    if (this.#pending || this.#timer || this.#stopped) return;
    this.#parts.log.error({ code: error.code }, error.message);
    this.#later(0);
  }

  #later(delayMs: number): void {
    this.#timer = this.#parts.clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#pending = this.#inBackground();
    });
  }

  async #inBackground(): Promise<void> {
    try {
      await this.repair();
    } catch (error) {
      this.#parts.log.error({ error }, 'the store could not be put right; trying again');
      if (!this.#stopped) this.#later(AGAIN_MS);
    } finally {
      this.#pending = undefined;
    }
  }

  async #mend(told: Findings, reckoning: Reckoning | undefined): Promise<Passed> {
    const { clock, log } = this.#parts;
    const nowMs = clock.now();
    let epoch: number | undefined;
    const passed = await this.journal.care(
      async (tx) => {
        const pass = await mendStore(tx, nowMs);
        if (reckoning) this.#marks.renew(reckoning.slots, reckoning.seq, (key, value) => tx.put(key, value));
        if (told.wantsResend || pass.findings.wantsResend) epoch = await this.#newEpoch(tx, nowMs);
        // Bits of a table that no record was read from: nothing is wrong with what is there, and the disk is.
        if (reckoning && told.list().length + pass.findings.list().length === 0)
          told.add('damaged', 'bytes of a table that no record is in any more');
        await this.#putReport(tx, [...told.list(), ...pass.findings.list()], nowMs);
        return pass;
      },
      { dry: false },
    );
    for (const finding of [...told.list(), ...passed.findings.list()])
      log.warn(finding, 'the store was damaged');
    if (epoch !== undefined) this.onEpoch?.(epoch);
    if (passed.findings.list().length > 0) this.onMended();
    return passed;
  }

  /** In the batch that puts the store right, so that no crash comes between. */
  async #newEpoch(tx: CareTx, nowMs: number): Promise<number | undefined> {
    if (this.onEpoch) return enterEpoch(tx, nowMs);
    await leaveEpoch(tx, false);
    return undefined;
  }

  async #putReport(tx: CareTx, findings: readonly Finding[], nowMs: number): Promise<void> {
    const before = await tx.get<DamageReport>(REPORT_KEY);
    this.#report = before;
    if (findings.length === 0) return;
    const unseen = before && before.seenAtMs === undefined ? before : undefined;
    const all = new Findings();
    for (const { kind, what, count } of [...(unseen?.findings ?? []), ...findings])
      all.add(kind, what, count);
    const report: DamageReport = { sinceMs: unseen?.sinceMs ?? nowMs, atMs: nowMs, findings: all.list() };
    tx.put(REPORT_KEY, report);
    this.#report = report;
  }

  async #state({ findings, records }: Passed): Promise<StoreState> {
    const [keys, report] = await this.journal.care(
      async (tx) =>
        [
          (await tx.scan({ ...below(QUARANTINE), limit: KEYS_TOLD_MAX })).map(({ key }) =>
            key.slice(QUARANTINE.length),
          ),
          await tx.get<DamageReport>(REPORT_KEY),
        ] as const,
      { dry: true },
    );
    const count = Math.max(keys.length, records.get(QUARANTINE.slice(0, -1)) ?? 0);
    return { findings: findings.list(), records, quarantined: { keys, count }, report };
  }
}

function tellOf({ lostBatches, damagedMarks, file }: Reckoning): Findings {
  const told = new Findings();
  if (lostBatches > 0) {
    told.add('lost', 'written batches of records; what was in them can be only partly known', lostBatches);
    told.wantsResend = true;
  }
  if (damagedMarks > 0) told.add('damaged', 'a mark of a batch', damagedMarks);
  if (file === 'missing' || file === 'damaged')
    told.add('damaged', `the file store.tally (${file}); whether the last batches are there is not known`);
  return told;
}
