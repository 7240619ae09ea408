import type { Connection, MultiaddrConnection, Upgrader } from '@libp2p/interface';
import { multiaddrConnectionPair } from '@libp2p/utils';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { tellWindowLate } from '../../daemon/network/late-window.ts';
import { gatheringTcp } from '../../daemon/network/tcp.ts';

const silent = Object.assign(() => {}, {
  enabled: false,
  error: () => {},
  trace: () => {},
  newScope: () => silent,
});
const logger = { forComponent: () => silent };
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A connection of the transport before anything is negotiated on it, and the socket at its other end. */
async function dialled(): Promise<{ connection: MultiaddrConnection; far: Socket }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it listens on a port
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection');
  let connection: MultiaddrConnection | undefined;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as the transport uses
  const upgrader = {
    upgradeOutbound: async (raw: MultiaddrConnection) => {
      connection = raw;
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nobody looks at it
      return {} as Connection;
    },
  } as unknown as Upgrader;
  const transport = gatheringTcp()({ logger });
  const signal = AbortSignal.timeout(10_000);
  await transport.dial(multiaddr(`/ip4/127.0.0.1/tcp/${port}`), { upgrader, signal });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what a server's 'connection' brings
  const [far] = (await accepted) as [Socket];
  // A reset is how the test ends.
  far.on('error', () => {});
  closing.push(() => {
    connection?.abort(new Error('the test is over'));
    server.close();
  });
  return { connection: connection!, far };
}

/** Resolves when the socket has read so many bytes, with all of them. */
async function read(socket: Socket, length: number): Promise<number[]> {
  const bytes: number[] = [];
  while (bytes.length < length) {
    const [data]: Buffer[] = await once(socket, 'data');
    bytes.push(...data!);
  }
  return bytes;
}

test('what is sent within one tick is one write, in order, and arrives whole', async () => {
  const { connection, far } = await dialled();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a connection of @libp2p/tcp has it
  const { socket } = connection as unknown as { socket: Socket & { _writev: () => void } };
  const single = vi.spyOn(socket, '_write');
  const several = vi.spyOn(socket, '_writev');
  const writes = () => single.mock.calls.length + several.mock.calls.length;
  connection.send(Uint8Array.of(1));
  connection.send(Uint8Array.of(2, 3));
  await Promise.resolve();
  connection.send(Uint8Array.of(4, 5));
  expect(await read(far, 5)).toEqual([1, 2, 3, 4, 5]);
  expect(writes()).toBe(1);

  connection.send(Uint8Array.of(6));
  expect(await read(far, 1)).toEqual([6]);
  expect(writes()).toBe(2);
});

test('what was sent in the tick of the close arrives', async () => {
  const { connection, far } = await dialled();
  const arrived = read(far, 1);
  connection.send(Uint8Array.of(1));
  await Promise.all([connection.close(), arrived]);
  expect(await arrived).toEqual([1]);
});

/** Sends chunks over a stream of yamux, each once the one before was read; counts the frames that come back. */
async function framesBack(isLate: boolean, chunks: number, sizeBytes: number): Promise<number> {
  const [near, far] = multiaddrConnectionPair();
  const create = yamux()();
  const [sending, receiving] = [create.createStreamMuxer(near), create.createStreamMuxer(far)];
  const read = new EventTarget();
  let unread = 0;
  receiving.addEventListener('stream', ({ detail: stream }) => {
    if (isLate) tellWindowLate(stream);
    stream.addEventListener('message', ({ data }) => {
      unread -= data.byteLength;
      if (unread === 0) read.dispatchEvent(new Event('all'));
    });
  });
  const stream = await sending.createStream();
  let frames = 0;
  near.addEventListener('message', () => (frames += 1));
  for (let sent = 0; sent < chunks; sent += 1) {
    unread = sizeBytes;
    const all = once(read, 'all');
    stream.send(new Uint8Array(sizeBytes));
    await all;
  }
  return frames;
}

test('the other side of a stream hears of room when half of its window is used up, and never runs out of it', async () => {
  expect(await framesBack(false, 100, 1_000)).toBeGreaterThanOrEqual(99);
  expect(await framesBack(true, 100, 1_000)).toBeLessThanOrEqual(3);
  // Of 256 KiB eight times over.
  expect(await framesBack(true, 64, 32 * 1_024)).toBeLessThanOrEqual(18);
});
