import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { backupOf, storeCopy } from '../../daemon/backup/backup.ts';
import { encodeItem, itemsIn } from '../../daemon/backup/items.ts';
import { restoreHome } from '../../daemon/backup/restore.ts';
import { opened, sealed } from '../../daemon/backup/sealed.ts';
import { systemRandom } from '../../daemon/clock.ts';
import { homePaths } from '../../daemon/home.ts';
import { openKeys } from '../../daemon/keys/keys.ts';
import { silentLog } from '../../daemon/log.ts';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import { recordsIn } from '../processes/home-store.ts';
import { refusal } from './mail-store-fixture.ts';

const SECRET = new Uint8Array(32).fill(5);
const CHUNK = 64 * 1024 + 16 + 4;

async function* pieces(bytes: Uint8Array, size = 1_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
async function gathered(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
const seal = (plain: Uint8Array) => gathered(sealed(SECRET, pieces(plain)));
const open = (bytes: Uint8Array, secret = SECRET, size?: number) =>
  gathered(opened(secret, pieces(bytes, size)));

describe('a sealed stream', () => {
  test.for([0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])('of %i bytes opens again', async (length) => {
    const plain = Buffer.alloc(length, 'patchcord');
    const bytes = await seal(plain);
    for (const size of [1_000, 70_000, bytes.length]) expect(await open(bytes, SECRET, size)).toEqual(plain);
    expect(bytes.includes('patchcordpatchcord')).toBe(false);
  });

  test('does not open with another secret, and says so', async () => {
    await expect(open(await seal(Buffer.alloc(9)), new Uint8Array(32))).rejects.toThrow(refusal('forbidden'));
  });

  test.for<[what: string, change: (bytes: Buffer) => Buffer, code: string]>([
    ['nothing', () => Buffer.alloc(0), 'invalid_input'],
    ['another file', () => Buffer.alloc(4_000, 'x'), 'invalid_input'],
    ['its head alone', (bytes) => bytes.subarray(0, 36), 'store_damaged'],
    ['one without its last chunk', (bytes) => bytes.subarray(0, 36 + CHUNK), 'store_damaged'],
    [
      'one without its first chunk',
      (bytes) => Buffer.concat([bytes.subarray(0, 36), bytes.subarray(36 + CHUNK)]),
      'store_damaged',
    ],
    ['one cut in a chunk', (bytes) => bytes.subarray(0, -1), 'store_damaged'],
    ['one with more behind it', (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]), 'store_damaged'],
    [
      'one with a chunk twice',
      (bytes) => Buffer.concat([bytes.subarray(0, 36 + CHUNK), bytes.subarray(36)]),
      'store_damaged',
    ],
    ['one with a flipped bit', (bytes) => flipped(bytes, 36 + CHUNK + 900), 'store_damaged'],
    ['one with a flipped length', (bytes) => flipped(bytes, 36), 'store_damaged'],
  ])('%s is refused', async ([, change, code]) => {
    const bytes = await seal(Buffer.alloc(150_000, 'patchcord'));
    await expect(open(change(Buffer.from(bytes)))).rejects.toThrow(refusal(code));
  });

  test('chunks do not change places', async () => {
    const bytes = await seal(Buffer.alloc(200_000, 'patchcord'));
    const chunk = (index: number) => bytes.subarray(36 + index * CHUNK, 36 + (index + 1) * CHUNK);
    const swapped = Buffer.concat([bytes.subarray(0, 36), chunk(1), chunk(0), chunk(2), chunk(3)]);
    await expect(open(swapped)).rejects.toThrow(refusal('store_damaged'));
  });
});

describe('a home', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'patchcord-backup-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** A home with so many records, and its backup. */
  async function made(
    records: number,
    during?: (kv: Awaited<ReturnType<typeof openLevelKv>>) => Promise<void>,
  ) {
    const paths = homePaths(join(folder, 'home'));
    await mkdir(paths.home);
    const keys = await openKeys(paths, { storeEmpty: true, random: systemRandom, log: silentLog });
    const kv = await openLevelKv(paths.store);
    const operations = Array.from({ length: records }, (_none, index) => ({
      key: `raw/${String(index).padStart(6, '0')}`,
      value: Buffer.alloc(300, index),
    }));
    await kv.write(operations, { sync: true });
    let isFirst = true;
    const watched = async function* () {
      for await (const chunk of storeCopy(kv)) {
        if (isFirst) await during?.(kv);
        isFirst = false;
        yield chunk;
      }
    };
    const bytes = await gathered(
      sealed(
        SECRET,
        backupOf(paths, watched(), 1_790_000_000_000, () => {}),
      ),
    );
    await kv.close();
    return { paths, keys, bytes };
  }
  const restore = (bytes: Uint8Array, home = join(folder, 'again'), secret = SECRET) =>
    restoreHome(home, secret, pieces(bytes, 70_000), { random: systemRandom, log: silentLog });

  test('comes back as it was at one moment, with a token of its own, and knows that it was restored', async () => {
    const { keys, bytes } = await made(2_000, async (kv) => {
      await kv.write([{ key: 'raw/late', value: Buffer.from('late') }], { sync: true });
      await kv.write([{ key: 'raw/001999', value: undefined }], { sync: true });
    });
    const home = join(folder, 'again');
    expect(await restore(bytes)).toMatchObject({ records: 2_000, madeAtMs: 1_790_000_000_000 });
    const paths = homePaths(home);
    const back = await openKeys(paths, { storeEmpty: false, random: systemRandom, log: silentLog });
    expect(back.machineSeed).toEqual(keys.machineSeed);
    expect(back.storeKey).toEqual(keys.storeKey);
    expect(back.apiToken).not.toBe(keys.apiToken);
    expect((await stat(paths.machineKey)).mode & 0o777).toBe(0o600);
    expect((await stat(home)).mode & 0o777).toBe(0o700);
    const kv = await openLevelKv(paths.store);
    const raw = await kv.range({ from: 'raw/', to: 'raw0' });
    expect(raw.map(([name, value]) => [name, value[0]])).toEqual(
      Array.from({ length: 2_000 }, (_none, index) => [`raw/${String(index).padStart(6, '0')}`, index % 256]),
    );
    expect(await kv.get('epoch-work')).toBeDefined();
    await kv.close();
    expect(await readdir(folder)).toEqual(['again', 'home']);
  });

  test('leaves nothing when the file is not whole, or the words are wrong', async () => {
    const { bytes } = await made(3_000);
    const cut = bytes.subarray(0, bytes.length - CHUNK);
    await expect(restore(cut)).rejects.toThrow(refusal('store_damaged'));
    await expect(restore(flipped(Buffer.from(bytes), bytes.length - 9))).rejects.toThrow(
      refusal('store_damaged'),
    );
    await expect(restore(bytes, undefined, new Uint8Array(32))).rejects.toThrow(refusal('forbidden'));
    expect(await readdir(folder)).toEqual(['home']);
  });

  test('takes an empty folder, and no other', async () => {
    const { bytes, paths } = await made(10);
    await expect(restore(bytes, paths.home)).rejects.toThrow(refusal('invalid_input'));
    const other = join(folder, 'other');
    await mkdir(other);
    await restore(bytes, other);
    await mkdir(join(folder, 'left.restoring'));
    await writeFile(join(folder, 'left.restoring', 'x'), 'x');
    await expect(restore(bytes, join(folder, 'left'))).rejects.toThrow(refusal('invalid_input'));
    expect(await readdir(folder)).toEqual(['home', 'left.restoring', 'other']);
    expect(await recordsIn(other).catch((error: unknown) => String(error))).toContain('damaged');
  });

  test('is not backed up when the store stops in the midst', async () => {
    const { paths } = await made(10);
    const half = encodeItem({ t: 'record', key: 'raw/1', value: new Uint8Array(3) });
    await expect(gathered(backupOf(paths, pieces(half), 0, () => {}))).rejects.toThrow(
      refusal('daemon_unreachable'),
    );
  });
});

test.for<[what: string, bytes: Uint8Array]>([
  ['nothing', new Uint8Array(0)],
  ['a length that cannot be', Buffer.from('ffffffff00', 'hex')],
  ['no CBOR', Buffer.from('00000001ff', 'hex')],
  ['no item', Buffer.from('00000001a0', 'hex')],
  ['no end', encodeItem({ t: 'head', v: 1, made_at: 1 })],
  ['an end that counts wrong', encodeItem({ t: 'end', records: 1 })],
  [
    'more after the end',
    Buffer.concat([encodeItem({ t: 'end', records: 0 }), encodeItem({ t: 'end', records: 0 })]),
  ],
])('a backup that says %s is damaged', async ([, bytes]) => {
  const read = async () => {
    for await (const _ of itemsIn(pieces(bytes, 3)));
  };
  await expect(read()).rejects.toThrow(refusal('store_damaged'));
});

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at] = bytes[at]! ^ 0x10;
  return bytes;
}
