import { homedir, hostname } from 'node:os';
import { resolve } from 'node:path';
import envPaths from 'env-paths';
import { z } from 'zod';
import { parseDuration } from '../protocol/duration.ts';
import { PatchcordError } from '../protocol/errors.ts';
import {
  ADDRESSES_MAX,
  HOPS_CONFIGURED_MAX,
  HOPS_DEFAULT,
  LABEL_LENGTH_MAX,
  LINKS_CONFIGURED_MAX,
  LINKS_CONFIGURED_MIN,
  LINKS_MAX,
  RETENTION_MS,
  RETENTION_MS_MAX,
  RETENTION_MS_MIN,
} from '../protocol/limits.ts';
import { plainLine } from '../protocol/plain-line.ts';

const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What the daemon was told to be: read once, frozen, passed down. Undefined means: not asked for, choose. */
export interface DaemonConfig {
  readonly home: string;
  readonly httpPort: number | undefined;
  readonly listen: readonly string[] | undefined;
  readonly peers: readonly string[];
  /** Addresses to tell others beside those that this machine listens on. */
  readonly announce: readonly string[];
  /** Whether machines on the same network are looked for by multicast. */
  readonly mdns: boolean;
  readonly label: string;
  /** How long mail waits and the history is kept. */
  readonly retentionMs: number;
  readonly logLevel: LogLevel;
  /** Longest chain of answers without a person. */
  readonly hopsMax: number;
  /** Whether this machine passes bytes on between members. */
  readonly relay: boolean;
  /** Links kept in one namespace; its members are to have the same number. */
  readonly linksMax: number;
}

