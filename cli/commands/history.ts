import type { Command } from 'commander';
import { recallText } from '../../mcp/text.ts';
import { RECALL_MAX } from '../../protocol/limits.ts';
import { cliOf } from '../cli.ts';
import { withSession } from '../connection.ts';
import { asOption, count } from '../options.ts';

const LIMIT_DEFAULT = 10;

interface RecallOptions {
  as: string;
  limit?: number;
  from?: string;
  thread?: string;
}

/** `recall`: the history of an agent. */
export function addHistoryCommands(program: Command): void {
  program
    .command('recall')
    .description('show the history, newest first; marks nothing')
    .addOption(asOption())
    .option('--limit <number>', `how many messages, at most ${RECALL_MAX} (default: ${LIMIT_DEFAULT})`, count)
    .option('--from <agent>', 'only messages from this agent')
    .option('--thread <thread>', 'only messages of this thread (its id or its slug)')
    .action(async (options: RecallOptions, command: Command) => {
      const cli = cliOf(command);
      const { limit = LIMIT_DEFAULT, from = '', thread = '' } = options;
      const result = await withSession(cli, options.as, (session) =>
        session.recall({ limit, from_agent: from, thread_id: thread }),
      );
      await cli.show({ json: result, text: recallText(result) });
    });
}
