import { kadDHT, passthroughMapper, type KadDHT, type KadDHTComponents } from '@libp2p/kad-dht';
import {
  NotFoundError,
  type Connection,
  type PeerDiscovery,
  type PeerId,
  type Topology,
} from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import {
  ADDRESSES_MAX,
  MEMBERS_MAX,
  TABLE_RECORDS_MAX,
  TABLE_STREAMS_MAX,
  TABLE_TIMEOUT_MS,
} from '../../protocol/limits.ts';
import { zMultiaddr } from '../../protocol/shapes.ts';
import type { Clock } from '../clock.ts';
import { deadline } from './deadline.ts';
import type { RecordTable } from './network.ts';
import { recordStore } from './record-store.ts';
import type { Visits } from './visits.ts';

/** What kad-dht needs of a node; the rest it is given here. */
export type NodeComponents = Pick<
  KadDHTComponents,
  | 'peerId'
  | 'privateKey'
  | 'registrar'
  | 'addressManager'
  | 'peerStore'
  | 'connectionManager'
  | 'events'
  | 'logger'
>;

export interface DhtOptions {
  table: RecordTable;
  components: NodeComponents;
  visits: Visits;
  clock: Clock;
}

/**
 * One table of records that the members of a namespace keep together: Kademlia by kad-dht, between the members alone.
 * It hears of peers by being told of links, it asks over links, and only while this machine itself seeks or publishes
 * something it connects to members with which there is none.
 */
export class Dht {
  readonly #options: DhtOptions;
  readonly #dht: WholeDht;
  readonly #store = recordStore();
  /** Where peers are, by the word of others; a connection proves who is there. */
  readonly #heard = new Map<string, readonly string[]>();
  readonly #links = new Map<string, Connection>();
  /** The newest record that was seen of each key. */
  readonly #newest = new Map<string, number>();
  #topology: Topology | undefined;
  /** What this machine seeks or publishes now. */
  #under = 0;

  constructor(options: DhtOptions) {
    this.#options = options;
    const { table } = options;
    const made = kadDHT({
      protocol: table.protocol,
      clientMode: false,
      peerInfoMapper: passthroughMapper,
      allowQueryWithZeroPeers: true,
      maxInboundStreams: TABLE_STREAMS_MAX,
      validators: {
        [table.kind]: async (key, value) => this.#validate(key, value),
        // kad-dht would keep anybody's public keys besides.
        pk: async () => {
          throw new Error('no such records here');
        },
      },
      selectors: { [table.kind]: (key, values) => this.#select(key, values) },
    })(this.#seen());
    if (!isWhole(made)) throw new Error('kad-dht is not as it was');
    this.#dht = made;
    made.addEventListener('peer', ({ detail: { id, multiaddrs } }) => {
      this.#hear(String(id), multiaddrs.map(String));
    });
  }

  async start(): Promise<void> {
    await this.#dht.start();
  }

  async stop(): Promise<void> {
    await this.#dht.stop();
    // It would go on answering.
    await this.#options.components.registrar.unhandle(this.#options.table.protocol);
  }

  /** A machine is linked: if it is a member, it is one to ask. */
  linkUp(connection: Connection): void {
    const peerId = connection.remotePeer.toString();
    if (!this.#options.table.hasMember(peerId)) return;
    if (this.#links.get(peerId) === connection) return;
    this.#links.set(peerId, connection);
    void this.#topology?.onConnect?.(connection.remotePeer, connection);
  }

  linkDown(peerId: string): void {
    this.#links.delete(peerId);
  }

  /** Leaves a record with the members nearest to its key; resolves with how many took it. Throws for what it would refuse. */
  async put(key: Uint8Array, value: Uint8Array, signal: AbortSignal): Promise<number> {
    let holders = 0;
    this.#validate(key, value);
    await this.#during(signal, async (signal) => {
      for await (const event of this.#dht.put(key, value, { signal })) {
        // Whoever took the record answers with it; those that were asked for the way have none.
        if (event.name === 'PEER_RESPONSE' && event.record) holders += 1;
      }
    });
    return holders;
  }

  /** Calls `found` with every record of that key, as they come, until nobody nearer is left to ask. */
  async get(key: Uint8Array, found: (value: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    await this.#during(signal, async (signal) => {
      for await (const event of this.#dht.get(key, { signal })) {
        if (event.name === 'VALUE') found(event.value);
        else if (event.name === 'PEER_RESPONSE' && event.record) found(event.record.value);
      }
    });
  }

  /** What was found before it failed, or before the time was up, counts. */
  async #during(parent: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const limit = deadline(this.#options.clock, TABLE_TIMEOUT_MS, parent);
    this.#under += 1;
    try {
      await work(limit.signal);
    } catch {
      // A member that does not take what corrects its own record ends a search, too.
    } finally {
      this.#under -= 1;
      limit.cancel();
    }
  }

