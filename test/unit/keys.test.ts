import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { homePaths, type HomePaths } from '../../daemon/home.ts';
import { openKeys, readApiToken } from '../../daemon/keys/keys.ts';
import { keyFormat } from '../../daemon/keys/secret-file.ts';
import { silentLog, type Log } from '../../daemon/log.ts';

let paths: HomePaths;
beforeEach(async () => {
  paths = homePaths(await mkdtemp(join(tmpdir(), 'patchcord-keys-')));
});
afterEach(async () => {
  await rm(paths.home, { recursive: true, force: true });
});

const open = (storeEmpty = true, log: Log = silentLog) =>
  openKeys(paths, { storeEmpty, random: systemRandom, log });
const secretFiles = (): string[] => [paths.machineKey, paths.storeKey, paths.apiToken];

describe('openKeys', () => {
  it('makes the secrets once and reads them from then on', async () => {
    const made = await open();
    expect(made.machineSeed).toHaveLength(32);
    expect(made.storeKey).toHaveLength(32);
    expect(made.apiToken).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(await open(false)).toEqual(made);
    expect((await readdir(paths.home)).sort()).toEqual(['api-token', 'machine.key', 'store.key']);
    expect(await readApiToken(paths, silentLog)).toBe(made.apiToken);
    expect((await readFile(paths.apiToken, 'utf8')).trim()).toBe(made.apiToken);
  });

  it.skipIf(process.platform === 'win32')(
    'keeps them from others, and says so when they were not',
    async () => {
      await open();
      for (const path of secretFiles()) expect((await stat(path)).mode & 0o777).toBe(0o600);
      await chmod(paths.machineKey, 0o644);
      const warnings: object[] = [];
      await open(false, { ...silentLog, warn: (fields) => warnings.push(fields) });
      expect(warnings).toEqual([{ file: 'machine.key' }]);
      expect((await stat(paths.machineKey)).mode & 0o777).toBe(0o600);
    },
  );

  const damages: [how: string, damage: (text: string) => string][] = [
    ['emptied', () => ''],
    ['cut short', (text) => text.slice(0, -6)],
    ['grown', (text) => `${text.trimEnd()}AAAA\n`],
    ['altered', (text) => text.replace(/.(?=.{20}$)/m, (char) => (char === 'A' ? 'B' : 'A'))],
    ['huge', (text) => text + 'x'.repeat(5_000)],
    ['something else', () => 'hello\n'],
  ];
  it.each(damages)('refuses a key file that was %s, names it and leaves it', async (_how, damage) => {
    await open();
    for (const path of [paths.machineKey, paths.storeKey]) {
      const good = await readFile(path, 'utf8');
      await writeFile(path, damage(good));
      await expect(open()).rejects.toMatchObject({
        code: 'store_damaged',
        message: expect.stringContaining(path),
      });
      expect(await readFile(path, 'utf8')).toBe(damage(good));
      await writeFile(path, good);
    }
    await open(false);
  });

  it('refuses a damaged token', async () => {
    await open();
    await writeFile(paths.apiToken, 'short\n');
    await expect(open()).rejects.toMatchObject({
      code: 'store_damaged',
      message: expect.stringContaining('api-token'),
    });
  });

  it('makes no new key for a store that has records', async () => {
    await open();
    for (const path of [paths.machineKey, paths.storeKey]) {
      const good = await readFile(path);
      await rm(path);
      await expect(open(false)).rejects.toMatchObject({
        code: 'store_damaged',
        message: expect.stringContaining(basename(path)),
      });
      expect(await readdir(paths.home)).not.toContain(basename(path));
      await writeFile(path, good, { mode: 0o600 });
    }
    await rm(paths.apiToken);
    expect((await open(false)).apiToken).toMatch(/./);
  });

  it('has no token to read before the first start', async () => {
    expect(await readApiToken(paths, silentLog)).toBeUndefined();
  });
});

describe('keyFormat', () => {
  it('does not take one kind of key for another', () => {
    const key = new Uint8Array(32).fill(7);
    expect(keyFormat('a').decode(keyFormat('a').encode(key))).toEqual(key);
    expect(keyFormat('b').decode(keyFormat('a').encode(key))).toBeUndefined();
  });

  it('notices every altered character', () => {
    const format = keyFormat('key');
    const text = format.encode(systemRandom.bytes(32));
    for (let index = 0; index < text.length - 1; index++) {
      const other = text[index] === 'A' ? 'B' : 'A';
      expect(format.decode(text.slice(0, index) + other + text.slice(index + 1))).toBeUndefined();
    }
  });
});
