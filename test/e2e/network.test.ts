import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock, systemRandom, type Clock } from '../../daemon/clock.ts';
import type { NetworkHandlers } from '../../daemon/network/network.ts';
import type { Frame } from '../../protocol/frame.ts';
import { FRAME_SIZE_BYTES_MAX, WINDOW_FRAMES } from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { freePort, linkedPair, Machine, portOf, start, stopAll } from './network-machine.ts';

afterEach(stopAll);

const parcel = (n: number, sizeBytes = 100): Frame => ({
  t: 'parcel',
  n,
  envelope: new Uint8Array(sizeBytes),
});
const numberOf = (frame: Frame): number => (frame.t === 'parcel' ? frame.n : -1);
const numbers = (machine: Machine): number[] => machine.frames.map(numberOf);

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
      expect([a.refusals, b.refusals]).toEqual([[], []]);
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
    expect(a.refusals).toEqual([]);

    let b = await start({ seed, listen });
    await a.linked(b);
    for (let round = 0; round < 3; round++) {
      await b.network.stop();
      await a.until(() => a.events.at(-1)!.startsWith('down'));
      b = await start({ seed, listen });
      const since = performance.now();
      b.name(a);
      await a.linked(b);
      expect(performance.now() - since).toBeLessThan(3_000);
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
      await network.start({ admits: () => true, admitsJoin: () => false, linkUp() {}, linkDown() {}, refused() {},
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

  test.each([
    ['a few', 10, 100],
    ['more than the stream takes at once', 30, 60_000],
  ])('what was sent in the same tick as the end still arrives: %s', async (_, count, sizeBytes) => {
    const [a, b] = await linkedPair();
    for (let n = 0; n < count; n++) a.network.send(b.peerId, [parcel(n, sizeBytes)]);
    a.admits = () => false;
    a.network.setPeers(new Map());
    expect(a.events.at(-1)).toBe(`down ${b.peerId} no longer a peer`);
    await b.until(() => b.events.length === 2);
    expect(numbers(b)).toEqual([...Array(count).keys()]);
    expect(b.events.at(-1)).toBe(`down ${a.peerId} closed by peer`);
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
    // It is a itself that will not have b; there is nothing to ask b.
    expect(a.refusals).toEqual([]);
  });

  test('a machine that may not link but ask is told of every refusal, and gets an answer', async () => {
    const [a, b, c] = [await start(), await start(), await start()];
    a.admits = () => false;
    a.admitsJoin = (peerId) => peerId === b.peerId;
    b.name(a);
    await b.until(() => b.refusals.length >= 3);
    expect(new Set(b.refusals)).toEqual(new Set([a.peerId]));
    expect(b.network.links()[0]!.attempts).toBeLessThanOrEqual(b.refusals.length + 1);
    const [question, addresses] = [Uint8Array.of(1, 2, 3), a.network.addresses()];
    expect(await b.network.requestJoin(a.peerId, addresses, question)).toEqual(question);
    await expect(c.network.requestJoin(a.peerId, addresses, question)).rejects.toMatchObject({
      code: 'peer_unreachable',
    });
    expect([a.events, b.events, a.asked]).toEqual([[], [], [b.peerId]]);
    a.admits = () => true;
    await b.linked(a);
  });

  test('a machine that was removed while linked is told so when it dials again', async () => {
    const [a, b] = await linkedPair();
    b.name(a);
    a.admits = () => false;
    a.admitsJoin = () => true;
    a.network.setPeers(new Map());
    await b.until(() => b.refusals.length > 0);
    expect(b.events).toEqual([`up ${a.peerId}`, `down ${a.peerId} closed by peer`]);
  });

  test('a machine that takes over the address of another gets no link', async () => {
    const [a, b, impostor] = [await start(), await start(), await start()];
    a.network.setPeers(new Map([[b.peerId, [`/ip4/127.0.0.1/tcp/${impostor.port}`]]]));
    await a.until(() => a.network.links()[0]!.lastError !== undefined);
    expect([a.events, b.events, impostor.events]).toEqual([[], [], []]);
    expect(a.refusals).toEqual([]);
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

  test('one machine gets two answers at a time, which keeps nobody else waiting', async () => {
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    let asked = 0;
    const inviter: Machine = await host({
      join() {
        asked += 1;
        inviter.wake();
        return promise;
      },
    });
    const [greedy, ...others] = await Promise.all(Array.from({ length: 5 }, () => start()));
    const answers = [0, 1].map(() => ask(greedy!, inviter, request));
    await inviter.until(() => asked === 2);
    await expect(ask(greedy!, inviter, request)).rejects.toMatchObject({ code: 'peer_unreachable' });
    answers.push(...others.flatMap((guest) => [0, 1].map(() => ask(guest, inviter, request))));
    await inviter.until(() => asked === 10);
    resolve(new Uint8Array(1));
    expect(await Promise.all(answers)).toHaveLength(10);
    expect(await ask(greedy!, inviter, request)).toHaveLength(1);
  });

  test('over a link the answer leaves the link as it is', async () => {
    const [a, b] = await linkedPair();
    for (let round = 0; round < 5; round++) {
      const [one, two] = [request.with(0, round), Uint8Array.of(round)];
      // No address: there is no need to connect.
      expect(await a.network.requestJoin(b.peerId, [], one)).toEqual(one);
      const both = [one, two].map((bytes) => b.network.requestJoin(a.peerId, [], bytes));
      expect(await Promise.all(both)).toEqual([one, two]);
    }
    a.network.send(b.peerId, [parcel(1)]);
    b.network.send(a.peerId, [parcel(2)]);
    await Promise.all([a.until(() => a.frames.length === 1), b.until(() => b.frames.length === 1)]);
    expect([a.events, b.events]).toEqual([[`up ${b.peerId}`], [`up ${a.peerId}`]]);
    expect([a.asked.length, b.asked.length]).toEqual([10, 5]);
  });

  test('a question over a link that breaks is an error', async () => {
    const [a, b] = await linkedPair();
    const dropped = a.network.requestJoin(b.peerId, [], request);
    a.network.drop(b.peerId, 'test');
    await expect(dropped).rejects.toMatchObject({ code: 'peer_unreachable' });
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

  test('leaves nothing behind when it stops that would keep the process', async () => {
    const machines = new URL('network-machine.ts', import.meta.url).href;
    const program = `
      const { linkedPair } = await import(${JSON.stringify(machines)});
      const pair = await linkedPair();
      await Promise.all(pair.map(({ network }) => network.stop()));
      const stoppedMs = performance.now();
      process.on('exit', () => console.log(performance.now() - stoppedMs));`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // libp2p's own timers are of a second.
    expect(Number(await text(child.stdout))).toBeLessThan(700);
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
