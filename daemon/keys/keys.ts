import { PatchcordError } from '../../protocol/errors.ts';
import type { Random } from '../clock.ts';
import type { HomePaths } from '../home.ts';
import type { Log } from '../log.ts';
import { createSecret, keyFormat, readSecret, tokenFormat, type SecretFormat } from './secret-file.ts';

/** Bytes of every secret. */
const SECRET_BYTES = 32;

const machineKeyFormat = keyFormat('machine key', SECRET_BYTES);
const storeKeyFormat = keyFormat('store key', SECRET_BYTES);

/** The secrets of one home. None of them leaves the machine. */
export interface Keys {
  /** Ed25519 seed (RFC 8032): who this machine is. */
  readonly machineSeed: Uint8Array;
  /** Seals every stored record. */
  readonly storeKey: Uint8Array;
  /** Opens the whole API, for this user's own command line and console. */
  readonly apiToken: string;
}

/**
 * The secrets of a home: read, or made when the home is new. The caller holds the home's lock. `storeEmpty` says
 * that nothing is stored yet: with records in the store a missing key is an error, because a new one could
 * neither read them nor be the machine that its namespaces admitted.
 *
 * Throws `store_damaged` (which file, and what to do) and `home_not_writable`; never overwrites a secret.
 */
export async function openKeys(
  paths: HomePaths,
  options: { storeEmpty: boolean; random: Random; log: Log },
): Promise<Keys> {
  const { storeEmpty, random, log } = options;
  const open = async (path: string, format: SecretFormat, mayCreate: boolean): Promise<Uint8Array> => {
    const found = await readSecret(path, format, log);
    if (found !== undefined) return found;
    if (!mayCreate) throw missing(path);
    const secret = random.bytes(SECRET_BYTES);
    await createSecret(path, format, secret);
    return secret;
  };
  const machineSeed = await open(paths.machineKey, machineKeyFormat, storeEmpty);
  const storeKey = await open(paths.storeKey, storeKeyFormat, storeEmpty);
  // The token guards nothing that is stored, so it may be thrown away to get another.
  const apiToken = await open(paths.apiToken, tokenFormat, true);
  return { machineSeed, storeKey, apiToken: Buffer.from(apiToken).toString('base64url') };
}

/** The token of a home whose daemon has run at least once, for clients of its API. */
export async function readApiToken(paths: HomePaths, log: Log): Promise<string | undefined> {
  const token = await readSecret(paths.apiToken, tokenFormat, log);
  return token === undefined ? undefined : Buffer.from(token).toString('base64url');
}

function missing(path: string): PatchcordError {
  return new PatchcordError(
    'store_damaged',
    `The secret file ${path} is missing, but the store has records that need it.`,
    'Put its backup back, or use another home.',
  );
}
