import type { Command } from 'commander';
import { inline } from '../../mcp/frame.ts';
import { parseName } from '../../protocol/address.ts';
import { cliOf } from '../cli.ts';
import { connect } from '../connection.ts';
import { recoveryText } from '../recovery-words.ts';
import { membersText, namespacesText } from '../status-text.ts';
import { addInviteCommands } from './namespace-invite.ts';
import { addJoinCommand } from './namespace-join.ts';
import { addMemberCommands } from './namespace-member.ts';

/** `namespace ...`: circles of machines. */
export function addNamespaceCommands(program: Command): void {
  const namespace = program
    .command('namespace')
    .description('create, join, leave and look at namespaces, and decide who is in them');
  addCreateCommand(namespace);
  addInviteCommands(namespace);
  addJoinCommand(namespace);
  addListCommands(namespace);
  addMemberCommands(namespace);
}

function addCreateCommand(namespace: Command): void {
  namespace
    .command('create')
    .argument('<name>')
    .description('create a namespace with this machine as its admin; prints its recovery words once')
    .action(async (name: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const created = await (await connect(cli)).admin.createNamespace(name);
      const shown = inline(created.namespace);
      const head = `Created ${shown}. Add an agent with \`patchcord agent add NAME@${shown}\`.`;
      const words = recoveryText(created.namespace, created.recovery_phrase);
      await cli.show({ json: created, text: `${head}\n\n${words}` });
    });
}

function addListCommands(namespace: Command): void {
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
      const { admin } = await connect(cli);
      const members = await admin.members(name);
      const known = parseName(name, 'namespace name');
      const views = await admin.namespaces();
      // Whoever was removed still knows who was there then, which is not who is there now.
      const removed = views.filter((view) => view.role === 'removed' && view.namespace === known);
      const text = [...removed.map((view) => namespacesText([view])), membersText(members)].join('\n');
      await cli.show({ json: { members }, text });
    });
}
