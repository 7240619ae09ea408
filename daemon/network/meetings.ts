import type { Connection, Stream } from '@libp2p/interface';
import { asPatchcordError } from '../../protocol/errors.ts';
import { MEETING_MS_MAX, MEETS_BURST, MEETS_PER_SECOND, MEMBERS_MAX } from '../../protocol/limits.ts';
import { Buckets } from '../../protocol/presence/bucket.ts';
import {
  decodeMeetRequest,
  encodePunching,
  meetObjection,
  type Endpoint,
  type MeetAnswer,
} from '../../protocol/punching.ts';
import { parsePeerAddress, relayOf } from './addresses.ts';
import { readBlock, writeBlock } from './block.ts';
import { deadline } from './deadline.ts';
import type { RelayServerOptions } from './relay-server.ts';

/** Wire. What a machine asks a relay about itself. */
export const MEET_PROTOCOL = '/patchcord/meet/1';
const REQUEST_TIMEOUT_MS = 10_000;

/** What `from` looks like, for `to` to know. */
interface Meeting {
  from: string;
  to: string;
  seen: Endpoint;
  connection: Connection;
  untilMs: number;
}

/**
 * Tells machines what they look like from here, and two that both ask for it what the other looks like. Noise says who
 * asks, and the address is that of the very connection, so nobody can have another one told for itself.
 */
export class Meetings {
  readonly #options: RelayServerOptions;
  readonly #held = new Map<string, Meeting>();
  readonly #asked = new Buckets(MEETS_BURST, MEETS_PER_SECOND, MEMBERS_MAX);

  constructor(options: RelayServerOptions) {
    this.#options = options;
  }

  /** Answers one request; never rejects. */
  async serve(stream: Stream, connection: Connection): Promise<void> {
    const { clock, log, stopping } = this.#options;
    const limit = deadline(clock, REQUEST_TIMEOUT_MS, stopping);
    try {
      const request = decodeMeetRequest(await readBlock(stream, limit.signal));
      writeBlock(stream, encodePunching(this.#answer(connection, request.with)));
      await stream.close({ signal: limit.signal });
    } catch (error) {
      const reason = asPatchcordError(error).message;
      log.info({ peer: connection.remotePeer.toString(), reason }, 'a question of what is seen failed');
      stream.abort(asPatchcordError(error));
    } finally {
      limit.cancel();
    }
  }

  #answer(connection: Connection, to: string | undefined): MeetAnswer {
    const { handlers, clock, mayLink } = this.#options;
    const from = connection.remotePeer.toString();
    const seen = endpointOf(connection);
    this.#sweep();
    const others = [...this.#held.values()].filter((one) => one.from !== from || one.to !== to);
    const why = meetObjection(to !== undefined, {
      relays: handlers.relays?.() ?? false,
      linked: mayLink(from) && this.#isLinked(from),
      seen: seen !== undefined,
      allowed: this.#asked.take(from, clock.elapsed()),
      shared: to !== undefined && mayLink(to) && (handlers.mayRelay?.(from, to) ?? false),
      otherLinked: to !== undefined && this.#isLinked(to),
      meetings: { all: others.length, own: others.filter((one) => one.from === from).length },
    });
    if (why !== undefined || seen === undefined) return { t: 'refused', why: why ?? 'not_seen' };
    if (to === undefined) return { t: 'seen', you: seen };
    this.#hold({ from, to, seen, connection, untilMs: clock.elapsed() + MEETING_MS_MAX });
    const other = this.#held.get(keyOf(to, from))?.seen;
    return { t: 'seen', you: seen, ...(other !== undefined && { other }) };
  }

  #hold(meeting: Meeting): void {
    const key = keyOf(meeting.from, meeting.to);
    const known = this.#held.get(key);
    this.#held.set(key, meeting);
    if (known?.connection === meeting.connection) return;
    meeting.connection.addEventListener('close', () => {
      if (this.#held.get(key)?.connection === meeting.connection) this.#held.delete(key);
    });
  }

  #sweep(): void {
    const nowMs = this.#options.clock.elapsed();
    for (const [key, { untilMs }] of this.#held) if (untilMs <= nowMs) this.#held.delete(key);
  }

  #isLinked(peerId: string): boolean {
    const connection = this.#options.linkWith(peerId);
    return connection !== undefined && relayOf(connection.remoteAddr.toString()) === undefined;
  }
}

function keyOf(from: string, to: string): string {
  return `${from} ${to}`;
}

/** The other end of a connection over plain TCP: a WebSocket may come from a proxy. */
function endpointOf(connection: Connection): Endpoint | undefined {
  const address = parsePeerAddress(connection.remoteAddr.toString());
  if (address?.relay !== undefined || address?.transport !== 'tcp' || address.kind === 'dns')
    return undefined;
  return { ip: address.host, port: address.port };
}
