import { readFile, rm } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomic } from './atomic-file.ts';
import type { HomePaths } from './home.ts';

/** What a running daemon says about itself in its home, for the command line and other local programs. */
export const zDaemonInfo = z.object({
  pid: z.int().positive(),
  version: z.string(),
  http: z.string().describe('http://127.0.0.1:PORT'),
  socket: z.string(),
  peerId: z.string(),
  listen: z.array(z.string()).describe('multiaddrs ending in /p2p/PEER'),
});
export type DaemonInfo = z.infer<typeof zDaemonInfo>;

/** Written last of all at a start: whoever sees it can use everything it names. */
export async function writeDaemonInfo(paths: HomePaths, info: DaemonInfo): Promise<void> {
  await writeFileAtomic(paths.daemonJson, `${JSON.stringify(info, null, 2)}\n`);
}

/**
 * What the last daemon of this home said; it may be dead since, so ask its socket. Undefined when there is
 * nothing, or nothing readable.
 */
export async function readDaemonInfo(paths: HomePaths): Promise<DaemonInfo | undefined> {
  try {
    return zDaemonInfo.parse(JSON.parse(await readFile(paths.daemonJson, 'utf8')));
  } catch {
    return undefined;
  }
}

export async function removeDaemonInfo(paths: HomePaths): Promise<void> {
  await rm(paths.daemonJson, { force: true });
}
