import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { inline } from '../../mcp/frame.ts';
import type { JoinView } from '../../protocol/admin-views.ts';
import { TICKET_LENGTH_MAX } from '../../protocol/limits.ts';
import { cliOf, interruptible } from '../cli.ts';
import { connect } from '../connection.ts';
import { joinDecided } from '../join-wait.ts';
import { notice } from '../output.ts';
import { membersText } from '../status-text.ts';
import { readText } from '../stdin.ts';

/** `namespace join`. */
export function addJoinCommand(namespace: Command): void {
  namespace
    .command('join')
    .argument('<ticket>', 'what `namespace invite` printed; - reads it from stdin')
    .description('join a namespace by ticket')
    .action(async (ticket: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const text = (await readText(ticket, 2 * TICKET_LENGTH_MAX)).trim();
      const { admin } = await connect(cli);
      const joined = await interruptible((signal) =>
        joinDecided({
          join: () => admin.join(text, signal),
          tell: notice,
          pause: (ms) => delay(ms, undefined, { signal }).catch(() => {}),
          signal,
        }),
      );
      await cli.show({ json: joined, text: joinText(joined) });
    });
}

/** What was joined, by whom, who is there, and what to do next. */
export function joinText(view: JoinView): string {
  const name = inline(view.namespace);
  if (!view.joined) return `This machine is a member of ${name} already.`;
  const keeper = view.members.some(({ self, role }) => self && role === 'keeper');
  const next = keeper
    ? 'This machine holds mail for the others, and has no agents in it.'
    : `Add an agent with \`patchcord agent add NAME@${name}\`.`;
  const none = view.members.every(({ agents }) => agents.length === 0) ? ['No agents are there yet.'] : [];
  const head = `Joined ${name}, admitted by "${inline(view.admitted_by)}":`;
  return [head, membersText(view.members), ...none, next].join('\n');
}
