import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { z } from 'zod';
import { PatchcordError } from '../../protocol/errors.ts';
import { BODY_BYTES_MAX, FILE_BODY_BYTES_MAX } from '../api/answers.ts';
import { errorOfProblem, zProblem } from '../api/problem.ts';
import { Agent, request } from '../node-http.ts';

/** One request to the daemon. */
interface Question {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  body?: object;
  /** Aborting closes the connection, which the daemon notices. */
  signal?: AbortSignal | undefined;
  /** Instead of the client's own token. */
  token?: string;
}

/** A request whose body comes as it is made. */
interface Delivery<Answer> {
  path: string;
  type: string;
  chunks: AsyncIterable<Uint8Array>;
  answer: z.ZodType<Answer>;
  signal?: AbortSignal | undefined;
}

/** The daemon's socket. Every method throws PatchcordError, or the reason of an aborted signal. */
export interface Wire {
  ask<Answer>(question: Question & { answer: z.ZodType<Answer> }): Promise<Answer>;
  /** For what is done without an answer. */
  tell(question: Question): Promise<void>;
  /** For an answer that goes on: resolves with its head once the daemon has agreed. */
  open(question: Question): Promise<IncomingMessage>;
  /** A connection that is no HTTP any more, once the daemon has agreed, and what has come on it already. */
  change(path: string, protocol: string): Promise<{ socket: Socket; head: Buffer }>;
  /** For an answer without a bound: its bytes, once the daemon has agreed. */
  drink(question: Question): Promise<AsyncIterable<Uint8Array>>;
  /** For a body without a bound. Throws what `chunks` throws. */
  pour<Answer>(delivery: Delivery<Answer>): Promise<Answer>;
}

export interface WireOptions {
  socketPath: string;
  /** For a Windows pipe, which every account of the machine can open. */
  token?: string | undefined;
}

/** More than the longest answer, a file in base64; a bound for a daemon gone wrong. */
export const ANSWER_BYTES_MAX = 2 * FILE_BODY_BYTES_MAX;

export function createWire({ socketPath, token }: WireOptions): Wire {
  // Connections are kept for the next call; idle ones do not keep the process alive. No timeout anywhere: a wait
  // may be silent for an hour, and on a socket the kernel tells when the other side is gone.
  const agent = new Agent({ keepAlive: true });

  async function open(question: Question): Promise<IncomingMessage> {
    const { method, path, body, signal } = question;
    signal?.throwIfAborted();
    const text = body === undefined ? undefined : JSON.stringify(body);
    if (text !== undefined) checkLength(text);
    const headers = {
      ...(text !== undefined && {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      }),
      ...credentials(question.token ?? token),
    };
    const asked = request({ agent, socketPath, method, path, headers, ...(signal && { signal }) });
    const response = responseOf(asked, socketPath, signal);
    asked.end(text);
    return refusedOr(await response, socketPath, signal);
  }

  async function read(question: Question): Promise<string> {
    return textOf(await open(question), socketPath, question.signal);
  }

  async function pour<Answer>({ path, type, chunks, answer, signal }: Delivery<Answer>): Promise<Answer> {
    signal?.throwIfAborted();
    const headers = {
      'content-type': type,
      ...credentials(token),
    };
    const asked = request({ agent, socketPath, method: 'POST', path, headers, ...(signal && { signal }) });
    const response = responseOf(asked, socketPath, signal);
    const source = watched(chunks);
    pipeline(Readable.from(source.chunks), asked).catch(() => {});
    try {
      return parsed(
        answer,
        await textOf(await refusedOr(await response, socketPath, signal), socketPath, signal),
      );
    } catch (error) {
      // Why the request broke off is what broke it.
      throw source.failure() ?? error;
    } finally {
      // The daemon may answer what never ends.
      if (!asked.writableFinished) asked.destroy();
    }
  }

  return {
    ask: async (question) => parsed(question.answer, await read(question)),
    async tell(question) {
      await read(question);
    },
    open,
    change: async (path, protocol) => change(path, protocol, { socketPath, token }),
    drink: async (question) => bytesOf(await open(question), socketPath, question.signal),
    pour,
  };
}

