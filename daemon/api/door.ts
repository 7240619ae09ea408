import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { PatchcordError } from '../../protocol/errors.ts';
import type { App } from './server.ts';

/** Where a request came in: the daemon's POSIX socket, its Windows pipe, or loopback TCP. */
export type Door = 'socket' | 'pipe' | 'tcp';

const SOCKET_MODE = 0o600;

export function doorOf(socketPath: string): 'socket' | 'pipe' {
  return /^\\\\[.?]\\pipe\\/i.test(socketPath) ? 'pipe' : 'socket';
}

/**
 * Listens on a socket file that only this user may open. A file that a dead daemon left is replaced. Throws
 * `home_in_use` when somebody answers there, `invalid_input` when the path is too long for a socket (104 to 108
 * bytes, by platform), `home_not_writable` for the rest.
 */
export async function listenOnSocket(app: App, socketPath: string): Promise<void> {
  const isFile = doorOf(socketPath) === 'socket';
  if (isFile) await removeStale(socketPath);
  // In the same turn as bind and listen, so that nobody is accepted before the mode is set.
  if (isFile) app.server.once('listening', () => chmodSync(socketPath, SOCKET_MODE));
  try {
    await app.listen({ path: socketPath });
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EADDRINUSE') throw inUse(socketPath, error);
    if (code === 'EINVAL' || code === 'ENAMETOOLONG') {
      throw new PatchcordError(
        'invalid_input',
        `The path of the socket is too long: ${socketPath}`,
        'Choose a shorter one with --home.',
        { cause: error },
      );
    }
    throw new PatchcordError(
      'home_not_writable',
      `Cannot listen on ${socketPath} (${code ?? String(error)}).`,
      'Check that the folder exists and is yours.',
      { cause: error },
    );
  }
}

/** Listens on loopback and tells the port. Throws `port_in_use`; `forbidden` for a port that needs more rights. */
export async function listenOnPort(app: App, host: '127.0.0.1', port: number): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    const remedy = 'Choose another with --http-port, or 0 for any that is free.';
    if (errnoOf(error) === 'EACCES') {
      throw new PatchcordError('forbidden', `Port ${port} needs more rights.`, remedy, { cause: error });
    }
    if (errnoOf(error) !== 'EADDRINUSE') throw error;
    throw new PatchcordError('port_in_use', `Port ${port} on ${host} is in use.`, remedy, { cause: error });
  }
  const address = app.server.address();
  assert(address !== null && typeof address === 'object');
  return address.port;
}

async function removeStale(socketPath: string): Promise<void> {
  const found = await lstat(socketPath).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new PatchcordError(
      'home_not_writable',
      `${socketPath} is in the way: it is not a socket.`,
      'Move it elsewhere.',
    );
  }
  if (await answers(socketPath)) throw inUse(socketPath);
  await unlink(socketPath).catch(() => undefined);
}

/** Whether somebody listens there; a full queue or a missing right means that somebody does. */
async function answers(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(socketPath, () => resolve(true));
  socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(errnoOf(error) ?? '')));
  const alive = await promise;
  socket.destroy();
  return alive;
}

function inUse(socketPath: string, cause?: unknown): PatchcordError {
  return new PatchcordError(
    'home_in_use',
    `A daemon already answers on ${socketPath}.`,
    'Use it, or stop it with `patchcord down`.',
    { cause },
  );
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
