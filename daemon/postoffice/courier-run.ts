import {
  newCourier,
  stepCourier,
  takesNext,
  type Courier,
  type CourierEvent,
} from '../../protocol/delivery/courier.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Appended, MailStore, OutboxEntry } from '../store/mail-store.ts';

/** Entries and bytes that one load brings into memory. */
const LOAD_ENTRIES = 64;
const LOAD_SIZE_BYTES = 1024 * 1024;

/**
 * Runs the courier of one machine: feeds events to the decision in protocol/delivery/courier.ts and carries out
 * its effects. Holds the bodies of what is loaded or in flight, and no more.
 */
export class CourierRun {
  readonly #machine: string;
  readonly #mail: MailStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #wants: (entry: OutboxEntry) => boolean;
  readonly #transmit: (entry: OutboxEntry) => void;
  readonly #onIdle: () => void;
  readonly #courier: Courier = newCourier();
  readonly #bodies = new Map<number, OutboxEntry>();
  /** Handed to the wire since this daemon started; another machine may have seen them. */
  readonly #left = new Set<number>();
  /** Those of them that were handed to it more than once: an answer to one copy says nothing of the others. */
  readonly #leftAgain = new Set<number>();
  /** Being taken back: not to be handed to the wire until that is decided. */
  readonly #withheld = new Set<number>();
  /** Counts replacements, so that a body read before one is not sent after it. */
  #replacements = 0;
  #timer: Timer | undefined;
  #wakeAtMs: number | undefined;

  constructor(parts: {
    machine: string;
    mail: MailStore;
    clock: Clock;
    log: Log;
    /** Whether an entry is this courier's to bring; all are unless told otherwise. */
    wants?: ((entry: OutboxEntry) => boolean) | undefined;
    /** Puts one entry on the wire; may silently fail, the courier sends again. */
    transmit: (entry: OutboxEntry) => void;
    /** The outbox was looked through, and nothing in it is to be brought. */
    onIdle?: (() => void) | undefined;
  }) {
    this.#machine = parts.machine;
    this.#mail = parts.mail;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#wants = parts.wants ?? (() => true);
    this.#transmit = parts.transmit;
    this.#onIdle = parts.onIdle ?? (() => {});
  }

  linkUp(window: { frames: number; sizeBytes: number }): void {
    this.#step({ type: 'link-up', window });
  }

  linkDown(): void {
    this.#step({ type: 'link-down' });
  }

  /** The outbox got new entries; `only` is all of them, if that is known. */
  appended(only?: Appended): void {
    if (!only) return this.#step({ type: 'appended' });
    const { entry, previous } = only;
    const next = { number: entry.number, sizeBytes: entry.sizeBytes, previous };
    const isTaken = this.#wants(entry) && takesNext(this.#courier, next);
    if (isTaken) this.#bodies.set(entry.number, entry);
    this.#step({ type: 'appended', ...(isTaken && { next }) });
  }

  settled(number: number): void {
    this.#left.delete(number);
    this.#leftAgain.delete(number);
    this.#step({ type: 'settled', number });
  }

  postponed(number: number): void {
    this.#step({ type: 'postponed', number });
  }

  /** What was sent under that number and is not answered yet. */
  inFlight(number: number): OutboxEntry | undefined {
    return this.#courier.inflight.has(number) ? this.#bodies.get(number) : undefined;
  }

  /** Whether nothing is loaded, on its way, or still to be looked for. */
  get idle(): boolean {
    const { more, loading, ready, inflight, paused } = this.#courier;
    return !more && !loading && ready.length + inflight.size + paused.size === 0;
  }

  /** Whether everything that could be brought now was refused for now. */
  get stuck(): boolean {
    const { loading, inflight, paused } = this.#courier;
    return !loading && inflight.size === 0 && paused.size > 0;
  }

  hasLeft(number: number): boolean {
    return this.#left.has(number);
  }

  /** Whether one copy of it was handed to the wire since this daemon started, and no more. */
  hasLeftOnce(number: number): boolean {
    return this.#left.has(number) && !this.#leftAgain.has(number);
  }

