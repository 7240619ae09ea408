import type { Connection } from '@libp2p/interface';
import { PatchcordError } from '../../protocol/errors.ts';
import { decodeMeetAnswer, encodePunching, type Endpoint } from '../../protocol/punching.ts';
import type { Clock } from '../clock.ts';
import { parsePeerAddress, reachOf, type Reach } from './addresses.ts';
import { readBlock, writeBlock } from './block.ts';
import { deadline } from './deadline.ts';
import type { DialFrom } from './dial.ts';
import { MEET_PROTOCOL } from './meetings.ts';

/** One address of a relay may take so long, and so many are tried. */
const ADDRESS_TIMEOUT_MS = 3_000;
const ADDRESSES_MAX = 3;

/** What a relay sees of this machine, and of the one it wants to meet, if that has asked too. */
export interface Seen {
  you: Endpoint;
  other?: Endpoint | undefined;
}

export interface DoorParts {
  dialFrom: DialFrom;
  /** A port of TCP that nobody on this host has. */
  freePort: (family: 'ip4' | 'ip6') => Promise<number>;
  clock: Clock;
}

/**
 * A connection with a relay from a port of its own, which holds the port's outside address while the other machine
 * learns of it. More connections may be opened from the same port: Node binds with SO_REUSEADDR where that is what it
 * is for.
 */
export class Door {
  readonly localPort: number;
  /** How far away the relay is, by the address that it was dialled at. */
  readonly relayReach: Reach;
  readonly #connection: Connection;

  private constructor(connection: Connection, localPort: number, relayReach: Reach) {
    this.#connection = connection;
    this.localPort = localPort;
    this.relayReach = relayReach;
  }

  /** Dials a relay at one of its addresses, each ending in its peer id. Rejects when none answers. */
  static async open(
    { dialFrom, freePort, clock }: DoorParts,
    addresses: readonly string[],
    signal: AbortSignal,
  ): Promise<Door> {
    let failure: unknown;
    for (const address of addresses.slice(0, ADDRESSES_MAX)) {
      const place = parsePeerAddress(address);
      if (place === undefined) continue;
      const limit = deadline(clock, ADDRESS_TIMEOUT_MS, signal);
      try {
        const localPort = await freePort(place.kind === 'ip6' ? 'ip6' : 'ip4');
        const connection = await dialFrom(address, { localPort, initiator: true }, limit.signal);
        return new Door(connection, localPort, reachOf(place));
      } catch (error) {
        failure = error;
      } finally {
        limit.cancel();
      }
      signal.throwIfAborted();
    }
    throw new PatchcordError('peer_unreachable', 'The relay cannot be reached by TCP.', '', {
      cause: failure,
    });
  }

  /** What the relay sees through this door; from now on it tells that machine, when that asks the same. */
  async meet(peerId: string, signal: AbortSignal): Promise<Seen> {
    return await askWhatIsSeen(this.#connection, peerId, signal);
  }

  close(): void {
    this.#connection.abort(new Error('done'));
  }
}

/** Asks a relay what this machine looks like on a connection. Rejects when it refuses, or does not know the question. */
export async function askWhatIsSeen(
  connection: Connection,
  other: string | undefined,
  signal: AbortSignal,
): Promise<Seen> {
  const stream = await connection.newStream(MEET_PROTOCOL, { signal });
  try {
    writeBlock(stream, encodePunching({ t: 'meet', ...(other !== undefined && { with: other }) }));
    const answer = decodeMeetAnswer(await readBlock(stream, signal));
    if (answer.t === 'seen') return answer;
    throw new PatchcordError('peer_unreachable', `The relay does not tell what it sees: ${answer.why}.`);
  } finally {
    stream.abort(new Error('done'));
  }
}
