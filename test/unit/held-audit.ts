import { deepEqual } from 'node:assert/strict';
import { heldKey, tallyKeys, type Name, type Place } from '../../daemon/store/held-records.ts';
import type { HeldTally } from '../../daemon/store/held-store.ts';
import type { Journal } from '../../daemon/store/journal.ts';
import { below } from '../../daemon/store/mail-records.ts';
import { envelopeHash } from '../../protocol/held-receipt.ts';

/**
 * Throws unless the mailbox's records are exactly those of the envelopes that have a place: nothing is missing,
 * nothing is left over, and the tallies are the sums.
 */
export async function auditHeld(journal: Journal): Promise<void> {
  const stored = new Map(await journal.range<unknown>(below('mailbox-place/')));
  const expected = new Map<string, unknown>();
  let last = 0;
  for (const [placeKey, value] of stored) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const place = value as Place;
    const bytes = (await journal.get<Uint8Array>(heldKey.envelope(place.number)))!;
    const name: Name = { to: placeKey.split('/')[1]!, hash: envelopeHash(bytes) };
    const { ns, number } = place;
    last = Math.max(last, number);
    expected.set(heldKey.place(name.to, name.hash), { ...place, sizeBytes: bytes.length });
    expected.set(heldKey.envelope(number), bytes);
    expected.set(heldKey.offer(ns, name.to, number), { hash: name.hash, sizeBytes: bytes.length });
    expected.set(heldKey.withdraw(place.withdraw, number), name);
    expected.set(heldKey.day(place.day, number), name);
    for (const tallyKey of tallyKeys(ns, name.to)) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const sum = (expected.get(tallyKey) ?? { count: 0, sizeBytes: 0 }) as HeldTally;
      expected.set(tallyKey, { count: sum.count + 1, sizeBytes: sum.sizeBytes + bytes.length });
    }
  }
  const all = new Map(await journal.range<unknown>({ from: 'mailbox', to: 'mailboy' }));
  const given = all.get(heldKey.number) ?? 0;
  all.delete(heldKey.number);
  deepEqual(all, expected);
  if (typeof given !== 'number' || given < last)
    throw new Error(`number ${last} was given, another one is kept`);
}
