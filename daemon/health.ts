import { readDaemonInfo, type DaemonInfo } from './daemon-json.ts';
import type { HomePaths } from './home.ts';
import { request } from './node-http.ts';

/** How long a daemon that lives may take to say so; one that cannot answer in this time helps nobody. */
const HEALTH_TIMEOUT_MS = 5_000;
const HEALTH_SIZE_BYTES_MAX = 64 * 1024;

/**
 * What is known of a home's daemon. `silent`: daemon.json names a socket that somebody holds but nobody answers.
 *
 *     none      no daemon.json, or a dead daemon's: nobody listens on its socket
 *     running   the socket's GET /health answered with the pid of daemon.json
 *     silent    it did not answer in time, or with something else
 */
export type DaemonState =
  | { state: 'none' }
  | { state: 'running'; info: DaemonInfo }
  | { state: 'silent'; info: DaemonInfo };

/** Asks the daemon that daemon.json names. Never throws. */
export async function findDaemon(paths: HomePaths): Promise<DaemonState> {
  const info = await readDaemonInfo(paths);
  if (info === undefined) return { state: 'none' };
  const answer = await askHealth(info.socket);
  if (answer === 'nobody') return { state: 'none' };
  return { state: answer === info.pid ? 'running' : 'silent', info };
}

/** The pid that GET /health over the socket tells. */
function askHealth(socketPath: string): Promise<number | 'nobody' | 'silent'> {
  return new Promise((resolve) => {
    const call = request({ socketPath, path: '/health', agent: false, timeout: HEALTH_TIMEOUT_MS });
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('error', (error: NodeJS.ErrnoException) => {
      const gone = ['ENOENT', 'ECONNREFUSED', 'ENOTDIR', 'ENOTSOCK'].includes(error.code ?? '');
      resolve(gone ? 'nobody' : 'silent');
    });
    call.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
        if (text.length > HEALTH_SIZE_BYTES_MAX) call.destroy(new Error('the answer is too long'));
      });
      response.on('end', () => resolve(pidOf(text) ?? 'silent'));
      response.on('error', () => resolve('silent'));
    });
    call.end();
  });
}

function pidOf(text: string): number | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer !== 'object' || answer === null || !('pid' in answer)) return undefined;
    return typeof answer.pid === 'number' ? answer.pid : undefined;
  } catch {
    return undefined;
  }
}
