/**
 * An ordered key-value store, the only thing the store needs of LevelDB. Keys are compared by code unit and
 * must be ASCII.
 */
export interface Kv {
  get(key: string): Promise<Uint8Array | undefined>;
  /** Entries in key order, `from` inclusive, `to` exclusive. */
  range(range: KvRange): Promise<[key: string, value: Uint8Array][]>;
  /** All or nothing. With `sync` it resolves when the writes survive a power cut. */
  write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void>;
  /** Gives the space of what was deleted in a range back; for stores that do not do it by themselves. */
  compact?(range: { from: string; to: string }): Promise<void>;
  close(): Promise<void>;
}

export interface KvRange {
  from: string;
  to: string;
  reverse?: boolean;
  limit?: number;
}

/** A put, or with `value: undefined` a delete. */
export interface KvOperation {
  key: string;
  value: Uint8Array | undefined;
}
