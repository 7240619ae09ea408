import { Option, type Command } from 'commander';
import type { AgentSettings } from '../../daemon/api/answers.ts';
import { inline } from '../../mcp/frame.ts';
import { STATUS_LENGTH_MAX } from '../../protocol/limits.ts';
import { cliOf } from '../cli.ts';
import { connect } from '../connection.ts';
import { agentsText, nameHeldLines } from '../status-text.ts';

interface SetOptions {
  status?: string;
  dnd?: boolean;
  project?: string | false;
  branch?: 'on' | 'off';
}

function settingsOf({ status, dnd, project, branch }: SetOptions): AgentSettings {
  const named = project === false ? '' : project === '.' ? null : project;
  return {
    ...(status !== undefined && { status }),
    ...(dnd !== undefined && { dnd }),
    ...(named !== undefined && { project: named }),
    ...(branch !== undefined && { share_branch: branch === 'on' }),
  };
}

/** `agent add|list|set|remove|token`. */
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
    .command('set')
    .argument('<agent>', 'name@namespace')
    .description('set what an agent of this machine tells others, and whether it wants to be disturbed')
    .option(
      '--status <text>',
      `what it says of itself, ${STATUS_LENGTH_MAX} characters at most; "" says nothing`,
    )
    .option('--dnd', 'do not disturb: waits end for messages marked steer only')
    .option('--no-dnd', 'disturb it again')
    .option('--project <name>', "the project it works in; . is the name of its client's folder again")
    .option('--no-project', 'tell no project')
    .addOption(new Option('--branch <on|off>', 'whether the git branch is told').choices(['on', 'off']))
    .action(async (address: string, options: SetOptions, command: Command) => {
      const cli = cliOf(command);
      const set = await (await connect(cli)).admin.setAgent(address, settingsOf(options));
      await cli.show({ json: set, text: agentsText([set]) });
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
