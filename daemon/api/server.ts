import type { IncomingMessage, ServerResponse } from 'node:http';
import Fastify from 'fastify';
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, RawServerDefault } from 'fastify';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Log } from '../log.ts';
import type { Admin } from './admin.ts';
import { BODY_BYTES_MAX } from './answers.ts';
import { admit, callerOf } from './caller.ts';
import type { Access, Caller } from './caller.ts';
import type { Door } from './door.ts';
import { checkLoopback, setSecurityHeaders } from './loopback.ts';
import { errorOfRequest, PROBLEM_TYPE, problemOf } from './problem.ts';
import type { Traffic } from './traffic.ts';
import { SESSION_PROTOCOL } from './session-protocol.ts';
import { serializeByZod, validateByZod } from './zod-provider.ts';
import type { ZodProvider } from './zod-provider.ts';

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller;
  }
  interface FastifyContextConfig {
    /** Who the route is for; the owner alone unless it says otherwise. */
    access?: Access;
  }
}

export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodProvider
>;

export interface ServerParts {
  admin: Pick<Admin, 'agentOfToken'>;
  apiToken: string;
  traffic: Traffic;
  stopping: AbortSignal;
  log: Log;
}

/** A request, its body included, must have arrived by then. Answers may take as long as a wait does. */
const REQUEST_MS_MAX = 60_000;
/** On the user's own socket a body may be a bundle, which comes as slowly as it is taken in. */
const BUNDLE_MS_MAX = 6 * 3_600_000;
/** Longest path parameter: an address of two names, percent-encoded. */
const PARAM_LENGTH_MAX = 1_000;

/** A fastify instance with what every route shares: door-keeping, validation and problem documents. */
export function createServer(door: Door, parts: ServerParts): App {
  const { traffic, stopping, log } = parts;
  const app: App = Fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: door === 'tcp' ? REQUEST_MS_MAX : BUNDLE_MS_MAX,
    // Clients on the socket keep connections for their next call. One that we closed as idle just as it comes
    // would fail a call that cannot be repeated blindly, so there the client decides.
    ...(door !== 'tcp' && { keepAliveTimeout: 0 }),
    forceCloseConnections: true,
    // Others are answered as if they had not asked: some HTTP clients offer HTTP/2 with every request.
    http: { shouldUpgradeCallback: ({ headers }) => headers.upgrade === SESSION_PROTOCOL },
    routerOptions: { maxParamLength: PARAM_LENGTH_MAX },
    // Fastify would load compilers of JSON schemas, though zod's are set below.
    schemaController: { compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler } },
    frameworkErrors: (error, _request, reply) => {
      setSecurityHeaders(reply.raw);
      sendProblem(reply, errorOfRequest(error));
    },
  }).withTypeProvider<ZodProvider>();

  app.setValidatorCompiler(validateByZod);
  app.setSerializerCompiler(serializeByZod);
  acceptJson(app);
  app.decorateRequest('caller');
  app.addHook('onRequest', async (request, reply) => {
    setSecurityHeaders(reply.raw);
    traffic.enter(reply.raw);
    if (door === 'tcp') checkLoopback(request.raw);
    const access = request.routeOptions.config.access ?? 'owner';
    if (access === 'open') return;
    assertRunning(stopping);
    if (request.is404) return;
    request.caller = await callerOf(door, request.headers.authorization, parts);
    admit(request.caller, access);
  });

  app.setNotFoundHandler(async (request) => {
    throw new PatchcordError('not_found', `There is no ${request.method} ${pathOf(request.url)}.`);
  });
  app.setErrorHandler((error, request, reply) => {
    const problem = errorOfRequest(error);
    if (problem.code === 'internal') {
      log.error(
        { route: request.routeOptions.url, cause: causeOf(problem) },
        'a request failed unexpectedly',
      );
    }
    return sendProblem(reply, problem);
  });
  return app;
}

/** Throws `stopping`. */
export function assertRunning(stopping: AbortSignal): void {
  if (stopping.aborted)
    throw new PatchcordError('stopping', 'The daemon is stopping.', 'Start it again with `patchcord up`.');
}

function noCompiler(): never {
  throw new Error('every schema is for zod');
}

function sendProblem(reply: FastifyReply, error: PatchcordError): FastifyReply {
  // RFC 9110 section 11.6.1 wants a challenge; the bare scheme keeps clients from looking for OAuth.
  if (error.code === 'unauthorized') reply.header('www-authenticate', 'Bearer');
  return reply
    .code(error.status)
    .type(PROBLEM_TYPE)
    .send(JSON.stringify(problemOf(error)));
}

/**
 * JSON alone, so that a plain HTML form can send nothing. Some clients name the type and send no body, as with
 * DELETE; fastify's own parser refuses that.
 */
function acceptJson(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) => {
    if (text === '') done(null, undefined);
    else void parse(request, String(text), done);
  });
}

function pathOf(url: string): string {
  return url.split('?', 1)[0]!.slice(0, 200);
}

/** What an unexpected error came from, for the log. */
export function causeOf(error: PatchcordError): string {
  const cause = error.cause;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
