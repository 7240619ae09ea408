import type { Command } from 'commander';
import { readHome } from '../daemon/config.ts';
import { homePaths, type HomePaths } from '../daemon/home.ts';
import type { Log } from '../daemon/log.ts';
import { notice, showAnswer, type Answer } from './output.ts';

/** What every command has at hand. */
export interface Cli {
  readonly paths: HomePaths;
  readonly json: boolean;
  /** Warnings of the parts that are shared with the daemon, as plain lines on stderr. */
  readonly log: Log;
  /** Prints the one answer of the command; resolves when it is out of this process. */
  show(answer: Answer): Promise<void>;
}

/** Options that every command takes, anywhere on the line. */
export interface GlobalOptions {
  home?: string;
  json?: boolean;
}

export function cliOf(command: Command): Cli {
  const { home, json = false } = command.optsWithGlobals<GlobalOptions>();
  const tell = (_fields: object, text: string): void => void notice(`patchcord: ${text}`);
  return {
    paths: homePaths(readHome(home)),
    json,
    log: { debug() {}, info() {}, warn: tell, error: tell },
    show: (answer) => showAnswer(answer, json),
  };
}

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs something that lasts until it is done or interrupted. The first Ctrl-C (or SIGTERM, SIGHUP) aborts the
 * signal; after that, or after `letGo`, the next one ends the process at once.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal, letGo: () => void) => Promise<T>,
): Promise<T> {
  const interrupted = new AbortController();
  const letGo = (): void => {
    for (const name of ENDING_SIGNALS) process.off(name, interrupt);
  };
  const interrupt = (): void => {
    letGo();
    interrupted.abort();
  };
  for (const name of ENDING_SIGNALS) process.on(name, interrupt);
  try {
    return await work(interrupted.signal, letGo);
  } finally {
    letGo();
  }
}
