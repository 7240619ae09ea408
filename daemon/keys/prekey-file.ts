import { readFile } from 'node:fs/promises';
import { PatchcordError } from '../../protocol/errors.ts';
import { writeFileAtomic } from '../atomic-file.ts';
import type { PrekeyFile } from '../prekeys/prekey-ring.ts';

/** The file of private prekeys in a home: 0600, replaced as a whole. */
export function prekeyFile(path: string): PrekeyFile {
  return {
    async read() {
      try {
        return new Uint8Array(await readFile(path));
      } catch (cause) {
        if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
        throw new PatchcordError('home_not_writable', `Cannot read ${path}.`, 'Check who owns it.', {
          cause,
        });
      }
    },
    write: (bytes) => writeFileAtomic(path, bytes),
  };
}
