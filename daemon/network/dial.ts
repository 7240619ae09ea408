import type { Connection } from '@libp2p/interface';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Clock, Timer } from '../clock.ts';
import { deadline } from './deadline.ts';
import type { Tried } from './network.ts';

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
  const failures: Tried[] = [];
  let started = 0;
  let timer: Timer | undefined;

  const finish = (settle: () => void): void => {
    timer?.cancel();
    signal.removeEventListener('abort', onAbort);
    race.abort(new Error('no longer needed'));
    settle();
  };
  const onAbort = (): void => finish(() => reject(unreachable(failures, `given up: ${text(signal.reason)}`)));
  const won = (connection: Connection): void => {
    if (race.signal.aborted) connection.abort(new Error('another address was faster'));
    else finish(() => resolve(connection));
  };
  const lost = (address: string, error: unknown): void => {
    if (race.signal.aborted) return;
    failures.push({ address, error: text(error) });
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
  else if (addresses.length === 0) finish(() => reject(unreachable([], 'no usable address')));
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

/** What each address came to, behind the error that says it in one line. */
class DialFailure extends Error {
  readonly tried: readonly Tried[];

  constructor(tried: readonly Tried[]) {
    super('no address led to a connection');
    this.tried = tried;
  }
}

/** What the addresses came to, of an error that dialFirst threw; of others nothing is known. */
export function triedOf(error: unknown): readonly Tried[] {
  const cause = error instanceof PatchcordError ? error.cause : undefined;
  return cause instanceof DialFailure ? cause.tried : [];
}

function unreachable(tried: readonly Tried[], why?: string): PatchcordError {
  const failures = tried.map(({ address, error }) => `${address.replace(/\/p2p\/.*/, '')}: ${error}`);
  const said = [...failures, ...(why === undefined ? [] : [why])].join('; ').slice(0, 400);
  const cause = new DialFailure(tried);
  return new PatchcordError('peer_unreachable', `Could not connect: ${said}.`, '', { cause });
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
