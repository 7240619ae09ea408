import { beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import {
  assertSchema,
  MIGRATIONS,
  migrateStore,
  SCHEMA_VERSION,
  type Migration,
} from '../../daemon/store/schema.ts';
import { MemoryKv } from '../sim/memory-kv.ts';

const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
let kv: MemoryKv;
beforeEach(() => (kv = new MemoryKv()));
const open = () => new Journal(kv, seal);

/** Renames `from/N` to `to/N`, two records a slice, and notes what it did. */
const renaming = (version: number, from: string, to: string, slices: string[] = []): Migration => ({
  from: version,
  async migrate(tx, after) {
    const page = await tx.range({ from: after > from ? `${after}\0` : `${from}/`, to: `${from}0`, limit: 2 });
    for (const [key, value] of page) {
      tx.put(`${to}${key.slice(from.length)}`, value);
      tx.delete(key);
    }
    slices.push(`${from} ${page.length}`);
    return page.length < 2 ? undefined : page.at(-1)![0];
  },
});
const fill = (...keys: string[]) =>
  open().transact(async (tx) => {
    for (const key of keys) tx.put(key, key);
  });
const keys = async () => (await kv.range({ from: '', to: '\x7f' })).map(([key]) => key);

describe('the schema of a store', () => {
  test('a new store is of the newest version', async () => {
    await migrateStore(open(), [], 3);
    expect(await open().get('schema')).toEqual({ version: 3 });
  });

  test('a store without the record is of version 1', async () => {
    await fill('a/1');
    const slices: string[] = [];
    await migrateStore(open(), [renaming(1, 'a', 'b', slices)], 2);
    expect(await keys()).toEqual(['b/1', 'schema']);
    expect(await open().get('schema')).toEqual({ version: 2 });
  });

  test('migrations run in order, in slices, each once', async () => {
    await fill('a/1', 'a/2', 'a/3');
    const slices: string[] = [];
    const list = [renaming(2, 'b', 'c', slices), renaming(1, 'a', 'b', slices)];
    await migrateStore(open(), list, 3);
    expect(slices).toEqual(['a 2', 'a 1', 'b 2', 'b 1']);
    expect(await keys()).toEqual(['c/1', 'c/2', 'c/3', 'schema']);
    await migrateStore(open(), list, 3);
    expect(slices).toHaveLength(4);
  });

  test.each([1, 2, 3, 4, 5])('what is cut short after batch %i goes on', async (allowed) => {
    await fill('a/1', 'a/2', 'a/3', 'a/4', 'a/5');
    const list = [renaming(1, 'a', 'b'), renaming(2, 'b', 'c')];
    const write = kv.write.bind(kv);
    let left = allowed;
    kv.write = async (...batch) => {
      if (left-- <= 0) throw new Error('power cut');
      return write(...batch);
    };
    await expect(migrateStore(open(), list, 3)).rejects.toThrow('power cut');
    kv.write = write;
    await migrateStore(open(), list, 3);
    expect(await keys()).toEqual(['c/1', 'c/2', 'c/3', 'c/4', 'c/5', 'schema']);
  });

  test('a newer store is refused and stays as it is', async () => {
    await open().transact(async (tx) => tx.put('schema', { version: 9 }));
    const before = await kv.range({ from: '', to: '\x7f' });
    const newer = expect.objectContaining({ name: 'PatchcordError', code: 'store_newer' });
    await expect(assertSchema(open(), SCHEMA_VERSION)).rejects.toEqual(newer);
    await expect(migrateStore(open(), MIGRATIONS, SCHEMA_VERSION)).rejects.toEqual(newer);
    expect(await kv.range({ from: '', to: '\x7f' })).toEqual(before);
  });
});
