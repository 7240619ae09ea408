import type { HttpMcp } from '../../mcp/http.ts';
import type { Messenger } from '../../mcp/messenger.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { adminRoutes, daemonRoutes } from './admin-routes.ts';
import type { ApiAddresses, ApiInfo } from './admin-routes.ts';
import type { Admin } from './admin.ts';
import { createAgentSessions } from './agent-sessions.ts';
import { backupRoute } from './backup-route.ts';
import { bundleRoutes } from './bundle-routes.ts';
import type { Bundles } from './bundles.ts';
import type { Doctor } from './doctor.ts';
import { doctorRoutes } from './doctor-routes.ts';
import { doorOf, listenOnPort, listenOnSocket } from './door.ts';
import type { Door } from './door.ts';
import { mcpRoutes } from './mcp-route.ts';
import { peekRoute } from './peek-route.ts';
import { createServer } from './server.ts';
import type { App } from './server.ts';
import { createSessionLines } from './session-lines.ts';
import { serveSessions } from './session-upgrade.ts';
import { createSessions } from './sessions.ts';
import { topRoutes } from './top-routes.ts';
import type { Top } from './top.ts';
import { createTraffic } from './traffic.ts';

export interface ApiParts {
  messenger: Messenger;
  admin: Admin;
  bundles: Bundles;
  /** The records of the store at this moment, sealed as they lie there; see daemon/backup. */
  storeCopy: () => AsyncIterable<Uint8Array>;
  doctor: Doctor;
  top: Top;
  mcp: HttpMcp;
  log: Log;
  clock: Clock;
  info: ApiInfo;
  /** The bearer token that opens everything; from a file that only this user can read. */
  apiToken: string;
  /** Somebody asked the daemon to stop; called after they have been answered. */
  onStop: () => void;
}

interface ApiListen {
  /** A file path, or a named pipe on Windows. */
  socketPath: string;
  host: '127.0.0.1';
  /** 0 picks a free one. */
  port: number;
}

/** The daemon's HTTP face: the same routes on a socket for this user, and on loopback TCP for holders of a token. */
export interface Api {
  /** Throws `home_in_use`, `port_in_use`, `home_not_writable`; nothing is left open then. Once only. */
  start(at: ApiListen): Promise<ApiAddresses>;
  /** Refuses new requests, ends waits, lets calls finish, closes sessions and connections. Idempotent, bounded. */
  stop(): Promise<void>;
}

/** How long stopping waits for calls in progress, and again for sessions to close. */
const STOP_GRACE_MS = 2_000;
/** And how long for clients to hear the last of a session. */
const LAST_WORDS_MS = 500;

export function createApi(parts: ApiParts): Api {
  if (parts.apiToken === '') throw new PatchcordError('internal', 'The API token is empty.');
  const { messenger, admin, mcp, log, clock } = parts;
  const stop = new AbortController();
  const traffic = createTraffic();
  const sessions = createSessions(messenger, stop.signal);
  const lines = createSessionLines({ sessions, traffic, stopping: stop.signal, clock, log });
  const agents = createAgentSessions(sessions, clock, log);
  const servers: App[] = [];
  let addresses: ApiAddresses = { http: '', socket: '' };
  let stopped: Promise<void> | undefined;

  function serverFor(door: Door): App {
    const app = createServer(door, { ...parts, traffic, stopping: stop.signal });
    daemonRoutes(app, { ...parts, sessions, stopping: stop.signal, addresses: () => addresses });
    adminRoutes(app, admin);
    bundleRoutes(app, parts.bundles, stop.signal);
    backupRoute(app, parts.storeCopy, stop.signal);
    doctorRoutes(app, parts.doctor);
    topRoutes(app, { top: parts.top, traffic, stopping: stop.signal, log });
    peekRoute(app, admin);
    serveSessions(app, { ...parts, door, lines, stopping: stop.signal });
    mcpRoutes(app, { mcp, agents, traffic, log });
    servers.push(app);
    return app;
  }

  async function closeServers(): Promise<void> {
    await Promise.allSettled(servers.map((server) => server.close()));
  }

  async function windDown(): Promise<void> {
    stop.abort(new PatchcordError('stopping', 'The daemon is stopping.'));
    await within(STOP_GRACE_MS, traffic.settled(), clock);
    await within(STOP_GRACE_MS, Promise.allSettled([mcp.close(), sessions.closeAll()]), clock);
    await within(LAST_WORDS_MS, lines.gone(), clock);
    lines.destroy();
    await closeServers();
  }

  return {
    async start({ socketPath, host, port }) {
      try {
        await listenOnSocket(serverFor(doorOf(socketPath)), socketPath);
        const portTaken = await listenOnPort(serverFor('tcp'), host, port);
        addresses = { http: `http://${host}:${portTaken}`, socket: socketPath };
      } catch (error) {
        await closeServers();
        throw error;
      }
      log.info(addresses, 'the API listens');
      return addresses;
    },
    async stop() {
      stopped ??= windDown();
      await stopped;
    },
  };
}

/** Waits for the work, but no longer than that. */
async function within(limitMs: number, work: Promise<unknown>, clock: Clock): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = clock.after(limitMs, late.resolve);
  await Promise.race([work, late.promise]);
  timer.cancel();
}
