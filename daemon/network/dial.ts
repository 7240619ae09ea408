import type { Connection } from '@libp2p/interface';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Clock, Timer } from '../clock.ts';
import { deadline } from './deadline.ts';

/** Opens one encrypted connection to one multiaddr. */
export type DialOne = (address: string, signal: AbortSignal) => Promise<Connection>;

/** How long one address may take. */
export const ADDRESS_TIMEOUT_MS = 6_000;
/**
 * Addresses are tried side by side, each a little after the one before it (RFC 8305 has the same idea). All at
 * once would open a connection through every interface of a peer next door, to keep one.
 */
const STAGGER_MS = 100;

/**
 * The first connection that comes about. The other attempts are aborted, and a connection that comes too late
 * is closed. Throws `peer_unreachable` with every address's failure.
 */
export function dialFirst(
  dialOne: DialOne,
  addresses: readonly string[],
  clock: Clock,
  signal: AbortSignal,
): Promise<Connection> {
  const { promise, resolve, reject } = Promise.withResolvers<Connection>();
  const race = new AbortController();
  const failures: string[] = [];
  let started = 0;
  let timer: Timer | undefined;

  const finish = (settle: () => void): void => {
    timer?.cancel();
    signal.removeEventListener('abort', onAbort);
    race.abort(new Error('no longer needed'));
    settle();
  };
  const onAbort = (): void => finish(() => reject(unreachable([`given up: ${text(signal.reason)}`])));
  const won = (connection: Connection): void => {
    if (race.signal.aborted) connection.abort(new Error('another address was faster'));
    else finish(() => resolve(connection));
  };
  const lost = (address: string, error: unknown): void => {
    if (race.signal.aborted) return;
    failures.push(`${address.replace(/\/p2p\/.*/, '')}: ${text(error)}`);
    if (failures.length === addresses.length) finish(() => reject(unreachable(failures)));
    else startNext();
  };
  const startNext = (): void => {
    timer?.cancel();
    const address = addresses[started];
    if (address === undefined) return;
    started += 1;
    timer = clock.after(STAGGER_MS, startNext);
    void attempt(dialOne, address, clock, race.signal).then(won, (error: unknown) => lost(address, error));
  };

  if (signal.aborted) onAbort();
  else if (addresses.length === 0) finish(() => reject(unreachable(['no usable address'])));
  else {
    signal.addEventListener('abort', onAbort, { once: true });
    startNext();
  }
  return promise;
}

async function attempt(
  dialOne: DialOne,
  address: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<Connection> {
  const limit = deadline(clock, ADDRESS_TIMEOUT_MS, signal);
  try {
    return await dialOne(address, limit.signal);
  } catch (cause) {
    if (limit.passed) throw new Error(`no answer in ${ADDRESS_TIMEOUT_MS} ms`, { cause });
    throw cause;
  } finally {
    limit.cancel();
  }
}

function unreachable(failures: readonly string[]): PatchcordError {
  return new PatchcordError('peer_unreachable', `Could not connect: ${failures.join('; ').slice(0, 400)}.`);
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
