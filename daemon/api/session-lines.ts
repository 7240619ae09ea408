import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import type { Session } from '../../mcp/messenger.ts';
import {
  zAttachmentCall,
  zInboxCall,
  zRecallCall,
  zReplyCall,
  zSendCall,
  zUnsendCall,
  zWaitCall,
} from '../../protocol/calls.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { BEAT_INTERVAL_MS } from '../../protocol/limits.ts';
import {
  zAttachmentResult,
  zInboxResult,
  zRecallResult,
  zReplyResult,
  zSendResult,
  zUnsendResult,
  zWaitResult,
} from '../../protocol/views.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Log } from '../log.ts';
import {
  BODY_BYTES_MAX,
  FILE_BODY_BYTES_MAX,
  OPENING_ID,
  zEmpty,
  zSessionBody,
  zSessionLine,
  type SessionAnswer,
  type SessionCancel,
  type SessionLine,
} from './answers.ts';
import { readLines } from './lines.ts';
import { problemOf } from './problem.ts';
import { assertRunning, causeOf } from './server.ts';
import type { Sessions } from './sessions.ts';
import type { Traffic } from './traffic.ts';
import { parseInput } from './zod-provider.ts';

/** Calls of one session that run at once; a client has a few. */
const CALLS_AT_ONCE_MAX = 256;

/** What can be asked of a session: runs one call with its parameters and gives the answer as it is written. */
type Ask = (session: Session, params: unknown, gone: AbortSignal) => Promise<unknown>;

function ask<Call extends z.ZodObject, View extends z.ZodObject>(
  zCall: Call,
  zView: View,
  run: (session: Session, call: z.output<Call>, gone: AbortSignal) => Promise<z.output<View>>,
): Ask {
  // Every parameter of most calls has a default, so that none at all is fine. Nothing leaves that the view does not name.
  return async (session, params, gone) =>
    zView.parse(await run(session, parseInput(zCall, params ?? {}), gone));
}

const ASKS: Record<SessionLine['call'], Ask> = {
  inbox: ask(zInboxCall, zInboxResult, (session, call) => session.inbox(call)),
  send: ask(zSendCall, zSendResult, (session, call) => session.send(call)),
  reply: ask(zReplyCall, zReplyResult, (session, call) => session.reply(call)),
  wait: ask(zWaitCall, zWaitResult, (session, call, gone) => session.wait(call, gone)),
  recall: ask(zRecallCall, zRecallResult, (session, call) => session.recall(call)),
  unsend: ask(zUnsendCall, zUnsendResult, (session, call) => session.unsend(call)),
  attachment: ask(zAttachmentCall, zAttachmentResult, (session, call) => session.attachment(call)),
  confirm: ask(zEmpty, zEmpty, async (session) => {
    await session.confirm();
    return {};
  }),
  release: ask(zEmpty, zEmpty, async (session) => {
    await session.release();
    return {};
  }),
};

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
  /** The connection is the session's from here on; `head` came with the request for it. */
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
    socket.on('error', () => {});
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
    let asked: SessionLine | SessionCancel;
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

  async #answer(opening: Promise<Session>, { id, call, params }: SessionLine, sizeBytes: number) {
    const gone = new AbortController();
    try {
      if (this.#running.size >= CALLS_AT_ONCE_MAX || this.#running.has(id)) throw tooMany();
      if (call !== 'attachment' && sizeBytes > BODY_BYTES_MAX) throw tooLong();
      assertRunning(this.#parts.stopping);
      this.#running.set(id, gone);
      const session = await opening;
      const answer = await ASKS[call](session, params, gone.signal);
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
