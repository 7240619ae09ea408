import { readFile } from 'node:fs/promises';
import { PatchcordError } from '../../protocol/errors.ts';
import type { HomePaths } from '../home.ts';
import { isMark } from '../store/batch-marks.ts';
import type { LevelStore } from '../store/level-kv.ts';
import { encodeItem, itemsIn, type BackupFile } from './items.ts';

/** Of the type of the store's copy, as the API gives it. */
export const STORE_COPY_TYPE = 'application/vnd.patchcord.store';

/** Bytes that are gathered before they are passed on. */
const PIECE_SIZE_BYTES = 64 * 1024;

/**
 * Every record of the store as it is at one moment, while it is in use; still sealed with the store key. The marks of
 * its batches are left out: a home that is made of it begins to count its own.
 */
export async function* storeCopy(store: Pick<LevelStore, 'entries'>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let sizeBytes = 0;
  let records = 0;
  for await (const [key, value] of store.entries()) {
    if (isMark(key)) continue;
    const item = encodeItem({ t: 'record', key, value });
    records += 1;
    waiting.push(item);
    sizeBytes += item.length;
    if (sizeBytes < PIECE_SIZE_BYTES) continue;
    yield Buffer.concat(waiting);
    waiting = [];
    sizeBytes = 0;
  }
  yield Buffer.concat([...waiting, encodeItem({ t: 'end', records })]);
}

/** All that a backup says: the secrets of the home, read here, and the copy of its store, which is checked to be whole. */
export async function* backupOf(
  paths: HomePaths,
  copy: AsyncIterable<Uint8Array>,
  madeAtMs: number,
  onRecord: () => void,
): AsyncGenerator<Uint8Array> {
  yield encodeItem({ t: 'head', v: 1, made_at: madeAtMs });
  for (const [name, path] of filesOf(paths)) {
    const bytes = await readIfThere(path);
    if (bytes) yield encodeItem({ t: 'file', name, bytes });
  }
  let isWhole = false;
  try {
    for await (const item of itemsIn(copy)) {
      if (item.t === 'record') onRecord();
      isWhole ||= item.t === 'end';
      yield encodeItem(item);
    }
  } catch (cause) {
    if (isWhole || !(cause instanceof PatchcordError) || cause.code !== 'store_damaged') throw cause;
    throw new PatchcordError(
      'daemon_unreachable',
      'The daemon went away before the backup was whole.',
      'Try again.',
      { cause },
    );
  }
}

/** The files of a home that a backup holds, and where they are. */
export function filesOf(paths: HomePaths): [BackupFile, string][] {
  return [
    ['machine.key', paths.machineKey],
    ['store.key', paths.storeKey],
    ['prekeys', paths.prekeys],
    ['settings.json', paths.settings],
  ];
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new PatchcordError('home_not_writable', `Cannot read ${path}.`, 'Check who owns it.', { cause });
  }
}
