import { Command } from 'commander';
import { nearestNames } from '../protocol/address.ts';
import { packageVersion } from '../daemon/version.ts';
import { addAgentCommands } from './commands/agent.ts';
import { addBackupCommands } from './commands/backup.ts';
import { addBundleCommands } from './commands/bundle.ts';
import { addCompletionCommand } from './commands/completion.ts';
import { addDaemonCommands } from './commands/daemon.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addHistoryCommands } from './commands/history.ts';
import { addInboxCommands } from './commands/inbox.ts';
import { addLogsCommand } from './commands/logs.ts';
import { addMcpCommand } from './commands/mcp.ts';
import { addNamespaceCommands } from './commands/namespace.ts';
import { addSendCommands } from './commands/send.ts';
import { addTopCommand } from './commands/top.ts';
import { addWatchCommand } from './commands/watch.ts';

/** Where commander puts its own texts: help and version on one side, complaints on the other. */
export interface ProgramOutput {
  out: (text: string) => void;
  err: (text: string) => void;
}

/**
 * The whole command line. Commander throws instead of ending the process; help and usage errors included.
 */
export function createProgram(output: ProgramOutput): Command {
  const program = new Command('patchcord')
    .description('A serverless messenger for AI agents.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .option('--home <dir>', 'the folder of this machine (or PATCHCORD_HOME)')
    .option('--json', 'print one JSON document')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: output.out, writeErr: output.err })
    .showHelpAfterError('(see `patchcord help`)')
    .exitOverride();
  addDaemonCommands(program);
  addLogsCommand(program);
  addDoctorCommand(program);
  addNamespaceCommands(program);
  addAgentCommands(program);
  addMcpCommand(program);
  addSendCommands(program);
  addInboxCommands(program);
  addHistoryCommands(program);
  addTopCommand(program);
  addWatchCommand(program);
  addBundleCommands(program);
  addBackupCommands(program);
  addCompletionCommand(program);
  // Last, because commands inherit what is set before they are added.
  program.allowExcessArguments().action(() => refuseUnknown(program));
  return program;
}

/** `patchcord` alone prints its help; `patchcord wrod` says what was meant. */
function refuseUnknown(program: Command): void {
  const [word] = program.args;
  if (word === undefined) {
    program.outputHelp();
    return;
  }
  const known = program.commands.map((command) => command.name());
  const near = nearestNames(word, known, 1);
  const hint = near.length === 0 ? '' : `\n(Did you mean ${near.join(' or ')}?)`;
  program.error(`error: unknown command '${word}'${hint}`, { code: 'commander.unknownCommand' });
}
