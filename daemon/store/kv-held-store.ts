import { WITHDRAWAL_SIZE_BYTES, withdrawalHash } from '../../protocol/delivery/withdrawal.ts';
import { hex } from '../../protocol/digest.ts';
import { envelopeHash } from '../../protocol/held-receipt.ts';
import {
  FRAME_SIZE_BYTES_MAX,
  MAILBOX_COUNT_MAX,
  MAILBOX_DEPOSITOR_COUNT_MAX,
  MAILBOX_DEPOSITOR_SIZE_BYTES_MAX,
  MAILBOX_NAMESPACE_SIZE_BYTES_MAX,
  MAILBOX_PAGE_MAX,
  MAILBOX_RECIPIENT_COUNT_MAX,
  MAILBOX_RECIPIENT_SIZE_BYTES_MAX,
  MAILBOX_RETENTION_MS,
  MAILBOX_SIZE_BYTES_MAX,
  SEQUENCE_MAX,
} from '../../protocol/limits.ts';
import { zNamespaceId, zPeerId, zTimeMs } from '../../protocol/shapes.ts';
import { DepositorBudget } from './depositor-budget.ts';
import {
  check,
  heldKey,
  put,
  readHeldTally,
  remove,
  tallyKeys,
  type Name,
  type Place,
  type StoredOffer,
} from './held-records.ts';
import type { Deposit, Held, HeldStore, HeldTally, Removed } from './held-store.ts';
import type { Journal, Tx } from './journal.ts';
import { below, dayOf, digits, numberOf } from './mail-records.ts';

/** What one batch of a removal takes. */
const REMOVED_MAX = 500;

/** Envelopes of one withdrawal that are looked at: an honest depositor has a few, of one letter sealed anew. */
const WITHDRAWALS_MAX = 32;

const FULL: Held = { held: false, code: 'mailbox_full', retry: true };

/** What a mailbox keeps at most; the numbers of protocol/limits.ts unless a test needs smaller ones. */
export interface HeldBounds {
  recipient: HeldTally;
  namespaceSizeBytes: number;
  whole: HeldTally;
  /** Per hour. */
  depositor: HeldTally;
}

const BOUNDS: HeldBounds = {
  recipient: { count: MAILBOX_RECIPIENT_COUNT_MAX, sizeBytes: MAILBOX_RECIPIENT_SIZE_BYTES_MAX },
  namespaceSizeBytes: MAILBOX_NAMESPACE_SIZE_BYTES_MAX,
  whole: { count: MAILBOX_COUNT_MAX, sizeBytes: MAILBOX_SIZE_BYTES_MAX },
  depositor: { count: MAILBOX_DEPOSITOR_COUNT_MAX, sizeBytes: MAILBOX_DEPOSITOR_SIZE_BYTES_MAX },
};

/** The mailbox of one machine, in a journal over any ordered key-value store. */
export function createKvHeldStore(
  journal: Journal,
  { bounds = BOUNDS, retentionMs = MAILBOX_RETENTION_MS }: { bounds?: HeldBounds; retentionMs?: number } = {},
): HeldStore {
  const budget = new DepositorBudget(bounds.depositor.count, bounds.depositor.sizeBytes);
  return {
    hold: (deposit) => hold(journal, bounds, budget, deposit),
    ...removals(journal, retentionMs),
    ...reads(journal),
  };
}

async function hold(
  journal: Journal,
  bounds: HeldBounds,
  budget: DepositorBudget,
  deposit: Deposit,
): Promise<Held> {
  const { ns, to, envelope, withdraw, nowMs, depositor } = deposit;
  const sizeBytes = envelope.length;
  checkPlace(ns, to);
  check(sizeBytes >= 1 && sizeBytes <= FRAME_SIZE_BYTES_MAX, 'an envelope of that length');
  check(withdraw.length === WITHDRAWAL_SIZE_BYTES, 'a withdrawal of that length');
  check(zTimeMs.safeParse(nowMs).success, 'that time');
  const hash = envelopeHash(envelope);
  let spent: { giveBack(): void } | undefined;
  try {
    return await journal.transact(async (tx): Promise<Held> => {
      if (await tx.get<Place>(heldKey.place(to, hash))) return { held: true, hash };
      const tallies = await readTallies(tx, ns, to);
      if (!hasRoom(bounds, tallies, sizeBytes)) return FULL;
      spent = budget.spend(depositor, sizeBytes, nowMs);
      if (!spent) return FULL;
      const place = { ns, withdraw, day: dayOf(nowMs), sizeBytes };
      await put(tx, { to, hash, envelope, place }, tallies);
      return { held: true, hash };
    });
  } catch (error) {
    spent?.giveBack();
    throw error;
  }
}

async function readTallies(tx: Tx, ns: string, to: string): Promise<Map<string, HeldTally>> {
  const tallies = new Map<string, HeldTally>();
  for (const tallyKey of tallyKeys(ns, to)) tallies.set(tallyKey, await readHeldTally(tx, tallyKey));
  return tallies;
}

/** Whether one more of that size fits; `tallies` are of the mailbox, the namespace and the recipient. */
function hasRoom(bounds: HeldBounds, tallies: ReadonlyMap<string, HeldTally>, sizeBytes: number): boolean {
  const [whole, namespace, recipient] = [...tallies.values()];
  return (
    whole!.count < bounds.whole.count &&
    whole!.sizeBytes + sizeBytes <= bounds.whole.sizeBytes &&
    namespace!.sizeBytes + sizeBytes <= bounds.namespaceSizeBytes &&
    recipient!.count < bounds.recipient.count &&
    recipient!.sizeBytes + sizeBytes <= bounds.recipient.sizeBytes
  );
}

