import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
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
