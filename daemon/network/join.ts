import type { Connection, Stream } from '@libp2p/interface';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Admission } from './admission.ts';
import { readBlock, writeBlock } from './block.ts';
import { deadline } from './deadline.ts';
import type { NetworkHandlers } from './network.ts';

/** Wire. One request, one answer, then the asker closes the connection. */
export const JOIN_PROTOCOL = '/patchcord/join/1';
const JOIN_TIMEOUT_MS = 20_000;
/** Requests that are answered at the same time. */
const JOINS_MAX = 4;

export interface JoinDeskOptions {
  handlers: Pick<NetworkHandlers, 'join'>;
  admission: Admission;
  clock: Clock;
  log: Log;
  /** Aborts when the network stops. */
  stopping: AbortSignal;
}

/** Answers machines that ask to join. */
export class JoinDesk {
  readonly #options: JoinDeskOptions;
  #busy = 0;

  constructor(options: JoinDeskOptions) {
    this.#options = options;
  }

  async serve(stream: Stream, connection: Connection): Promise<void> {
    const { admission, handlers, clock, log, stopping } = this.#options;
    const peer = connection.remotePeer.toString();
    if (!admission.mayJoin(peer) || this.#busy >= JOINS_MAX) {
      log.info({ peer, busy: this.#busy }, 'join request refused');
      stream.abort(new Error('not now'));
      return;
    }
    this.#busy += 1;
    const limit = deadline(clock, JOIN_TIMEOUT_MS, stopping);
    try {
      const request = await readBlock(stream, limit.signal);
      writeBlock(stream, await handlers.join(peer, request));
      await stream.close({ signal: limit.signal });
    } catch (error) {
      log.info({ peer, reason: asPatchcordError(error).message }, 'join request failed');
      stream.abort(asPatchcordError(error));
    } finally {
      limit.cancel();
      this.#busy -= 1;
    }
  }
}

export interface JoinRequestOptions {
  request: Uint8Array;
  admission: Admission;
  clock: Clock;
  stopping: AbortSignal;
  /** Connects to the machine. */
  dial(signal: AbortSignal): Promise<Connection>;
}

/** Asks a machine to let us join. Throws `peer_unreachable`, `timeout`, `frame_too_long` or `stopping`. */
export async function requestJoin(peerId: string, options: JoinRequestOptions): Promise<Uint8Array> {
  const { request, admission, clock, stopping } = options;
  if (request.length > FRAME_SIZE_BYTES_MAX) {
    throw new PatchcordError('frame_too_long', `A join request of ${request.length} bytes.`);
  }
  const limit = deadline(clock, JOIN_TIMEOUT_MS, stopping);
  const leave = admission.visit(peerId);
  let connection: Connection | undefined;
  try {
    connection = await options.dial(limit.signal);
    const stream = await connection.newStream(JOIN_PROTOCOL, { signal: limit.signal });
    writeBlock(stream, request);
    return await readBlock(stream, limit.signal);
  } catch (cause) {
    throw failure(cause, limit.passed, stopping.aborted);
  } finally {
    limit.cancel();
    leave();
    connection?.abort(new Error('done'));
  }
}

function failure(cause: unknown, timedOut: boolean, stopped: boolean): PatchcordError {
  if (stopped) return new PatchcordError('stopping', 'The daemon is stopping.', '', { cause });
  if (timedOut) {
    return new PatchcordError(
      'timeout',
      `The inviting machine did not answer within ${JOIN_TIMEOUT_MS / 1_000} s.`,
      'Check that patchcord runs there and ask for a new invite.',
      { cause },
    );
  }
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new PatchcordError(
    'peer_unreachable',
    `The inviting machine could not be reached, or it refused: ${detail}`,
    'Check that patchcord runs there, that the two machines can reach each other, and that the invite is still open.',
    { cause },
  );
}
