import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock, type Clock } from '../../daemon/clock.ts';
import type { Frame } from '../../protocol/frame.ts';
import { start, stopAll, type Machine } from './network-machine.ts';

afterEach(stopAll);

const listen = ['/ip4/127.0.0.1/tcp/0/ws'];
const parcel = (n: number, sizeBytes = 100): Frame => ({
  t: 'parcel',
  n,
  envelope: new Uint8Array(sizeBytes),
});

const UPGRADE = [
  'GET / HTTP/1.1',
  'Host: x',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  '\r\n',
].join('\r\n');

/** A raw socket to a machine's port; its own errors are of no interest. */
async function raw(machine: Machine): Promise<Socket> {
  const socket = connect(Number(machine.port), '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function upgraded(machine: Machine): Promise<Socket> {
  const socket = await raw(machine);
  socket.write(UPGRADE);
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toContain('101 Switching Protocols');
  return socket;
}

/** A masked frame of a client, as RFC 6455 section 5.2 has it; `length` may lie. */
function frame(opcode: number, payload: Buffer, length = payload.length): Buffer {
  const head = Buffer.alloc(14);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** Resolves when a socket is closed, with an error or without. */
function closed(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.resume();
  if (socket.closed) resolve();
  else socket.once('close', () => resolve());
  return promise;
}

describe('WebSocket', () => {
  test('carries a link, and its address says so', async () => {
    const [a, b] = [await start(), await start({ listen })];
    expect(b.network.addresses()).toEqual([`/ip4/127.0.0.1/tcp/${b.port}/ws/p2p/${b.peerId}`]);
    a.name(b);
    await Promise.all([a.linked(b), b.linked(a)]);
    expect(a.network.links()[0]!.address).toBe(b.network.addresses()[0]);
    for (let n = 0; n < 200; n++) {
      expect(a.network.send(b.peerId, [parcel(n, n * 500)])).toBe(true);
      expect(b.network.send(a.peerId, [parcel(n, n * 500)])).toBe(true);
      if (n % 20 === 19) {
        const arrived = (machine: Machine) => machine.until(() => machine.frames.length === n + 1);
        await Promise.all([arrived(a), arrived(b)]);
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const)
          for (let i = n - 19; i <= n; i++) from.network.send(to.peerId, [{ t: 'ack', n: i }]);
        await Promise.all([a, b].map((machine) => machine.until(() => machine.frames.length === n + 21)));
        for (const machine of [a, b]) machine.frames.splice(-20);
      }
    }
    expect(a.frames.map((one) => (one.t === 'parcel' ? one.envelope.length : -1))).toEqual(
      Array.from({ length: 200 }, (_, n) => n * 500),
    );
    expect([a.events.length, b.events.length]).toEqual([1, 1]);
  });

  test('TCP is preferred to it', async () => {
    const both = await start({ listen: ['/ip4/127.0.0.1/tcp/0/ws', '/ip4/127.0.0.1/tcp/0'] });
    const a = await start();
    a.name(both);
    await a.linked(both);
    expect(a.network.links()[0]!.address).not.toContain('/ws');
  });

  test('a stopped machine closes its sockets, and the link breaks', async () => {
    const [a, b] = [await start(), await start({ listen })];
    a.name(b);
    await a.linked(b);
    const socket = await upgraded(b);
    await b.network.stop();
    await closed(socket);
    await a.until(() => a.events.length === 2);
    expect(a.events.at(-1)).toContain(`down ${b.peerId}`);
  });
});

describe('a stranger at a WebSocket port', () => {
  /** The links of a friend that comes after the stranger. */
  async function linksOfFriend(machine: Machine): Promise<boolean[]> {
    const friend = await start();
    friend.name(machine);
    await friend.linked(machine);
    return friend.network.links().map(({ up }) => up);
  }

  test.each([
    ['a frame with reserved bits', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['a frame that is not masked', Buffer.from([0x82, 0x01, 0x00])],
    ['text', frame(1, Buffer.from('hello'))],
    ['a frame of 2^40 bytes', frame(2, Buffer.alloc(0), 2 ** 40)],
    ['a frame over the bound', frame(2, Buffer.alloc(200_000))],
    ['a fragmented ping', Buffer.from([0x09, 0x80, 0, 0, 0, 0])],
    ['a close with a bad code', frame(8, Buffer.from([0, 1]))],
    ['noise that is none', frame(2, Buffer.alloc(60_000, 7))],
  ])('is cut off after %s', async (_, bytes) => {
    const b = await start({ listen });
    const socket = await upgraded(b);
    socket.write(bytes);
    await closed(socket);
    expect(await linksOfFriend(b)).toEqual([true]);
  });

  test.each([
    ['nonsense', '\x00\x01\x02\r\n\r\n'],
    ['a request that is none', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a header without end', `GET / HTTP/1.1\r\nx: ${'y'.repeat(100_000)}`],
    ['an upgrade without key', UPGRADE.replace(/Sec-WebSocket-Key.*\r\n/, '')],
  ])('is cut off after %s', async (_, text) => {
    const b = await start({ listen });
    const socket = await raw(b);
    socket.write(text);
    await closed(socket);
    expect(await linksOfFriend(b)).toEqual([true]);
  });

  test('who resets the connection in the middle harms nothing', async () => {
    const b = await start({ listen });
    (await raw(b)).resetAndDestroy();
    (await upgraded(b)).resetAndDestroy();
    const socket = await upgraded(b);
    socket.write(frame(2, Buffer.alloc(100), 1_000));
    socket.resetAndDestroy();
    expect(await linksOfFriend(b)).toEqual([true]);
  });

  test('sockets that say nothing are few, and not for long', async () => {
    const timers = new Map<object, () => void>();
    // The time for the handshake passes when the test says so.
    const clock: Clock = {
      now: () => systemClock.now(),
      elapsed: () => systemClock.elapsed(),
      after(delayMs, task) {
        if (delayMs !== 10_000) return systemClock.after(delayMs, task);
        const key = {};
        timers.set(key, task);
        return { cancel: () => void timers.delete(key) };
      },
    };
    const b = await start({ listen, clock });
    const silent = await Promise.all(Array.from({ length: 80 }, () => raw(b)));
    const { promise, resolve } = Promise.withResolvers<void>();
    let open = silent.length;
    for (const socket of silent) {
      void closed(socket).then(() => {
        open -= 1;
        if (open === 64) resolve();
      });
    }
    await promise;
    expect(timers.size).toBe(64);
    for (const task of timers.values()) task();
    await Promise.all(silent.map(closed));
    expect(await linksOfFriend(b)).toEqual([true]);
  });
});
