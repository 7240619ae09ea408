import { expect } from 'vitest';
import type { HeldBounds } from '../../daemon/store/kv-held-store.ts';
import type { Deposit, HeldStore } from '../../daemon/store/held-store.ts';
import { withdrawalHash } from '../../protocol/delivery/withdrawal.ts';
import { envelopeHash } from '../../protocol/held-receipt.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

export interface HeldStoreWorld {
  store: HeldStore;
  /** Closes the store and opens it over the same data. */
  reopen(): Promise<HeldStore>;
  /** Throws unless all records fit together: each envelope has all of its own, and the tallies are their sums. */
  audit(): Promise<void>;
  /** All that lies on the disk: keys, values as they are, and values as whoever has the store key reads them. */
  everything(): Promise<Uint8Array[]>;
  teardown(): Promise<void>;
}

export interface At {
  world: () => HeldStoreWorld;
  store: () => HeldStore;
  /** Another world, with smaller bounds. */
  bounded: (bounds: Partial<HeldBounds>) => Promise<HeldStoreWorld>;
}

export const machine = (number: number) => signerFromSeed(new Uint8Array(32).fill(number)).peerId;
export const BOB = machine(2);
export const CYD = machine(3);
export const DEPOSITOR = machine(77);
export const NS = 'a'.repeat(64);
export const OTHER_NS = 'b'.repeat(64);
export const DAY_MS = 24 * 3_600_000;
/** The first millisecond of a day. */
export const NOW = 20_717 * DAY_MS;
export const LARGE = { count: 1_000_000, sizeBytes: 2 ** 40 };

/** Bytes that tell envelopes apart; the store looks no further. */
export function envelope(number: number, sizeBytes = 100): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0, rest = number; at < sizeBytes && rest > 0; at++, rest = Math.floor(rest / 256))
    bytes[at] = rest % 256;
  return bytes;
}

export function preimage(number: number): Uint8Array {
  return envelope(number, 32).fill(0xee, 16);
}

export const hashOf = (number: number, sizeBytes = 100) => envelopeHash(envelope(number, sizeBytes));

/** Envelope `number` for bob, unless told otherwise. */
export function deposit(number: number, more: Partial<Deposit> & { sizeBytes?: number } = {}): Deposit {
  const { sizeBytes, ...rest } = more;
  return {
    ns: NS,
    to: BOB,
    envelope: envelope(number, sizeBytes),
    withdraw: withdrawalHash(preimage(number)),
    nowMs: NOW,
    depositor: DEPOSITOR,
    ...rest,
  };
}

export const FULL = { held: false, code: 'mailbox_full', retry: true };
export const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
export const numbersTo = (most: number, from = 1) =>
  Array.from({ length: most - from + 1 }, (_none, index) => from + index);

/** Holds envelopes one after another; each has to be taken. */
export async function holdAll(
  store: HeldStore,
  numbers: readonly number[],
  more: Parameters<typeof deposit>[1] = {},
): Promise<void> {
  for (const number of numbers) {
    const hash = hashOf(number, more.sizeBytes);
    expect(await store.hold(deposit(number, more))).toEqual({ held: true, hash });
  }
}

/** The envelopes on offer, page by page, by their place in `hashOf`. */
export async function offered(store: HeldStore, ns = NS, to = BOB, limit = 500): Promise<number[]> {
  const known = new Map(numbersTo(1_500).map((number) => [String(hashOf(number)), number]));
  const found: number[] = [];
  for (let after = 0; ;) {
    const page = await store.offers(to, ns, after, limit);
    for (const { number, hash } of page) {
      expect(number).toBeGreaterThan(after);
      after = number;
      found.push(known.get(String(hash))!);
    }
    if (page.length < limit) return found;
  }
}
