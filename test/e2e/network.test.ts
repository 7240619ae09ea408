import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock, systemRandom, type Clock } from '../../daemon/clock.ts';
import { createLibp2pNetwork } from '../../daemon/network/libp2p-network.ts';
import type { Network, NetworkHandlers } from '../../daemon/network/network.ts';
import type { Frame } from '../../protocol/frame.ts';
import { newId } from '../../protocol/ids.ts';
import { FRAME_SIZE_BYTES_MAX, WINDOW_FRAMES } from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

interface MachineOptions {
  seed?: Uint8Array;
  listen?: string[];
  clock?: Clock;
  handlers?: Partial<NetworkHandlers>;
}

/** A network that records what its handlers hear, and lets a test wait for it. */
class Machine {
  readonly network: Network;
  readonly events: string[] = [];
  readonly frames: Frame[] = [];
  onFrame: (peerId: string, frame: Frame) => void = () => {};
  admits: (peerId: string) => boolean = () => true;
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
      admitsJoin: () => false,
      linkUp: (peerId) => this.note(`up ${peerId}`),
      linkDown: (peerId, reason) => this.note(`down ${peerId} ${reason}`),
      frame: (peerId, frame) => {
        this.frames.push(frame);
        this.onFrame(peerId, frame);
        this.wake();
      },
      join: async () => new Uint8Array(),
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
afterEach(async () => {
  await Promise.all(machines.splice(0).map((machine) => machine.network.stop()));
});

const start = (options?: MachineOptions): Promise<Machine> => new Machine(options).start();
const parcel = (n: number, sizeBytes = 100): Frame => ({
  t: 'parcel',
  n,
  envelope: new Uint8Array(sizeBytes),
});
const numberOf = (frame: Frame): number => (frame.t === 'parcel' ? frame.n : -1);
const numbers = (machine: Machine): number[] => machine.frames.map(numberOf);

async function linkedPair(): Promise<[Machine, Machine]> {
  const [a, b] = [await start(), await start()];
  a.name(b);
  await Promise.all([a.linked(b), b.linked(a)]);
  return [a, b];
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

describe('a link', () => {
  test('carries frames both ways, in order', async () => {
    const [a, b] = await linkedPair();
    for (let n = 0; n < 300; n++) {
      expect(a.network.send(b.peerId, [parcel(n)])).toBe(true);
      expect(b.network.send(a.peerId, [parcel(n, n * 10)])).toBe(true);
    }
    await Promise.all([a.until(() => a.frames.length === 300), b.until(() => b.frames.length === 300)]);
    expect(numbers(a)).toEqual([...Array(300).keys()]);
    expect(numbers(b)).toEqual([...Array(300).keys()]);
    expect(a.frames[42]).toEqual(parcel(42, 420));
  });

  test('20 000 parcels go through a window that is never overrun', async () => {
    const [a, b] = await linkedPair();
    const total = 20_000;
    let [sent, acked, open, mostOpen, refused] = [0, 0, 0, 0, 0];
    const queue: number[] = [];
    b.onFrame = (peerId, frame) => {
      queue.push(numberOf(frame));
      mostOpen = Math.max(mostOpen, queue.length);
      if (queue.length < WINDOW_FRAMES / 2 && queue.at(-1) !== total - 1) return;
      b.network.send(
        peerId,
        queue.splice(0).map((n) => ({ t: 'ack', n })),
      );
    };
    const pump = (): void => {
      const batch: Frame[] = [];
      while (open < WINDOW_FRAMES && sent < total) {
        batch.push(parcel(sent++, 1_000));
        open += 1;
      }
      if (!a.network.send(b.peerId, batch)) refused += 1;
    };
    a.onFrame = () => {
      acked += 1;
      open -= 1;
      pump();
    };
    pump();
    await a.until(() => acked === total);
    expect(numbers(b)).toEqual([...Array(total).keys()]);
    expect(refused).toBe(0);
    expect(mostOpen).toBeLessThanOrEqual(WINDOW_FRAMES);
    expect([a.events.length, b.events.length]).toEqual([1, 1]);
  });

  test('is one, and stays, when both dial at once', async () => {
    // One of them would wait a moment for the other; here neither does.
    const clock: Clock = {
      now: () => systemClock.now(),
      elapsed: () => systemClock.elapsed(),
      after: (delayMs, task) => systemClock.after(delayMs === 300 ? 0 : delayMs, task),
    };
    for (let round = 0; round < 15; round++) {
      const [a, b] = [await start({ clock }), await start({ clock })];
      a.name(b);
      b.name(a);
      await Promise.all([a.linked(b), b.linked(a)]);
      for (let n = 0; n < 20; n++) {
        a.network.send(b.peerId, [parcel(n)]);
        b.network.send(a.peerId, [parcel(n)]);
        await Promise.all([a.until(() => a.frames.length > n), b.until(() => b.frames.length > n)]);
      }
      expect([a.events, b.events]).toEqual([[`up ${b.peerId}`], [`up ${a.peerId}`]]);
      await Promise.all([a.network.stop(), b.network.stop()]);
      expect([a.events.length, b.events.length]).toEqual([2, 2]);
    }
  });

  test('goes up with a machine that comes later, and again when it comes back', async () => {
    const [port, seed] = [await freePort(), systemRandom.bytes(32)];
    const listen = [`/ip4/127.0.0.1/tcp/${port}`];
    const { peerId } = signerFromSeed(seed);
    const a = await start();
    a.network.setPeers(new Map([[peerId, listen]]));
    await a.until(() => (a.network.links()[0]!.lastError ?? '').includes('ECONNREFUSED'));

    let b = await start({ seed, listen });
    await a.linked(b);
    for (let round = 0; round < 3; round++) {
      await b.network.stop();
      await a.until(() => a.events.at(-1)!.startsWith('down'));
      b = await start({ seed, listen });
      const since = performance.now();
      b.name(a);
      await a.linked(b);
      expect(performance.now() - since).toBeLessThan(1_000);
    }
    expect(a.events.map((event) => event.split(' ')[0])).toEqual([
      'up',
      'down',
      'up',
      'down',
      'up',
      'down',
      'up',
    ]);
    expect(a.network.links()).toMatchObject([{ peerId, up: true, attempts: 0 }]);
  });

  test('breaks when the other process is killed, and is up again when a new one listens', async () => {
    const [port, seed] = [await freePort(), Buffer.alloc(32, 7)];
    const { peerId } = signerFromSeed(seed);
    const a = await start();
    const source = `
      import { createLibp2pNetwork } from './daemon/network/libp2p-network.ts';
      import { systemClock as clock, systemRandom as random } from './daemon/clock.ts';
      import { silentLog as log } from './daemon/log.ts';
      import { newId } from './protocol/ids.ts';
      const network = createLibp2pNetwork({ seed: Buffer.alloc(32, 7), listen: ['/ip4/127.0.0.1/tcp/${port}'],
        clock, random, log, bootId: newId(Date.now(), random.bytes) });
      await network.start({ admits: () => true, admitsJoin: () => false, linkUp() {}, linkDown() {},
        frame(peer, frame) { network.send(peer, [{ t: 'ack', n: frame.n }]); }, join: async (_, r) => r });`;
    const spawned = () =>
      spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: 'inherit' });
    a.network.setPeers(new Map([[peerId, [`/ip4/127.0.0.1/tcp/${port}`]]]));
    for (let round = 0; round < 2; round++) {
      const child = spawned();
      await a.linked({ peerId });
      a.network.send(peerId, [parcel(round)]);
      await a.until(() => a.frames.length === round + 1);
      child.kill('SIGKILL');
      await a.until(() => a.events.at(-1)!.startsWith('down'));
    }
    expect(a.events.map((event) => event.split(' ')[0])).toEqual(['up', 'down', 'up', 'down']);
  });

  test('ends when the peer is named no more, or is a member no more', async () => {
    const [a, b] = await linkedPair();
    a.network.setPeers(new Map());
    await b.until(() => b.events.length === 2);
    expect(a.events.at(-1)).toBe(`down ${b.peerId} no longer a peer`);
    expect(a.network.send(b.peerId, [parcel(1)])).toBe(false);

    // b was never named by c, c merely let it in.
    const c = await start();
    b.name(c);
    await c.linked(b);
    c.admits = () => false;
    c.network.setPeers(new Map());
    expect(c.events.at(-1)).toBe(`down ${b.peerId} not a member`);
  });

  test('comes back after drop', async () => {
    const [a, b] = await linkedPair();
    a.network.drop(b.peerId, 'test');
    expect(a.events.at(-1)).toBe(`down ${b.peerId} test`);
    await a.linked(b);
    await b.until(() => b.events.length === 3);
  });

  test('finds the one address of many that works', async () => {
    const [a, b] = [await start(), await start()];
    const dead = await freePort();
    const addresses = [
      `/ip4/127.0.0.1/tcp/${dead}`,
      'junk',
      '/ip4/192.0.2.1/tcp/9',
      ...b.network.addresses(),
    ];
    a.network.setPeers(new Map([[b.peerId, addresses]]));
    await a.linked(b);
    expect(a.network.links()).toMatchObject([{ up: true, address: b.network.addresses()[0] }]);
  });
});

