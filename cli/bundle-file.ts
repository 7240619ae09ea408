import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FILE_MODE_PRIVATE } from '../daemon/atomic-file.ts';
import { PatchcordError } from '../protocol/errors.ts';

/** Bytes that one read of a bundle takes. */
const READ_SIZE_BYTES = 256 * 1024;

/**
 * Throws `invalid_input` when a file of that name is there already and may not be replaced, or when it is no file.
 */
export async function checkTarget(path: string, force: boolean): Promise<void> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw fileError('write', path, cause);
  });
  if (found === undefined) return;
  if (!found.isFile()) {
    throw new PatchcordError('invalid_input', `${path} is no file.`, 'Name a file, or - for stdout.');
  }
  if (!force) {
    throw new PatchcordError(
      'invalid_input',
      `${path} is there already.`,
      'Choose another name, or add --force.',
    );
  }
}

/**
 * Writes a file of this user's, which has its name only once it is whole and on the disk. The chunks are asked for when
 * there is a place for them. Throws what they throw, `disk_full`, `not_found`, `invalid_input`.
 */
export async function writeBundleFile(
  path: string,
  begin: () => Promise<AsyncIterable<Uint8Array>>,
  force: boolean,
): Promise<void> {
  await checkTarget(path, force);
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, 'wx', FILE_MODE_PRIVATE).catch((cause: NodeJS.ErrnoException) => {
    throw fileError('write', path, cause);
  });
  try {
    try {
      for await (const chunk of await begin()) {
        await file.writeFile(chunk).catch((cause: NodeJS.ErrnoException) => {
          throw fileError('write', path, cause);
        });
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await checkTarget(path, force);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** The bytes of a file, and how many there are where that is known. Throws `not_found`, `invalid_input`. */
export async function readBundleFile(
  path: string,
  kind = 'bundle',
): Promise<{ chunks: AsyncIterable<Uint8Array>; sizeBytes: number | undefined }> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw fileError('read', path, cause, kind);
  });
  const found = await file.stat();
  if (found.isDirectory()) {
    await file.close();
    throw new PatchcordError('invalid_input', `${path} is a folder.`, `Name the file of a ${kind}.`);
  }
  const chunks = file.createReadStream({ highWaterMark: READ_SIZE_BYTES });
  return { chunks, sizeBytes: found.isFile() ? found.size : undefined };
}

/** A stick may be pulled right after: the new name should be on it. Some file systems cannot promise it. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

function fileError(
  what: 'read' | 'write',
  path: string,
  cause: NodeJS.ErrnoException,
  kind = 'bundle',
): PatchcordError {
  if (cause.code === 'ENOSPC' || cause.code === 'EDQUOT' || cause.code === 'EFBIG') {
    return new PatchcordError('disk_full', `No room for ${path}.`, 'Free some, or name another place.', {
      cause,
    });
  }
  if (cause.code === 'ENOENT') {
    const remedy = what === 'read' ? `Name the file of a ${kind}.` : 'Create the folder first.';
    return new PatchcordError('not_found', `There is no ${what === 'read' ? path : dirname(path)}.`, remedy, {
      cause,
    });
  }
  return new PatchcordError('invalid_input', `Cannot ${what} ${path} (${cause.code ?? cause.message}).`, '', {
    cause,
  });
}