  /**
   * An entry as it is now, for another way than the wire, by which it has left from here on; undefined when it is gone
   * or being taken back.
   */
  async carry(number: number): Promise<OutboxEntry | undefined> {
    // Before the read: whoever takes it back from now on knows that it is out.
    const hadLeft = this.#left.has(number);
    this.#left.add(number);
    const entry = await this.#reload(number);
    if (entry && entry !== 'gone' && !this.#withheld.has(number)) {
      if (hadLeft) this.#leftAgain.add(number);
      return entry;
    }
    if (entry === 'gone' || !hadLeft) this.#left.delete(number);
    return undefined;
  }

  /** Keeps an entry off the wire while `decide` replaces it in the store; its body is read anew afterwards. */
  async withhold<T>(number: number, decide: () => Promise<T>): Promise<T> {
    this.#withheld.add(number);
    try {
      return await decide();
    } finally {
      this.#withheld.delete(number);
      this.#bodies.delete(number);
      this.#replacements += 1;
    }
  }

  stop(): void {
    this.#step({ type: 'link-down' });
    this.#timer?.cancel();
  }

  #step(event: CourierEvent): void {
    for (const effect of stepCourier(this.#courier, event, this.#clock.elapsed())) {
      switch (effect.type) {
        case 'load':
          void this.#load(effect.after, effect.epoch);
          break;
        case 'transmit':
          void this.#send(effect.number);
          break;
        case 'forget':
          this.#bodies.delete(effect.number);
          break;
        case 'wake':
          this.#wake(effect.atMs);
          break;
      }
    }
  }

  async #load(after: number, epoch: number): Promise<void> {
    const replacements = this.#replacements;
    try {
      const entries = await this.#mail.outboxPage(this.#machine, after, LOAD_ENTRIES, LOAD_SIZE_BYTES);
      const current = replacements === this.#replacements;
      const wanted = entries.filter(this.#wants);
      for (const entry of current ? wanted : []) this.#bodies.set(entry.number, entry);
      const sizes = wanted.map(({ number, sizeBytes }) => ({ number, sizeBytes }));
      const loadedBytes = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const more = entries.length >= LOAD_ENTRIES || loadedBytes >= LOAD_SIZE_BYTES;
      this.#step({ type: 'loaded', epoch, entries: sizes, upTo: entries.at(-1)?.number, more });
      if (this.idle) this.#onIdle();
    } catch (error) {
      this.#log.error({ machine: this.#machine, error }, 'the outbox could not be read');
      this.#clock.after(1_000, () => this.#step({ type: 'loaded', epoch, entries: [], more: true }));
    }
  }

  async #send(number: number): Promise<void> {
    const entry = this.#bodies.get(number) ?? (await this.#reload(number));
    // Settled or replaced between the look into the outbox and now.
    if (entry === 'gone') return this.#step({ type: 'settled', number });
    if (!entry || this.#withheld.has(number)) return;
    if (this.#left.has(number)) this.#leftAgain.add(number);
    this.#left.add(number);
    this.#transmit(entry);
  }

  /** Undefined when the store could not be read: it is tried again. */
  async #reload(number: number): Promise<OutboxEntry | 'gone' | undefined> {
    for (;;) {
      const replacements = this.#replacements;
      const entry = await this.#mail.outboxEntry(this.#machine, number).then(
        (found) => found ?? ('gone' as const),
        () => undefined,
      );
      if (replacements !== this.#replacements) continue;
      if (entry && entry !== 'gone' && this.#courier.inflight.has(number)) this.#bodies.set(number, entry);
      return entry;
    }
  }

  #wake(atMs: number | undefined): void {
    if (atMs === this.#wakeAtMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#wakeAtMs = atMs;
    if (atMs === undefined) return;
    this.#timer = this.#clock.after(Math.max(0, atMs - this.#clock.elapsed()), () => {
      this.#wakeAtMs = undefined;
      this.#step({ type: 'tick' });
    });
  }
}
