import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Session } from '../../mcp/messenger.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { BEAT_INTERVAL_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';

/**
 * Sessions that live as long as a connection: the kernel closes the stream of a client that is killed, and that
 * gives its leases back at once, where a timer would leave messages lying.
 */
export interface SessionStreams {
  /** Begins the stream with one line of JSON; from here on the session belongs to it. */
  begin(session: Session, response: ServerResponse): void;
  /** Throws `unknown_session`. */
  session(id: string): Session;
  /** Closes the session and ends its stream. Throws `unknown_session`. */
  end(id: string): Promise<void>;
}

/** Bytes of a session id; it is a secret, for whoever has it speaks as the agent. */
const ID_BYTES = 24;

interface Stream {
  session: Session;
  response: ServerResponse;
  beat: Timer;
}

export function createSessionStreams(clock: Clock, log: Log): SessionStreams {
  const streams = new Map<string, Stream>();

  function find(id: string): Stream {
    const stream = streams.get(id);
    if (stream !== undefined) return stream;
    throw new PatchcordError('unknown_session', 'There is no such session.', 'Open a new one.');
  }

  function beatLater(id: string): Timer {
    return clock.after(BEAT_INTERVAL_MS, () => {
      const stream = streams.get(id);
      if (stream === undefined) return;
      stream.response.write('\n');
      stream.beat = beatLater(id);
    });
  }

  async function close(id: string): Promise<void> {
    const stream = streams.get(id);
    if (stream === undefined) return;
    streams.delete(id);
    stream.beat.cancel();
    try {
      await stream.session.close();
    } finally {
      stream.response.end();
    }
  }

  /** For a client that is gone: there is nobody to tell of a failure. */
  function drop(id: string): void {
    close(id).catch((error: unknown) => {
      log.warn({ code: asPatchcordError(error).code }, 'a session could not be closed');
    });
  }

  return {
    begin(session, response) {
      const id = randomBytes(ID_BYTES).toString('base64url');
      streams.set(id, { session, response, beat: beatLater(id) });
      response.once('close', () => drop(id));
      if (response.destroyed || response.socket?.destroyed !== false) {
        drop(id);
        return;
      }
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write(`${JSON.stringify({ session_id: id, self: session.self })}\n`);
    },
    session: (id) => find(id).session,
    async end(id) {
      find(id);
      await close(id);
    },
  };
}
