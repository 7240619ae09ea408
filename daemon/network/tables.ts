import type { Connection } from '@libp2p/interface';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Dht, NodeComponents } from './dht.ts';
import type { RecordTable } from './network.ts';
import { Visits, type VisitsOptions } from './visits.ts';

export interface TablesOptions extends Pick<VisitsOptions, 'linkWith' | 'connect'> {
  components: NodeComponents;
  /** The connections of the machines that are linked now. */
  links(): Iterable<Connection>;
  clock: Clock;
  log: Log;
  stopping: AbortSignal;
}

/** The tables that run: none, and nothing loaded, until one is wanted. */
export class Tables {
  readonly #options: TablesOptions;
  readonly #visits: Visits;
  readonly #running = new Map<string, Promise<Dht>>();

  constructor(options: TablesOptions) {
    this.#options = options;
    this.#visits = new Visits(options);
  }

  set(tables: readonly RecordTable[]): void {
    const named = new Set(tables.map(({ protocol }) => protocol));
    for (const protocol of this.#running.keys()) if (!named.has(protocol)) void this.#end(protocol);
    for (const table of tables) if (!this.#running.has(table.protocol)) this.#begin(table);
    if (tables.length > 0) this.#tellLinks();
  }

  linkUp(connection: Connection): void {
    this.#each((dht) => dht.linkUp(connection));
  }

  linkDown(peerId: string): void {
    this.#each((dht) => dht.linkDown(peerId));
  }

  async put(protocol: string, { key, value }: { key: Uint8Array; value: Uint8Array }): Promise<number> {
    const dht = await this.#running.get(protocol)?.catch(() => undefined);
    return (await dht?.put(key, value, this.#options.stopping)) ?? 0;
  }

  async find(protocol: string, key: Uint8Array, found: (value: Uint8Array) => void): Promise<void> {
    const dht = await this.#running.get(protocol)?.catch(() => undefined);
    await dht?.get(key, found, this.#options.stopping);
  }

  /** Never rejects. */
  async stop(): Promise<void> {
    const ended = [...this.#running.keys()].map((protocol) => this.#end(protocol));
    this.#visits.stop();
    await Promise.all(ended);
  }

  #begin(table: RecordTable): void {
    const started = this.#start(table);
    this.#running.set(table.protocol, started);
    started.catch((error: unknown) => {
      this.#options.log.error({ error }, 'a table of where members are could not be started');
    });
  }

  async #start(table: RecordTable): Promise<Dht> {
    // Most machines never need it.
    const { Dht } = await import('./dht.ts');
    const { components, clock } = this.#options;
    const dht = new Dht({ table, components, clock, visits: this.#visits });
    for (const link of this.#options.links()) dht.linkUp(link);
    await dht.start();
    return dht;
  }

  async #end(protocol: string): Promise<void> {
    const started = this.#running.get(protocol);
    this.#running.delete(protocol);
    try {
      await (await started)?.stop();
    } catch (error) {
      this.#options.log.debug({ error }, 'a table of where members are did not stop cleanly');
    }
  }

  /** Of a machine that became a member while it was linked no table has heard. */
  #tellLinks(): void {
    for (const link of this.#options.links()) this.linkUp(link);
  }

  #each(tell: (dht: Dht) => void): void {
    for (const started of this.#running.values()) started.then(tell, () => {});
  }
}
