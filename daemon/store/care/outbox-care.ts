import type { Tx } from '../journal.ts';
import { below, key, numberOf, type OutboxNumbers } from '../mail-records.ts';
import type { OutboxEntry } from '../mail-store.ts';
import type { Findings } from './findings.ts';
import { namesBelow, pagesOf } from './pages.ts';

/** Counts what waits for each machine, and makes sure that no number is given twice. */
export async function mendOutbox(tx: Tx, found: Findings): Promise<void> {
  const kinds = ['outbox/', 'outbox-count/', 'outbox-size/'];
  const machines = (await Promise.all(kinds.map((kind) => namesBelow(tx, kind)))).flat();
  let highest = 0;
  for (const machine of new Set(machines)) {
    let count = 0;
    let sizeBytes = 0;
    for await (const page of pagesOf<OutboxEntry>(tx, below(`outbox/${machine}/`))) {
      count += page.length;
      for (const [, entry] of page) sizeBytes += entry.sizeBytes;
      highest = Math.max(highest, numberOf(page.at(-1)![0]));
    }
    await setCount(tx, key.outboxCount(machine), count, 'a count of what waits for a machine', found);
    await setCount(tx, key.outboxSize(machine), sizeBytes, 'a size of what waits for a machine', found);
  }
  const last = (await tx.get<OutboxNumbers>(key.outboxNumber))?.last ?? 0;
  if (last >= highest) return;
  tx.put(key.outboxNumber, { last: highest, recent: [] } satisfies OutboxNumbers);
  found.add('mended', 'the last number of the outbox');
}

/** A count of nothing has no record. */
export async function setCount(
  tx: Tx,
  countKey: string,
  count: number,
  what: string,
  found: Findings,
): Promise<void> {
  if (((await tx.get<number>(countKey)) ?? 0) === count) return;
  if (count > 0) tx.put(countKey, count);
  else tx.delete(countKey);
  found.add('mended', what);
}