/** What came with the command line, as typed. */
export interface DaemonFlags {
  home?: string | undefined;
  httpPort?: string | undefined;
  listen?: readonly string[] | undefined;
  peer?: readonly string[] | undefined;
  announce?: readonly string[] | undefined;
  /** False for --no-mdns. */
  mdns?: boolean | undefined;
  name?: string | undefined;
  maxHops?: string | undefined;
  retention?: string | undefined;
  relay?: boolean | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A multiaddr in shape; libp2p reads it in full and refuses what is left. */
const LISTEN_PATTERN = /^\/(ip4|ip6)\/[^/\s]+\/tcp\/\d{1,5}(\/ws)?$/;
const PEER_PATTERN =
  /^\/(ip4|ip6|dns|dns4|dns6)\/[^/\s]+\/tcp\/\d{1,5}(\/ws|\/wss|\/tls\/ws)?(\/p2p\/[1-9A-HJ-NP-Za-km-z]{40,60}\/p2p-circuit)?\/p2p\/[1-9A-HJ-NP-Za-km-z]{40,60}$/;

const ANNOUNCE_PATTERN = /^\/(ip4|ip6|dns|dns4|dns6)\/[^/\s]+\/(tcp|udp)\/\d{1,5}(\/[a-z][a-z0-9-]*)*$/;

const zPort = z
  .string()
  .regex(/^\d{1,5}$/, 'Give a port number from 0 to 65535; 0 picks a free one.')
  .transform(Number)
  .pipe(z.number().max(65_535, 'Give a port number from 0 to 65535; 0 picks a free one.'));

const zListen = z
  .array(
    z
      .string()
      .regex(LISTEN_PATTERN, 'Give addresses such as /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/tcp/443/ws.'),
  )
  .max(ADDRESSES_MAX, `Give at most ${ADDRESSES_MAX} addresses.`);

const zPeers = z
  .array(z.string().regex(PEER_PATTERN, 'Give addresses such as /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo….'))
  .max(1_000, 'Give at most 1000 addresses.');

const zAnnounce = z
  .array(
    z
      .string()
      .max(200, 'Give shorter addresses.')
      .regex(
        ANNOUNCE_PATTERN,
        'Give addresses such as /ip4/192.0.2.7/tcp/4001 or /dns4/example.org/tcp/4001.',
      ),
  )
  .max(ADDRESSES_MAX, `Give at most ${ADDRESSES_MAX} addresses.`);

const zLabelInput = z
  .string()
  .transform(sanitizeLabel)
  .pipe(z.string().min(1, 'Give a name with at least one printable character.'));

const HOPS_REMEDY = `Give a number from 1 to ${HOPS_CONFIGURED_MAX}.`;
const zHops = z
  .string()
  .regex(/^\d{1,4}$/, HOPS_REMEDY)
  .transform(Number)
  .pipe(z.number().min(1, HOPS_REMEDY).max(HOPS_CONFIGURED_MAX, HOPS_REMEDY));
const zRetention = z
  .string()
  .transform(parseDuration)
  .pipe(
    z
      .number('Give a duration such as 36h or 14d.')
      .min(RETENTION_MS_MIN, 'Give at least 1d.')
      .max(RETENTION_MS_MAX, 'Give at most 30d.'),
  );

const LINKS_REMEDY = `Give a number from ${LINKS_CONFIGURED_MIN} to ${LINKS_CONFIGURED_MAX}.`;
const zLinks = z
  .string()
  .regex(/^\d{1,4}$/, LINKS_REMEDY)
  .transform(Number)
  .pipe(z.number().min(LINKS_CONFIGURED_MIN, LINKS_REMEDY).max(LINKS_CONFIGURED_MAX, LINKS_REMEDY));

const zLogLevel = z.enum(LOG_LEVELS, `Give one of ${LOG_LEVELS.join(', ')}.`);

/**
 * The folder that holds everything of one machine: the flag, PATCHCORD_HOME, or the platform's data folder.
 * Throws `invalid_input` for a flag without a folder, which is more likely an unset variable than a wish.
 */
export function readHome(flag: string | undefined, environment: Environment = process.env): string {
  if (flag?.trim() === '') throw new PatchcordError('invalid_input', '--home is empty.', 'Name a folder.');
  const given = value(flag) ?? value(environment['PATCHCORD_HOME']);
  if (given === undefined) return envPaths('patchcord', { suffix: '' }).data;
  return resolve(given.startsWith('~/') ? given.replace('~', homedir()) : given);
}

/**
 * Reads what the daemon is to be from the flags and, where a flag is silent, from the environment. An empty
 * variable counts as none. Throws `invalid_input` that names the flag or the variable.
 */
export function readConfig(flags: DaemonFlags, environment: Environment = process.env): DaemonConfig {
  const read = <Out>(
    schema: z.ZodType<Out>,
    names: Names,
    flag: unknown,
    parse = (text: string): unknown => text,
  ) => {
    if (flag !== undefined) return check(schema, names.flag, flag);
    const text = value(environment[names.variable]);
    return text === undefined ? undefined : check(schema, names.variable, parse(text));
  };
  return Object.freeze({
    home: readHome(flags.home, environment),
    httpPort: read(zPort, { flag: '--http-port', variable: 'PATCHCORD_HTTP_PORT' }, flags.httpPort),
    listen: read(zListen, { flag: '--listen', variable: 'PATCHCORD_LISTEN' }, some(flags.listen), split),
    peers: read(zPeers, { flag: '--peer', variable: 'PATCHCORD_PEERS' }, some(flags.peer), split) ?? [],
    announce:
      read(zAnnounce, { flag: '--announce', variable: 'PATCHCORD_ANNOUNCE' }, some(flags.announce), split) ??
      [],
    // The flag can only say no.
    mdns:
      flags.mdns !== false &&
      (read(zSwitch, { flag: '--no-mdns', variable: 'PATCHCORD_MDNS' }, undefined) ?? true),
    label: read(zLabelInput, { flag: '--name', variable: 'PATCHCORD_NAME' }, flags.name) ?? labelDefault(),
    hopsMax: read(zHops, { flag: '--max-hops', variable: 'PATCHCORD_HOPS' }, flags.maxHops) ?? HOPS_DEFAULT,
    relay:
      read(zSwitch, { flag: '--relay', variable: 'PATCHCORD_RELAY' }, flags.relay ? 'on' : undefined) ??
      false,
    linksMax: check(
      zLinks,
      'PATCHCORD_LINKS_MAX',
      value(environment['PATCHCORD_LINKS_MAX']) ?? String(LINKS_MAX),
    ),
    retentionMs:
      read(zRetention, { flag: '--retention', variable: 'PATCHCORD_RETENTION' }, flags.retention) ??
      RETENTION_MS,
    logLevel: check(zLogLevel, 'PATCHCORD_LOG_LEVEL', value(environment['PATCHCORD_LOG_LEVEL']) ?? 'info'),
  });
}

/** A name that fits on one line of someone else's screen: no control characters, single spaces, not too long. */
export function sanitizeLabel(text: string): string {
  return plainLine(text, LABEL_LENGTH_MAX);
}

interface Names {
  flag: string;
  variable: string;
}

function check<Out>(schema: z.ZodType<Out>, name: string, input: unknown): Out {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const shown = (Array.isArray(input) ? input.join(',') : String(input)).slice(0, 100);
  const remedy = parsed.error.issues[0]?.message ?? '';
  throw new PatchcordError('invalid_input', `${name} is not valid: ${JSON.stringify(shown)}.`, remedy);
}

function labelDefault(): string {
  return sanitizeLabel(hostname()) || 'machine';
}

function value(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}

function some(list: readonly string[] | undefined): readonly string[] | undefined {
  return list === undefined || list.length === 0 ? undefined : list;
}

function split(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
