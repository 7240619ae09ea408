import { fileURLToPath } from 'node:url';
import type { Client } from '../daemon/client/client.ts';
import type { DaemonInfo } from '../daemon/daemon-json.ts';
import { findDaemon } from '../daemon/health.ts';
import type { Session } from '../mcp/messenger.ts';
import { PatchcordError } from '../protocol/errors.ts';
import { packageVersion } from '../daemon/version.ts';
import type { Cli } from './cli.ts';

/** The script that Node runs as `patchcord`, next to this file: bin.ts in the sources, bin.js in the package. */
const BIN = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './bin.ts' : './bin.js', import.meta.url),
);

/**
 * The daemon of the home, started in the background when none runs. `flags` are those of `patchcord daemon`; a
 * daemon that runs already does not see them.
 */
export async function startedDaemon(
  cli: Cli,
  flags: readonly string[] = [],
): Promise<{ info: DaemonInfo; started: boolean }> {
  const { paths, log } = cli;
  const found = await findDaemon(paths);
  if (found.state === 'running') return { info: found.info, started: false };
  // Most commands find a daemon, so that they need not load what starts one.
  const { ensureDaemon } = await import('../daemon/background.ts');
  const command = [process.execPath, BIN, 'daemon', '--background', '--home', paths.home, ...flags] as const;
  return ensureDaemon({ paths, log, command });
}

/** The daemon of the home as it is. Throws `daemon_unreachable` when none runs or it does not answer. */
export async function runningDaemon(cli: Cli): Promise<DaemonInfo> {
  const found = await findDaemon(cli.paths);
  if (found.state === 'running') return found.info;
  if (found.state === 'silent') throw (await import('../daemon/stop-daemon.ts')).silent(found.info);
  throw new PatchcordError(
    'daemon_unreachable',
    `No daemon runs in the home ${cli.paths.home}.`,
    'Start it with `patchcord up`.',
  );
}

/** A client of a daemon's API, with the token that the home keeps for its user. */
export async function clientOf(cli: Cli, info: DaemonInfo): Promise<Client> {
  const [{ createClient }, { readApiToken }] = await Promise.all([
    import('../daemon/client/client.ts'),
    import('../daemon/keys/keys.ts'),
  ]);
  const token = await readApiToken(cli.paths, cli.log);
  return createClient({ socketPath: info.socket, ...(token !== undefined && { token }) });
}

/** A client of the home's daemon, which is started when none runs. */
export async function connect(cli: Cli): Promise<Client> {
  const { info } = await startedDaemon(cli);
  return clientOf(cli, info);
}

/** Acts once as an agent; `byPerson` when what it says is a person's word. The session is closed at the end, which gives back what it showed and did not confirm. */
export async function withSession<T>(
  cli: Cli,
  agent: string,
  use: (session: Session) => Promise<T>,
  options: { byPerson?: boolean } = {},
): Promise<T> {
  const { messenger } = await connect(cli);
  const session = await messenger.open({ agent, client: `patchcord-cli ${packageVersion()}`, ...options });
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}
