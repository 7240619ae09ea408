import { beforeEach, describe, expect, test } from 'vitest';
import type { Log } from '../../daemon/log.ts';
import { PrekeyRing } from '../../daemon/prekeys/prekey-ring.ts';
import { decode } from '../../protocol/codec.ts';
import { PREKEY_KEPT_MS, PREKEY_ROTATION_MS, PREKEY_VALID_MS } from '../../protocol/limits.ts';
import { readPrekey } from '../../protocol/prekey.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { encapsulateTo, xwingKey } from '../../protocol/xwing.ts';
import { MemoryPrekeyFile } from './memory-prekey-file.ts';
import { countingRandom, HandClock, turn } from './wire.ts';

/** Sequences count days, so that a lost file does not start again below what others know. */
/** The sequence before the first: that counts in ten seconds. */
const DAY = Math.floor(new HandClock().now() / 10_000) - 1;
const signer = signerFromSeed(new Uint8Array(32).fill(1));
const damaged = expect.objectContaining({ name: 'PatchcordError', code: 'store_damaged' });

let file: MemoryPrekeyFile;
let clock: HandClock;
/** Sequences, in the order in which others were told of them. */
let told: number[];
let logged: string[];
let starts = 0;
beforeEach(() => {
  file = new MemoryPrekeyFile();
  clock = new HandClock();
  told = [];
  logged = [];
});

const log: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_fields, text) => void logged.push(text),
  error: (_fields, text) => void logged.push(text),
};

interface Kept {
  seq: number;
  seed: Uint8Array;
  made_at: number;
}

/** What the file holds, read past the product's own checks. */
function kept(): Kept[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { ring } = decode(file.bytes!) as { ring: Uint8Array };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (decode(ring) as { keys: Kept[] }).keys;
}

/** Whether the seed of what others are told lies in the file. */
function isWritten(ring: PrekeyRing): boolean {
  const { seq, key } = ring.current;
  const seed = kept().find((one) => one.seq === seq)?.seed;
  return seed !== undefined && Buffer.compare(xwingKey(seed).publicKey, key) === 0;
}

/** A ring on the file, with randomness of its own, as after a start of the daemon. */
async function start(epoch = 0): Promise<PrekeyRing> {
  const random = countingRandom((starts += 1) * 1_000_000);
  const onRotated = () => {
    expect(isWritten(ring)).toBe(true);
    told.push(ring.current.seq);
  };
  const ring: PrekeyRing = new PrekeyRing({ file, signer, clock, random, log, onRotated });
  await ring.start(epoch);
  return ring;
}

/** Whether the ring opens what is sealed to that public key under that sequence. */
function opens(ring: PrekeyRing, { seq, key }: { seq: number; key: Uint8Array }): boolean {
  const { secret, ciphertext } = encapsulateTo(key, new Uint8Array(32).fill(3));
  const own = ring.keyOf(seq);
  return own !== undefined && Buffer.compare(own.decapsulate(ciphertext), secret) === 0;
}

const rotated = async (times = 1) => {
  await clock.advance(times * PREKEY_ROTATION_MS);
  await turn();
};

describe('the first start', () => {
  test('makes a prekey that this machine signed, and writes it down', async () => {
    const ring = await start();
    const { current } = ring;
    expect(readPrekey(current.bytes)).toEqual({ ...current, key: new Uint8Array(current.key) });
    expect(current).toMatchObject({
      machine: signer.peerId,
      seq: DAY + 1,
      made_at: clock.now(),
      valid_until: clock.now() + PREKEY_VALID_MS,
    });
    expect(isWritten(ring)).toBe(true);
    expect(opens(ring, current)).toBe(true);
    expect(told).toEqual([]);
  });

  test('fails when the file cannot be written: nothing may be sealed to what is not kept', async () => {
    file.failure = new Error('disk full');
    await expect(start()).rejects.toThrow('disk full');
  });

  test('before it there is nothing to tell', () => {
    const parts = { file, signer, clock, random: countingRandom(1), log, onRotated: () => undefined };
    expect(() => new PrekeyRing(parts).current).toThrow('not been started');
  });
});

