import { setFlagsFromString } from 'node:v8';
import type { Command } from 'commander';
import { readConfig, type DaemonConfig, type DaemonFlags } from '../daemon/config.ts';
import type { StartReport } from '../daemon/background.ts';
import type { DaemonInfo } from '../daemon/daemon-json.ts';
import { fileLog, stderrLog } from '../daemon/logging.ts';
import { homePaths } from '../daemon/home.ts';
import type { Log } from '../daemon/log.ts';
import { asPatchcordError, PatchcordError } from '../protocol/errors.ts';
import { interruptible, type Cli } from './cli.ts';

/** Reads flags and environment; what is wrong with them is wrong usage. */
export function readFlags(command: Command, flags: DaemonFlags): DaemonConfig {
  try {
    return readConfig(flags);
  } catch (error) {
    if (!(error instanceof PatchcordError)) throw error;
    return command.error(`error: ${error.message}\n${error.remedy}`, { code: 'patchcord.config' });
  }
}

/**
 * Runs the daemon in this process. In the background it logs to a file and tells the process that started it,
 * over the IPC channel, how the start went; otherwise it logs to stderr and says on stdout that it is ready.
 */
export async function runHere(
  cli: Cli,
  command: Command,
  flags: DaemonFlags & { background?: boolean },
): Promise<void> {
  const config = readFlags(command, flags);
  const background = flags.background === true;
  const log = background ? fileLog(config.logLevel, homePaths(config.home).log) : stderrLog(config.logLevel);
  logCrashes(log);
  // Whatever a part of the daemon creates is for this user alone.
  process.umask(0o077);
  const onReady = (info: DaemonInfo): void => {
    if (background) report({ ready: info });
    // A daemon does not end because nobody reads its stdout.
    else void cli.show({ json: info, text: readyText(info) }).catch(() => {});
  };
  try {
    const { runDaemon } = await import('../daemon/main.ts');
    keepHeapSmall();
    await interruptible((signal, letGo) => runDaemon(config, { log, signal, onReady, onStopping: letGo }));
  } catch (error) {
    const { code, message, remedy } = asPatchcordError(error);
    // A fault needs its stack. What a user can mend is told to whoever started this; that another daemon runs
    // already is no news for the log, which is that daemon's.
    if (code === 'internal') log.error({ code, err: error }, message);
    else if (background && code !== 'home_in_use') log.error({ code, remedy }, message);
    if (background) report({ failed: { code, message, remedy } });
    throw error;
  }
}

/**
 * The young generation stays as large as it is at the start: V8 would let it grow to 128 MB under load and keep that,
 * for garbage alone.
 */
function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

function report(message: StartReport): void {
  if (process.send === undefined || !process.connected) return;
  process.send(message, undefined, undefined, () => {
    if (process.connected) process.disconnect();
  });
}

/** A crash ends the process as ever, but a background daemon's stderr goes nowhere. */
function logCrashes(log: Log): void {
  process.on('uncaughtExceptionMonitor', (err) => log.error({ err }, 'the daemon crashed'));
}

function readyText(info: DaemonInfo): string {
  return `Running (process ${info.pid}), API at ${info.http}. Ctrl-C ends it.`;
}
