import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { systemClock, systemRandom, type Clock } from '../../daemon/clock.ts';
import { createLibp2pNetwork } from '../../daemon/network/libp2p-network.ts';
import type { Network, NetworkHandlers } from '../../daemon/network/network.ts';
import type { Frame } from '../../protocol/frame.ts';
import { newId } from '../../protocol/ids.ts';

/** Networks over real sockets, for the tests of what they do. */

export interface MachineOptions {
  seed?: Uint8Array;
  listen?: string[];
  clock?: Clock;
  handlers?: Partial<NetworkHandlers>;
}

/** A network that records what its handlers hear, and lets a test wait for it. */
export class Machine {
  readonly network: Network;
  readonly events: string[] = [];
  readonly frames: Frame[] = [];
  /** The machines that refused it, once for each time. */
  readonly refusals: string[] = [];
  onFrame: (peerId: string, frame: Frame) => void = () => {};
  admits: (peerId: string) => boolean = () => true;
  admitsJoin: (peerId: string) => boolean = () => false;
  /** The machines that asked it something, which it answered with the question. */
  readonly asked: string[] = [];
  readonly #handlers: Partial<NetworkHandlers>;
  readonly #waiting = new Set<() => void>();

  constructor(options: MachineOptions = {}) {
    this.#handlers = options.handlers ?? {};
    this.network = createLibp2pNetwork({
      seed: options.seed ?? systemRandom.bytes(32),
      listen: options.listen ?? ['/ip4/127.0.0.1/tcp/0'],
      clock: options.clock ?? systemClock,
      random: systemRandom,
      log: {
        debug: () => this.wake(),
        info: () => this.wake(),
        warn: () => this.wake(),
        error: () => this.wake(),
      },
      bootId: newId(Date.now(), systemRandom.bytes),
    });
    machines.push(this);
  }

  get peerId(): string {
    return this.network.peerId;
  }

  get port(): string {
    return this.network.addresses()[0]!.split('/')[4]!;
  }

  async start(): Promise<this> {
    await this.network.start({
      admits: (peerId) => this.admits(peerId),
      admitsJoin: (peerId) => this.admitsJoin(peerId),
      linkUp: (peerId) => this.note(`up ${peerId}`),
      linkDown: (peerId, reason) => this.note(`down ${peerId} ${reason}`),
      refused: (peerId) => {
        this.refusals.push(peerId);
        this.wake();
      },
      frame: (peerId, frame) => {
        this.frames.push(frame);
        this.onFrame(peerId, frame);
        this.wake();
      },
      join: async (peerId, request) => {
        this.asked.push(peerId);
        return request;
      },
      ...this.#handlers,
    });
    return this;
  }

  note(event: string): void {
    this.events.push(event);
    this.wake();
  }

  wake(): void {
    for (const look of this.#waiting) look();
  }

  /** Resolves when the condition holds; looked at whenever something happened here. */
  async until(condition: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (condition()) resolve();
    };
    this.#waiting.add(look);
    look();
    await promise;
    this.#waiting.delete(look);
  }

  async linked(peer: { peerId: string }): Promise<void> {
    await this.until(() => this.events.findLast((event) => event.includes(peer.peerId))?.[0] === 'u');
  }

  name(...others: Machine[]): void {
    this.network.setPeers(new Map(others.map(({ network }) => [network.peerId, network.addresses()])));
  }
}

const machines: Machine[] = [];

/** A machine that listens. */
export const start = (options?: MachineOptions): Promise<Machine> => new Machine(options).start();

/** Stops all there are. */
export async function stopAll(): Promise<void> {
  await Promise.all(machines.splice(0).map((machine) => machine.network.stop()));
}

/** Two machines with a link that the first one dialled. */
export async function linkedPair(): Promise<[Machine, Machine]> {
  const [a, b] = [await start(), await start()];
  a.name(b);
  await Promise.all([a.linked(b), b.linked(a)]);
  return [a, b];
}

/** The port that a server listens on. */
export function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}
