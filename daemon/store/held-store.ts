/**
 * What a mailbox needs of a store: it keeps envelopes for machines that are away. Each method that writes is one
 * atomic, synced batch, or says that it is several: when it resolves, it survives a power cut; when it throws, it did
 * not happen. `daemon/store/kv-held-store.ts` keeps it in LevelDB; another implementation has to pass
 * test/unit/held-store-suite.ts.
 *
 * Who left an envelope is written nowhere: a thief of the mailbox learns for whom it kept how much, not from whom.
 * Nothing is ever pushed out to make room. All throw `invalid_input` for what the frame schema would not let through.
 */
export interface HeldStore {
  /**
   * Keeps an envelope. One that is held already stays as it is, with its first withdrawal and its first day, and is
   * answered as held, whatever is full.
   */
  hold(deposit: Deposit): Promise<Held>;

  /** What is held for a machine in a namespace beyond number `after` (0 at first), in the order of deposit. */
  offers(to: string, ns: string, after: number, limit: number): Promise<Offer[]>;
  /** The envelope of that hash, if it is held for that machine. */
  envelope(to: string, hash: Uint8Array): Promise<Uint8Array | undefined>;
  /** The same with the withdrawal that it was left with. */
  copy(to: string, hash: Uint8Array): Promise<Pick<Deposit, 'envelope' | 'withdraw'> | undefined>;
  /** Whether an envelope is held for that machine that was left with this withdrawal. */
  holdsFor(to: string, withdraw: Uint8Array): Promise<boolean>;
  /** The machine has these. Says how many of them were held until now. */
  drop(to: string, hashes: readonly Uint8Array[]): Promise<number>;
  /**
   * Removes what was left with the hash of `preimage`, in batches, and says whether there was any. The recipient may
   * have fetched it before: true says only that nobody will from here on.
   */
  withdraw(preimage: Uint8Array): Promise<boolean>;
  /**
   * Removes all that is held in a namespace, for one machine or for all. One batch takes 500; begin without `after`
   * and call again with `next` until there is none. It may not see what is left there meanwhile.
   */
  dropNamespace(ns: string, to?: string, after?: string): Promise<Removed>;
  /**
   * Removes at most `limit` of what is older than the retention, whole days at a time; call again with `next`
   * until there is none. What was left while the clock was wrong is as old as the clock says now.
   */
  sweep(nowMs: number, limit: number, after?: string): Promise<Removed>;

  tally(): Promise<HeldTally>;
  /** For whom something is held. */
  recipients(): Promise<(HeldTally & { ns: string; to: string })[]>;
}

export interface Deposit {
  /** Namespace and machine that the envelope itself names (readAddress); the caller has compared them. */
  ns: string;
  to: string;
  envelope: Uint8Array;
  /** See withdrawalHash. */
  withdraw: Uint8Array;
  nowMs: number;
  /** The machine that leaves it. Counted in memory, never written. */
  depositor: string;
}

export type Held =
  /** It is fsynced here under this hash of its bytes. */
  { held: true; hash: Uint8Array } | { held: false; code: 'mailbox_full'; retry: true };

/** One envelope that waits. `number` rises with every deposit at this mailbox and is never given twice. */
export interface Offer {
  number: number;
  hash: Uint8Array;
  sizeBytes: number;
}

export interface HeldTally {
  count: number;
  /** Of the envelopes alone. */
  sizeBytes: number;
}

export interface Removed {
  count: number;
  /** Where to go on; undefined at the end. */
  next: string | undefined;
}
