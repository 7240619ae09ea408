import { Option, type Command } from 'commander';
import type { StatusView } from '../../protocol/admin-views.ts';
import type { DaemonFlags } from '../../daemon/config.ts';
import type { DaemonInfo } from '../../daemon/daemon-json.ts';
import { cliOf, type GlobalOptions } from '../cli.ts';
import { clientOf, runningDaemon, startedDaemon } from '../connection.ts';
import { collect } from '../options.ts';
import { notice } from '../output.ts';
import { statusText } from '../status-text.ts';

interface DaemonOptions extends DaemonFlags, GlobalOptions {
  home?: string;
  background?: boolean;
  mdns: boolean;
  announce?: string[];
}

/** `daemon`, and the same daemon in the background: `up`, `down`, `status`. */
export function addDaemonCommands(program: Command): void {
  withDaemonFlags(program.command('daemon').description('run this machine in the foreground; Ctrl-C ends it'))
    .addOption(new Option('--background').hideHelp())
    .action(async (_options: DaemonOptions, command: Command) => {
      const { runHere } = await import('../run-daemon.ts');
      await runHere(cliOf(command), command, command.optsWithGlobals<DaemonOptions>());
    });

  withDaemonFlags(
    program.command('up').description('run this machine in the background, unless it runs already'),
  ).action(async (options: DaemonOptions, command: Command) => {
    const cli = cliOf(command);
    const { readFlags } = await import('../run-daemon.ts');
    readFlags(command, { ...options, home: cli.paths.home });
    const flags = spelled(options);
    const { info, started } = await startedDaemon(cli, flags);
    if (!started && flags.length > 0) {
      await notice('It ran already, so the flags had no effect: `patchcord down` first.');
    }
    await cli.show({ json: { started, ...info }, text: upText(info, started) });
  });

  program
    .command('down')
    .description('stop the daemon of this home, if one runs')
    .action(async (_options: unknown, command: Command) => {
      const cli = cliOf(command);
      const { stopDaemon } = await import('../../daemon/stop-daemon.ts');
      const ended = await stopDaemon(cli.paths, async (info) => (await clientOf(cli, info)).stop());
      const text = ended === undefined ? 'No daemon runs.' : `Stopped (process ${ended.pid}).`;
      await cli.show({ json: { stopped: ended !== undefined, ...(ended && { pid: ended.pid }) }, text });
    });

  program
    .command('status')
    .description('show this machine: addresses, namespaces, agents, links')
    .action(async (_options: unknown, command: Command) => {
      const cli = cliOf(command);
      const client = await clientOf(cli, await runningDaemon(cli));
      const status: StatusView = await client.status();
      await cli.show({ json: status, text: statusText(status) });
    });
}

function withDaemonFlags(command: Command): Command {
  return command
    .option('--http-port <port>', 'port of the local HTTP API; 0 picks a free one')
    .option(
      '--listen <multiaddr>',
      'where other machines reach this one: /ip4/0.0.0.0/tcp/4747, or with /ws at its end by WebSocket; may be repeated',
      collect,
    )
    .option('--peer <multiaddr>', 'a machine to stay linked with; may be repeated', collect)
    .option('--relay', 'pass bytes on between members that cannot reach each other, as keepers do')
    .option(
      '--announce <multiaddr>',
      'another address of this machine, such as a forwarded port; may be repeated',
      collect,
    )
    .option('--name <label>', "this machine's name for others (default: the host name)")
    .option('--max-hops <number>', 'answers between agents until a person has to step in (default: 40)')
    .option('--retention <duration>', 'how long mail waits and history is kept: 1d to 30d (default: 7d)')
    .option('--no-mdns', 'do not look for machines on the local network by multicast');
}

/** The flags as they go to the daemon process. */
function spelled(options: DaemonOptions): string[] {
  const { httpPort, listen = [], peer = [], announce = [], name, maxHops, retention } = options;
  return [
    ...(httpPort === undefined ? [] : ['--http-port', httpPort]),
    ...listen.flatMap((address) => ['--listen', address]),
    ...peer.flatMap((address) => ['--peer', address]),
    ...(options.relay === true ? ['--relay'] : []),
    ...announce.flatMap((address) => ['--announce', address]),
    ...(name === undefined ? [] : ['--name', name]),
    ...(maxHops === undefined ? [] : ['--max-hops', maxHops]),
    ...(retention === undefined ? [] : ['--retention', retention]),
    ...(options.mdns ? [] : ['--no-mdns']),
  ];
}

function upText(info: DaemonInfo, started: boolean): string {
  return `${started ? 'Started' : 'Runs already'} (process ${info.pid}), API at ${info.http}.`;
}
