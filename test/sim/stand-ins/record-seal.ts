import type { RecordSeal } from '../../../daemon/store/record-seal.ts';
import { PatchcordError } from '../../../protocol/errors.ts';

/** What a record holds; only the very bytes that were returned open, and only under their key. */
interface Sealed {
  storeKey: Uint8Array;
  key: string;
  value: unknown;
}

const records = new WeakMap<Uint8Array, Sealed>();

/** Long enough to be told from nothing; the value itself stays beside it. */
const RECORD_SIZE_BYTES = 1;

export function createRecordSeal(storeKey: Uint8Array): RecordSeal {
  return {
    seal(key, value) {
      const bytes = new Uint8Array(RECORD_SIZE_BYTES);
      records.set(bytes, { storeKey, key, value: copied(value) });
      return bytes;
    },
    open(key, bytes) {
      const record = records.get(bytes);
      if (!record || record.key !== key || record.storeKey !== storeKey)
        throw new PatchcordError('store_damaged', `The stored record ${key} is damaged.`);
      return copied(record.value);
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
