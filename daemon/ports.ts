import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { z } from 'zod';
import { writeFileAtomic } from './atomic-file.ts';
import type { HomePaths } from './home.ts';
import type { Log } from './log.ts';

/**
 * The ports of a home whose user asked for none. Each is picked once and kept in settings.json, so that the
 * addresses in invites and in other programs' configuration hold over a restart.
 */
const zPorts = z.object({
  http_port: z.int().min(1).max(65_535).optional(),
  p2p_port: z.int().min(1).max(65_535).optional(),
});
export type Ports = z.infer<typeof zPorts>;

/** Where the HTTP API listens: this machine alone can reach it. */
export const HTTP_HOST = '127.0.0.1';
/** The port of the HTTP API unless told otherwise; IANA has it unassigned. */
export const HTTP_PORT_DEFAULT = 7468;
const EVERYWHERE = '0.0.0.0';

/** What settings.json remembers; a file that cannot be read remembers nothing. */
export async function readPorts(paths: HomePaths, log: Log): Promise<Ports> {
  let text: string;
  try {
    text = await readFile(paths.settings, 'utf8');
  } catch {
    return {};
  }
  try {
    return zPorts.parse(JSON.parse(text));
  } catch {
    log.warn({ file: 'settings.json' }, 'the remembered ports cannot be read; new ones are picked');
    return {};
  }
}

/** Writes down the ports of a first start; what is remembered already stays. */
export async function rememberPorts(paths: HomePaths, before: Ports, now: Ports): Promise<void> {
  const ports = { ...now, ...before };
  if (ports.http_port === before.http_port && ports.p2p_port === before.p2p_port) return;
  await writeFileAtomic(paths.settings, `${JSON.stringify(ports, null, 2)}\n`);
}

/**
 * Where to listen when nothing was asked for: everywhere, at the remembered port. One that is taken is not
 * forgotten: whoever holds an invite with it can reach this machine again once it is free.
 */
export async function listenDefault(ports: Ports, log: Log): Promise<string[]> {
  const port = ports.p2p_port ?? 0;
  if (port === 0 || (await isFree(EVERYWHERE, port))) return [`/ip4/${EVERYWHERE}/tcp/${port}`];
  log.warn(
    { port },
    'the remembered port is taken, so older addresses of this machine do not work for now; a free one is used',
  );
  return [`/ip4/${EVERYWHERE}/tcp/0`];
}

/** The TCP port in a multiaddr or an http URL. */
export function portOf(address: string): number | undefined {
  const found = /\/tcp\/(\d+)/.exec(address) ?? /^http:\/\/[^/]+:(\d+)/.exec(address);
  return found === null ? undefined : Number(found[1]);
}

/** Somebody else may take the port between this question and its use; then the start fails and says so. */
function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
