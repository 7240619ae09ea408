import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { PatchcordError } from '../../protocol/errors.ts';
import { FILE_MODE_PRIVATE, tightenMode, writeFileAtomic } from '../atomic-file.ts';
import type { Log } from '../log.ts';

/** How a secret is written down: one line of text, so that damage shows. */
export interface SecretFormat {
  encode(secret: Uint8Array): string;
  /** Undefined for anything that `encode` did not write. */
  decode(text: string): Uint8Array | undefined;
}

/** Far above any secret file; a larger file is not one of ours. */
const SECRET_FILE_BYTES_MAX = 4_096;
const CHECKSUM_BYTES = 4;

/**
 * A key of 32 bytes in base64url, followed by four bytes of its SHA-256: one flipped bit in a machine key would
 * otherwise be another machine, and in a store key a store full of damage.
 */
export function keyFormat(kind: string, sizeBytes = 32): SecretFormat {
  const head = `patchcord ${kind} `;
  const checksum = (key: Uint8Array) =>
    createHash('sha256').update(head).update(key).digest().subarray(0, CHECKSUM_BYTES);
  return {
    encode: (key) => `${head}${Buffer.concat([key, checksum(key)]).toString('base64url')}\n`,
    decode(text) {
      if (!text.startsWith(head)) return undefined;
      const bytes = Buffer.from(text.slice(head.length).trimEnd(), 'base64url');
      const key = bytes.subarray(0, sizeBytes);
      if (bytes.length !== sizeBytes + CHECKSUM_BYTES || !checksum(key).equals(bytes.subarray(sizeBytes)))
        return undefined;
      return new Uint8Array(key);
    },
  };
}

/** A bearer token as it goes into a header: base64url and nothing else, so that scripts can read the file. */
export const tokenFormat: SecretFormat = {
  encode: (token) => `${Buffer.from(token).toString('base64url')}\n`,
  decode(text) {
    const token = text.trimEnd();
    return /^[A-Za-z0-9_-]{43}$/.test(token) ? new Uint8Array(Buffer.from(token, 'base64url')) : undefined;
  },
};

/**
 * The secret in a file, or undefined when there is no file. Permissions looser than 0600 are tightened with a
 * warning. Throws `store_damaged`, naming the file, for anything that is not such a secret; the file stays.
 */
export async function readSecret(
  path: string,
  format: SecretFormat,
  log: Log,
): Promise<Uint8Array | undefined> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw unreadable(path, cause);
  });
  if (found === undefined) return undefined;
  if (!found.isFile() || found.size > SECRET_FILE_BYTES_MAX) throw damaged(path);
  try {
    if (await tightenMode(path, found.mode, FILE_MODE_PRIVATE)) {
      log.warn({ file: basename(path) }, 'others could read a secret file; its mode is 0600 now');
    }
    const secret = format.decode(await readFile(path, 'utf8'));
    if (secret !== undefined) return secret;
  } catch (cause) {
    throw unreadable(path, cause);
  }
  throw damaged(path);
}

/** Writes a secret that is not there yet. Throws `home_not_writable`. */
export async function createSecret(path: string, format: SecretFormat, secret: Uint8Array): Promise<void> {
  try {
    await writeFileAtomic(path, format.encode(secret));
  } catch (cause) {
    throw new PatchcordError(
      'home_not_writable',
      `Cannot write ${path}.`,
      'Check the disk and who owns the folder.',
      { cause },
    );
  }
}

function damaged(path: string): PatchcordError {
  return new PatchcordError(
    'store_damaged',
    `The secret file ${path} is damaged.`,
    'Put its backup back. Nothing overwrites it; without it this home cannot be used again.',
  );
}

function unreadable(path: string, cause: unknown): PatchcordError {
  return new PatchcordError(
    'home_not_writable',
    `Cannot read ${path}.`,
    'Check who owns it: it must be a file of the user who runs the daemon.',
    { cause },
  );
}
