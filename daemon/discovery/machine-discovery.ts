import type { Circle } from '../../protocol/discovery/announcement.ts';
import type { Clock, Random } from '../clock.ts';
import type { AddressBook } from '../directory/address-book.ts';
import type { Directory } from '../directory/directory.ts';
import type { NamespaceKeys } from '../directory/namespace-keys.ts';
import type { DirectorySync } from '../directory/sync.ts';
import type { Log } from '../log.ts';
import type { Network } from '../network/network.ts';
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

/** Follows the networks of a machine: finds members on them, and tells links and members when they change. */
export function createDiscovery(parts: {
  /** Nothing is followed without. */
  lan: LanParts | undefined;
  directory: Directory;
  keys: NamespaceKeys;
  book: AddressBook;
  sync: DirectorySync;
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
}): Discovery {
  const { lan, directory, keys, book, sync, network, clock, random, log } = parts;
  if (lan === undefined) return { start: async () => {}, stop: async () => {} };
  const circles = (): Circle[] =>
    [...directory.logs.values()].flatMap((one) => {
      const held = directory.isMember(one) ? keys.current(one.id) : undefined;
      return held === undefined ? [] : { ns: one.id, ...held };
    });
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
