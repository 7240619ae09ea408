import { copyFile, cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PatchcordError } from '../../protocol/errors.ts';
import { openLevelKv, repairLevel, type LevelStore } from './level-kv.ts';
import { liveTables } from './manifest.ts';
import { damagedTables, exciseTables } from './tables.ts';

export interface OpenedStore {
  kv: LevelStore;
  /** What was damaged in its files, in words. */
  found: string[];
  /** Something in its tables is not as it was written: every record has to be looked at. */
  isSuspect: boolean;
}

/**
 * Opens a store after a look at its tables: LevelDB reads a damaged block as if it were whole, or ends the process.
 * Blocks that it must not read are made empty, after their tables were copied to the folder `aside`. `isFree` asks
 * whether no other process has the store, whose tables would look cut while it writes them.
 *
 * Throws `store_damaged` when only `salvageStore` can help, and what openLevelKv throws.
 */
export async function openStore(
  folder: string,
  options: { aside: string; isFree: () => Promise<boolean> },
): Promise<OpenedStore> {
  const damages = await damagedTables(folder, await liveTables(folder));
  if (damages.length === 0 || !(await options.isFree()))
    return { kv: await openLevelKv(folder), found: [], isSuspect: false };
  const unreadable = damages.filter(({ blocks }) => !blocks);
  if (unreadable.length > 0) {
    throw new PatchcordError(
      'store_damaged',
      `The store is damaged: ${unreadable.map(({ file }) => file).join(', ')} cannot be read.`,
      'Run `patchcord doctor --repair`: it keeps a copy and saves what can be saved.',
    );
  }
  const unsafe = damages.filter(({ blocks, meta }) => blocks!.length > 0 || meta !== undefined);
  if (unsafe.length > 0) await mkdir(options.aside, { recursive: true, mode: 0o700 });
  for (const { file } of unsafe) await copyFile(join(folder, file), join(options.aside, file));
  await exciseTables(folder, unsafe);
  const found = unsafe.map(
    ({ file, blocks }) => `${Math.max(1, blocks!.length)} blocks of the table ${file}, which is kept aside`,
  );
  return { kv: await openLevelKv(folder), found, isSuspect: true };
}

/**
 * Opens a store that LevelDB cannot open, with what can be saved of it, after all of it was copied to the folder
 * `aside`. What is gone may be deletions too: some records may be there again as they were before.
 */
export async function salvageStore(folder: string, aside: string): Promise<OpenedStore> {
  await cp(folder, aside, { recursive: true, errorOnExist: true, force: false });
  await exciseTables(folder, await damagedTables(folder));
  await repairLevel(folder);
  const found = ['the files of the store, of which what could be read was saved; the rest is kept aside'];
  return { kv: await openLevelKv(folder), found, isSuspect: true };
}
