import type { Messenger } from '../../mcp/messenger.ts';
import { zStatusView } from '../../protocol/admin-views.ts';
import type { StatusView } from '../../protocol/admin-views.ts';
import { zStopAnswer } from '../api/answers.ts';
import { createAdmin } from './admin.ts';
import type { AdminClient } from './admin.ts';
import { createBundles } from './bundles.ts';
import type { BundlesClient } from './bundles.ts';
import { createDoctor } from './doctor.ts';
import type { Doctor } from '../api/doctor.ts';
import type { Top } from '../api/top.ts';
import { openSession } from './session.ts';
import { createTop } from './top.ts';
import { createWire } from './wire.ts';
import type { WireOptions } from './wire.ts';

/** A running daemon, seen from another process of the same user. */
export interface Client {
  messenger: Messenger;
  admin: AdminClient;
  bundles: BundlesClient;
  doctor: Doctor;
  top: Top;
  /** The whole status: the machine's, and the daemon's process and addresses. */
  status(): Promise<StatusView>;
  /** The records of the store, as daemon/backup reads them. */
  storeCopy(signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Asks the daemon to stop; it answers before it does. */
  stop(): Promise<void>;
}

/**
 * Talks to the daemon on its socket. Nothing is connected before the first call, and nothing that is idle keeps
 * the process alive. A daemon that is not there is `daemon_unreachable`.
 */
export function createClient(options: WireOptions): Client {
  const wire = createWire(options);
  return {
    messenger: { open: async (request) => openSession(wire, options.socketPath, request) },
    admin: createAdmin(wire),
    bundles: createBundles(wire),
    doctor: createDoctor(wire),
    top: createTop(wire, options.socketPath),
    status: async () => wire.ask({ method: 'GET', path: '/api/status', answer: zStatusView }),
    storeCopy: async (signal) => wire.drink({ method: 'GET', path: '/api/store', signal }),
    async stop() {
      await wire.ask({ method: 'POST', path: '/api/stop', answer: zStopAnswer });
    },
  };
}
