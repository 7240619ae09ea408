import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { ServerResponse } from '../node-http.ts';
import type { Admin } from './admin.ts';
import { admit, callerOf } from './caller.ts';
import type { Door } from './door.ts';
import { checkLoopback, setSecurityHeaders } from './loopback.ts';
import { writeProblem } from './problem.ts';
import { assertRunning, type App } from './server.ts';
import type { SessionLines } from './session-lines.ts';
import { SESSION_PATH, SESSION_PROTOCOL } from './session-protocol.ts';

export interface SessionUpgradeParts {
  door: Door;
  admin: Pick<Admin, 'agentOfToken'>;
  apiToken: string;
  lines: SessionLines;
  stopping: AbortSignal;
}

/** Lets a connection of the owner change over to a session (RFC 9110 section 7.8), past the same door as every request. */
export function serveSessions(app: App, parts: SessionUpgradeParts): void {
  app.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    knock(request, parts).then(
      () => {
        socket.write(SWITCHED);
        parts.lines.serve(socket, head);
      },
      (error: unknown) => refuse(request, socket, asPatchcordError(error)),
    );
  });
}

const SWITCHED = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${SESSION_PROTOCOL}\r\n\r\n`;

async function knock(request: IncomingMessage, parts: SessionUpgradeParts): Promise<void> {
  const { door, stopping } = parts;
  if (door === 'tcp') checkLoopback(request);
  assertRunning(stopping);
  admit(await callerOf(door, request.headers.authorization, parts), 'owner');
  if (request.url !== SESSION_PATH)
    throw new PatchcordError('not_found', 'A session is to be had elsewhere.', `Ask for ${SESSION_PATH}.`);
}

function refuse(request: IncomingMessage, socket: Duplex, error: PatchcordError): void {
  if (!(socket instanceof Socket)) return void socket.destroy();
  const response = new ServerResponse(request);
  response.assignSocket(socket);
  response.shouldKeepAlive = false;
  setSecurityHeaders(response);
  if (error.code === 'unauthorized') response.setHeader('www-authenticate', 'Bearer');
  response.once('finish', () => socket.end());
  writeProblem(response, error);
}
