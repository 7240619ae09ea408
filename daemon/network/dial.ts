import type { Connection } from '@libp2p/interface';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Clock, Timer } from '../clock.ts';
import { deadline } from './deadline.ts';
import type { Tried } from './network.ts';

/** Opens one encrypted connection to one multiaddr. */
export type DialOne = (address: string, signal: AbortSignal) => Promise<Connection>;

/** From which port a connection is opened, and which side of the handshake this machine takes. */
export interface From {
  localPort: number;
  initiator: boolean;
}

/** Opens one encrypted connection from a given port to one multiaddr of TCP. */
export type DialFrom = (address: string, from: From, signal: AbortSignal) => Promise<Connection>;

/** How long one address may take. */
export const ADDRESS_TIMEOUT_MS = 6_000;
/**
 * Addresses are tried side by side, each a little after the one before it (RFC 8305 has the same idea). All at
 * once would open a connection through every interface of a peer next door, to keep one.
 */
const STAGGER_MS = 100;
/**
 * An address that does not answer is tried once more beside, twice: TCP repeats what was sent into a hole after 1 s and
 * then 3 s only (RFC 6298), too seldom to notice soon that the hole is gone.
 */
const AGAIN_MS = 2_000;
/** What the system says when no packet has left this machine, or none came to the other one's network. */
const UNREACHABLE_HERE = /E(NET|HOST)UNREACH|ENETDOWN|EADDRNOTAVAIL/;

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
  const failures: Failure[] = [];
  let started = 0;
  let timer: Timer | undefined;

  const finish = (settle: () => void): void => {
    timer?.cancel();
    signal.removeEventListener('abort', onAbort);
    race.abort(new Error('no longer needed'));
    settle();
  };
  const onAbort = (): void => finish(() => reject(unreachable([], `given up: ${text(signal.reason)}`)));
  const won = (connection: Connection): void => {
    if (race.signal.aborted) connection.abort(new Error('another address was faster'));
    else finish(() => resolve(connection));
  };
  const lost = (address: string, error: unknown): void => {
    if (race.signal.aborted) return;
    failures.push({ address, error: text(error), cause: error });
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
    return await firstOf(dialOne, address, clock, limit.signal);
  } catch (cause) {
    if (limit.passed) throw new Error(`no answer in ${ADDRESS_TIMEOUT_MS} ms`, { cause });
    throw cause;
  } finally {
    limit.cancel();
  }
}

/** How one address failed. */
interface Failure extends Tried {
  cause: unknown;
}

/** What each address came to, behind the error that says it in one line. */
class DialFailure extends AggregateError {
  readonly tried: readonly Tried[];

  constructor(failures: readonly Failure[]) {
    super(failures.map(({ cause }) => cause));
    this.tried = failures.map(({ address, error }) => ({ address, error }));
  }
}

/** What the addresses came to, of an error that dialFirst threw; of others nothing is known. */
export function triedOf(error: unknown): readonly Tried[] {
  const cause = error instanceof PatchcordError ? error.cause : undefined;
  return cause instanceof DialFailure ? cause.tried : [];
}

/** The first outcome of up to three dials of one address. */
async function firstOf(
  dialOne: DialOne,
  address: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<Connection> {
  const { promise, resolve, reject } = Promise.withResolvers<Connection>();
  const running = new Set<AbortController>();
  let over = false;
  const start = (): void => {
    const dial = new AbortController();
    running.add(dial);
    dialOne(address, AbortSignal.any([signal, dial.signal])).then((connection) => {
      running.delete(dial);
      if (over) connection.abort(new Error('another attempt was faster'));
      else resolve(connection);
    }, reject);
  };
  const timers = [AGAIN_MS, 2 * AGAIN_MS].map((delayMs) => clock.after(delayMs, start));
  start();
  try {
    return await promise;
  } finally {
    for (const timer of timers) timer.cancel();
    over = true;
    for (const dial of running) dial.abort(new Error('no longer needed'));
  }
}

/** Whether a dial failed at once at every address because this machine has no way there. */
export function isUnreachableHere(error: unknown): boolean {
  if (!(error instanceof PatchcordError) || !(error.cause instanceof AggregateError)) return false;
  const causes: unknown[] = error.cause.errors;
  return causes.length > 0 && causes.every((cause) => UNREACHABLE_HERE.test(text(cause)));
}

function unreachable(failures: readonly Failure[], why?: string): PatchcordError {
  const told = failures.map(({ address, error }) => `${address.replace(/\/p2p\/.*/, '')}: ${error}`);
  const said = [...told, ...(why === undefined ? [] : [why])].join('; ').slice(0, 400);
  const cause = new DialFailure(failures);
  return new PatchcordError('peer_unreachable', `Could not connect: ${said}.`, '', { cause });
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
