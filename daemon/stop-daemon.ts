import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { PatchcordError } from '../protocol/errors.ts';
import type { DaemonInfo } from './daemon-json.ts';
import { findDaemon } from './health.ts';
import type { HomePaths } from './home.ts';

/** A stop that takes longer is helped with SIGTERM, and given this long once more. */
const STOP_TIMEOUT_MS = 10_000;
const ENDED_RECHECK_MS = 50;

/**
 * Ends the daemon of a home and waits until its process is gone; undefined when none runs. `ask` asks it to stop.
 * If asking does not help, a SIGTERM goes to the pid that has just answered for this home, and to no other.
 *
 * Throws `daemon_unreachable` when somebody holds the socket and does not answer, `timeout` when it does not end.
 */
export async function stopDaemon(
  paths: HomePaths,
  ask: (info: DaemonInfo) => Promise<void>,
  timeoutMs = STOP_TIMEOUT_MS,
): Promise<DaemonInfo | undefined> {
  const found = await findDaemon(paths);
  if (found.state === 'none') return undefined;
  const { info } = found;
  if (found.state === 'silent') throw silent(info);
  const asked = await ask(info).then(
    () => true,
    () => false,
  );
  if (asked && (await hasEnded(info.pid, timeoutMs))) return info;
  terminate(info.pid);
  if (await hasEnded(info.pid, timeoutMs)) return info;
  throw new PatchcordError(
    'timeout',
    `The daemon (process ${info.pid}) has not ended.`,
    `See \`patchcord logs\`; as a last resort end process ${info.pid} yourself.`,
  );
}

function terminate(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (error) {
    // It has ended meanwhile, which is what was wanted.
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

/** The error for a daemon that holds its socket but does not answer. */
export function silent(info: DaemonInfo): PatchcordError {
  return new PatchcordError(
    'daemon_unreachable',
    `The daemon (process ${info.pid}) does not answer.`,
    `See \`patchcord logs\`; if it hangs, end process ${info.pid} yourself.`,
  );
}

/** There is no event for the end of a process that is not a child, so this looks again until it is gone. */
async function hasEnded(pid: number, timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (await isAlive(pid)) {
    if (performance.now() >= deadlineMs) return false;
    await delay(ENDED_RECHECK_MS);
  }
  return true;
}

async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
  // Where nobody collects dead processes (a container's first process may not), they stay as zombies.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/^\d+ \(.*\) Z /s.test(stat);
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
