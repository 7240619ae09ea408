import type { Command } from 'commander';
import type { JoinView } from '../../protocol/admin-views.ts';
import { inline } from '../../mcp/frame.ts';
import { cliOf } from '../cli.ts';
import { connect } from '../connection.ts';
import { durationMs } from '../options.ts';
import { readText } from '../stdin.ts';
import { membersText, namespacesText } from '../status-text.ts';
import { TICKET_LENGTH_MAX } from '../../protocol/limits.ts';

/** `namespace create|list|members|invite|join`. */
export function addNamespaceCommands(program: Command): void {
  const namespace = program.command('namespace').description('create, join and look at namespaces');

  namespace
    .command('create')
    .argument('<name>')
    .description('create a namespace with this machine as its admin')
    .action(async (name: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const created = await (await connect(cli)).admin.createNamespace(name);
      const next = `Add an agent with \`patchcord agent add NAME@${created.namespace}\`.`;
      await cli.show({ json: created, text: `Created ${inline(created.namespace)}. ${next}` });
    });

  namespace
    .command('list')
    .description('list the namespaces of this machine')
    .action(async (_options: unknown, command: Command) => {
      const cli = cliOf(command);
      const namespaces = await (await connect(cli)).admin.namespaces();
      await cli.show({ json: { namespaces }, text: namespacesText(namespaces) });
    });

  namespace
    .command('members')
    .argument('<namespace>')
    .description('list the machines of a namespace')
    .action(async (name: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const members = await (await connect(cli)).admin.members(name);
      await cli.show({ json: { members }, text: membersText(members) });
    });

  namespace
    .command('invite')
    .argument('<namespace>')
    .description('print a ticket that lets one machine join; keep it as secret as a password')
    .option('--ttl <duration>', 'how long the ticket holds, such as 10m, 1h, 7d (default: 10m)', durationMs)
    .action(async (name: string, options: { ttl?: number }, command: Command) => {
      const cli = cliOf(command);
      const { ticket, expires_at } = await (await connect(cli)).admin.invite(name, options.ttl);
      await cli.show({ json: { ticket, expires_at }, text: ticket });
    });

  namespace
    .command('join')
    .argument('<ticket>', 'what `namespace invite` printed; - reads it from stdin')
    .description('join a namespace by ticket')
    .action(async (ticket: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const text = await readText(ticket, 2 * TICKET_LENGTH_MAX);
      const joined = await (await connect(cli)).admin.join(text.trim());
      await cli.show({ json: joined, text: joinText(joined) });
    });
}

function joinText(view: JoinView): string {
  const name = inline(view.namespace);
  if (!view.joined) return `This machine is a member of ${name} already.`;
  return `Joined ${name}, admitted by "${inline(view.admitted_by)}":\n${membersText(view.members)}`;
}