describe('rotation', () => {
  test('comes after 24 h, not before, and is told once', async () => {
    const ring = await start();
    const first = ring.current;
    await clock.advance(PREKEY_ROTATION_MS - 1);
    expect(ring.current).toBe(first);
    await clock.advance(1);
    await turn();
    expect(ring.current).toMatchObject({ seq: DAY + 2, made_at: clock.now() });
    expect(Buffer.compare(ring.current.key, first.key)).not.toBe(0);
    expect(told).toEqual([DAY + 2]);
    expect(opens(ring, first)).toBe(true);
    expect(opens(ring, ring.current)).toBe(true);
    await rotated(3);
    expect(told).toEqual([2, 3, 4, 5].map((seq) => DAY + seq));
  });

  test('is told only after the new seed is on the disk', async () => {
    const ring = await start();
    const writing = Promise.withResolvers<void>();
    file.held = writing.promise;
    await rotated();
    expect(ring.current.seq).toBe(DAY + 1);
    expect(ring.keyOf(DAY + 2)).toBeUndefined();
    expect(told).toEqual([]);
    writing.resolve();
    await turn();
    expect(ring.current.seq).toBe(DAY + 2);
    expect(told).toEqual([DAY + 2]);
  });

  test('that cannot be written keeps the old one in use, says so, and is tried again each minute', async () => {
    const ring = await start();
    const first = ring.current;
    file.failure = new Error('disk full');
    await rotated();
    expect(ring.current).toBe(first);
    expect(ring.keyOf(DAY + 2)).toBeUndefined();
    expect(told).toEqual([]);
    expect(logged).toHaveLength(1);
    await clock.advance(10 * 60_000);
    expect(logged).toHaveLength(11);
    expect(opens(ring, first)).toBe(true);
    file.failure = undefined;
    await clock.advance(60_000);
    await turn();
    expect(told).toEqual([DAY + 2]);
    expect(isWritten(ring)).toBe(true);
    expect(logged).toHaveLength(11);
    await rotated();
    expect(told).toEqual([DAY + 2, DAY + 3]);
  });

  test('stops with the ring', async () => {
    const ring = await start();
    ring.stop();
    expect(clock.pending).toBe(0);
    await rotated(3);
    expect(file.writes).toBe(1);
  });

  test('that is being written when the ring stops is the last', async () => {
    const ring = await start();
    const writing = Promise.withResolvers<void>();
    file.held = writing.promise;
    await rotated();
    ring.stop();
    writing.resolve();
    await turn();
    expect(clock.pending).toBe(0);
  });
});

describe('old keys', () => {
  test('are kept until mail sealed to them can no longer arrive, and then gone from file and memory', async () => {
    const ring = await start();
    const first = ring.current;
    const days = PREKEY_KEPT_MS / PREKEY_ROTATION_MS;
    await rotated(days - 1);
    // Used, so that its expanded key is in memory.
    expect(opens(ring, first)).toBe(true);
    expect(kept().map(({ seq }) => seq)).toContain(DAY + 1);
    await rotated();
    expect(ring.keyOf(DAY + 1)).toBeUndefined();
    expect(kept().map(({ seq }) => seq)).toEqual(
      Array.from({ length: days }, (_none, index) => DAY + index + 2),
    );
    expect(opens(ring, { seq: DAY + 2, key: xwingKey(kept()[0]!.seed).publicKey })).toBe(true);
    const restarted = await start();
    expect(restarted.keyOf(DAY + 1)).toBeUndefined();
  });

  test('stay while the file cannot be written', async () => {
    const ring = await start();
    const first = ring.current;
    file.failure = new Error('disk full');
    await clock.advance(PREKEY_KEPT_MS + PREKEY_ROTATION_MS);
    expect(opens(ring, first)).toBe(true);
    file.failure = undefined;
    await clock.advance(60_000);
    await turn();
    expect(ring.keyOf(DAY + 1)).toBeUndefined();
    expect(kept().map(({ seq }) => seq)).toEqual([DAY + 2]);
  });

  test('seeds differ, and what is asked for beyond them is unknown', async () => {
    const ring = await start();
    await rotated(5);
    const all = kept().map(({ seed }) => Buffer.from(seed).toString('hex'));
    expect(new Set(all).size).toBe(6);
    for (const seq of [0, -1, DAY, DAY + 7, 1.5, Number.NaN, 2 ** 40])
      expect(ring.keyOf(seq)).toBeUndefined();
  });
});

