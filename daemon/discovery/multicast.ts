import { createSocket, type Socket } from 'node:dgram';
import type { Log } from '../log.ts';
import type { Place } from './network-watch.ts';

/** RFC 6762 section 3. */
const PORT = 5353;
const GROUPS = { 4: '224.0.0.251', 6: 'ff02::fb' } as const;
/** RFC 6762 section 11. */
const TTL = 255;
/** Networks that are spoken on in each family; the system lets one socket join 20 groups (Linux). */
const PLACES_MAX = 16;
/** Datagrams that wait to be sent. */
const QUEUE_MAX = 256;

/** Datagrams to everybody on the LANs of this machine, and from them. */
export interface Multicast {
  /**
   * Listens and speaks on these networks from now on, instead of those before. Never rejects: where it cannot be done
   * it is not done, and said once.
   */
  open(places: readonly Place[]): Promise<void>;
  /** To everybody on every network; lost where it cannot be sent. */
  send(bytes: Uint8Array): void;
  close(): Promise<void>;
}

export type OnDatagram = (bytes: Uint8Array, source: string) => void;

/** A family's socket, and the networks that it has joined. */
interface Ear {
  socket: Socket;
  family: 4 | 6;
  /** What the system calls each network when it sends. */
  ways: string[];
}

/**
 * Multicast on port 5353, which is shared with every other program that speaks DNS there. One socket a family joins the
 * group on every network, since a second one would hear everything twice; it sends on one network after the other.
 */
export class SystemMulticast implements Multicast {
  readonly #log: Log;
  readonly #onDatagram: OnDatagram;
  #ears: Ear[] = [];
  #queue: { ear: Ear; way: string; bytes: Uint8Array }[] = [];
  #sending = false;
  #complained = false;
  /** Opens and closes run one after another. */
  #turn: Promise<void> = Promise.resolve();

  constructor(log: Log, onDatagram: OnDatagram) {
    this.#log = log;
    this.#onDatagram = onDatagram;
  }

  open(places: readonly Place[]): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      await this.#closeAll();
      for (const family of [4, 6] as const) {
        const ways = waysOf(places, family);
        if (ways.length > 0) await this.#listen(family, ways);
      }
      if (this.#ears.length === 0 && places.length > 0) this.#complain(new Error('no network carries it'));
    });
    return this.#turn;
  }

  send(bytes: Uint8Array): void {
    for (const ear of this.#ears) {
      for (const way of ear.ways) {
        if (this.#queue.length < QUEUE_MAX) this.#queue.push({ ear, way, bytes });
      }
    }
    this.#sendNext();
  }

  close(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#closeAll());
    return this.#turn;
  }

  async #listen(family: 4 | 6, ways: readonly string[]): Promise<void> {
    const socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      reuseAddr: true,
      ipv6Only: family === 6,
    });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.bind(PORT, () => resolve());
      });
      socket.removeAllListeners('error');
      socket.on('error', (error) => this.#failed(socket, error));
      socket.on('message', (bytes, { address }) => this.#onDatagram(bytes, address));
      socket.unref();
      socket.setMulticastTTL(TTL);
      // Other daemons on this machine hear it too.
      socket.setMulticastLoopback(true);
      const joined = ways.filter((way) => this.#joins(socket, GROUPS[family], way));
      if (joined.length > 0) this.#ears.push({ socket, family, ways: joined });
      else await closed(socket);
    } catch (error) {
      this.#complain(error);
      await closed(socket);
    }
  }

  #joins(socket: Socket, group: string, way: string): boolean {
    try {
      socket.addMembership(group, way);
      return true;
    } catch (error) {
      this.#log.debug({ way, error }, 'a network carries no multicast');
      return false;
    }
  }

  #sendNext(): void {
    if (this.#sending) return;
    const next = this.#queue.shift();
    if (next === undefined) return;
    const { ear, way, bytes } = next;
    const done = (error?: Error | null): void => {
      if (error) this.#log.debug({ way, error }, 'a datagram was not sent');
      this.#sending = false;
      this.#sendNext();
    };
    this.#sending = true;
    try {
      // The system takes one network at a time, so the next datagram waits until this one is handed over.
      ear.socket.setMulticastInterface(way);
      ear.socket.send(bytes, PORT, GROUPS[ear.family], done);
    } catch (error) {
      queueMicrotask(() => done(error instanceof Error ? error : new Error(String(error))));
    }
  }

  #failed(socket: Socket, error: Error): void {
    this.#complain(error);
    this.#ears = this.#ears.filter((ear) => ear.socket !== socket);
    this.#queue = this.#queue.filter(({ ear }) => ear.socket !== socket);
    void closed(socket);
  }

  /** That there is no multicast is no failure: addresses from invites, members and the user are enough. */
  #complain(error: unknown): void {
    if (this.#complained) return;
    this.#complained = true;
    const why = error instanceof Error ? error.message : String(error);
    this.#log.info({ why }, 'machines on this network are not looked for by multicast');
  }

  async #closeAll(): Promise<void> {
    const ears = this.#ears;
    this.#ears = [];
    this.#queue = [];
    await Promise.all(ears.map(({ socket }) => closed(socket)));
  }
}

/** One way for each network: by address in IPv4, by interface in IPv6, where several addresses share a network. */
function waysOf(places: readonly Place[], family: 4 | 6): string[] {
  const ofFamily = places.filter((place) => place.family === family);
  if (family === 4) return [...new Set(ofFamily.map(({ address }) => address))].slice(0, PLACES_MAX);
  const far = ofFamily.filter(({ internal, address }) => !internal && address.startsWith('fe80:'));
  return [
    ...new Set(far.map(({ name, scope }) => `::%${process.platform === 'win32' ? scope : name}`)),
  ].slice(0, PLACES_MAX);
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    try {
      socket.close(() => resolve());
    } catch {
      // It was never open, or is closed already.
      resolve();
    }
  });
}