function removals(
  journal: Journal,
  retentionMs: number,
): Pick<HeldStore, 'drop' | 'withdraw' | 'dropNamespace' | 'sweep'> {
  return {
    drop: async (to, hashes) => {
      checkMachine(to);
      check(hashes.length <= MAILBOX_PAGE_MAX, 'so many hashes');
      for (const hash of hashes) checkHash(hash);
      return journal.transact((tx) =>
        remove(
          tx,
          hashes.map((hash) => ({ to, hash })),
        ),
      );
    },
    withdraw: async (preimage) => {
      const range = below(`mailbox-withdraw/${hex(withdrawalHash(preimage))}/`);
      let removed = 0;
      let next: string | undefined = '';
      while (next !== undefined) {
        const batch: Removed = await removeRange(journal, range, next, REMOVED_MAX, itself);
        removed += batch.count;
        next = batch.next;
      }
      return removed > 0;
    },
    dropNamespace: async (ns, to, after = '') => {
      checkNamespace(ns);
      if (to !== undefined) checkMachine(to);
      const prefix = `mailbox-offer/${ns}/`;
      const range = below(to === undefined ? prefix : `${prefix}${to}/`);
      const nameOf = (offerKey: string, { hash }: StoredOffer): Name => ({
        to: offerKey.slice(prefix.length, offerKey.lastIndexOf('/')),
        hash,
      });
      return removeRange(journal, range, after, REMOVED_MAX, nameOf);
    },
    sweep: async (nowMs, limit, after = '') => {
      check(zTimeMs.safeParse(nowMs).success, 'that time');
      checkLimit(limit);
      const { from } = below('mailbox-day/');
      const to = `${from}${digits(dayOf(nowMs - retentionMs))}`;
      return removeRange(journal, { from, to }, after, limit, itself);
    },
  };
}

/** What a record of withdrawals or days is about. */
const itself = (_key: string, name: Name) => name;

/**
 * Removes what the first `limit` records of a range name, from the key `after` on. A cursor, though what lies before
 * it is gone: LevelDB would step over every deleted record again.
 */
async function removeRange<T>(
  journal: Journal,
  { from, to }: { from: string; to: string },
  after: string,
  limit: number,
  nameOf: (key: string, value: T) => Name,
): Promise<Removed> {
  return journal.transact(async (tx) => {
    const entries = await tx.range<T>({ from: after > from ? after : from, to, limit });
    const names = entries.map(([entryKey, value]) => nameOf(entryKey, value));
    const count = await remove(tx, names);
    return { count, next: entries.length < limit ? undefined : entries.at(-1)![0] };
  });
}

type Reads = 'offers' | 'envelope' | 'copy' | 'holdsFor' | 'tally' | 'recipients';

function reads(journal: Journal): Pick<HeldStore, Reads> {
  return {
    offers: async (to, ns, after, limit) => {
      checkPlace(ns, to);
      checkLimit(limit);
      check(Number.isInteger(after) && after >= 0 && after <= SEQUENCE_MAX, 'that number');
      const range = { ...below(`mailbox-offer/${ns}/${to}/`), from: heldKey.offer(ns, to, after + 1), limit };
      const entries = await journal.range<StoredOffer>(range);
      return entries.map(([offerKey, offer]) => ({ number: numberOf(offerKey), ...offer }));
    },
    envelope: async (to, hash) => {
      checkMachine(to);
      checkHash(hash);
      const place = await journal.get<Place>(heldKey.place(to, hash));
      return place && journal.get<Uint8Array>(heldKey.envelope(place.number));
    },
    copy: async (to, hash) => {
      checkMachine(to);
      checkHash(hash);
      const place = await journal.get<Place>(heldKey.place(to, hash));
      const envelope = place && (await journal.get<Uint8Array>(heldKey.envelope(place.number)));
      return envelope && { envelope, withdraw: place.withdraw };
    },
    holdsFor: async (to, withdraw) => {
      checkMachine(to);
      check(withdraw.length === WITHDRAWAL_SIZE_BYTES, 'a withdrawal of that length');
      const range = { ...below(`mailbox-withdraw/${hex(withdraw)}/`), limit: WITHDRAWALS_MAX };
      const entries = await journal.range<Name>(range);
      return entries.some(([, name]) => name.to === to);
    },
    tally: () => readHeldTally(journal, heldKey.tally),
    recipients: async () => {
      const entries = await journal.range<HeldTally>(below('mailbox-tally-to/'));
      return entries.map(([tallyKey, tally]) => {
        const [, ns, to] = tallyKey.split('/');
        return { ns: ns!, to: to!, ...tally };
      });
    },
  };
}

function checkPlace(ns: string, to: string): void {
  checkNamespace(ns);
  checkMachine(to);
}

function checkNamespace(ns: string): void {
  check(zNamespaceId.safeParse(ns).success, 'that namespace');
}

function checkMachine(to: string): void {
  check(zPeerId.safeParse(to).success, 'that machine');
}

function checkHash(hash: Uint8Array): void {
  check(hash.length === 32, 'a hash of that length');
}

function checkLimit(limit: number): void {
  check(Number.isInteger(limit) && limit >= 1 && limit <= MAILBOX_PAGE_MAX, 'that limit');
}
