import type { KadDHTComponents } from '@libp2p/kad-dht';
import { NotFoundError } from '@libp2p/interface';
import { TABLE_RECORDS_MAX } from '../../protocol/limits.ts';

type Datastore = KadDHTComponents['datastore'];
type Key = Parameters<Datastore['get']>[0];

/** Where kad-dht puts records; beside them it would keep who provides what, which nobody asks for here. */
const RECORD_PLACE = '/dht/record/';

/**
 * The records of one table, in memory: whoever starts again is told the newest soon enough. It takes records that were
 * checked and nothing else, so many at most.
 */
export function recordStore(): Datastore {
  const records = new Map<string, Uint8Array>();
  const put = (key: Key, value: Uint8Array): Key => {
    const place = key.toString();
    if (!place.startsWith(RECORD_PLACE)) throw new Error('not a record');
    if (!records.has(place) && records.size >= TABLE_RECORDS_MAX) throw new Error('too many records');
    records.set(place, value);
    return key;
  };
  const get = (key: Key): Uint8Array => {
    const value = records.get(key.toString());
    if (value === undefined) throw new NotFoundError('no such record');
    return value;
  };
  const remove = (key: Key): void => void records.delete(key.toString());
  return {
    put,
    get,
    delete: remove,
    has: (key) => records.has(key.toString()),
    async *putMany(source) {
      for await (const { key, value } of source) yield put(key, value);
    },
    async *getMany(source) {
      for await (const key of source) yield { key, value: get(key) };
    },
    async *deleteMany(source) {
      for await (const key of source) {
        remove(key);
        yield key;
      }
    },
    batch() {
      const steps: (() => void)[] = [];
      return {
        put: (key, value) => void steps.push(() => put(key, value)),
        delete: (key) => void steps.push(() => remove(key)),
        commit: () => {
          for (const step of steps) step();
        },
      };
    },
    // Asked for what is provided only, of which there is nothing.
    async *query() {},
    async *queryKeys() {},
  };
}
