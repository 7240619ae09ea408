import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Kv } from '../../daemon/store/kv.ts';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import { MemoryKv } from '../sim/memory-kv.ts';

let folder: string;
let opened: Kv[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchcord-level-'));
  opened = [];
});
afterEach(async () => {
  for (const kv of opened) await kv.close();
  await rm(folder, { recursive: true, force: true });
});

const open = async () => {
  const kv = await openLevelKv(folder);
  opened.push(kv);
  return kv;
};
const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value);
const put = (key: string) => ({ key, value: bytes(key) });

describe.for<[what: string, create: () => Promise<Kv>]>([
  ['LevelDB', async () => open()],
  ['memory', async () => new MemoryKv()],
])('a store in %s', ([, create]) => {
  const KEYS = ['a', 'a/1', 'a/10', 'a/2', 'a0', 'b'];
  const filled = async () => {
    const kv = await create();
    await kv.write(KEYS.map(put), { sync: true });
    return kv;
  };

  test.for<[range: Parameters<Kv['range']>[0], keys: string[]]>([
    [{ from: '', to: '~' }, KEYS],
    [{ from: 'a/', to: 'a0' }, ['a/1', 'a/10', 'a/2']],
    [{ from: 'a/1', to: 'a/2' }, ['a/1', 'a/10']],
    [{ from: 'a/', to: 'a0', reverse: true }, ['a/2', 'a/10', 'a/1']],
    [{ from: 'a/', to: 'a0', limit: 2 }, ['a/1', 'a/10']],
    [{ from: 'a/', to: 'a0', limit: 2, reverse: true }, ['a/2', 'a/10']],
    [{ from: 'a/', to: 'a0', limit: 0 }, []],
    [{ from: 'c', to: 'd' }, []],
    [{ from: 'b', to: 'a' }, []],
  ])('range %j', async ([range, keys]) => {
    const kv = await filled();
    const entries = await kv.range(range);
    expect(entries.map(([key]) => key)).toEqual(keys);
    expect(entries.map(([, value]) => textOf(value))).toEqual(keys);
  });

  test('writes all of a batch, puts and deletes', async () => {
    const kv = await filled();
    await kv.write(
      [
        put('c'),
        { key: 'a', value: undefined },
        { key: 'nothing', value: undefined },
        { key: 'b', value: new Uint8Array(0) },
      ],
      { sync: true },
    );
    expect(await kv.get('a')).toBeUndefined();
    expect(await kv.get('b')).toHaveLength(0);
    expect(textOf(await kv.get('c'))).toBe('c');
    expect(await kv.get('d')).toBeUndefined();
  });

  test('the last operation on a key counts', async () => {
    const kv = await create();
    await kv.write([put('a'), { key: 'a', value: undefined }, { key: 'b', value: undefined }, put('b')], {
      sync: true,
    });
    expect([await kv.get('a'), (await kv.get('b'))?.length]).toEqual([undefined, 1]);
  });
});

describe('LevelDB', () => {
  test('keeps what was written when it is opened again', async () => {
    const kv = await open();
    await kv.write([put('a')], { sync: true });
    await kv.close();
    expect(textOf(await (await open()).get('a'))).toBe('a');
  });

  test('a folder that is open already is in use; the first goes on', async () => {
    const first = await open();
    await expect(openLevelKv(folder)).rejects.toEqual(refusal('home_in_use'));
    await first.write([put('a')], { sync: true });
    await first.close();
    expect(textOf(await (await open()).get('a'))).toBe('a');
  });

  test('a folder that cannot be one is named', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    await expect(openLevelKv(join(file, 'store'))).rejects.toEqual(refusal('store_failed'));
  });

  test('a store that was closed stays closed, and its folder free', async () => {
    const kv = await open();
    await kv.close();
    await kv.close();
    await expect(kv.get('a')).rejects.toEqual(refusal('store_failed'));
    await expect(kv.write([put('a')], { sync: true })).rejects.toEqual(refusal('store_failed'));
    await expect(kv.range({ from: 'a', to: 'b' })).rejects.toEqual(refusal('store_failed'));
    const next = await open();
    expect(await next.get('a')).toBeUndefined();
  });
});

/**
 * A process whose files cannot grow beyond half a megabyte or one (ulimit -f 1024), as on a full disk: it writes
 * until that fails, does what `then` says, and tells what it found when nothing is left to do.
 */
const script = (then: string) => `
import { rmSync, writeFileSync } from 'node:fs';
const { openLevelKv } = await import(process.argv[1]);
const kv = await openLevelKv(process.argv[2]);
const told = { written: [], failed: [], found: [], rejections: 0 };
process.on('unhandledRejection', () => { told.rejections += 1; });
process.on('exit', () => console.log(JSON.stringify(told)));
const write = async (key, value) => {
  try {
    await kv.write([{ key, value }], { sync: true });
    told.written.push(key);
    return true;
  } catch (error) {
    told.failed.push([key, error.name, error.code]);
    return false;
  }
};
const zeros = new Uint8Array(60_000);
${then}`;

interface Told {
  written: string[];
  failed: string[][];
  found: string[];
  rejections: number;
}

async function onFullDisk(then: string): Promise<Told> {
  const levelKv = new URL('../../daemon/store/level-kv.ts', import.meta.url).href;
  const limit = 'ulimit -f 1024; exec "$0" "$@"';
  const argv = ['-c', limit, process.execPath, '--input-type=module', '-e', script(then), levelKv, folder];
  return new Promise((resolve, reject) => {
    execFile('/bin/sh', argv, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr, { cause: error }));
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      else resolve(JSON.parse(stdout) as Told);
    });
  });
}

describe('after a failed write', () => {
  test('the store opens itself again, with all that was acknowledged', async () => {
    const told = await onFullDisk(`
      for (let n = 100; await write('k' + n, zeros); n++);
      await write('again', zeros.subarray(0, 10));
      await write('more', zeros);
      told.found = (await kv.range({ from: '', to: '~' })).map(([key]) => key);
      await kv.close();
    `);
    const failure = [
      expect.stringMatching(/^k1/),
      'PatchcordError',
      expect.stringMatching(/^(disk_full|store_failed)$/),
    ];
    expect(told.failed).toEqual([failure]);
    expect(told.written).toEqual(expect.arrayContaining(['k100', 'k101', 'again', 'more']));
    expect(told.found).toEqual(expect.arrayContaining(told.written));
    expect(told.rejections).toBe(0);
  });

  test('the process lives on when the store cannot be opened again either', async () => {
    const told = await onFullDisk(`
      for (let n = 100; await write('k' + n, zeros); n++);
      rmSync(process.argv[2], { recursive: true });
      writeFileSync(process.argv[2], '');
    `);
    expect(told.failed).toHaveLength(1);
    expect(told.rejections).toBe(0);
  });

  test('what comes next says that the store failed, every time', async () => {
    const told = await onFullDisk(`
      for (let n = 100; await write('k' + n, zeros); n++);
      rmSync(process.argv[2], { recursive: true });
      writeFileSync(process.argv[2], '');
      for (const key of ['x', 'y', 'z']) await write(key, zeros);
    `);
    expect(told.failed.slice(1)).toEqual(
      ['x', 'y', 'z'].map((key) => [key, 'PatchcordError', 'store_failed']),
    );
  });
});
