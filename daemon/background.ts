import { spawn, type ChildProcess } from 'node:child_process';
import { watch } from 'node:fs';
import { basename } from 'node:path';
import { z } from 'zod';
import { isErrorCode, PatchcordError } from '../protocol/errors.ts';
import { zDaemonInfo, type DaemonInfo } from './daemon-json.ts';
import { findDaemon } from './health.ts';
import { prepareHome, type HomePaths } from './home.ts';
import type { Log } from './log.ts';

/** A start that takes longer has failed. */
const START_TIMEOUT_MS = 15_000;
/** Another start that won, or a daemon that is about to end: how long before it is looked at again. */
const RECHECK_MS = 1_000;

/** What a daemon in the background tells the process that started it, once. */
const zStartReport = z.union([
  z.object({ ready: zDaemonInfo }),
  z.object({ failed: z.object({ code: z.string(), message: z.string(), remedy: z.string() }) }),
]);
export type StartReport = z.infer<typeof zStartReport>;

export interface BackgroundOptions {
  paths: HomePaths;
  log: Log;
  /** The program and its arguments that run this home's daemon in the background and send a StartReport. */
  command: readonly [program: string, ...args: string[]];
  timeoutMs?: number;
}

/**
 * The daemon of a home, started in the background when none runs. Any number of these at once end with one
 * daemon: the home's lock decides, and who loses waits for the winner.
 *
 * Throws `timeout` and whatever kept the daemon from starting.
 */
export async function ensureDaemon(
  options: BackgroundOptions,
): Promise<{ info: DaemonInfo; started: boolean }> {
  const { paths, log, timeoutMs = START_TIMEOUT_MS } = options;
  const deadlineMs = performance.now() + timeoutMs;
  await prepareHome(paths, log);
  for (;;) {
    const changed = daemonJsonChange(paths);
    try {
      const found = await findDaemon(paths);
      if (found.state === 'running') return { info: found.info, started: false };
      const remainingMs = deadlineMs - performance.now();
      if (remainingMs <= 0) throw tooLong(timeoutMs);
      const report = await start(options.command, paths, remainingMs);
      if ('ready' in report) return { info: report.ready, started: true };
      if (report.failed.code !== 'home_in_use') throw failure(report.failed);
      await changed.within(Math.max(0, Math.min(RECHECK_MS, deadlineMs - performance.now())));
    } finally {
      changed.stop();
    }
  }
}

/** Starts one daemon process and waits for its report; one that says nothing in time is killed. */
function start(
  command: BackgroundOptions['command'],
  paths: HomePaths,
  timeoutMs: number,
): Promise<StartReport> {
  const [program, ...args] = command;
  const child = spawn(program, args, {
    cwd: paths.home,
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    windowsHide: true,
  });
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      reject(tooLong(timeoutMs));
    }, timeoutMs);
    const settle = (report: StartReport): void => {
      clearTimeout(late);
      letGo(child);
      resolve(report);
    };
    child.once('error', (cause) => settle(unstarted(`The daemon cannot be started: ${cause.message}.`)));
    child.once('exit', (code, signal) =>
      settle(unstarted(`The daemon ended at its start (${signal ?? `exit code ${code}`}).`)),
    );
    child.once('message', (message) => settle(readReport(message)));
  });
}

function letGo(child: ChildProcess): void {
  child.removeAllListeners();
  child.on('error', () => {});
  if (child.connected) child.disconnect();
  child.unref();
}

function readReport(message: unknown): StartReport {
  const report = zStartReport.safeParse(message);
  return report.success ? report.data : unstarted('The daemon reported its start in words not known here.');
}

function unstarted(message: string): StartReport {
  return {
    failed: { code: 'internal', message, remedy: 'See `patchcord logs`, or run `patchcord daemon`.' },
  };
}

function failure({
  code,
  message,
  remedy,
}: {
  code: string;
  message: string;
  remedy: string;
}): PatchcordError {
  return new PatchcordError(isErrorCode(code) ? code : 'internal', message, remedy);
}

function tooLong(timeoutMs: number): PatchcordError {
  return new PatchcordError(
    'timeout',
    `The daemon did not start within ${Math.round(timeoutMs / 1_000)} s.`,
    'See `patchcord logs`, or run `patchcord daemon` to watch it start.',
  );
}

/** Notices that a daemon has written or removed its daemon.json, from now on. */
function daemonJsonChange(paths: HomePaths): { within(timeoutMs: number): Promise<void>; stop(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(paths.home, { persistent: false }, (_event, name) => {
    if (name === null || name === basename(paths.daemonJson)) resolve();
  });
  // A folder that cannot be watched is looked at again after the time.
  watcher.on('error', () => {});
  return {
    async within(timeoutMs) {
      const timer = setTimeout(resolve, timeoutMs);
      await promise;
      clearTimeout(timer);
    },
    stop: () => watcher.close(),
  };
}
