import { createHttpMcp } from '../mcp/http.ts';
import { PatchcordError } from '../protocol/errors.ts';
import { newId } from '../protocol/ids.ts';
import { signerFromSeed } from '../protocol/signing.ts';
import type { ApiAddresses } from './api/admin-routes.ts';
import { createApi, type ApiParts } from './api/api.ts';
import { storeCopy } from './backup/backup.ts';
import { systemClock as clock, systemRandom as random } from './clock.ts';
import type { DaemonConfig } from './config.ts';
import { readDaemonInfo, removeDaemonInfo, writeDaemonInfo, type DaemonInfo } from './daemon-json.ts';
import { SystemMulticast } from './discovery/multicast.ts';
import { systemPlaces } from './discovery/network-watch.ts';
import { findDaemon } from './health.ts';
import { asidePath, homePaths, prepareHome, type HomePaths } from './home.ts';
import { openKeys, type Keys } from './keys/keys.ts';
import { prekeyFile } from './keys/prekey-file.ts';
import type { Log } from './log.ts';
import { createMachine, type Machine } from './machine.ts';
import { createLibp2pNetwork } from './network/libp2p-network.ts';
import type { Network } from './network/network.ts';
import {
  HTTP_HOST,
  HTTP_PORT_DEFAULT,
  listenDefault,
  portOf,
  readPorts,
  rememberPorts,
  type Ports,
} from './ports.ts';
import type { LevelStore } from './store/level-kv.ts';
import { openStore, type OpenedStore } from './store/open-store.ts';
import { packageVersion } from './version.ts';

export interface DaemonOptions {
  log: Log;
  /** Aborting it stops the daemon. */
  signal: AbortSignal;
  /** Called when everything listens and daemon.json is written. */
  onReady(info: DaemonInfo): void;
  /** Called when it begins to stop, whoever asked. */
  onStopping(): void;
}

/** What the parts of one run share. */
interface Run {
  readonly config: DaemonConfig;
  readonly paths: HomePaths;
  readonly ports: Ports;
  readonly log: Log;
  readonly startedAtMs: number;
  /** Has a part stopped when the daemon stops, after all parts that are started later. */
  stopLater(part: string, stop: () => Promise<void>): void;
}

/**
 * Runs the daemon of one home until the signal aborts or the API is told to stop; resolves when everything is
 * closed. What was started is stopped in reverse order, also when a later part cannot start.
 *
 * Throws `home_not_writable`, `home_in_use`, `port_in_use`, `invalid_input` for an address that cannot be
 * listened on, `store_damaged`, `store_failed`, `disk_full`.
 */
export async function runDaemon(config: DaemonConfig, options: DaemonOptions): Promise<void> {
  const { log } = options;
  const paths = homePaths(config.home);
  const stopAsked = new AbortController();
  const started = new AsyncDisposableStack();
  const stopLater: Run['stopLater'] = (part, stop) =>
    started.defer(() =>
      stop().catch((err: unknown) => log.error({ part, err }, 'a part did not stop cleanly')),
    );
  try {
    await prepareHome(paths, log);
    // The store's lock is the home's lock: nothing in the home is written or believed before it is held.
    const opened = await lockStore(paths);
    const { kv } = opened;
    stopLater('store', () => kv.close());
    // What a daemon that was killed has left would be taken for this one's.
    await removeDaemonInfo(paths);
    const run = {
      config,
      paths,
      ports: await readPorts(paths, log),
      log,
      startedAtMs: clock.now(),
      stopLater,
    };
    const storeEmpty = await isEmpty(kv);
    const keys = await openKeys(paths, { storeEmpty, random, log });
    if (!storeEmpty && (await prekeyFile(paths.prekeys).read()) === undefined)
      opened.found.push(
        'the file of private prekeys; mail that was sealed to them is sealed anew by whoever sent it',
      );
    const { machine, network } = await startMachine(run, opened, keys);
    const api = { storeCopy: () => storeCopy(kv), onStop: () => stopAsked.abort() };
    const addresses = await startApi(run, machine, keys, api);
    const info = describe(addresses, network);
    await announce(run, info);
    options.onReady(info);
    await aborted(AbortSignal.any([options.signal, stopAsked.signal]));
    options.onStopping();
    log.info({}, 'stopping');
  } finally {
    await started.disposeAsync();
  }
  log.info({}, 'stopped');
}

