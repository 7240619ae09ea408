import { hex } from '../../protocol/digest.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { HeldTally } from './held-store.ts';
import type { Tx } from './journal.ts';
import { digits, lastNumber } from './mail-records.ts';

/**
 * Where a mailbox lies. One line a kind of record; NS is a namespace id, TO the peer id of a recipient, HASH
 * SHA-256 of an envelope, WITHDRAW of a withdrawal's preimage, both in hex; N the number of the deposit and DAY the
 * day of it since 1970 in UTC, 12 digits each. Values are sealed, keys are not. No record names a depositor.
 *
 *     mailbox-number                   number: last given
 *     mailbox-envelope/N               bytes of the envelope
 *     mailbox-place/TO/HASH            Place: all that is known of it; also the dedupe mark
 *     mailbox-offer/NS/TO/N            StoredOffer: in the order of deposit
 *     mailbox-withdraw/WITHDRAW/N      Name
 *     mailbox-day/DAY/N                Name: for the sweep
 *     mailbox-tally                    HeldTally: of the whole mailbox
 *     mailbox-tally-ns/NS              HeldTally
 *     mailbox-tally-to/NS/TO           HeldTally
 */
export const heldKey = {
  number: 'mailbox-number',
  envelope: (number: number) => `mailbox-envelope/${digits(number)}`,
  place: (to: string, hash: Uint8Array) => `mailbox-place/${to}/${hex(hash)}`,
  offer: (ns: string, to: string, number: number) => `mailbox-offer/${ns}/${to}/${digits(number)}`,
  withdraw: (hash: Uint8Array, number: number) => `mailbox-withdraw/${hex(hash)}/${digits(number)}`,
  day: (day: number, number: number) => `mailbox-day/${digits(day)}/${digits(number)}`,
  tally: 'mailbox-tally',
  tallyNs: (ns: string) => `mailbox-tally-ns/${ns}`,
  tallyTo: (ns: string, to: string) => `mailbox-tally-to/${ns}/${to}`,
};

/** Where the records of an envelope are, so that it can be removed without reading it. */
export interface Place {
  ns: string;
  number: number;
  withdraw: Uint8Array;
  day: number;
  sizeBytes: number;
}

/** Which envelope a record is about. */
export interface Name {
  to: string;
  hash: Uint8Array;
}

export interface StoredOffer {
  hash: Uint8Array;
  sizeBytes: number;
}

export async function readHeldTally(from: Pick<Tx, 'get'>, tallyKey: string): Promise<HeldTally> {
  return (await from.get<HeldTally>(tallyKey)) ?? { count: 0, sizeBytes: 0 };
}

/** Writes one new envelope with all its records; `before` are the tallies by key as they are without it. */
export async function put(
  tx: Tx,
  held: { to: string; hash: Uint8Array; envelope: Uint8Array; place: Omit<Place, 'number'> },
  before: ReadonlyMap<string, HeldTally>,
): Promise<void> {
  const { to, hash, envelope } = held;
  const number = ((await tx.get<number>(heldKey.number)) ?? (await lastNumber(tx, 'mailbox-envelope/'))) + 1;
  const place: Place = { ...held.place, number };
  const name: Name = { to, hash };
  tx.put(heldKey.number, number);
  tx.put(heldKey.envelope(number), envelope);
  tx.put(heldKey.place(to, hash), place);
  tx.put(heldKey.offer(place.ns, to, number), { hash, sizeBytes: place.sizeBytes } satisfies StoredOffer);
  tx.put(heldKey.withdraw(place.withdraw, number), name);
  tx.put(heldKey.day(place.day, number), name);
  for (const [tallyKey, { count, sizeBytes }] of before) {
    const after: HeldTally = { count: count + 1, sizeBytes: sizeBytes + place.sizeBytes };
    tx.put(tallyKey, after);
  }
}

/** Removes envelopes with all their records; passes over what is not held. Says how many were. */
export async function remove(tx: Tx, names: readonly Name[]): Promise<number> {
  const removed = new Map<string, HeldTally>();
  let count = 0;
  // One named twice is there once.
  const byKey = new Map(names.map((name) => [heldKey.place(name.to, name.hash), name]));
  const places = await Promise.all([...byKey.keys()].map((placeKey) => tx.get<Place>(placeKey)));
  for (const [placeKey, { to }] of byKey) {
    const place = places.shift();
    if (!place) continue;
    const { ns, number } = place;
    tx.delete(placeKey);
    tx.delete(heldKey.envelope(number));
    tx.delete(heldKey.offer(ns, to, number));
    tx.delete(heldKey.withdraw(place.withdraw, number));
    tx.delete(heldKey.day(place.day, number));
    for (const tallyKey of tallyKeys(ns, to)) {
      const sum = removed.get(tallyKey) ?? { count: 0, sizeBytes: 0 };
      removed.set(tallyKey, { count: sum.count + 1, sizeBytes: sum.sizeBytes + place.sizeBytes });
    }
    count += 1;
  }
  for (const [tallyKey, less] of removed) await lower(tx, tallyKey, less);
  return count;
}

/** The tallies in which an envelope counts: of the mailbox, of its namespace, of its recipient there. */
export function tallyKeys(ns: string, to: string): [whole: string, ns: string, to: string] {
  return [heldKey.tally, heldKey.tallyNs(ns), heldKey.tallyTo(ns, to)];
}

async function lower(tx: Tx, tallyKey: string, less: HeldTally): Promise<void> {
  const before = await readHeldTally(tx, tallyKey);
  const count = before.count - less.count;
  if (count > 0)
    tx.put(tallyKey, { count, sizeBytes: before.sizeBytes - less.sizeBytes } satisfies HeldTally);
  else tx.delete(tallyKey);
}

/** Throws `invalid_input` unless `holds`. */
export function check(holds: boolean, what: string): void {
  if (!holds) throw new PatchcordError('invalid_input', `Not for a mailbox: ${what}.`);
}
