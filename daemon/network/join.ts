import type { Connection, Stream } from '@libp2p/interface';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Admission } from './admission.ts';
import { readBlock, writeBlock } from './block.ts';
import { deadline } from './deadline.ts';
import type { NetworkHandlers } from './network.ts';

/** Wire. One request, one answer, then the asker closes the stream, and the connection if it opened that to ask. */
export const JOIN_PROTOCOL = '/patchcord/join/1';
/** An answer may be held back for ten seconds, until someone has confirmed. */
const JOIN_TIMEOUT_MS = 20_000;
/** Requests that are answered at the same time. Most of them wait; none of them costs more than its bytes. */
const JOINS_MAX = 32;
/** Of one machine: one that waits, and one that asks anew meanwhile. */
export const JOINS_PER_PEER_MAX = 2;

export interface JoinDeskOptions {
  handlers: Pick<NetworkHandlers, 'join'>;
  admission: Admission;
  clock: Clock;
  log: Log;
  /** Aborts when the network stops. */
  stopping: AbortSignal;
}

/** Answers machines that ask: to join, whether they were confirmed, where they stand. */
export class JoinDesk {
  readonly #options: JoinDeskOptions;
  /** The machines that are being answered, once for each request. */
  readonly #askers: string[] = [];

  constructor(options: JoinDeskOptions) {
    this.#options = options;
  }

  /** Answers the one request of a stream; never rejects. */
  async serve(stream: Stream, connection: Connection): Promise<void> {
    const { admission, handlers, clock, log, stopping } = this.#options;
    const peer = connection.remotePeer.toString();
    if (!admission.mayJoin(peer) || !this.#hasTimeFor(peer)) {
      log.info({ peer, busy: this.#askers.length }, 'join request refused');
      stream.abort(new Error('not now'));
      return;
    }
    this.#askers.push(peer);
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
      this.#askers.splice(this.#askers.indexOf(peer), 1);
    }
  }

  #hasTimeFor(peer: string): boolean {
    const ofPeer = this.#askers.filter((asker) => asker === peer).length;
    return this.#askers.length < JOINS_MAX && ofPeer < JOINS_PER_PEER_MAX;
  }
}

export interface JoinRequestOptions {
  request: Uint8Array;
  admission: Admission;
  clock: Clock;
  stopping: AbortSignal;
  /** The connection of the link with the machine, if there is one; it is not ours to close. */
  linked: Connection | undefined;
  /** Connects to the machine. */
  dial(signal: AbortSignal): Promise<Connection>;
}

/** Asks a machine one thing. Throws `peer_unreachable`, `timeout`, `frame_too_long` or `stopping`. */
export async function requestJoin(peerId: string, options: JoinRequestOptions): Promise<Uint8Array> {
  const { request, admission, clock, stopping } = options;
  if (request.length > FRAME_SIZE_BYTES_MAX) {
    throw new PatchcordError('frame_too_long', `A request of ${request.length} bytes.`);
  }
  const limit = deadline(clock, JOIN_TIMEOUT_MS, stopping);
  const leave = admission.visit(peerId);
  let dialled: Connection | undefined;
  let stream: Stream | undefined;
  try {
    const connection = options.linked ?? (dialled = await options.dial(limit.signal));
    stream = await connection.newStream(JOIN_PROTOCOL, { signal: limit.signal });
    writeBlock(stream, request);
    return await readBlock(stream, limit.signal);
  } catch (cause) {
    throw failure(cause, limit.passed, stopping.aborted);
  } finally {
    limit.cancel();
    leave();
    stream?.abort(new Error('done'));
    dialled?.abort(new Error('done'));
  }
}

function failure(cause: unknown, timedOut: boolean, stopped: boolean): PatchcordError {
  if (stopped) return new PatchcordError('stopping', 'The daemon is stopping.', '', { cause });
  if (timedOut) {
    return new PatchcordError(
      'timeout',
      `The other machine did not answer within ${JOIN_TIMEOUT_MS / 1_000} s.`,
      'Check that patchcord runs there. To join, ask for a new invite: this one may be used up.',
      { cause },
    );
  }
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new PatchcordError(
    'peer_unreachable',
    `The other machine could not be reached, or it refused: ${detail}`,
    'Check that patchcord runs there and that the two machines can reach each other. To join, check that the invite is still open.',
    { cause },
  );
}