/** The response, or what it refuses. */
async function refusedOr(
  response: IncomingMessage,
  socketPath: string,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  if (response.statusCode === 200 || response.statusCode === 204) return response;
  const problem = zProblem.safeParse(parseJson(await textOf(response, socketPath, signal)));
  if (problem.success) throw errorOfProblem(problem.data);
  throw strange(`The daemon answered ${response.statusCode} without saying why.`, problem.error);
}

/** On a connection of its own. */
async function change(
  path: string,
  protocol: string,
  { socketPath, token }: WireOptions,
): Promise<{ socket: Socket; head: Buffer }> {
  const headers = { connection: 'Upgrade', upgrade: protocol, ...credentials(token) };
  const asked = request({ agent: false, socketPath, path, headers });
  const changed = Promise.withResolvers<{ socket: Socket; head: Buffer }>();
  asked.once('upgrade', (_response, socket, head) => changed.resolve({ socket, head }));
  const refused = responseOf(asked, socketPath).then(async (response) => {
    await refusedOr(response, socketPath);
    throw strange('The daemon does not know what a session is.');
  });
  asked.end();
  return Promise.race([changed.promise, refused]);
}

function credentials(token: string | undefined): { authorization?: string } {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** The same chunks, and what went wrong with them, if anything did. */
function watched(chunks: AsyncIterable<Uint8Array>): {
  chunks: AsyncIterable<Uint8Array>;
  failure: () => unknown;
} {
  let failure: unknown;
  async function* pass(): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } catch (error) {
      failure = error;
      throw error;
    }
  }
  return { chunks: pass(), failure: () => failure };
}

async function* bytesOf(
  response: IncomingMessage,
  socketPath: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    yield* response as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw signal?.aborted ? signal.reason : unreachable(socketPath, error);
  }
}

function parsed<Answer>(schema: z.ZodType<Answer>, text: string): Answer {
  return answerOf(schema, parseJson(text));
}

/** Throws `internal` for an answer of another shape. */
export function answerOf<Answer>(schema: z.ZodType<Answer>, said: unknown): Answer {
  const answer = schema.safeParse(said);
  if (answer.success) return answer.data;
  throw strange('The daemon answered something else than was asked.', answer.error);
}

async function responseOf(
  asked: ClientRequest,
  socketPath: string,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  asked.once('response', resolve);
  asked.on('error', (error) => reject(signal?.aborted ? signal.reason : unreachable(socketPath, error)));
  return promise;
}

/** By its events, for the answer of a call has come as a whole: to iterate would take several turns more. */
function textOf(response: IncomingMessage, socketPath: string, signal?: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  response.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    chunks.push(chunk);
    if (sizeBytes > ANSWER_BYTES_MAX) response.destroy(strange('The daemon answers without end.'));
  });
  response.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
  response.once('error', (error) => {
    if (error instanceof PatchcordError) reject(error);
    else reject(signal?.aborted ? signal.reason : unreachable(socketPath, error));
  });
  return promise;
}

/** Refused here, where the reason can be told: the daemon would cut the connection in its midst. */
export function checkLength(text: string, most = BODY_BYTES_MAX): void {
  if (Buffer.byteLength(text) > most) {
    throw new PatchcordError('content_too_long', 'That is more than the daemon takes at once.', 'Send less.');
  }
}

/** Tells a daemon that is not there from one that went away in the midst of a call. */
export function unreachable(socketPath: string, cause?: unknown): PatchcordError {
  const code = codeOf(cause);
  if (code === 'EACCES' || code === 'EPERM') {
    const remedy = 'Run this as the user whose daemon it is.';
    return new PatchcordError('forbidden', `May not open ${socketPath}.`, remedy, { cause });
  }
  const absent = code === 'ECONNREFUSED' || code === 'ENOENT';
  return new PatchcordError(
    'daemon_unreachable',
    absent ? `No daemon answers on ${socketPath}.` : 'The daemon went away before it answered.',
    'Start it with `patchcord up`.',
    { cause },
  );
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function strange(message: string, cause?: unknown): PatchcordError {
  const remedy =
    'Daemon and command may be of different versions: restart it with `patchcord down`, then `up`.';
  return new PatchcordError('internal', message, remedy, { cause });
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
