import { Command } from 'commander';
import { nearestNames } from '../protocol/address.ts';
import { packageVersion } from '../daemon/version.ts';

/** Where commander puts its own texts: help and version on one side, complaints on the other. */
export interface ProgramOutput {
  out: (text: string) => void;
  err: (text: string) => void;
}

/** A file of commands; only a line that may name one of them has it loaded. */
interface Part {
  names: readonly string[];
  load: () => Promise<(program: Command) => void>;
}

/** In the order in which help shows them. */
const PARTS: readonly Part[] = [
  {
    names: ['daemon', 'up', 'down', 'status'],
    load: async () => (await import('./commands/daemon.ts')).addDaemonCommands,
  },
  { names: ['logs'], load: async () => (await import('./commands/logs.ts')).addLogsCommand },
  { names: ['doctor'], load: async () => (await import('./commands/doctor.ts')).addDoctorCommand },
  { names: ['namespace'], load: async () => (await import('./commands/namespace.ts')).addNamespaceCommands },
  { names: ['agent'], load: async () => (await import('./commands/agent.ts')).addAgentCommands },
  { names: ['mcp'], load: async () => (await import('./commands/mcp.ts')).addMcpCommand },
  {
    names: ['send', 'reply', 'reset', 'unsend'],
    load: async () => (await import('./commands/send.ts')).addSendCommands,
  },
  { names: ['inbox', 'wait'], load: async () => (await import('./commands/inbox.ts')).addInboxCommands },
  { names: ['recall'], load: async () => (await import('./commands/history.ts')).addHistoryCommands },
  { names: ['top'], load: async () => (await import('./commands/top.ts')).addTopCommand },
  { names: ['watch'], load: async () => (await import('./commands/watch.ts')).addWatchCommand },
  { names: ['bundle'], load: async () => (await import('./commands/bundle.ts')).addBundleCommands },
  {
    names: ['backup', 'restore'],
    load: async () => (await import('./commands/backup.ts')).addBackupCommands,
  },
  {
    names: ['completion'],
    load: async () => (await import('./commands/completion.ts')).addCompletionCommand,
  },
];
const NAMES = [...PARTS.flatMap(({ names }) => names), 'help'];
/** Words for which commander has to know every command. */
const FOR_ALL = ['help', '-h', '--help', 'completion'];
const FOR_NONE = ['-V', '--version'];

/**
 * The command line, with the commands that these arguments may name, or all of them where they name none. Commander
 * throws instead of ending the process; help and usage errors included.
 */
export async function createProgram(args: readonly string[], output: ProgramOutput): Promise<Command> {
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
  const adders = await Promise.all(partsFor(args).map(({ load }) => load()));
  for (const add of adders) add(program);
  // Last, because commands inherit what is set before they are added.
  program.allowExcessArguments().action(() => refuseUnknown(program));
  return program;
}

function partsFor(args: readonly string[]): readonly Part[] {
  if (FOR_ALL.some((word) => args.includes(word))) return PARTS;
  const named = PARTS.filter(({ names }) => names.some((name) => args.includes(name)));
  if (named.length > 0) return named;
  return FOR_NONE.some((word) => args.includes(word)) ? [] : PARTS;
}

/** `patchcord` alone prints its help; `patchcord wrod` says what was meant. */
function refuseUnknown(program: Command): void {
  const [word] = program.args;
  if (word === undefined) {
    program.outputHelp();
    return;
  }
  const near = nearestNames(word, NAMES, 1);
  const hint = near.length === 0 ? '' : `\n(Did you mean ${near.join(' or ')}?)`;
  program.error(`error: unknown command '${word}'${hint}`, { code: 'commander.unknownCommand' });
}
