import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';

/** Folders up to the root that are looked at for a repository. */
const DEPTH_MAX = 64;
/** HEAD is one line; what is longer is no HEAD. */
const HEAD_SIZE_BYTES_MAX = 4_096;

/**
 * Where a client works, for others to see: the name of its folder, never a path, and the git branch if that may be
 * told. A client that starts in the home folder or at the root works nowhere in particular.
 */
export async function workingPlace(
  folder: string,
  mayTellBranch: () => Promise<boolean>,
  home: string = homedir(),
): Promise<{ project?: string; branch?: string }> {
  const project = resolve(folder) === resolve(home) ? '' : basename(resolve(folder));
  const branch = project !== '' && (await mayTellBranch()) ? await branchOf(folder) : undefined;
  return { ...(project !== '' && { project }), ...(branch !== undefined && { branch }) };
}

/** The branch of the repository around a folder; undefined outside of one, and for a HEAD that is on none. */
async function branchOf(folder: string): Promise<string | undefined> {
  let at = resolve(folder);
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    const head = await headOf(join(at, '.git'));
    if (head !== undefined) return /^ref: refs\/heads\/(.+)$/m.exec(head)?.[1]?.trim();
    if (dirname(at) === at) return undefined;
    at = dirname(at);
  }
  return undefined;
}

/** What HEAD says; `.git` is a folder, or in a worktree a file that names one. */
async function headOf(git: string): Promise<string | undefined> {
  try {
    const found = await stat(git);
    if (found.isDirectory()) return await readSmall(join(git, 'HEAD'));
    const elsewhere = /^gitdir: (.+)$/m.exec((await readSmall(git)) ?? '')?.[1]?.trim();
    return elsewhere === undefined
      ? undefined
      : await readSmall(join(resolve(dirname(git), elsewhere), 'HEAD'));
  } catch {
    return undefined;
  }
}

async function readSmall(path: string): Promise<string | undefined> {
  const { size } = await stat(path);
  return size > HEAD_SIZE_BYTES_MAX ? undefined : readFile(path, 'utf8');
}
