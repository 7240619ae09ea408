import { chmod, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Readable by this user alone. */
export const FILE_MODE_PRIVATE = 0o600;

/**
 * Replaces a file so that after a power cut either the old content is there or the new one, whole: temporary
 * file, fsync, rename, fsync of the folder. The temporary file has a fixed name, so a crash leaves at most one
 * behind, which the next write takes over; hence there must be one writer, the holder of the home's lock.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const turn = (writing.get(path) ?? Promise.resolve()).then(() => replaceFile(path, data));
  const done = turn.catch(() => undefined);
  writing.set(path, done);
  try {
    await turn;
  } finally {
    if (writing.get(path) === done) writing.delete(path);
  }
}

/** The last write of each file: one waits for the one before, as they share the temporary file. */
const writing = new Map<string, Promise<void>>();

async function replaceFile(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    const file = await open(temporary, 'w', FILE_MODE_PRIVATE);
    try {
      // A temporary file that a crash left keeps its own mode on opening.
      await file.chmod(FILE_MODE_PRIVATE);
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes a rename durable. Windows cannot open folders and needs no such call. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Takes away what group and others may do with a file or folder; true when there was something to take. Windows
 * has no such bits; there the user's profile folder is what keeps others out.
 */
export async function tightenMode(path: string, modeNow: number, mode: number): Promise<boolean> {
  if (process.platform === 'win32' || (modeNow & 0o077) === 0) return false;
  await chmod(path, mode);
  return true;
}
