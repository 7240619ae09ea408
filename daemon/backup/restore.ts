import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { syncFolder, writeFileAtomic } from '../atomic-file.ts';
import type { Random } from '../clock.ts';
import { homePaths, type HomePaths } from '../home.ts';
import { openKeys } from '../keys/keys.ts';
import type { Log } from '../log.ts';
import { openLevelKv } from '../store/level-kv.ts';
import type { KvOperation } from '../store/kv.ts';
import { key, type EpochWork } from '../store/mail-records.ts';
import { createRecordSeal } from '../store/record-seal.ts';
import { filesOf } from './backup.ts';
import { damaged, itemsIn } from './items.ts';
import { opened } from './sealed.ts';

/** Records and bytes that one batch writes. */
const BATCH_RECORDS = 500;
const BATCH_SIZE_BYTES = 4 * 1024 * 1024;

export interface Restored {
  peerId: string;
  records: number;
  madeAtMs: number;
}

/**
 * Makes a home from a backup. It is built beside its place and gets its name when it is whole and on the disk; what
 * went wrong leaves nothing, and a crash a folder that says what it is. The first start begins a new epoch before
 * anything is shown or sent.
 *
 * Throws `invalid_input` for a place that is taken, what {@link opened} says, `store_damaged`, `disk_full`,
 * `home_not_writable`.
 */
export async function restoreHome(
  home: string,
  secret: Uint8Array,
  chunks: AsyncIterable<Uint8Array>,
  { random, log }: { random: Random; log: Log },
): Promise<Restored> {
  const place = resolve(home);
  const temporary = `${place}.restoring`;
  await checkPlace(place);
  if ((await readdir(temporary).catch(() => undefined)) !== undefined) {
    throw new PatchcordError(
      'invalid_input',
      `${temporary} is left from a restore that did not finish, or still runs.`,
      'Remove that folder if none runs, and try again.',
    );
  }
  await mkdir(dirname(place), { recursive: true }).catch(unwritable(place));
  await mkdir(temporary, { mode: 0o700 }).catch(unwritable(temporary));
  try {
    const restored = await build(homePaths(temporary), opened(secret, chunks), { random, log });
    await checkPlace(place);
    await rmdir(place).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await rename(temporary, place);
    await syncFolder(dirname(place));
    return restored;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw error instanceof PatchcordError ? error : unwritten(place, error);
  }
}

/** Throws `invalid_input` unless there is nothing at a place, or an empty folder. */
export async function checkPlace(home: string): Promise<void> {
  const place = resolve(home);
  const content = await readdir(place).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw unwritten(place, error);
  });
  if (content.length > 0) {
    throw new PatchcordError(
      'invalid_input',
      `There is something in the home ${place} already.`,
      'Restore into one that does not exist (--home DIR), or move this one away; stop its daemon first.',
    );
  }
}

async function build(
  paths: HomePaths,
  plain: AsyncIterable<Uint8Array>,
  { random, log }: { random: Random; log: Log },
): Promise<Restored> {
  const places = new Map<string, string>(filesOf(paths));
  const kv = await openLevelKv(paths.store);
  let records = 0;
  let madeAtMs: number | undefined;
  try {
    let batch: KvOperation[] = [];
    let sizeBytes = 0;
    const flush = async (sync: boolean): Promise<void> => {
      if (batch.length > 0) await kv.write(batch, { sync });
      batch = [];
      sizeBytes = 0;
    };
    for await (const item of itemsIn(plain)) {
      if ((madeAtMs === undefined) !== (item.t === 'head')) throw damaged();
      if (item.t === 'head') madeAtMs = item.made_at;
      else if (item.t === 'file') await writeFileAtomic(places.get(item.name)!, item.bytes);
      else if (item.t === 'record') {
        records += 1;
        batch.push(item);
        sizeBytes += item.value.length;
        if (batch.length >= BATCH_RECORDS || sizeBytes >= BATCH_SIZE_BYTES) await flush(false);
      }
    }
    // A token of its own: the old one may still be about.
    const keys = await openKeys(paths, { storeEmpty: false, random, log });
    const due: EpochWork = { inDoubt: true };
    const value = createRecordSeal(keys.storeKey, random.bytes).seal(key.epochWork, due);
    batch.push({ key: key.epochWork, value });
    // Later writes follow earlier ones into the log, so one sync holds all of them.
    await flush(true);
    return { peerId: signerFromSeed(keys.machineSeed).peerId, records, madeAtMs: madeAtMs! };
  } finally {
    await kv.close();
  }
}

function unwritable(path: string): (error: unknown) => never {
  return (error) => {
    throw unwritten(path, error);
  };
}

function unwritten(path: string, cause: unknown): PatchcordError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new PatchcordError('disk_full', `No room for ${path}.`, 'Free some, or name another place.', {
      cause,
    });
  }
  const why = code === '' ? asPatchcordError(cause).message : code;
  return new PatchcordError('home_not_writable', `Cannot write ${path} (${why}).`, 'Choose another --home.', {
    cause,
  });
}
