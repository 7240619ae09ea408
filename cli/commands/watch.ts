import { Argument, Option, type Command } from 'commander';
import { inline } from '../../mcp/frame.ts';
import type { WatchView } from '../../protocol/admin-views.ts';
import { zWatchedState, type WatchedState } from '../../protocol/watch.ts';
import { cliOf } from '../cli.ts';
import { connect } from '../connection.ts';
import { asOption, durationMs } from '../options.ts';

interface WatchOptions {
  as: string;
  for?: number;
  list?: boolean;
  cancel?: string;
}

const ABOUT = `
The notice comes into the inbox of the agent named by --as, once, at once when it is so already. A watch that is over
is told as well.`;

/** `watch`: tells an agent when another is here, or idle. */
export function addWatchCommand(program: Command): void {
  program
    .command('watch')
    .argument('[agent]', 'the agent to watch: name@namespace')
    .addArgument(new Argument('[state]', 'what to be told of').choices(zWatchedState.options).default('idle'))
    .description('tell an agent of this machine when another one is online, or idle')
    .addOption(asOption())
    .option('--for <duration>', 'how long, such as 2h or 3d, 7d at most (default: 24h)', durationMs)
    .option('--list', 'list what the agent watches')
    .addOption(new Option('--cancel <id>', 'end one of these').conflicts(['list', 'for']))
    .addHelpText('after', ABOUT)
    .action(
      async (agent: string | undefined, state: WatchedState, options: WatchOptions, command: Command) => {
        const cli = cliOf(command);
        const { as } = options;
        if ((agent === undefined) !== (options.list === true || options.cancel !== undefined))
          command.error("error: name an agent to watch, or one of '--list' and '--cancel <id>'");
        const { admin } = await connect(cli);
        if (options.list) {
          const watches = await admin.watches(as);
          const text = watches.length === 0 ? 'No watches.' : watches.map(watchLine).join('\n');
          return cli.show({ json: { watches }, text });
        }
        if (options.cancel !== undefined) {
          const ended = await admin.unwatch(as, options.cancel);
          return cli.show({ json: ended, text: `Cancelled: ${watchLine(ended)}` });
        }
        const watch = await admin.watch(as, { agent: agent!, state, ttlMs: options.for });
        return cli.show({ json: watch, text: watchLine(watch) });
      },
    );
}

function watchLine({ id, as, agent, state, expires_at: until }: WatchView): string {
  return `${inline(as)} is told when ${inline(agent)} is ${state}, until ${inline(until)} (id ${inline(id)})`;
}
