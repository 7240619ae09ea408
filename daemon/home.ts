import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, lstat, mkdir, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { PatchcordError } from '../protocol/errors.ts';
import { tightenMode } from './atomic-file.ts';
import type { Log } from './log.ts';

const FOLDER_MODE_PRIVATE = 0o700;
/** A Unix socket's path ends in a fixed field: 108 bytes on Linux, 104 on macOS (sys/un.h), its final zero included. */
export const SOCKET_PATH_BYTES_MAX = 100;

/** Where everything of one machine lies. */
export interface HomePaths {
  readonly home: string;
  readonly machineKey: string;
  readonly storeKey: string;
  readonly prekeys: string;
  readonly apiToken: string;
  readonly store: string;
  readonly storeTally: string;
  readonly settings: string;
  readonly daemonJson: string;
  readonly log: string;
  readonly socket: string;
}

export function homePaths(home: string): HomePaths {
  return Object.freeze({
    home,
    machineKey: join(home, 'machine.key'),
    storeKey: join(home, 'store.key'),
    prekeys: join(home, 'prekeys'),
    apiToken: join(home, 'api-token'),
    store: join(home, 'store'),
    storeTally: join(home, 'store.tally'),
    settings: join(home, 'settings.json'),
    daemonJson: join(home, 'daemon.json'),
    log: join(home, 'daemon.log'),
    socket: socketPath(home),
  });
}

/** Where what was damaged is kept as it was found. */
export function asidePath(paths: HomePaths, nowMs: number): string {
  return `${paths.store}.damaged-${new Date(nowMs).toISOString().replaceAll(/[-:]/g, '').replace('.', '-')}`;
}

/**
 * The daemon's socket: in the home when the path fits, else in a private folder under the temporary one, named
 * by a hash of the home; on Windows a named pipe.
 */
export function socketPath(
  home: string,
  platform: NodeJS.Platform = process.platform,
  temporary: readonly string[] = [tmpdir(), '/tmp'],
): string {
  const hash = createHash('sha256').update(home).digest('hex').slice(0, 16);
  if (platform === 'win32') return `\\\\.\\pipe\\patchcord-${hash}`;
  const candidates = [
    join(home, 'daemon.sock'),
    ...temporary.map((folder) => join(folder, `patchcord-${hash}`, 'daemon.sock')),
  ];
  const fitting = candidates.find((path) => Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX);
  return fitting ?? candidates.at(-1)!;
}

/**
 * Makes the home and the folder of the socket, private to this user. A home that others could enter is closed to
 * them, unless it is a folder with other things in it. Throws `home_not_writable`.
 */
export async function prepareHome(paths: HomePaths, log: Log): Promise<void> {
  const { home } = paths;
  try {
    const made = await mkdir(home, { recursive: true, mode: FOLDER_MODE_PRIVATE });
    await access(home, constants.R_OK | constants.W_OK | constants.X_OK);
    if (made === undefined) await closeToOthers(paths, log);
  } catch (cause) {
    throw new PatchcordError(
      'home_not_writable',
      `Cannot write to the home folder ${home}.`,
      'Choose another with --home DIR or PATCHCORD_HOME, or make it writable for this user.',
      { cause },
    );
  }
  const socketFolder = dirname(paths.socket);
  if (socketFolder !== home && process.platform !== 'win32') await prepareSocketFolder(socketFolder);
}

async function closeToOthers(paths: HomePaths, log: Log): Promise<void> {
  const { home } = paths;
  const content = await readdir(home);
  if (content.length > 0 && !content.includes(basename(paths.machineKey))) return;
  const { mode } = await lstat(home);
  if (await tightenMode(home, mode, FOLDER_MODE_PRIVATE)) {
    log.warn({ home }, 'others could enter the home folder; its mode is 0700 now');
  }
}

/** In a folder that everybody may write to, another user can have been there first. */
async function prepareSocketFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE_PRIVATE });
    const found = await lstat(folder);
    const ours = found.isDirectory() && found.uid === process.getuid?.();
    if (!ours) throw new Error('it belongs to somebody else');
    await tightenMode(folder, found.mode, FOLDER_MODE_PRIVATE);
  } catch (cause) {
    throw new PatchcordError(
      'home_not_writable',
      `Cannot use ${folder} for the daemon's socket.`,
      'Choose a home with a shorter path, so that the socket fits inside.',
      { cause },
    );
  }
}