describe('who may connect', () => {
  test('a machine that is no member gets no link, whoever dials', async () => {
    const [a, b] = [await start(), await start()];
    a.admits = () => false;
    b.name(a);
    await b.until(() => b.network.links()[0]!.attempts >= 3);
    a.name(b);
    await a.until(() => a.network.links()[0]!.attempts >= 2);
    expect([a.events, b.events]).toEqual([[], []]);
    expect(a.network.links()[0]!.lastError).toContain('gater');
  });

  test('a machine that takes over the address of another gets no link', async () => {
    const [a, b, impostor] = [await start(), await start(), await start()];
    a.network.setPeers(new Map([[b.peerId, [`/ip4/127.0.0.1/tcp/${impostor.port}`]]]));
    await a.until(() => a.network.links()[0]!.lastError !== undefined);
    expect([a.events, b.events, impostor.events]).toEqual([[], [], []]);
  });
});

describe('join', () => {
  const request = new Uint8Array(FRAME_SIZE_BYTES_MAX).fill(7);
  const host = (handlers: Partial<NetworkHandlers>): Promise<Machine> =>
    start({ handlers: { admits: () => false, admitsJoin: () => true, ...handlers } });
  const ask = (guest: Machine, inviter: Machine, bytes: Uint8Array): Promise<Uint8Array> =>
    guest.network.requestJoin(inviter.peerId, inviter.network.addresses(), bytes);

  test('a request of the greatest length is answered', async () => {
    const asked: [string, number][] = [];
    const inviter = await host({
      async join(peerId, bytes) {
        asked.push([peerId, bytes.length]);
        return bytes.map((byte) => byte + 1);
      },
    });
    const guest = await start({ handlers: { admits: () => false } });
    expect(await ask(guest, inviter, request)).toEqual(request.map((byte) => byte + 1));
    expect(await ask(guest, inviter, new Uint8Array())).toEqual(new Uint8Array());
    expect(asked).toEqual([
      [guest.peerId, request.length],
      [guest.peerId, 0],
    ]);
    await expect(ask(guest, inviter, new Uint8Array(FRAME_SIZE_BYTES_MAX + 1))).rejects.toMatchObject({
      code: 'frame_too_long',
    });
  });

  test('without an invite nobody is heard', async () => {
    const inviter = await host({ admitsJoin: () => false });
    const guest = await start();
    await expect(ask(guest, inviter, request)).rejects.toMatchObject({ code: 'peer_unreachable' });
  });

  test('an unreachable machine and an answer that is too long are errors', async () => {
    const inviter = await host({ join: async () => new Uint8Array(FRAME_SIZE_BYTES_MAX + 1) });
    const guest = await start();
    await expect(ask(guest, inviter, request)).rejects.toMatchObject({ code: 'peer_unreachable' });
    const nowhere = [`/ip4/127.0.0.1/tcp/${await freePort()}`];
    await expect(guest.network.requestJoin(inviter.peerId, nowhere, request)).rejects.toMatchObject({
      code: 'peer_unreachable',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('few are answered at a time', async () => {
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    let asked = 0;
    const inviter: Machine = await host({
      join() {
        asked += 1;
        inviter.wake();
        return promise;
      },
    });
    const guests = await Promise.all(Array.from({ length: 5 }, () => start()));
    const answers = guests.slice(1).map((guest) => ask(guest, inviter, request));
    await inviter.until(() => asked === 4);
    await expect(ask(guests[0]!, inviter, request)).rejects.toMatchObject({ code: 'peer_unreachable' });
    resolve(new Uint8Array(1));
    expect(await Promise.all(answers)).toHaveLength(4);
    expect(await ask(guests[0]!, inviter, request)).toHaveLength(1);
  });

  test('gives up after 20 s without an answer, and when the network stops', async () => {
    const timers = new Set<{ delayMs: number; task: () => void }>();
    const clock: Clock = {
      now: () => 0,
      elapsed: () => 0,
      after(delayMs, task) {
        const timer = { delayMs, task };
        timers.add(timer);
        return { cancel: () => void timers.delete(timer) };
      },
    };
    let asked = 0;
    const inviter: Machine = await host({
      join() {
        asked += 1;
        inviter.wake();
        return new Promise(() => {});
      },
    });
    const guest = await start({ clock });
    const late = ask(guest, inviter, request).catch((error: unknown) => error);
    await inviter.until(() => asked === 1);
    for (const { delayMs, task } of timers) if (delayMs === 20_000) task();
    expect(await late).toMatchObject({ code: 'timeout' });
    const stopped = ask(guest, inviter, request).catch((error: unknown) => error);
    await inviter.until(() => asked === 2);
    await guest.network.stop();
    expect(await stopped).toMatchObject({ code: 'stopping' });
  });
});

describe('listening', () => {
  test('the peer id is that of the signing key, at the addresses it listens on', async () => {
    const seed = systemRandom.bytes(32);
    const machine = await start({ seed, listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/0.0.0.0/tcp/0'] });
    expect(machine.peerId).toBe(signerFromSeed(seed).peerId);
    const addresses = machine.network.addresses();
    expect(addresses.length).toBeGreaterThan(1);
    for (const address of addresses) {
      expect(address).toMatch(new RegExp(`^/ip4/[0-9.]+/tcp/[1-9][0-9]*/p2p/${machine.peerId}$`));
      expect(address).not.toContain('0.0.0.0');
    }
  });

  test('a taken port is named', async () => {
    const a = await start();
    const b = new Machine({ listen: [`/ip4/127.0.0.1/tcp/${a.port}`] });
    await expect(b.start()).rejects.toMatchObject({ code: 'port_in_use', remedy: expect.any(String) });
  });

  test('a foreign address is refused', async () => {
    const machine = new Machine({ listen: ['/ip4/192.0.2.77/tcp/0'] });
    await expect(machine.start()).rejects.toMatchObject({ code: 'invalid_input' });
    expect(() => new Machine({ listen: ['tcp://127.0.0.1'] })).toThrow(
      expect.objectContaining({ code: 'invalid_input' }),
    );
  });

  test('stops within moments in the middle of dials', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const a = await start();
    a.network.setPeers(
      new Map([[signerFromSeed(Buffer.alloc(32, 9)).peerId, [`/ip4/127.0.0.1/tcp/${portOf(silent)}`]]]),
    );
    await once(silent, 'connection');
    const since = performance.now();
    await a.network.stop();
    expect(performance.now() - since).toBeLessThan(2_000);
    expect(a.network.addresses()).toEqual([]);
    silent.close();
  });
});
