import type { Command } from 'commander';
import { inline } from '../../mcp/frame.ts';
import { cliOf } from '../cli.ts';
import { connect } from '../connection.ts';
import { notice } from '../output.ts';
import { PHRASE_SIZE_BYTES_MAX, readPhrase, untilComplete } from '../recovery-words.ts';
import { namespacesText } from '../status-text.ts';
import { readText } from '../stdin.ts';

const MACHINE = 'its label or its peer id, as `namespace members` shows them';

/** `namespace remove|promote|leave|recover`: who is in, and who decides. */
export function addMemberCommands(namespace: Command): void {
  namespace
    .command('remove')
    .argument('<namespace>')
    .argument('<machine>', MACHINE)
    .description('remove a machine with its agents')
    .action(async (name: string, machine: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const removed = await (await connect(cli)).admin.removeMember(name, machine);
      const who = `"${inline(removed.machine)}" (${inline(removed.peer_id)})`;
      const text = `Removed ${who} from ${inline(name)}. Every member is told as it is reached; what waited here for that machine is given up.`;
      await cli.show({ json: { removed }, text });
    });

  namespace
    .command('promote')
    .argument('<namespace>')
    .argument('<machine>', MACHINE)
    .description('make a machine an admin, which may invite and remove machines')
    .action(async (name: string, machine: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      const promoted = await (await connect(cli)).admin.promote(name, machine);
      const who = `"${inline(promoted.machine)}" (${inline(promoted.peer_id)})`;
      await cli.show({ json: { promoted }, text: `${who} is an admin of ${inline(name)} now.` });
    });

  namespace
    .command('leave')
    .argument('<namespace>')
    .description('take this machine and its agents out of a namespace')
    .action(async (name: string, _options: unknown, command: Command) => {
      const cli = cliOf(command);
      await (await connect(cli)).admin.leave(name);
      const text = `This machine has left ${inline(name)}; its agents there are removed.`;
      await cli.show({ json: { namespace: name, left: true }, text });
    });

  namespace
    .command('recover')
    .argument('<namespace>')
    .description('make this machine an admin by the 24 recovery words, which are read from stdin')
    .option('--remove <machine>', 'also remove a machine, such as the one that was lost')
    .action(recover);
}

/** The words are a secret of the whole namespace: never an argument, which every user of the computer can read. */
async function recover(name: string, options: { remove?: string }, command: Command): Promise<void> {
  const cli = cliOf(command);
  const { admin } = await connect(cli);
  const { stdin } = process;
  if (stdin.isTTY) await notice(`Type or paste the 24 recovery words of ${inline(name)}, then Enter:`);
  const typed = await readText('-', PHRASE_SIZE_BYTES_MAX, stdin.isTTY ? untilComplete(stdin) : stdin);
  const view = await admin.recover(name, readPhrase(typed), options.remove);
  const removed = options.remove === undefined ? '' : `\n"${inline(options.remove)}" was removed.`;
  const text = `This machine is an admin of ${inline(view.namespace)} now.${removed}\n${namespacesText([view])}`;
  await cli.show({ json: view, text });
}
