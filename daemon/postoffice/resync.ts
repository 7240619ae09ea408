import { RESYNC_INTERVAL_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Directory } from '../directory/directory.ts';
import type { Log } from '../log.ts';
import type { MailStore, OutboxEntry } from '../store/mail-store.ts';

/** After a failure of the store, or for want of room in the outbox, it goes on later. */
const AGAIN_MS = 5_000;

/**
 * Sends again what a machine may have lost: one that tells a higher epoch than before was restored from a backup, or
 * found its store damaged. One machine after another, a page of the history a turn; while one is at it, nothing new is
 * accepted for that machine, so that what is older goes first.
 */
export class Resyncs {
  readonly #mail: MailStore;
  readonly #directory: Directory;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: string;
  readonly #neverLeft: (machine: string, entry: OutboxEntry) => boolean;
  readonly #onQueued: (machine: string, replaced: readonly number[]) => void;
  readonly #onReady: (machine: string) => void;
  /** Machines that are being seen to; the promise never rejects. */
  readonly #running = new Map<string, Promise<void>>();
  /** By machine, the highest epoch that was told, and when the last resync began. */
  readonly #told = new Map<string, number>();
  readonly #begunMs = new Map<string, number>();
  readonly #timers = new Map<string, Timer>();
  #queue: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(parts: {
    mail: MailStore;
    directory: Directory;
    clock: Clock;
    log: Log;
    /** This start of the daemon. */
    boot: string;
    /** Whether it is certain that no other machine has seen an entry. */
    neverLeft: (machine: string, entry: OutboxEntry) => boolean;
    /** Something was queued for a machine, in the place of these numbers. */
    onQueued: (machine: string, replaced: readonly number[]) => void;
    /** Nothing has to go before what is sent to that machine any more. */
    onReady: (machine: string) => void;
  }) {
    this.#mail = parts.mail;
    this.#directory = parts.directory;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#boot = parts.boot;
    this.#neverLeft = parts.neverLeft;
    this.#onQueued = parts.onQueued;
    this.#onReady = parts.onReady;
  }

  /** Goes on with what the end of the last start cut short. */
  async start(): Promise<void> {
    for (const { machine, epoch } of await this.#mail.unfinishedResyncs()) this.told(machine, epoch);
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
  }

  /** A machine says which epoch it is in. */
  told(machine: string, epoch: number): void {
    if (epoch <= (this.#told.get(machine) ?? 0)) return;
    this.#told.set(machine, epoch);
    if (!this.#running.has(machine)) this.#begin(machine);
  }

  /** Resolves when a machine is seen to; undefined when it is. */
  running(machine: string): Promise<void> | undefined {
    return this.#running.get(machine);
  }

  #begin(machine: string): void {
    const waitMs = (this.#begunMs.get(machine) ?? -Infinity) + RESYNC_INTERVAL_MS - this.#clock.elapsed();
    if (waitMs > 0) return this.#later(machine, waitMs);
    this.#running.set(machine, this.#run(machine));
  }

  #later(machine: string, delayMs: number): void {
    this.#timers.get(machine)?.cancel();
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(machine);
      if (!this.#running.has(machine)) this.#begin(machine);
    });
    this.#timers.set(machine, timer);
  }

  async #run(machine: string): Promise<void> {
    const epoch = this.#told.get(machine)!;
    let again = false;
    try {
      if ((await this.#mail.resyncedEpoch(machine)) < epoch) {
        const turn = this.#queue.then(() => this.#resync(machine, epoch));
        this.#queue = turn.catch(() => undefined);
        again = !(await turn);
      }
    } catch (error) {
      if (!this.#stopped)
        this.#log.error({ machine, error }, 'what a machine may have lost could not be queued');
      again = true;
    }
    this.#running.delete(machine);
    if (this.#stopped) return;
    if (again) this.#later(machine, AGAIN_MS);
    else if (this.#told.get(machine)! > epoch) this.#begin(machine);
    this.#onReady(machine);
  }

  /** False when it has to go on later. */
  async #resync(machine: string, epoch: number): Promise<boolean> {
    this.#begunMs.set(machine, this.#clock.elapsed());
    let queued = 0;
    for (;;) {
      if (this.#stopped) return false;
      const run = { machine, epoch, boot: this.#boot, nowMs: this.#clock.now() };
      const neverLeft = (entry: OutboxEntry) => this.#neverLeft(machine, entry);
      const shares = (ns: string) => this.#directory.shares(ns, machine);
      const page = await this.#mail.resync({ ...run, neverLeft, shares });
      queued += page.queued;
      if (page.queued > 0) this.#onQueued(machine, page.replaced);
      if (page.state === 'full') return false;
      if (page.state === 'done') break;
    }
    this.#log.info(
      { machine, epoch, queued },
      'a machine began a new epoch; what it may have lost is sent again',
    );
    return true;
  }
}
