import type { Socket } from 'node:net';
import type { z } from 'zod';
import type { Session, SessionRequest } from '../../mcp/messenger.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { BODY_BYTES_MAX, FILE_BODY_BYTES_MAX } from '../api/answers.ts';
import { readLines } from '../api/lines.ts';
import { errorOfProblem } from '../api/problem.ts';
import {
  OPENING_ID,
  SESSION_CALLS,
  SESSION_PATH,
  SESSION_PROTOCOL,
  zSessionAnswer,
  zSessionOpened,
  type AnswerTo,
  type CallName,
  type SessionAnswer,
  type SessionLine,
} from '../api/session-protocol.ts';
import { ANSWER_BYTES_MAX, answerOf, checkLength, parseJson, unreachable, type Wire } from './wire.ts';

/**
 * Opens a session on the daemon: a connection of its own, so that the daemon sees this process die. When the daemon goes
 * away instead, a call that was under way throws `daemon_unreachable`, since it may have run, and every later one
 * `unknown_session`.
 */
export async function openSession(wire: Wire, socketPath: string, request: SessionRequest): Promise<Session> {
  const { agent, client, byPerson, project, branch } = request;
  const { socket, head } = await wire.change(SESSION_PATH, SESSION_PROTOCOL);
  const line = new CallLine(socket, socketPath);
  const opened = line.open({ agent, client, by_person: byPerson, project, branch });
  line.read(head);
  const { self } = await opened;
  let closed: Promise<void> | undefined;

  async function call<Name extends CallName>(
    name: Name,
    params: object,
    signal?: AbortSignal,
  ): Promise<AnswerTo<Name>> {
    if (closed !== undefined) throw new PatchcordError('unknown_session', 'This session has been closed.');
    return answerOf(SESSION_CALLS[name].answer, await line.ask(name, params, signal));
  }

  return {
    self,
    inbox: async (params) => call('inbox', params),
    send: async (params) => call('send', params),
    reply: async (params) => call('reply', params),
    wait: async (params, signal) => call('wait', params, signal),
    attachment: async (params) => call('attachment', params),
    recall: async (params) => call('recall', params),
    unsend: async (params) => call('unsend', params),
    async confirm() {
      await call('confirm', {});
    },
    async release() {
      await call('release', {});
    },
    async close() {
      closed ??= line.close();
      await closed;
    },
  };
}

interface Asked {
  resolve(answer: unknown): void;
  reject(error: unknown): void;
}

/** Calls out, answers in: the client's side of daemon/api/session-lines.ts. */
class CallLine {
  readonly #socket: Socket;
  readonly #gone: Promise<void>;
  readonly #asked = new Map<number, Asked>();
  #count = OPENING_ID;

  constructor(socket: Socket, socketPath: string) {
    this.#socket = socket;
    let failure: unknown;
    // A reset is how a killed daemon ends it.
    socket.on('error', (error) => (failure = error));
    this.#gone = new Promise((resolve) => {
      socket.once('close', () => {
        const error = failure instanceof PatchcordError ? failure : unreachable(socketPath, failure);
        for (const asked of this.#asked.values()) asked.reject(error);
        this.#asked.clear();
        resolve();
      });
    });
  }

  async open(body: object): Promise<z.infer<typeof zSessionOpened>> {
    const answer = this.#answerTo(OPENING_ID);
    this.#socket.write(`${JSON.stringify(body)}\n`);
    return answerOf(zSessionOpened, await answer);
  }

  read(head: Buffer): void {
    const take = (line: string) => this.#take(line);
    readLines(this.#socket, { head, sizeBytesMax: ANSWER_BYTES_MAX, onLine: take });
  }

  async ask(call: CallName, params: object, signal?: AbortSignal): Promise<unknown> {
    signal?.throwIfAborted();
    const id = (this.#count += 1);
    const line: SessionLine = { id, call, params };
    const text = JSON.stringify(line);
    checkLength(text, call === 'attachment' ? FILE_BODY_BYTES_MAX : BODY_BYTES_MAX);
    // The call has not run: the daemon that knew the session is gone.
    if (!this.#socket.writable)
      throw new PatchcordError('unknown_session', 'The daemon of this session has ended.', 'Open a new one.');
    const answer = this.#answerTo(id);
    this.#socket.write(`${text}\n`);
    return signal === undefined ? answer : this.#unless(signal, id, answer);
  }

  /** Asks the daemon to end it, so that what was leased is back when this resolves. */
  async close(): Promise<void> {
    this.#socket.end();
    await this.#gone;
  }

  async #unless(signal: AbortSignal, id: number, answer: Promise<unknown>): Promise<unknown> {
    const cancel = () => {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (this.#socket.writable) this.#socket.write(`${JSON.stringify({ id, cancel: true })}\n`);
      asked?.reject(signal.reason);
    };
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await answer;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  #answerTo(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  #take(line: string): void {
    let said: SessionAnswer;
    try {
      said = answerOf(zSessionAnswer, parseJson(line));
    } catch (error) {
      this.#socket.destroy(asPatchcordError(error));
      return;
    }
    // Nobody waits for the answer to a call that was cancelled.
    const asked = this.#asked.get(said.id);
    this.#asked.delete(said.id);
    if ('problem' in said) asked?.reject(errorOfProblem(said.problem));
    else asked?.resolve(said.answer);
  }
}
