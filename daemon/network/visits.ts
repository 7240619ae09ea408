import type { Connection } from '@libp2p/interface';
import { TABLE_VISIT_IDLE_MS, TABLE_VISITS_MAX } from '../../protocol/limits.ts';
import type { Clock, Timer } from '../clock.ts';

export interface VisitsOptions {
  /** The connection of a machine's link, if there is one. */
  linkWith(peerId: string): Connection | undefined;
  /** Connects to a machine at the first of the addresses that works. */
  connect(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<Connection>;
  clock: Clock;
}

interface Visit {
  readonly connection: Promise<Connection>;
  timer?: Timer;
}

/**
 * Connections with machines that are to be asked something and with which there is no link. There are only so many at a
 * time, and each ends soon after its last use.
 */
export class Visits {
  readonly #options: VisitsOptions;
  readonly #visits = new Map<string, Visit>();
  #stopped = false;

  constructor(options: VisitsOptions) {
    this.#options = options;
  }

  /** The link's connection, else one of its own; no new one is made where `addresses` is undefined. */
  async with(
    peerId: string,
    addresses: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<Connection> {
    const link = this.#options.linkWith(peerId);
    if (link?.status === 'open') return link;
    const visit = this.#visits.get(peerId) ?? this.#begin(peerId, addresses, signal);
    this.#rest(peerId, visit);
    const connection = await visit.connection;
    if (connection.status === 'open') return connection;
    this.#end(peerId, visit);
    throw new Error('the connection has ended');
  }

  stop(): void {
    this.#stopped = true;
    for (const [peerId, visit] of this.#visits) this.#end(peerId, visit);
  }

  #begin(peerId: string, addresses: readonly string[] | undefined, signal: AbortSignal): Visit {
    if (addresses === undefined) throw new Error('not linked');
    if (this.#stopped || this.#visits.size >= TABLE_VISITS_MAX) throw new Error('too many visits');
    const visit = { connection: this.#options.connect(peerId, addresses, signal) };
    this.#visits.set(peerId, visit);
    visit.connection.catch(() => this.#end(peerId, visit));
    return visit;
  }

  #rest(peerId: string, visit: Visit): void {
    visit.timer?.cancel();
    visit.timer = this.#options.clock.after(TABLE_VISIT_IDLE_MS, () => this.#end(peerId, visit));
  }

  #end(peerId: string, visit: Visit): void {
    visit.timer?.cancel();
    if (this.#visits.get(peerId) === visit) this.#visits.delete(peerId);
    visit.connection.then(
      (connection) => connection.abort(new Error('the visit is over')),
      () => {},
    );
  }
}
