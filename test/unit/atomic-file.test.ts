import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeFileAtomic } from '../../daemon/atomic-file.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchcord-atomic-'));
  path = join(folder, 'file');
});
afterEach(() => rm(folder, { recursive: true }));

test('of writes at once each is whole, and the last one stays', async () => {
  await writeFile(path, '0'.repeat(1_000));
  const texts = Array.from({ length: 20 }, (_none, at) => String(at % 10).repeat(1_000 * (at + 1)));
  const whole = ['0'.repeat(1_000), ...texts];
  const read = async () => expect(whole).toContain(await readFile(path, 'utf8'));
  await Promise.all(texts.map((text) => writeFileAtomic(path, text).then(read)));
  expect(await readFile(path, 'utf8')).toBe(texts.at(-1));
  expect(await readdir(folder)).toEqual(['file']);
});

test('one that fails keeps none from being written after it', async () => {
  const missing = join(folder, 'missing', 'file');
  await expect(writeFileAtomic(missing, 'a')).rejects.toMatchObject({ code: 'ENOENT' });
  const [failed, written] = await Promise.allSettled([
    writeFileAtomic(missing, 'b'),
    writeFileAtomic(path, 'c'),
  ]);
  expect([failed.status, written.status]).toEqual(['rejected', 'fulfilled']);
});
