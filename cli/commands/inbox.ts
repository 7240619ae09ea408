import type { Command } from 'commander';
import { FRAME_NOTICE } from '../../mcp/frame.ts';
import { messageText } from '../../mcp/message-text.ts';
import type { Session } from '../../mcp/messenger.ts';
import { inboxText, waitText } from '../../mcp/text.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { INBOX_SHOWN_MAX } from '../../protocol/limits.ts';
import type { MessageView, WaitResult } from '../../protocol/views.ts';
import { cliOf, interruptible, type Cli } from '../cli.ts';
import { connect, withSession } from '../connection.ts';
import { asOption, count, durationMs } from '../options.ts';

interface InboxOptions {
  as: string;
  peek?: boolean;
  allAgents?: boolean;
  limit?: number;
}

const WAIT_DEFAULT_MS = 300_000;

/**
 * `inbox` and `wait`. What they show counts as read once it is out of this process; interrupted before that, it
 * is shown again.
 */
export function addInboxCommands(program: Command): void {
  program
    .command('inbox')
    .description('show pending messages, which are read then, and who is online')
    .addOption(asOption())
    .option('--all-agents', 'list agents that are offline, too')
    .option('--peek', 'show pending messages and mark nothing')
    .option('--limit <number>', `with --peek: how many messages (default: ${INBOX_SHOWN_MAX})`, count)
    .action(async (options: InboxOptions, command: Command) => {
      if (options.limit !== undefined && options.peek !== true) {
        command.error("error: option '--limit <number>' needs '--peek'");
      }
      const cli = cliOf(command);
      await (options.peek === true ? peek(cli, options) : showInbox(cli, options));
    });

  program
    .command('wait')
    .description('wait for a message and show it')
    .addOption(asOption())
    .option('--timeout <duration>', 'how long, such as 90s or 10m (default: 5m)', durationMs)
    .action(async (options: { as: string; timeout?: number }, command: Command) => {
      await wait(cliOf(command), options.as, options.timeout ?? WAIT_DEFAULT_MS);
    });
}

async function showInbox(cli: Cli, options: InboxOptions): Promise<void> {
  await withSession(cli, options.as, async (session) => {
    const result = await session.inbox({ all_agents: options.allAgents ?? false });
    await cli.show({ json: result, text: inboxText(result) });
    if (result.pending.length > 0) await session.confirm();
  });
}

async function peek(cli: Cli, { as, limit = INBOX_SHOWN_MAX }: InboxOptions): Promise<void> {
  const { admin } = await connect(cli);
  const peeked = await admin.peek(as, limit);
  await cli.show({ json: peeked, text: peekText(peeked) });
}

function peekText({ pending, total }: { pending: readonly MessageView[]; total: number }): string {
  if (total === 0) return 'No pending messages.';
  const head = `Pending messages: ${total}${pending.length < total ? `, the oldest ${pending.length} shown` : ''}.`;
  return [head, FRAME_NOTICE, ...pending.map(messageText)].join('\n\n');
}

async function wait(cli: Cli, agent: string, timeoutMs: number): Promise<void> {
  await interruptible((signal) =>
    withSession(cli, agent, async (session) => {
      const result = await waitFor(session, timeoutMs, signal);
      await cli.show({ json: result, text: waitText(result) });
      if (result.message !== undefined) await session.confirm();
    }),
  );
}

/** Throws `stopping` when it is interrupted; what it was given in that moment goes back with the session. */
async function waitFor(session: Session, timeoutMs: number, signal: AbortSignal): Promise<WaitResult> {
  try {
    const result = await session.wait({ timeout_seconds: timeoutMs / 1_000 }, signal);
    signal.throwIfAborted();
    return result;
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw new PatchcordError('stopping', 'Interrupted: nothing was shown, so nothing counts as read.', '', {
      cause,
    });
  }
}
