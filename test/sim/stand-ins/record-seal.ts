import type { RecordSeal } from '../../../daemon/store/record-seal.ts';
import { SEALED_AS as TRAVELS } from '../../../daemon/store/milestones.ts';
import { decodeOwn, encode } from '../../../protocol/codec.ts';
import { PatchcordError } from '../../../protocol/errors.ts';
import { openOnce, sealOnce } from './aead.ts';
import { frozen } from './frozen.ts';

/**
 * A record that carries what it holds beside its one byte: only the very object that `seal` returned opens, and
 * only under its key. Whoever wants to damage one has to put other bytes in its place. What leaves the machine comes
 * back as another object, so that is bytes.
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

/**
 * What it seals and opens is one frozen object, where encoding makes another one each time: whoever changes what it
 * has put or got is told by an exception.
 */
export function createRecordSeal(storeKey: Uint8Array): RecordSeal {
  return {
    seal: (key, value) =>
      key === TRAVELS
        ? sealOnce(storeKey, Buffer.from(key), encode(value))
        : new SealedRecord(storeKey, key, frozen(value)),
    open(key, bytes) {
      const travelled = key === TRAVELS ? openOnce(storeKey, Buffer.from(key), bytes) : undefined;
      if (travelled) return decodeOwn(travelled);
      if (!(bytes instanceof SealedRecord) || bytes.key !== key || bytes.storeKey !== storeKey)
        throw new PatchcordError('store_damaged', `The stored record ${key} is damaged.`);
      return bytes.value;
    },
  };
}