  /** A put does not select: whoever repeats an old record would replace the newer one. */
  #validate(key: Uint8Array, value: Uint8Array): void {
    const order = this.#options.table.check(key, value);
    const place = Buffer.from(key).toString('latin1');
    const newest = this.#newest.get(place) ?? -1;
    if (order < newest) throw new Error('there is a newer record');
    if (!this.#newest.has(place) && this.#newest.size >= TABLE_RECORDS_MAX)
      throw new Error('too many records');
    this.#newest.set(place, order);
  }

  #select(key: Uint8Array, values: readonly Uint8Array[]): number {
    const orders = values.map((value) => this.#options.table.check(key, value));
    return orders.indexOf(Math.max(...orders));
  }

  #hear(peerId: string, addresses: readonly string[]): void {
    if (!this.#options.table.hasMember(peerId)) return;
    const whole = addresses
      .filter((address) => zMultiaddr.safeParse(address).success)
      .slice(0, ADDRESSES_MAX)
      .map((address) => (address.endsWith(`/p2p/${peerId}`) ? address : `${address}/p2p/${peerId}`));
    this.#heard.delete(peerId);
    this.#heard.set(peerId, whole);
    if (this.#heard.size > MEMBERS_MAX) this.#heard.delete(this.#heard.keys().next().value!);
  }

  #addressesOf(peerId: string): string[] {
    const { table } = this.#options;
    return [...new Set([...table.addressesOf(peerId), ...(this.#heard.get(peerId) ?? [])])];
  }

  /** Throws for one that is no member, and for one that is not linked while nothing is sought. */
  async #connection(peer: unknown, signal: AbortSignal | undefined): Promise<Connection> {
    const peerId = String(peer);
    if (!this.#options.table.hasMember(peerId)) throw new Error('not a member');
    const addresses = this.#under > 0 ? this.#addressesOf(peerId) : undefined;
    return await this.#options.visits.with(
      peerId,
      addresses,
      signal ?? AbortSignal.timeout(TABLE_TIMEOUT_MS),
    );
  }

  /** The node as kad-dht is to see it: with the members and their addresses, and nobody else. */
  #seen(): KadDHTComponents {
    const { components, table } = this.#options;
    const { protocol } = table;
    const open = async (peer: unknown, signal?: AbortSignal) =>
      (await this.#connection(peer, signal)).newStream(protocol, signal && { signal });
    const infoOf = (id: PeerId) => {
      const own = this.#addressesOf(id.toString());
      const link = this.#links.get(id.toString());
      const addresses = own.length > 0 || link === undefined ? own : [String(link.remoteAddr)];
      if (!table.hasMember(id.toString()) || addresses.length === 0) throw new NotFoundError('not known');
      return { id, multiaddrs: addresses.map((address) => multiaddr(address)) };
    };
    const peerOf = (id: PeerId) => ({
      id,
      addresses: infoOf(id).multiaddrs.map((address) => ({ multiaddr: address, isCertified: false })),
      protocols: [protocol],
      metadata: new Map(),
      tags: new Map(),
    });
    return {
      ...components,
      datastore: this.#store,
      ping: {
        ping: async (peer, options) => {
          const stream = await open(peer, options?.signal);
          await stream.close();
          return 0;
        },
      },
      registrar: replaced(components.registrar, {
        handle: (name, handler, options) =>
          components.registrar.handle(
            name,
            (stream, connection) => {
              if (table.hasMember(connection.remotePeer.toString())) return handler(stream, connection);
              stream.abort(new Error('not a member'));
            },
            options,
          ),
        // By links and not by what identify says: a table may begin long after a connection.
        register: async (_protocol, topology) => {
          this.#topology = topology;
          for (const link of this.#links.values()) void topology.onConnect?.(link.remotePeer, link);
          return protocol;
        },
        unregister: () => {
          this.#topology = undefined;
        },
      }),
      connectionManager: replaced(components.connectionManager, {
        openStream: (peer, _protocol, options) => open(peer, options?.signal),
        isDialable: async () => true,
      }),
      peerStore: replaced(components.peerStore, {
        get: async (id) => peerOf(id),
        getInfo: async (id) => infoOf(id),
        all: async () => [],
        merge: async (id) => peerOf(id),
      }),
    };
  }
}

/** kad-dht with what is not in its interface. */
type WholeDht = KadDHT & PeerDiscovery & { start(): Promise<void>; stop(): Promise<void> };

function isWhole(dht: KadDHT): dht is WholeDht {
  return ['start', 'stop', 'addEventListener'].every((name) => name in dht);
}

/** The same with other methods in some places. */
function replaced<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get(_target, name: string & keyof T) {
      const value = methods[name] ?? target[name];
      return typeof value === 'function' && !(name in methods) ? value.bind(target) : value;
    },
  });
}
