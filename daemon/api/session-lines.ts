import type { Duplex } from 'node:stream';
import type { Session } from '../../mcp/messenger.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { BEAT_INTERVAL_MS } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import { BODY_BYTES_MAX, FILE_BODY_BYTES_MAX, zSessionBody } from './answers.ts';
import { readLines } from './lines.ts';
import { problemOf } from './problem.ts';
import { assertRunning, causeOf } from './server.ts';
import {
  OPENING_ID,
  SESSION_CALLS,
  zSessionLine,
  type AnswerTo,
  type CallName,
  type ParamsOf,
  type SessionAnswer,
  type SessionCall,
  type SessionLine,
} from './session-protocol.ts';
import type { Sessions } from './sessions.ts';
import type { Traffic } from './traffic.ts';
import { parseInput } from './zod-provider.ts';

/** Calls of one session that run at once; a client has a few. */
const CALLS_AT_ONCE_MAX = 256;

/** How each call is run; what it takes and answers is in session-protocol.ts. */
const RUNS: {
  [Name in CallName]: (
    session: Session,
    params: ParamsOf<Name>,
    gone: AbortSignal,
  ) => Promise<AnswerTo<Name>>;
} = {
  inbox: (session, call) => session.inbox(call),
  send: (session, call) => session.send(call),
  reply: (session, call) => session.reply(call),
  wait: (session, call, gone) => session.wait(call, gone),
  recall: (session, call) => session.recall(call),
  unsend: (session, call) => session.unsend(call),
  attachment: (session, call) => session.attachment(call),
  confirm: async (session) => {
    await session.confirm();
    return {};
  },
  release: async (session) => {
    await session.release();
    return {};
  },
};

/** The answer as it is written: nothing leaves that its view does not name. Throws `invalid_input`, and what the call does. */
async function run<Name extends CallName>(
  name: Name,
  session: Session,
  params: unknown,
  gone: AbortSignal,
): Promise<AnswerTo<Name>> {
  const shapes = SESSION_CALLS[name];
  // Every parameter of most calls has a default, so that none at all is fine.
  return shapes.answer.parse(await RUNS[name](session, parseInput(shapes.params, params ?? {}), gone));
}

export interface SessionLinesParts {
  sessions: Sessions;
  traffic: Traffic;
  stopping: AbortSignal;
  clock: Clock;
  log: Log;
}

/**
 * Sessions, each a connection of its own: the client writes its calls, a line of JSON each, and reads the answers in the
 * order in which they are there. The kernel ends the connection of a client that is killed, and that gives its leases back
 * at once, where a timer would leave messages lying. A client that ends its half is answered by the end of the other, once
 * the session is closed.
 */
export interface SessionLines {
  /** The connection is the session's from here on, its errors are the caller's; `head` came with the request for it. */
  serve(socket: Duplex, head: Buffer): void;
  /** Resolves when every connection is gone. */
  gone(): Promise<void>;
  /** Cuts what is left. */
  destroy(): void;
}

