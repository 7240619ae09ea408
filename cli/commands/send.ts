import type { Command } from 'commander';
import { inline } from '../../mcp/frame.ts';
import { replyText, sendText, unsendText } from '../../mcp/text.ts';
import type { Urgency } from '../../protocol/delivery/wakes.ts';
import { CONTENT_LENGTH_MAX } from '../../protocol/limits.ts';
import { cliOf } from '../cli.ts';
import { connect, withSession } from '../connection.ts';
import { asOption, duration, urgencyOption } from '../options.ts';
import { readText } from '../stdin.ts';

/** Room for a text of the greatest length in UTF-8, and for blanks around it, which do not count. */
const TEXT_SIZE_BYTES_MAX = 4 * CONTENT_LENGTH_MAX + 64 * 1024;

interface SendOptions {
  as: string;
  thread?: string;
  replyBy?: string;
  urgency?: Urgency;
}

interface ReplyOptions {
  as: string;
  defer?: boolean;
  resolve?: boolean;
  urgency?: Urgency;
}

/** `send`, `reply`, `unsend`: the tools of these names, and `reset`, which lets agents go on. */
export function addSendCommands(program: Command): void {
  program
    .command('send')
    .argument('<to>', 'an agent, or several: "agent1, agent2"')
    .argument('<text>', 'the message; - reads it from stdin')
    .description('send a message')
    .addOption(asOption())
    .option('--thread <thread>', 'a slug that groups messages, such as auth-migration')
    .option('--reply-by <duration>', 'ask for an answer within this time, such as 15m or 2h', duration)
    .addOption(urgencyOption())
    .action(async (to: string, text: string, options: SendOptions, command: Command) => {
      const cli = cliOf(command);
      const content = await readText(text, TEXT_SIZE_BYTES_MAX);
      const { thread = '', replyBy: reply_by, urgency } = options;
      const result = await withSession(
        cli,
        options.as,
        (session) => session.send({ to_agent: to, content, thread, reply_by, urgency }),
        { byPerson: true },
      );
      const refused = result.status === 'blocked' || result.status === 'failed';
      await cli.show({ json: result, text: sendText(result), refused });
    });

  program
    .command('reply')
    .argument('<id>', 'the message_id of the message')
    .argument('[text]', 'the answer; - reads it from stdin; may be missing with --defer or --resolve', '')
    .description('answer a message')
    .addOption(asOption())
    .option('--defer', 'keep the message in the inbox for later')
    .option('--resolve', 'the task is done: close the thread')
    .addOption(urgencyOption())
    .action(async (id: string, text: string, options: ReplyOptions, command: Command) => {
      const cli = cliOf(command);
      const content = await readText(text, TEXT_SIZE_BYTES_MAX);
      const { defer = false, resolve = false, urgency } = options;
      const result = await withSession(
        cli,
        options.as,
        (session) => session.reply({ message_id: id, content, defer, resolve, urgency }),
        { byPerson: true },
      );
      await cli.show({ json: result, text: replyText(result) });
    });

  program
    .command('reset')
    .description('let an agent go on where it has answered too often without a person')
    .addOption(asOption())
    .option('--thread <thread>', 'only in this thread, by its slug')
    .action(async ({ as, thread }: { as: string; thread?: string }, command: Command) => {
      const cli = cliOf(command);
      const result = await (await connect(cli)).admin.resetChains(as, thread);
      const where =
        result.thread === undefined ? 'in every thread' : `in the thread ${inline(result.thread)}`;
      await cli.show({ json: result, text: `${inline(result.agent)} may go on answering ${where}.` });
    });

  program
    .command('unsend')
    .argument('<id>', 'the message_id that `send` printed')
    .description('take back a message that is not read yet')
    .addOption(asOption())
    .action(async (id: string, options: { as: string }, command: Command) => {
      const cli = cliOf(command);
      const result = await withSession(cli, options.as, (session) => session.unsend({ message_id: id }));
      await cli.show({ json: result, text: unsendText(result) });
    });
}