/** Throws `home_in_use`, with the pid of the daemon that holds the lock where it is known. */
async function lockStore(paths: HomePaths): Promise<OpenedStore> {
  try {
    return await openStore(paths.store, {
      aside: asidePath(paths, clock.now()),
      isFree: async () => (await findDaemon(paths)).state === 'none',
    });
  } catch (cause) {
    if (!(cause instanceof PatchcordError) || cause.code !== 'home_in_use') throw cause;
    const info = await readDaemonInfo(paths);
    const who =
      info === undefined ? 'Another daemon is starting or stopping' : `A daemon (process ${info.pid}) runs`;
    throw new PatchcordError(
      'home_in_use',
      `${who} in the home ${paths.home}.`,
      'Use it as it is, stop it with `patchcord down`, or choose another --home.',
      { cause },
    );
  }
}

async function isEmpty(kv: LevelStore): Promise<boolean> {
  // Keys are ASCII.
  return (await kv.range({ from: '', to: '\x7f', limit: 1 })).length === 0;
}

async function startMachine(
  run: Run,
  { kv, ...opened }: OpenedStore,
  keys: Keys,
): Promise<{ machine: Machine; network: Network }> {
  const { config, paths, ports, log } = run;
  const boot = newId(run.startedAtMs, random.bytes);
  const network = createLibp2pNetwork({
    seed: keys.machineSeed,
    listen: config.listen ?? (await listenDefault(ports, log)),
    announce: config.announce,
    clock,
    random,
    log,
    bootId: boot,
  });
  const machine = await createMachine({
    signer: signerFromSeed(keys.machineSeed),
    kv,
    storeKey: keys.storeKey,
    prekeyFile: prekeyFile(paths.prekeys),
    // Read and replaced as a whole, like the other.
    tallyFile: prekeyFile(paths.storeTally),
    opened,
    network,
    clock,
    random,
    log,
    boot,
    label: config.label,
    platform: `${process.platform} ${process.arch}`,
    peers: config.peers,
    lan: {
      places: systemPlaces,
      ...(config.mdns && { multicast: (onDatagram) => new SystemMulticast(log, onDatagram) }),
    },
    hopsMax: config.hopsMax,
    relay: config.relay,
    linksMax: config.linksMax,
    retentionMs: config.retentionMs,
  });
  run.stopLater('machine', () => machine.stop());
  await machine.start();
  return { machine, network };
}

/** A port that was asked for is that port or none; the usual one gives way to any that is free. */
async function startApi(
  run: Run,
  machine: Machine,
  keys: Keys,
  more: Pick<ApiParts, 'storeCopy' | 'onStop'>,
): Promise<ApiAddresses> {
  const { config, paths, ports, log } = run;
  const parts: ApiParts = {
    messenger: machine.messenger,
    admin: machine.admin,
    bundles: machine.bundles,
    doctor: machine.doctor,
    top: machine.top,
    mcp: createHttpMcp(),
    log,
    clock,
    info: {
      version: packageVersion(),
      pid: process.pid,
      home: paths.home,
      startedAt: new Date(run.startedAtMs).toISOString(),
    },
    apiToken: keys.apiToken,
    ...more,
  };
  const start = async (port: number): Promise<ApiAddresses> => {
    const api = createApi(parts);
    const addresses = await api.start({ socketPath: paths.socket, host: HTTP_HOST, port });
    run.stopLater('api', () => api.stop());
    return addresses;
  };
  if (config.httpPort !== undefined) return start(config.httpPort);
  const port = ports.http_port ?? HTTP_PORT_DEFAULT;
  try {
    return await start(port);
  } catch (error) {
    if (!(error instanceof PatchcordError) || error.code !== 'port_in_use') throw error;
    log.warn({ port }, 'the usual HTTP port is taken; a free one is used');
    return start(0);
  }
}

function describe({ http, socket }: ApiAddresses, network: Network): DaemonInfo {
  const { peerId } = network;
  return { pid: process.pid, version: packageVersion(), http, socket, peerId, listen: network.addresses() };
}

/** Remembers the ports that were chosen here, then tells the home that everything is up. */
async function announce(run: Run, info: DaemonInfo): Promise<void> {
  const { config, paths, ports, log } = run;
  const p2p = info.listen.map(portOf).find((port) => port !== undefined);
  await rememberPorts(paths, ports, {
    ...(config.httpPort === undefined && { http_port: portOf(info.http) }),
    ...(config.listen === undefined && { p2p_port: p2p }),
  });
  await writeDaemonInfo(paths, info);
  run.stopLater('daemon.json', () => removeDaemonInfo(paths));
  log.info(info, 'ready');
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
