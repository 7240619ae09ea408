import { stat, statfs } from 'node:fs/promises';
import { basename } from 'node:path';
import type { CheckView } from '../../protocol/doctor-view.ts';
import type { HomePaths } from '../home.ts';

/** Below this the next batches may not fit. */
const FREE_SIZE_BYTES_MIN = 64 * 1024 * 1024;
const FREE_SIZE_BYTES_LOW = 1024 * 1024 * 1024;
/** A clock before this is not set; 2026-01-01. */
const CLOCK_MS_MIN = 1_767_225_600_000;
/** Files that are this much from the future were written under another clock. */
const CLOCK_AHEAD_MS_MAX = 3_600_000;

/** Files of the home, who can read them, the room on its disk, and the clock. Changes nothing. */
export async function homeChecks(paths: HomePaths, nowMs: number): Promise<CheckView[]> {
  const home = await stat(paths.home).catch(() => undefined);
  if (!home?.isDirectory()) {
    const text = `there is no folder ${paths.home}`;
    return [
      {
        name: 'home',
        state: 'fail',
        text,
        remedy: 'Start once with `patchcord up`, or name another --home.',
      },
    ];
  }
  return [...(await fileChecks(paths)), await diskCheck(paths), await clockCheck(paths, nowMs)];
}

async function fileChecks(paths: HomePaths): Promise<CheckView[]> {
  const missing: string[] = [];
  const open: string[] = [];
  const files = [paths.machineKey, paths.storeKey, paths.prekeys, paths.apiToken, paths.store];
  for (const path of files) {
    const found = await stat(path).catch(() => undefined);
    if (!found) missing.push(basename(path));
    else if (process.platform !== 'win32' && path !== paths.store && (found.mode & 0o077) !== 0)
      open.push(basename(path));
  }
  const checks: CheckView[] = [];
  if (missing.length > 0) {
    checks.push({
      name: 'files',
      state: missing.length === files.length ? 'warn' : 'fail',
      text: `missing in ${paths.home}: ${missing.join(', ')}`,
      remedy: 'A home that was never started has none. Otherwise put them back from a backup.',
    });
  }
  if (open.length > 0) {
    const remedy = `chmod 600 them; the next start does it too.`;
    checks.push({ name: 'modes', state: 'warn', text: `others can read ${open.join(', ')}`, remedy });
  }
  if (checks.length === 0)
    checks.push({ name: 'files', state: 'ok', text: `all there and private in ${paths.home}` });
  return checks;
}

async function diskCheck({ home }: HomePaths): Promise<CheckView> {
  const { bavail, bsize } = await statfs(home);
  const freeBytes = bavail * bsize;
  const text = `${Math.floor(freeBytes / 1024 / 1024)} MiB free`;
  if (freeBytes >= FREE_SIZE_BYTES_LOW) return { name: 'disk', state: 'ok', text };
  const state = freeBytes < FREE_SIZE_BYTES_MIN ? 'fail' : 'warn';
  return { name: 'disk', state, text, remedy: 'Free some space: on a full disk nothing is accepted.' };
}

async function clockCheck(paths: HomePaths, nowMs: number): Promise<CheckView> {
  const written = await stat(paths.storeTally).catch(() => undefined);
  const text = `it is ${new Date(nowMs).toISOString()}`;
  const isAhead = written !== undefined && written.mtimeMs > nowMs + CLOCK_AHEAD_MS_MAX;
  if (nowMs >= CLOCK_MS_MIN && !isAhead) return { name: 'clock', state: 'ok', text };
  const remedy = 'Set it: expiry and shown times follow it; order and delivery do not.';
  return { name: 'clock', state: 'warn', text: `${text}, which cannot be right`, remedy };
}
