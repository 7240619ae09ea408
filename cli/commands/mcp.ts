import type { Command } from 'commander';
import type { Client } from '../../daemon/client/client.ts';
import type { Messenger } from '../../mcp/messenger.ts';
import { formatAddress, parseAddress } from '../../protocol/address.ts';
import { cliOf, interruptible } from '../cli.ts';
import { connect } from '../connection.ts';
import { workingPlace } from '../working-place.ts';

interface McpOptions {
  agent: string;
  shareBranch?: boolean;
}

/** The flag, or what was set for the agent; `agent set --branch off` counts more than the flag. */
async function mayShareBranch(admin: Client['admin'], address: string, flag: boolean): Promise<boolean> {
  const wanted = formatAddress(parseAddress(address));
  const known = (await admin.agents()).find(({ agent }) => agent === wanted);
  return known?.share_branch ?? flag;
}

/** `mcp`: what an MCP client starts. Stdout belongs to the protocol. */
export function addMcpCommand(program: Command): void {
  program
    .command('mcp')
    .description('serve MCP over stdio as one agent; starts the daemon if none runs')
    .requiredOption('--agent <agent>', 'the agent to act as: name@namespace; a new one is added')
    .option('--share-branch', 'tell the members of the namespace which git branch this folder is on')
    .action(async ({ agent, shareBranch = false }: McpOptions, command: Command) => {
      parseAddress(agent);
      const cli = cliOf(command);
      // The daemon starts while the client introduces itself. A failure is met again by the first call.
      let first: Promise<Client> | undefined = connect(cli);
      first.catch(() => {});
      const messenger: Messenger = {
        async open({ agent: address, client }) {
          // Later sessions are opened because the daemon was restarted or has died: look for it anew.
          const daemon = first ?? connect(cli);
          first = undefined;
          // Nothing else of the request goes on: what a model does is never a person's word.
          const { messenger: there, admin } = await daemon;
          const place = await workingPlace(process.cwd(), () => mayShareBranch(admin, address, shareBranch));
          return there.open({ agent: address, client, ...place });
        },
      };
      const { serveStdio } = await import('../../mcp/stdio.ts');
      await interruptible((signal) => serveStdio(messenger, { agent, signal }));
    });
}
