import { PatchcordError } from '../../protocol/errors.ts';
import type { Kv, KvOperation, KvRange } from '../../daemon/store/kv.ts';
import type { VirtualTime } from './clock.ts';
import type { MemoryKv } from './memory-kv.ts';
import type { SeededRandom } from './random.ts';

interface Write {
  operations: readonly KvOperation[];
  sync: boolean;
}

/** One read in so many takes time, so that what happens between two reads is met as well. */
const SLOW_READ_SHARE = 0.05;

/**
 * The store as one start of a machine has it: over the disk that outlives it, every write takes virtual time
 * before it is there and resolves, reads sometimes do. A crash at any moment loses what was not synced; of the
 * writes under way it may take the first ones with it to the disk, in whole, as a log would.
 */
export class SimKv implements Kv {
  readonly #disk: MemoryKv;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #trace: ((what: string) => void) | undefined;
  readonly #onWrite: () => void;
  readonly #onStored: (operations: readonly KvOperation[]) => void;
  #writing: Write[] = [];
  #freeAtMs = 0;
  #ended = false;
  #closed = false;
  /** While it is set every write fails. */
  isFull = false;
  /** Reads of the outbox, to see whether a machine comes to rest. */
  outboxReads = 0;

  constructor(parts: {
    disk: MemoryKv;
    time: VirtualTime;
    random: SeededRandom;
    /** Told of every write, when anybody wants to know. */
    trace?: (what: string) => void;
    /** Called when a write has begun, */
    onWrite: () => void;
    /** and when it is on the disk. */
    onStored: (operations: readonly KvOperation[]) => void;
  }) {
    this.#disk = parts.disk;
    this.#time = parts.time;
    this.#random = parts.random;
    this.#trace = parts.trace;
    this.#onWrite = parts.onWrite;
    this.#onStored = parts.onStored;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    if (this.#isSlow(key)) await this.#pause();
    if (this.#ended) await never();
    return this.#disk.find(key);
  }

  async range(range: KvRange): Promise<[string, Uint8Array][]> {
    if (this.#isSlow(range.from)) await this.#pause();
    if (this.#ended) await never();
    return this.#disk.list(range);
  }

  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    this.#assertOpen();
    const write = { operations, sync: options.sync };
    this.#writing.push(write);
    this.#onWrite();
    // One after another, like appends to a log.
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#time.nowMs) + this.#random.between(1, 6);
    await this.#time.sleep(this.#freeAtMs - this.#time.nowMs);
    if (this.#ended) await never();
    this.#writing = this.#writing.filter((other) => other !== write);
    if (this.isFull) {
      this.#trace?.('write failed');
      throw new PatchcordError('disk_full', 'The disk is full; nothing was accepted.');
    }
    this.#trace?.(`write ${operations.map(({ key, value }) => `${key}:${value?.length ?? '-'}`).join(' ')}`);
    this.#onStored(operations);
    this.#disk.put(operations, options);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  /** The power is cut: nothing resolves any more. */
  crash(): void {
    this.end();
    for (const { operations, sync } of this.#writing) {
      if (!sync || this.isFull || this.#random.chance(0.5)) break;
      this.#trace?.('write kept by the crash');
      this.#onStored(operations);
      this.#disk.put(operations, { sync });
    }
    this.#disk.crash();
  }

  /** The process is gone: what it still waits for never comes. */
  end(): void {
    this.#ended = true;
  }

  /** Whether a read takes time. */
  #isSlow(key: string): boolean {
    this.#assertOpen();
    if (key.startsWith('outbox/')) this.outboxReads += 1;
    return this.#random.chance(SLOW_READ_SHARE);
  }

  #pause(): Promise<void> {
    return this.#time.sleep(this.#random.between(1, 4));
  }

  #assertOpen(): void {
    if (this.#closed) throw new PatchcordError('store_failed', 'The store is closed.');
  }
}

/** What a process that is gone waits for. */
function never(): Promise<never> {
  return new Promise(() => undefined);
}