describe('a restart', () => {
  test('keeps sequence, key and the signed bytes', async () => {
    const first = (await start()).current;
    await clock.advance(PREKEY_ROTATION_MS / 2);
    const again = await start();
    expect(again.current).toEqual(first);
    expect(file.writes).toBe(1);
  });

  test('after the file was lost begins above everything it told before', async () => {
    const ring = await start();
    await rotated(3);
    ring.stop();
    file = new MemoryPrekeyFile();
    expect((await start()).current.seq).toBeGreaterThan(ring.current.seq);
  });

  test('keeps to the day of rotation', async () => {
    (await start()).stop();
    await clock.advance(PREKEY_ROTATION_MS - 120_000);
    const again = await start();
    await clock.advance(119_999);
    expect(again.current.seq).toBe(DAY + 1);
    await clock.advance(1);
    await turn();
    expect(again.current.seq).toBe(DAY + 2);
  });

  test('after more than a day rotates at once, and goes on counting', async () => {
    const ring = await start();
    await rotated(4);
    ring.stop();
    const last = ring.current;
    await clock.advance(10 * PREKEY_ROTATION_MS);
    const again = await start();
    expect(again.current).toMatchObject({ seq: DAY + 6, made_at: clock.now() });
    expect(opens(again, last)).toBe(true);
    expect(told).toEqual([2, 3, 4, 5].map((seq) => DAY + seq));
  });

  test('with a clock set back keeps the newest and goes on', async () => {
    await rotated(30);
    const first = await start();
    first.stop();
    clock = new HandClock();
    const again = await start();
    expect(again.current.seq).toBe(first.current.seq);
    await rotated();
    expect(again.current.seq).toBe(first.current.seq + 1);
  });

  test.for<[what: string, damage: (bytes: Uint8Array) => Uint8Array]>([
    ['emptied', () => new Uint8Array(0)],
    ['cut in half', (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ['one byte short', (bytes) => bytes.subarray(0, -1)],
    ['one byte long', (bytes) => Buffer.concat([bytes, Uint8Array.of(0)])],
    ['all zeros', (bytes) => new Uint8Array(bytes.length)],
    ['text', () => Buffer.from('not a ring')],
  ])('on a file that is %s is refused, and the file stays', async ([, damage]) => {
    (await start()).stop();
    file.bytes = damage(file.bytes!);
    const before = file.bytes;
    await expect(start()).rejects.toEqual(damaged);
    expect(file.bytes).toBe(before);
  });

  test('on a file with any single bit flipped is refused', async () => {
    (await start()).stop();
    const good = file.bytes!;
    for (let at = 0; at < good.length; at++) {
      file.bytes = good.map((byte, index) => (index === at ? byte ^ (1 << (at % 8)) : byte));
      await expect(start()).rejects.toEqual(damaged);
    }
  });
});

test('each epoch of the machine begins with a prekey above all that were used since the file was restored', async () => {
  await start();
  const restored = file.bytes;
  const sequences: number[] = [];
  for (const epoch of [1, 2]) {
    // What was used meanwhile is forgotten.
    for (let day = 0; day < 3; day++) await clock.advance(PREKEY_ROTATION_MS);
    const last = sequences.at(-1) ?? Math.max(...told);
    file.bytes = restored;
    const ring = await start(epoch);
    expect(ring.current.seq).toBeGreaterThan(last + 3);
    expect(isWritten(ring)).toBe(true);
    sequences.push(ring.current.seq);
    ring.stop();
    expect((await start(epoch)).current.seq).toBe(ring.current.seq);
  }
});
