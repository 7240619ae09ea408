import { createHash } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import { liveTables } from '../../daemon/store/manifest.ts';
import { openStore } from '../../daemon/store/open-store.ts';

/** What LevelDB's files say, when the process that wrote them was killed or the disk has changed them. */
let base: string;
let folder: string;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'patchcord-open-'));
  folder = join(base, 'store');
  // Opened again and again: each time what was in its log becomes a table.
  for (let round = 0; round < 4; round++) {
    const kv = await openLevelKv(folder);
    await kv.write([{ key: `key/${round}`, value: Buffer.from(`value ${round}`) }], { sync: true });
    await kv.close();
  }
});
afterEach(() => rm(base, { recursive: true, force: true }));

const open = () => openStore(folder, { aside: join(base, 'aside'), isFree: async () => true });
const tables = async () => (await readdir(folder)).filter((name) => name.endsWith('.ldb'));
const numberOf = (name: string) => Number.parseInt(name, 10);

test('the tables that a store consists of are read from its manifest', async () => {
  const live = await liveTables(folder);
  expect(live).toEqual(new Set((await tables()).map(numberOf)));
  expect(live!.size).toBeGreaterThan(0);
});

test('a table that a killed process left half written is no damage', async () => {
  const stray = `${String(Math.max(...(await tables()).map(numberOf)) + 1).padStart(6, '0')}.ldb`;
  await writeFile(join(folder, stray), 'half of a tab');
  const opened = await open();
  expect(opened).toMatchObject({ found: [], isSuspect: false });
  expect(await opened.kv.range({ from: 'key/', to: 'key0' })).toHaveLength(4);
  await opened.kv.close();
  expect(await tables()).not.toContain(stray);
});

test('a table of the store that is cut is damage', async () => {
  const [first] = await tables();
  await truncate(join(folder, first!), 30);
  await expect(open()).rejects.toMatchObject({ code: 'store_damaged' });
});

test('without a manifest that can be read every table counts', async () => {
  const manifest = (await readdir(folder)).find((name) => name.startsWith('MANIFEST'))!;
  await writeFile(join(folder, manifest), Buffer.alloc(64, 7));
  expect(await liveTables(folder)).toBeUndefined();
  await truncate(join(folder, (await tables())[0]!), 30);
  await expect(open()).rejects.toMatchObject({ code: 'store_damaged' });
});

test('whatever is altered in a key, keys come in order, and what is deleted is gone', async () => {
  const keyOf = (number: number) => `outbox/${String(number).padStart(12, '0')}`;
  // A block has four of them; they cannot be packed.
  const valueOf = (number: number) =>
    createHash('shake256', { outputLength: 950 }).update(String(number)).digest();
  const kv = await openLevelKv(folder);
  for (let number = 1; number <= 40; number++)
    await kv.write([{ key: keyOf(number), value: valueOf(number) }], { sync: true });
  for (let number = 1; number <= 40; number += 7)
    await kv.write([{ key: keyOf(number), value: undefined }], { sync: true });
  await kv.close();
  await (await openLevelKv(folder)).close();
  const all = await Promise.all(
    (await tables()).map(async (name) => ({ name, bytes: await readFile(join(folder, name)) })),
  );
  const { name, bytes } = all.sort((a, b) => b.bytes.length - a.bytes.length)[0]!;
  const [whole, everything] = [folder, { from: '', to: '\x7f' }];
  for (const number of [5, 6, 7, 9, 10, 11]) {
    const valueAt = bytes.indexOf(valueOf(number));
    for (let at = valueAt - 15; at < valueAt - 8; at++) {
      folder = join(base, `damaged-${at}`);
      await cp(whole, folder, { recursive: true });
      await writeFile(join(folder, name), bytes.with(at, bytes[at]! ^ 1));
      const { kv: damaged, found } = await open();
      const keys = (await damaged.range(everything)).map(([key]) => key);
      expect({ number, found, keys }).toEqual({ number, found, keys: keys.toSorted() });
      expect(keys.length).toBeGreaterThan(20);
      await damaged.write(
        keys.map((key) => ({ key, value: undefined })),
        { sync: true },
      );
      expect({ number, left: await damaged.range(everything) }).toEqual({ number, left: [] });
      await damaged.close();
      await rm(folder, { recursive: true });
    }
  }
});
