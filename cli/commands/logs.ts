import type { Command } from 'commander';
import { findDaemon } from '../../daemon/health.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { cliOf, interruptible, type Cli } from '../cli.ts';
import { followFile, lastLines } from '../log-file.ts';
import { parseLogLine, logText } from '../log-text.ts';
import { notice, write } from '../output.ts';

/** Lines of the log that are shown at once. */
const LINES_SHOWN_MAX = 1_000;

/** `logs [-f]`: what the daemon in the background writes down. */
export function addLogsCommand(program: Command): void {
  program
    .command('logs')
    .description('show the log of the daemon in the background')
    .option('-f, --follow', 'go on with new lines until Ctrl-C')
    .action(async (options: { follow?: boolean }, command: Command) => {
      const cli = cliOf(command);
      const follow = options.follow === true;
      if (follow && cli.json)
        command.error("error: '--follow' has no end, so it cannot be one JSON document");
      await showLog(cli);
      if (follow) {
        await interruptible((signal) =>
          followFile(cli.paths.log, signal, (line) => write(process.stdout, `${logText(line)}\n`)),
        );
      }
    });
}

async function showLog(cli: Cli): Promise<void> {
  const { log } = cli.paths;
  const lines = await lastLines([`${log}.1`, log], LINES_SHOWN_MAX);
  if (lines === undefined) {
    throw new PatchcordError(
      'not_found',
      `There is no log in the home ${cli.paths.home}.`,
      'Only a daemon in the background keeps one: start it with `patchcord up`.',
    );
  }
  if ((await findDaemon(cli.paths)).state === 'none')
    await notice('No daemon runs; this is the log of the last one.');
  await cli.show({ json: { logs: lines.map(parseLogLine) }, text: lines.map(logText).join('\n') });
}
