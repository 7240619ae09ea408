import { z } from 'zod';
import { decode, encode, equalBytes } from '../../protocol/codec.ts';
import { sha256 } from '../../protocol/digest.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import {
  EPOCH_MAX,
  PREKEY_KEPT_MS,
  PREKEY_ROTATION_MS,
  PREKEY_SEQUENCE_MAX,
  PREKEY_VALID_MS,
} from '../../protocol/limits.ts';
import { signPrekey, type Prekey } from '../../protocol/prekey.ts';
import { bytesOf, zBytes, zTimeMs } from '../../protocol/shapes.ts';
import type { Signer } from '../../protocol/signing.ts';
import { XWING_SEED_SIZE_BYTES, xwingKey, type XWingKey } from '../../protocol/xwing.ts';
import type { Clock, Random, Timer } from '../clock.ts';
import type { Log } from '../log.ts';

/**
 * Where the private prekeys lie: one small file, rewritten as a whole. Not the store: an LSM tree keeps what it
 * was told to delete, and a deleted prekey is what protects old mail from a thief of the machine.
 */
export interface PrekeyFile {
  read(): Promise<Uint8Array | undefined>;
  /** Resolves when the new content, and only it, survives a power cut. */
  write(bytes: Uint8Array): Promise<void>;
}

const zKept = z.strictObject({
  seq: z.int().min(1).max(PREKEY_SEQUENCE_MAX),
  seed: bytesOf(XWING_SEED_SIZE_BYTES),
  made_at: zTimeMs,
  /** The epoch of the machine in which it was made; absent in the first. */
  epoch: z.int().min(1).max(EPOCH_MAX).optional(),
});
const zFile = z.strictObject({ ring: zBytes, sha256: bytesOf(32) });
const zRing = z.strictObject({ v: z.literal(1), keys: z.array(zKept).min(1).max(1_000) });
type Kept = z.infer<typeof zKept>;

/** What the first sequence of a file counts in; far shorter than rotation, so that it overtakes all. */
const FIRST_STEP_MS = 10_000;
/** A new epoch counts in less: it may follow a first sequence within seconds. PREKEY_SEQUENCE_MAX is in 2106. */
const EPOCH_STEP_MS = 2_000;

/**
 * The prekeys of this machine. The newest is told to others; older ones are kept while mail that was sealed to
 * them may still arrive.
 */
export class PrekeyRing {
  readonly #file: PrekeyFile;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #onRotated: () => void;
  #epoch = 0;
  /** By rising sequence. */
  #keys: Kept[] = [];
  readonly #expanded = new Map<number, XWingKey>();
  #current: Prekey | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: {
    file: PrekeyFile;
    signer: Signer;
    clock: Clock;
    random: Random;
    log: Log;
    /** Called when there is a new prekey to tell. */
    onRotated: () => void;
  }) {
    this.#file = parts.file;
    this.#signer = parts.signer;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
    this.#onRotated = parts.onRotated;
  }

  /**
   * Reads the file, or makes the first prekey, and the first of each of the machine's epochs: others may know newer
   * ones than a file that was restored. Throws `store_damaged` for a file that is not what was written.
   */
  async start(epoch = 0): Promise<void> {
    this.#epoch = epoch;
    const bytes = await this.#file.read();
    if (bytes) this.#keys = parseRing(bytes).keys;
    const newest = this.#keys.at(-1);
    if (!newest || (newest.epoch ?? 0) < epoch || this.#clock.now() - newest.made_at >= PREKEY_ROTATION_MS)
      await this.#rotate();
    else this.#publish(newest);
    this.#schedule();
  }

  /** Makes the first prekey of a new epoch that begins while the machine runs. */
  async renew(epoch: number): Promise<void> {
    this.#epoch = epoch;
    await this.#rotate();
    if (!this.#stopped) this.#onRotated();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** What others seal to. */
  get current(): Prekey {
    if (!this.#current) throw new Error('the prekey ring has not been started');
    return this.#current;
  }

  /** The private key of a sequence, while it is kept. */
  readonly keyOf = (seq: number): XWingKey | undefined => {
    const known = this.#expanded.get(seq);
    if (known) return known;
    const kept = this.#keys.find((key) => key.seq === seq);
    if (!kept) return undefined;
    const key = xwingKey(kept.seed);
    this.#expanded.set(seq, key);
    return key;
  };

  async #rotate(): Promise<void> {
    const now = this.#clock.now();
    const epoch = this.#epoch;
    const newest = this.#keys.at(-1);
    // Above what was used of a file that was lost, or since one that was restored: others take none below what they
    // know, and no second one.
    const isFirst = !newest || (newest.epoch ?? 0) < epoch;
    const floor = isFirst ? Math.max(1, Math.floor(now / (epoch > 0 ? EPOCH_STEP_MS : FIRST_STEP_MS))) : 1;
    const seq = Math.max((newest?.seq ?? 0) + 1, floor);
    const seed = this.#random.bytes(XWING_SEED_SIZE_BYTES);
    const made: Kept = { seq, seed, made_at: now, ...(epoch > 0 && { epoch }) };
    const keys = [...this.#keys.filter((key) => now - key.made_at < PREKEY_KEPT_MS), made];
    // On the disk before anybody may seal to it.
    await this.#file.write(formatRing(keys));
    this.#keys = keys;
    for (const known of this.#expanded.keys()) {
      if (!keys.some((key) => key.seq === known)) this.#expanded.delete(known);
    }
    this.#publish(made);
  }

  #publish(kept: Kept): void {
    const key = this.keyOf(kept.seq)!.publicKey;
    const { seq, made_at } = kept;
    this.#current = signPrekey({ seq, key, made_at, valid_until: made_at + PREKEY_VALID_MS }, this.#signer);
  }

  #schedule(): void {
    if (this.#stopped) return;
    const age = this.#clock.now() - this.current.made_at;
    const dueMs = Math.min(PREKEY_ROTATION_MS, Math.max(60_000, PREKEY_ROTATION_MS - age));
    this.#timer = this.#clock.after(dueMs, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    try {
      await this.#rotate();
      if (!this.#stopped) this.#onRotated();
    } catch (error) {
      this.#log.error({ error }, 'the prekey could not be rotated; the old one stays in use');
    }
    this.#schedule();
  }
}

/** The ring and its SHA-256: one flipped bit in a seed would silently be another key. */
function formatRing(keys: readonly Kept[]): Uint8Array {
  const ring = encode({ v: 1, keys });
  return encode({ ring, sha256: sha256(ring) });
}

/** Throws `store_damaged` for bytes that are no file of prekeys. */
export function checkPrekeys(bytes: Uint8Array): void {
  parseRing(bytes);
}

function parseRing(bytes: Uint8Array): { keys: Kept[] } {
  try {
    const file = zFile.parse(decode(bytes));
    if (!equalBytes(file.sha256, sha256(file.ring))) throw new Error('the checksum differs');
    return zRing.parse(decode(file.ring));
  } catch (cause) {
    throw new PatchcordError(
      'store_damaged',
      'The file of private prekeys is damaged.',
      'Restore it from a backup, or run `patchcord doctor --repair`, which puts it aside: mail that waits elsewhere is then sealed anew by whoever sent it.',
      { cause },
    );
  }
}