export function createSessionLines(parts: SessionLinesParts): SessionLines {
  const sockets = new Set<Duplex>();
  return {
    serve(socket, head) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      new ServedSession(socket, parts).read(head);
    },
    async gone() {
      await Promise.all(
        [...sockets].map((socket) => new Promise<void>((resolve) => socket.once('close', resolve))),
      );
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** One connection: opening, then open, then closed with whatever ends first, the connection or the session. */
class ServedSession {
  readonly #socket: Duplex;
  readonly #parts: SessionLinesParts;
  #session: Promise<Session> | undefined;
  #beat: Timer | undefined;
  /** What runs, and what tells it that nobody reads its answer any more. */
  readonly #running = new Map<number, AbortController>();

  constructor(socket: Duplex, parts: SessionLinesParts) {
    this.#socket = socket;
    this.#parts = parts;
    this.#beatLater();
    socket.once('end', () => void this.#close());
    socket.once('close', () => void this.#close());
  }

  read(head: Buffer): void {
    readLines(this.#socket, {
      head,
      sizeBytesMax: FILE_BODY_BYTES_MAX,
      onLine: (line) => {
        // The first says who opens it, and every other one asks something.
        if (this.#session) this.#take(this.#session, line);
        else this.#open(line);
      },
    });
  }

  #open(line: string): void {
    const opening = this.#opened(line);
    this.#session = opening;
    const answered = opening.then(
      ({ self }) => this.#write({ id: OPENING_ID, answer: { self } }),
      (error: unknown) => {
        this.#refuse(OPENING_ID, error);
        this.#socket.end();
      },
    );
    this.#parts.traffic.during(answered);
  }

  async #opened(line: string): Promise<Session> {
    const { sessions, stopping } = this.#parts;
    const body = parseInput(zSessionBody, jsonOf(line));
    assertRunning(stopping);
    const { agent, client, by_person: byPerson, project, branch } = body;
    return sessions.open({ agent, client, byPerson, project, branch }, () => void this.#close());
  }

  #take(opening: Promise<Session>, line: string): void {
    let asked: SessionLine;
    try {
      asked = parseInput(zSessionLine, jsonOf(line));
    } catch (error) {
      // Nobody knows which call this answers.
      this.#socket.destroy(asPatchcordError(error));
      return;
    }
    if ('cancel' in asked) {
      this.#running.get(asked.id)?.abort(new PatchcordError('timeout', 'The client went away.'));
      return;
    }
    this.#parts.traffic.during(this.#answer(opening, asked, Buffer.byteLength(line)));
  }

  async #answer(opening: Promise<Session>, { id, call, params }: SessionCall, sizeBytes: number) {
    const gone = new AbortController();
    try {
      if (this.#running.size >= CALLS_AT_ONCE_MAX || this.#running.has(id)) throw tooMany();
      if (call !== 'attachment' && sizeBytes > BODY_BYTES_MAX) throw tooLong();
      assertRunning(this.#parts.stopping);
      this.#running.set(id, gone);
      const session = await opening;
      const answer = await run(call, session, params, gone.signal);
      // Leased to a call whose answer nobody reads.
      if (gone.signal.aborted) await session.release();
      this.#write({ id, answer });
    } catch (error) {
      this.#refuse(id, error);
    } finally {
      if (this.#running.get(id) === gone) this.#running.delete(id);
    }
  }

  #refuse(id: number, thrown: unknown): void {
    const error = asPatchcordError(thrown);
    if (error.code === 'internal') {
      this.#parts.log.error({ cause: causeOf(error) }, 'a call failed unexpectedly');
    }
    this.#write({ id, problem: problemOf(error) });
  }

  #write(answer: SessionAnswer): void {
    if (!this.#socket.writable || this.#socket.write(`${JSON.stringify(answer)}\n`)) return;
    // Who does not read its answers asks nothing more.
    this.#socket.pause().once('drain', () => this.#socket.resume());
  }

  #beatLater(): void {
    this.#beat = this.#parts.clock.after(BEAT_INTERVAL_MS, () => {
      if (this.#socket.writable) this.#socket.write('\n');
      this.#beatLater();
    });
  }

  async #close(): Promise<void> {
    this.#beat?.cancel();
    try {
      const session = await this.#session?.catch(() => undefined);
      await session?.close();
    } catch (error) {
      // There is nobody to tell of it.
      this.#parts.log.warn({ code: asPatchcordError(error).code }, 'a session could not be closed');
    } finally {
      this.#socket.end();
    }
  }
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new PatchcordError('invalid_input', 'Not a valid request: a line that is no JSON.', '', { cause });
  }
}

function tooMany(): PatchcordError {
  return new PatchcordError('too_many', `${CALLS_AT_ONCE_MAX} calls of this session run already.`, 'Wait.');
}

function tooLong(): PatchcordError {
  return new PatchcordError('content_too_long', 'The call is too long.', 'Send less at once.');
}
