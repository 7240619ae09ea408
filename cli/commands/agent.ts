import type { Command } from 'commander';
import { inline } from '../../mcp/frame.ts';
import { cliOf } from '../cli.ts';
import { connect } from '../connection.ts';
import { agentsText, nameHeldLines } from '../status-text.ts';

/** `agent add|list|remove|token`. */
export function addAgentCommands(program: Command): void {
  const agent = program.command('agent').description('add and remove the agents of this machine');

  agent
    .command('add')
    .argument('<agent>', 'name@namespace')
    .description('add an agent to this machine; one that is there already is left as it is')
    .action(async (address: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const added = await (await connect(cli)).admin.addAgent(address);
      const line = `${inline(added.agent)}: ${added.added === false ? 'was there already' : 'added'}.`;
      await cli.show({ json: added, text: [line, ...nameHeldLines(added)].join('\n') });
    });

  agent
    .command('list')
    .description('list the agents of this machine')
    .action(async (_options: unknown, command: Command) => {
      const cli = cliOf(command);
      const agents = await (await connect(cli)).admin.agents();
      await cli.show({ json: { agents }, text: agentsText(agents) });
    });

  agent
    .command('remove')
    .argument('<agent>', 'name@namespace')
    .description('remove an agent of this machine with its sessions and tokens')
    .action(async (address: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      await (await connect(cli)).admin.removeAgent(address);
      await cli.show({ json: { agent: address, removed: true }, text: `${inline(address)}: removed.` });
    });

  agent
    .command('token')
    .argument('<agent>', 'name@namespace')
    .description('print a new bearer token for an agent; it is shown this once and only its hash is kept')
    .action(async (address: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const { agent: owner, token } = await (await connect(cli)).admin.newToken(address);
      await cli.show({ json: { agent: owner, token }, text: token });
    });
}
