import { rename } from 'node:fs/promises';
import type { CheckView } from '../../protocol/doctor-view.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import { systemClock as clock, systemRandom as random } from '../clock.ts';
import { findDaemon } from '../health.ts';
import { asidePath, type HomePaths } from '../home.ts';
import { openKeys } from '../keys/keys.ts';
import { prekeyFile } from '../keys/prekey-file.ts';
import { checkPrekeys } from '../prekeys/prekey-ring.ts';
import type { Log } from '../log.ts';
import { StoreCare } from '../store/care/store-care.ts';
import { openStore, salvageStore, type OpenedStore } from '../store/open-store.ts';
import { createRecordSeal } from '../store/record-seal.ts';
import { liveTables } from '../store/manifest.ts';
import { damagedTables } from '../store/tables.ts';
import { storeChecks } from './store-checks.ts';

export interface OfflineOptions {
  repair: boolean;
  acknowledge: boolean;
}

/**
 * Looks at the store of a home whose daemon does not run, under the lock that keeps one from starting. With `repair`
 * it puts right what can be, a store that LevelDB cannot open included. Throws `home_in_use`, `store_damaged`.
 */
export async function examineOffline(
  paths: HomePaths,
  log: Log,
  options: OfflineOptions,
): Promise<CheckView[]> {
  const nowMs = clock.now();
  const damages = await damagedTables(paths.store, await liveTables(paths.store));
  if (damages.length > 0 && !options.repair) {
    const text = `tables that are not as they were written: ${damages.map(({ file }) => file).join(', ')}`;
    return [{ name: 'store', state: 'fail', text, remedy: 'Run `patchcord doctor --repair`.' }];
  }
  const { kv, ...opened } = await openOrSalvage(paths, nowMs, options.repair);
  let care: StoreCare | undefined;
  try {
    const { storeKey } = await openKeys(paths, { storeEmpty: false, random, log });
    care = new StoreCare({
      kv,
      seal: createRecordSeal(storeKey, random.bytes),
      tallyFile: prekeyFile(paths.storeTally),
      clock,
      log,
      opened,
    });
    const lost = options.repair ? undefined : await care.look();
    if (options.repair || (options.acknowledge && lost === undefined)) await care.open();
    if (options.acknowledge && lost === undefined) await care.acknowledge();
    const state = options.repair ? await care.repair() : await care.examine();
    const checks = storeChecks(state, options.repair);
    if (lost)
      checks.push({
        name: 'batches',
        state: 'fail',
        text: lost,
        remedy: 'Start the daemon, or run `patchcord doctor --repair`.',
      });
    return [...checks, await prekeyCheck(paths, nowMs, options.repair)];
  } finally {
    if (care) await care.close();
    else await kv.close();
  }
}

/** A damaged file of prekeys keeps the daemon from starting; put aside, it is made anew. */
async function prekeyCheck(paths: HomePaths, nowMs: number, repair: boolean): Promise<CheckView> {
  const bytes = await prekeyFile(paths.prekeys).read();
  try {
    if (bytes) checkPrekeys(bytes);
    return { name: 'prekeys', state: 'ok', text: bytes ? 'the file is whole' : 'none yet' };
  } catch (error) {
    const { message, remedy } = asPatchcordError(error);
    if (!repair) return { name: 'prekeys', state: 'fail', text: message, remedy };
    const aside = `${asidePath(paths, nowMs)}-prekeys`;
    await rename(paths.prekeys, aside);
    return {
      name: 'prekeys',
      state: 'warn',
      text: `${message} It is kept as ${aside}; the next start makes new ones.`,
    };
  }
}

async function openOrSalvage(paths: HomePaths, nowMs: number, repair: boolean): Promise<OpenedStore> {
  const aside = asidePath(paths, nowMs);
  const isFree = async () => (await findDaemon(paths)).state === 'none';
  try {
    return await openStore(paths.store, { aside, isFree });
  } catch (error) {
    if (!repair || asPatchcordError(error).code !== 'store_damaged' || !(await isFree())) throw error;
    return salvageStore(paths.store, aside);
  }
}
