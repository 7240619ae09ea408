import type { Circle } from '../../protocol/discovery/announcement.ts';
import type { Clock, Random } from '../clock.ts';
import type { AddressBook } from '../directory/address-book.ts';
import type { Directory } from '../directory/directory.ts';
import type { MeshLinks } from '../directory/mesh-links.ts';
import type { NamespaceKeys } from '../directory/namespace-keys.ts';
import type { DirectorySync } from '../directory/sync.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
import { AddressDirectory, type LargeCircle } from './address-directory.ts';
import { LanDiscovery } from './lan-discovery.ts';
import type { Multicast, OnDatagram } from './multicast.ts';
import { NetworkWatch, type Place } from './network-watch.ts';

/** The networks that a machine is on. */
export interface LanParts {
  /** The addresses that it has now. */
  places: () => readonly Place[];
  /** Speaks to everybody on them; undefined when machines are not to be looked for. */
  multicast?: ((onDatagram: OnDatagram) => Multicast) | undefined;
}

export interface Discovery {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Has a machine find members, on the networks that it is on and in the tables of large namespaces. */
export function createDiscovery(parts: {
  /** No networks are followed without. */
  lan?: LanParts | undefined;
  directory: Directory;
  keys: NamespaceKeys;
  book: AddressBook;
  sync: DirectorySync;
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  links: Pick<MeshLinks, 'linksMax'>;
  /** Members from which on a namespace keeps a table of where they are; those that do not fit a full mesh otherwise. */
  tableMembersMin?: number | undefined;
}): Discovery {
  const { lan, directory, keys, book, sync, network, clock, random, log } = parts;
  const tableMembersMin = parts.tableMembersMin ?? parts.links.linksMax + 2;
  const circles = (membersMin = 0): LargeCircle[] =>
    [...directory.logs.values()].flatMap((one) => {
      if (one.members.size < membersMin || !directory.isMember(one)) return [];
      const held = keys.current(one.id);
      return held === undefined
        ? []
        : { ns: one.id, ...held, isMember: (machine) => one.members.has(machine) };
    });
  const table = new AddressDirectory({
    network,
    clock,
    random,
    log,
    circles: () => circles(tableMembersMin),
    own() {
      // Whoever looks first sees that this machine has moved, so the links are told from here as well.
      sync.announceWhereabouts();
      return book.own();
    },
    addressesOf: (machine) => directory.addresses.get(machine) ?? [],
    heard: (ns, word) => void sync.heardWhereabouts(ns, word),
  });
  const networks = lan && followNetworks({ ...parts, lan, circles });
  return {
    async start() {
      table.start();
      await networks?.start();
    },
    async stop() {
      table.stop();
      await networks?.stop();
    },
  };
}

/** Finds members on the machine's networks, and tells links and members when those change. */
function followNetworks(
  parts: Omit<Parameters<typeof createDiscovery>[0], 'lan'> & { lan: LanParts; circles: () => Circle[] },
): Discovery {
  const { lan, circles, book, sync, network, clock, random, log } = parts;
  const multicast = lan.multicast?.((bytes, source) => discovery?.datagram(bytes, source));
  const discovery: LanDiscovery | undefined =
    multicast &&
    new LanDiscovery({
      clock,
      random,
      multicast,
      places: lan.places,
      circles,
      own: () => book.ownNow(),
      heard: (ns, bytes) => void sync.heardWhereabouts(ns, bytes),
    });
  const watch = new NetworkWatch({
    clock,
    places: lan.places,
    events: {
      changed(why) {
        log.info({ why }, 'the network may have changed: links are asked, machines are looked for');
        network.wake();
        sync.announceWhereabouts();
        void discovery?.changed();
      },
    },
  });
  return {
    async start() {
      watch.start();
      await discovery?.start();
    },
    async stop() {
      watch.stop();
      await discovery?.stop();
    },
  };
}
