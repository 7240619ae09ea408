import { Option, type Command } from 'commander';
import type { StatusView } from '../../protocol/admin-views.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import type { CheckView, PeerView } from '../../protocol/doctor-view.ts';
import { findPeer, isAway, isWell, peerText } from '../peer-text.ts';
import { systemClock } from '../../daemon/clock.ts';
import { homeChecks } from '../../daemon/doctor/home-checks.ts';
import { findDaemon } from '../../daemon/health.ts';
import { packageVersion } from '../../daemon/version.ts';
import { inline } from '../../mcp/frame.ts';
import { cliOf, type Cli } from '../cli.ts';
import { clientOf, runningDaemon } from '../connection.ts';

interface Health {
  checks: CheckView[];
  peers: PeerView[];
}

interface DoctorOptions {
  repair?: boolean;
  ack?: boolean;
}

const ABOUT = `
It looks at the files of the home, the disk, the clock, and every record of the store: whether each opens, and whether
they agree. With a daemon it asks that; without one it opens the store itself. It changes nothing without --repair.
With a daemon it also says why other machines are not reached, and what to do; all of it with PEER, of one machine.
What --repair cannot read it keeps: records in quarantine, files in store.damaged-TIME beside the store. Exit code 1
when a check fails.`;

/** `doctor`: one line a check. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .argument(
      '[peer]',
      'only why this machine is reached or not: a label, a peer id, or an agent that lives there',
    )
    .description('look whether this machine, its store and its links are well')
    .option('--repair', 'put right what can be; nothing that can be read is removed')
    .addOption(
      new Option('--ack', 'you have read what was damaged: status and inboxes stop saying it').conflicts(
        'repair',
      ),
    )
    .addHelpText('after', ABOUT)
    .action(async (peer: string | undefined, options: DoctorOptions, command: Command) => {
      const cli = cliOf(command);
      if (peer !== undefined) {
        if (options.repair || options.ack)
          command.error('error: --repair and --ack are about the store alone');
        return showPeer(cli, peer);
      }
      const health = await examine(cli, options);
      const checks = [...(await homeChecks(cli.paths, systemClock.now())), ...health.checks];
      const failed = checks.some(({ state }) => state === 'fail');
      const { peers } = health;
      const lines = [...checks.map(checkLine), ...peers.filter(isAway).map(peerText)];
      await cli.show({ json: { checks, peers }, text: lines.join('\n'), refused: failed });
    });
}

async function showPeer(cli: Cli, text: string): Promise<void> {
  const client = await clientOf(cli, await runningDaemon(cli));
  const peer = findPeer(await client.doctor.peers(), text);
  await cli.show({ json: { peers: [peer] }, text: peerText(peer), refused: !isWell(peer) });
}

async function examine(cli: Cli, { repair = false, ack = false }: DoctorOptions): Promise<Health> {
  const found = await findDaemon(cli.paths);
  if (found.state === 'silent') {
    const text = `process ${found.info.pid} has the home and does not answer`;
    const remedy = 'End it, then start again with `patchcord up`.';
    return { checks: [{ name: 'daemon', state: 'fail', text, remedy }], peers: [] };
  }
  try {
    if (found.state === 'running') {
      const client = await clientOf(cli, found.info);
      if (ack) await client.doctor.acknowledge();
      const { checks } = repair ? await client.doctor.repair() : await client.doctor.examine();
      return {
        checks: [...runningChecks(await client.status()), ...checks],
        peers: await client.doctor.peers(),
      };
    }
    const { examineOffline } = await import('../../daemon/doctor/offline.ts');
    const text = 'none runs; the store was opened by this command';
    const checks = await examineOffline(cli.paths, cli.log, { repair, acknowledge: ack });
    return { checks: [{ name: 'daemon', state: 'ok', text }, ...checks], peers: [] };
  } catch (error) {
    const { message, remedy } = asPatchcordError(error);
    const check: CheckView = {
      name: 'store',
      state: 'fail',
      text: message,
      ...(remedy !== '' && { remedy }),
    };
    return { checks: [check], peers: [] };
  }
}

function runningChecks(status: StatusView): CheckView[] {
  const { version, pid, namespaces, links } = status;
  const own = packageVersion();
  const process = `process ${pid}, version ${version}`;
  const daemon: CheckView =
    version === own
      ? { name: 'daemon', state: 'ok', text: process }
      : {
          name: 'daemon',
          state: 'warn',
          text: `${process}, while this command is ${own}`,
          remedy: 'Restart it: `patchcord down`, then `patchcord up`.',
        };
  const up = links.filter((link) => link.up).length;
  const queued = links.reduce((sum, link) => sum + link.queued, 0);
  const isAlone = links.length > 0 && up === 0;
  const text = `${namespaces.length} namespaces; ${up} of ${links.length} machines linked; ${queued} letters wait`;
  return [daemon, { name: 'links', state: isAlone ? 'warn' : 'ok', text }, ...natChecks(status)];
}

/** Said where a relay has told; nobody else is asked. */
function natChecks({ seen_as: seen, behind_nat: behind }: StatusView): CheckView[] {
  if (seen === undefined) return [];
  const text = behind ? `behind NAT, seen as ${seen}` : `no NAT, seen as ${seen}`;
  return [{ name: 'nat', state: 'ok', text }];
}

function checkLine({ name, state, text, remedy }: CheckView): string {
  const line = `${state.padEnd(4)} ${name}: ${inline(text, 4_096)}`;
  return remedy === undefined ? line : `${line}\n     ${inline(remedy, 4_096)}`;
}
