import type { RecordSeal } from '../../../daemon/store/record-seal.ts';
import { PatchcordError } from '../../../protocol/errors.ts';

/**
 * A record that carries what it holds beside its one byte: only the very object that `seal` returned opens, and
 * only under its key. Whoever wants to damage one has to put other bytes in its place.
 */
class SealedRecord extends Uint8Array {
  readonly storeKey: Uint8Array;
  readonly key: string;
  readonly value: unknown;

  constructor(storeKey: Uint8Array, key: string, value: unknown) {
    super(1);
    this.storeKey = storeKey;
    this.key = key;
    this.value = value;
  }
}

export function createRecordSeal(storeKey: Uint8Array): RecordSeal {
  return {
    seal: (key, value) => new SealedRecord(storeKey, key, copied(value)),
    open(key, bytes) {
      if (!(bytes instanceof SealedRecord) || bytes.key !== key || bytes.storeKey !== storeKey)
        throw new PatchcordError('store_damaged', `The stored record ${key} is damaged.`);
      return copied(bytes.value);
    },
  };
}

/** As encoding and decoding would give it back: other objects, nothing undefined. */
function copied(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(copied);
  const copy: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(value)) if (part !== undefined) copy[name] = copied(part);
  return copy;
}
