import { hex } from '../../../protocol/digest.ts';
import { heldKey, tallyKeys, type Name, type Place, type StoredOffer } from '../held-records.ts';
import type { HeldTally } from '../held-store.ts';
import type { CareTx, Tx } from '../journal.ts';
import { below, numberOf } from '../mail-records.ts';
import type { Findings } from './findings.ts';
import { pagesOf } from './pages.ts';

/**
 * Makes the records of the mailbox agree. An envelope that is gone is no longer offered: its sender has a copy until
 * the recipient's machine has answered.
 */
export async function mendMailbox(tx: CareTx, found: Findings): Promise<void> {
  const tallies = new Map<string, HeldTally>();
  let highest = 0;
  for await (const page of pagesOf<Place>(tx, below('mailbox-place/'))) {
    for (const [placeKey, place] of page) {
      const [, to = '', hashHex = ''] = placeKey.split('/');
      const name: Name = { to, hash: new Uint8Array(Buffer.from(hashHex, 'hex')) };
      highest = Math.max(highest, place.number);
      if (!(await tx.get(heldKey.envelope(place.number)))) {
        forget(tx, placeKey, name, place);
        found.add('lost', 'an envelope that was held for another machine; its sender has it still');
        continue;
      }
      await mendIndexes(tx, name, place, found);
      for (const tallyKey of tallyKeys(place.ns, to)) {
        const sum = tallies.get(tallyKey) ?? { count: 0, sizeBytes: 0 };
        tallies.set(tallyKey, { count: sum.count + 1, sizeBytes: sum.sizeBytes + place.sizeBytes });
      }
    }
  }
  await dropStrays(tx, found);
  await mendTallies(tx, tallies, found);
  const number = (await tx.get<number>(heldKey.number)) ?? 0;
  if (number >= highest) return;
  tx.put(heldKey.number, highest);
  found.add('mended', 'the last number of the mailbox');
}

function indexesOf({ to, hash }: Name, place: Place): [key: string, value: StoredOffer | Name][] {
  const { ns, number, withdraw, day, sizeBytes } = place;
  return [
    [heldKey.offer(ns, to, number), { hash, sizeBytes }],
    [heldKey.withdraw(withdraw, number), { to, hash }],
    [heldKey.day(day, number), { to, hash }],
  ];
}

function forget(tx: Tx, placeKey: string, name: Name, place: Place): void {
  tx.delete(placeKey);
  for (const [indexKey] of indexesOf(name, place)) tx.delete(indexKey);
}

async function mendIndexes(tx: Tx, name: Name, place: Place, found: Findings): Promise<void> {
  for (const [indexKey, value] of indexesOf(name, place)) {
    if (await tx.get(indexKey)) continue;
    tx.put(indexKey, value);
    found.add('mended', 'an index of the mailbox');
  }
}

/** Indexes whose place is gone; their envelopes cannot be offered, and are kept aside. */
async function dropStrays(tx: CareTx, found: Findings): Promise<void> {
  const kinds = ['mailbox-offer/', 'mailbox-withdraw/', 'mailbox-day/'];
  for (const kind of kinds) {
    for await (const page of pagesOf<StoredOffer | Name>(tx, below(kind))) {
      for (const [indexKey, value] of page) {
        const to = 'to' in value ? value.to : indexKey.split('/')[2]!;
        if (await tx.get(`mailbox-place/${to}/${hex(value.hash)}`)) continue;
        tx.delete(indexKey);
        const envelopeKey = heldKey.envelope(numberOf(indexKey));
        if (!(await tx.get(envelopeKey))) continue;
        await tx.quarantine(envelopeKey);
        found.add('lost', 'an envelope that was held for another machine; its sender has it still');
      }
    }
  }
}

async function mendTallies(tx: Tx, right: ReadonlyMap<string, HeldTally>, found: Findings): Promise<void> {
  const stored = new Map(await tx.range<HeldTally>({ from: 'mailbox-tally', to: 'mailbox-tallz' }));
  for (const tallyKey of new Set([...right.keys(), ...stored.keys()])) {
    const [is, was] = [right.get(tallyKey), stored.get(tallyKey)];
    if (is?.count === was?.count && is?.sizeBytes === was?.sizeBytes) continue;
    if (is) tx.put(tallyKey, is);
    else tx.delete(tallyKey);
    found.add('mended', 'a count of the mailbox');
  }
}
