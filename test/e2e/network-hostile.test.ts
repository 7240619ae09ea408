import { noise } from '@chainsafe/libp2p-noise';
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock, systemRandom, type Clock } from '../../daemon/clock.ts';
import type { Log } from '../../daemon/log.ts';
import { createLibp2pNetwork } from '../../daemon/network/libp2p-network.ts';
import type { Network, NetworkHandlers } from '../../daemon/network/network.ts';
import { encode } from '../../protocol/codec.ts';
import { encodeFrame, type Frame } from '../../protocol/frame.ts';
import { newId } from '../../protocol/ids.ts';
import { FRAME_SIZE_BYTES_MAX, LINK_BUFFER_BYTES_MAX, WINDOW_FRAMES } from '../../protocol/limits.ts';

const LINK = '/patchcord/link/1';
const JOIN = '/patchcord/join/1';

/** What happened, and a way to wait for it. */
class Diary {
  readonly lines: string[] = [];
  #looks = new Set<() => void>();

  note(line: string): void {
    this.lines.push(line);
    for (const look of this.#looks) look();
  }

  async until(condition: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (condition()) resolve();
    };
    this.#looks.add(look);
    look();
    await promise;
    this.#looks.delete(look);
  }

  async has(text: string, times = 1): Promise<void> {
    await this.until(() => this.lines.filter((line) => line.includes(text)).length >= times);
  }
}

/** Timers that fire when the test says so, until it lets time pass; everything else passes as it does. */
class HeldClock implements Clock {
  #passes = false;
  readonly held = new Map<object, { delayMs: number; task: () => void }>();
  readonly diary = new Diary();
  aheadMs = 0;

  now(): number {
    return systemClock.now();
  }

  elapsed(): number {
    return systemClock.elapsed() + this.aheadMs;
  }

  after(delayMs: number, task: () => void): { cancel(): void } {
    if (this.#passes) return systemClock.after(delayMs, task);
    const key = {};
    this.held.set(key, { delayMs, task });
    this.diary.note(`${delayMs} ms`);
    return { cancel: () => void this.held.delete(key) };
  }

  /** What is asked for from now on comes by itself: a network takes a moment to stop. */
  pass(): void {
    this.#passes = true;
  }

  /** Waits until something is due after so long, and lets it happen. */
  async fire(delayMs: number): Promise<void> {
    await this.diary.until(() => this.held.values().some((timer) => timer.delayMs === delayMs));
    for (const [key, timer] of Array.from(this.held)) {
      if (timer.delayMs === delayMs && this.held.delete(key)) timer.task();
    }
  }
}

const stops: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

async function machine(handlers: Partial<NetworkHandlers> = {}, clock: Clock = systemClock) {
  const diary = new Diary();
  const say = (fields: object, text: string): void => diary.note(`log ${text} ${JSON.stringify(fields)}`);
  const log: Log = { debug: say, info: say, warn: say, error: say };
  const network: Network = createLibp2pNetwork({
    seed: systemRandom.bytes(32),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    clock,
    random: systemRandom,
    log,
    bootId: newId(Date.now(), systemRandom.bytes),
  });
  await network.start({
    admits: () => true,
    admitsJoin: () => false,
    linkUp: (peerId) => diary.note(`up ${peerId}`),
    linkDown: (peerId, reason) => diary.note(`down ${peerId} ${reason}`),
    refused: (peerId) => diary.note(`refused ${peerId}`),
    frame: (peerId, frame) => diary.note(`${frame.t} ${peerId}`),
    join: async (_, request) => request,
    ...handlers,
  });
  stops.push(() => {
    if (clock instanceof HeldClock) clock.pass();
    return network.stop();
  });
  return { network, diary };
}

/** A libp2p of no manners. */
async function stranger(listen: string[] = []): Promise<Libp2p> {
  const libp2p = await createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
  stops.push(() => libp2p.stop());
  return libp2p;
}

const HELLO = {
  t: 'hello',
  v: 1,
  boot: newId(1, systemRandom.bytes),
  window_frames: 512,
  window_bytes: 2 ** 21,
} as const;
const hello = encodeFrame(HELLO);
const parcel = (n: number, sizeBytes: number): Frame => ({
  t: 'parcel',
  n,
  envelope: new Uint8Array(sizeBytes),
});

function withLength(body: Uint8Array): Uint8Array {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

async function dial(libp2p: Libp2p, network: Network, protocol = LINK): Promise<[Stream, Connection]> {
  const connection = await libp2p.dial(multiaddr(network.addresses()[0]));
  const stream = await connection.newStream(protocol);
  stream.addEventListener('message', () => {});
  return [stream, connection];
}

function once(target: Pick<EventTarget, 'addEventListener'>, type: string): Promise<void> {
  return new Promise((resolve) => target.addEventListener(type, () => resolve()));
}

function closed(target: Stream | Connection): Promise<void> {
  if (target.status !== 'open') return Promise.resolve();
  return once(target, 'close');
}

describe('a peer that breaks the rules loses its connection, and nobody else', () => {
  let victim: Awaited<ReturnType<typeof machine>>;
  let friend: Awaited<ReturnType<typeof machine>>;
  let raw: Libp2p;
  let clock: HeldClock;

  beforeEach(async () => {
    clock = new HeldClock();
    victim = await machine({}, clock);
    friend = await machine();
    friend.network.setPeers(new Map([[victim.network.peerId, victim.network.addresses()]]));
    await victim.diary.has(`up ${friend.network.peerId}`);
    await friend.diary.has(`up ${victim.network.peerId}`);
    raw = await stranger();
  });

  /** The friend's link never noticed. */
  async function undisturbed(): Promise<boolean> {
    const { peerId } = friend.network;
    friend.network.send(victim.network.peerId, [{ t: 'ack', n: 1 }]);
    await victim.diary.has(`ack ${peerId}`);
    return !victim.diary.lines.some((line) => line.startsWith(`down ${peerId}`));
  }

  const unknown = withLength(encode({ t: 'surprise' }));
  const tooLong = Buffer.alloc(8);
  tooLong.writeUInt32BE(FRAME_SIZE_BYTES_MAX + 1);
  const overrun = Array.from({ length: WINDOW_FRAMES + 1 }, (_, n) => encodeFrame(parcel(n, 1)));
  const heavy = Array.from({ length: 10 }, (_, n) => encodeFrame(parcel(n, FRAME_SIZE_BYTES_MAX - 100)));

  test.each<[string, Uint8Array[], string]>([
    ['a length over the limit', [hello, tooLong], 'frame_too_long'],
    ['a length over the limit first of all', [tooLong], 'frame_too_long'],
    ['an unknown frame', [hello, unknown], 'frame_unknown'],
    ['malformed CBOR', [hello, withLength(Buffer.from('a1ff', 'hex'))], 'frame_malformed'],
    ['an empty frame', [hello, withLength(new Uint8Array())], 'frame_malformed'],
    [
      'a frame with a surplus field',
      [hello, withLength(encode({ t: 'ack', n: 1, x: 1 }))],
      'frame_malformed',
    ],
    ['a parcel instead of hello', [encodeFrame(parcel(1, 1))], 'no hello'],
    ['another version', [encodeFrame({ ...HELLO, v: 2 })], 'protocol_version'],
    ['hello twice', [hello, hello], 'second hello'],
    ['too many parcels', [hello, ...overrun], 'window overrun'],
    ['too heavy parcels', [hello, ...heavy], 'window overrun'],
  ])('%s', async (_, chunks, reason) => {
    const [stream, connection] = await dial(raw, victim.network);
    const over = closed(connection);
    try {
      for (const chunk of chunks) stream.send(chunk);
    } catch {
      // It was cut off before it had said everything.
    }
    await over;
    await victim.diary.until(() =>
      victim.diary.lines.some((line) => line.includes(raw.peerId.toString()) && line.includes(reason)),
    );
    const ups = victim.diary.lines.filter((line) => line === `up ${raw.peerId.toString()}`).length;
    const downs = victim.diary.lines.filter((line) =>
      line.startsWith(`down ${raw.peerId.toString()}`),
    ).length;
    expect(downs).toBe(ups);
    expect(await undisturbed()).toBe(true);
  });

  test('no hello within ten seconds', async () => {
    const [stream] = await dial(raw, victim.network);
    const over = closed(stream);
    await clock.fire(10_000);
    await over;
    await victim.diary.has('no hello');
    expect(await undisturbed()).toBe(true);
  });

  test('silence', async () => {
    await dial(raw, victim.network).then(([stream]) => stream.send(hello));
    await victim.diary.has(`up ${raw.peerId.toString()}`);
    // The friend speaks now and then, and is given up no sooner for it.
    for (let n = 1; n <= 8; n++) {
      clock.aheadMs += 1_000;
      friend.network.send(victim.network.peerId, [{ t: 'ack', n }]);
      await victim.diary.has(`ack ${friend.network.peerId}`, n);
      await clock.fire(1_000);
    }
    await victim.diary.has(`down ${raw.peerId.toString()} silence`);
    expect(await undisturbed()).toBe(true);
  });

  test('a reader that stops reading is dropped when the buffer is full', async () => {
    const [stream] = await dial(raw, victim.network);
    stream.send(hello);
    await victim.diary.has(`up ${raw.peerId.toString()}`);
    stream.pause();
    const sizeBytes = 64 * 1024;
    let taken = 0;
    while (victim.network.send(raw.peerId.toString(), [parcel(taken, sizeBytes)])) {
      taken += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(victim.diary.lines).toContain(`down ${raw.peerId.toString()} slow reader`);
    expect(taken * sizeBytes).toBeGreaterThan(LINK_BUFFER_BYTES_MAX / 2);
    expect(taken * sizeBytes).toBeLessThan(LINK_BUFFER_BYTES_MAX + 2 * 1024 * 1024);
    expect(await undisturbed()).toBe(true);
  });

  test('a machine that is dropped and does not hang up is cut off soon', async () => {
    const [stream, connection] = await dial(raw, victim.network);
    stream.send(hello);
    await victim.diary.has(`up ${raw.peerId.toString()}`);
    const [over, ended] = [closed(connection), once(stream, 'end')];
    victim.network.drop(raw.peerId.toString(), 'test');
    expect(victim.diary.lines).toContain(`down ${raw.peerId.toString()} test`);
    await ended;
    stream.send(encodeFrame({ t: 'ack', n: 1 }));
    expect(connection.status).toBe('open');
    await clock.fire(2_000);
    await over;
    expect(victim.diary.lines).not.toContain(`ack ${raw.peerId.toString()}`);
    expect(await undisturbed()).toBe(true);
  });

  test('a frame byte by byte is read as one', async () => {
    const [stream] = await dial(raw, victim.network);
    for (const byte of Buffer.concat([hello, encodeFrame({ t: 'ack', n: 70_000 })]))
      stream.send(Uint8Array.of(byte));
    await victim.diary.has(`ack ${raw.peerId.toString()}`);
    expect(await undisturbed()).toBe(true);
  });

  test('more connections than a machine needs', async () => {
    const address = multiaddr(victim.network.addresses()[0]);
    for (let count = 0; count < 12; count++) await raw.dial(address, { force: true });
    await victim.diary.has('too many connections');
    expect(await undisturbed()).toBe(true);
  });
});

describe('a stranger', () => {
  test('is refused when the connection is encrypted', async () => {
    const { network, diary } = await machine({ admits: () => false });
    const raw = await stranger();
    await expect(dial(raw, network)).rejects.toBeInstanceOf(Error);
    expect(diary.lines).toEqual([]);
  });

  test('that was let in to ask gets no link, and is shown out when it lingers', async () => {
    const clock = new HeldClock();
    const { network, diary } = await machine({ admits: () => false, admitsJoin: () => true }, clock);
    const raw = await stranger();
    const connection = await raw.dial(multiaddr(network.addresses()[0]));
    const over = closed(connection);
    await expect(
      connection.newStream(LINK).then(async (stream) => {
        stream.send(hello);
        await closed(stream);
        throw new Error('closed');
      }),
    ).rejects.toBeInstanceOf(Error);
    await diary.has('link refused');
    expect(connection.status).toBe('open');
    await clock.fire(30_000);
    await over;
    await diary.has('stayed too long');
    expect(diary.lines.filter((line) => line.startsWith('up'))).toEqual([]);
  });

  test('finds the door closed when the invite is used up meanwhile', async () => {
    let invited = true;
    const gate = new Diary();
    const admitsJoin = (): boolean => {
      gate.note('asked');
      return invited;
    };
    const { network, diary } = await machine({ admits: () => false, admitsJoin });
    const raw = await stranger();
    const connection = await raw.dial(multiaddr(network.addresses()[0]));
    await gate.has('asked');
    invited = false;
    const stream = await connection.newStream(JOIN).catch(() => undefined);
    if (stream !== undefined) await closed(stream);
    await diary.has('join request refused');
    expect(stream?.status ?? 'reset').not.toBe('open');
  });

  test('with a request that is too long, or never ends, is cut off', async () => {
    const clock = new HeldClock();
    const { network, diary } = await machine({ admits: () => false, admitsJoin: () => true }, clock);
    const raw = await stranger();
    const [long] = await dial(raw, network, JOIN);
    long.send(Buffer.from('ffffffff', 'hex'));
    await closed(long);
    const [endless] = await dial(await stranger(), network, JOIN);
    endless.send(Buffer.from('00000010ff', 'hex'));
    await clock.fire(20_000);
    await closed(endless);
    expect(diary.lines.filter((line) => line.includes('join request failed'))).toHaveLength(2);
  });
});

describe('a link that we dialled', () => {
  test('comes back after its stream was reset under a live connection', async () => {
    const { network, diary } = await machine();
    const raw = await stranger(['/ip4/127.0.0.1/tcp/0']);
    let streams = 0;
    await raw.handle(LINK, (stream) => {
      streams += 1;
      stream.addEventListener('message', () => {});
      stream.send(hello);
      if (streams < 4) void diary.until(() => ups() === streams).then(() => stream.abort(new Error('reset')));
    });
    const ups = (): number => diary.lines.filter((line) => line.startsWith('up')).length;
    network.setPeers(new Map([[raw.peerId.toString(), raw.getMultiaddrs().map(String)]]));
    await diary.until(() => ups() === 4);
    const events = diary.lines.filter((line) => /^(up|down)/.test(line)).map((line) => line.split(' ')[0]);
    expect(events).toEqual(['up', 'down', 'up', 'down', 'up', 'down', 'up']);
  });

  test('is tried more and more seldom with a machine of another version, which is named', async () => {
    const { network, diary } = await machine();
    const raw = await stranger(['/ip4/127.0.0.1/tcp/0']);
    await raw.handle(LINK, (stream) => void stream.send(encodeFrame({ ...HELLO, v: 2 })));
    network.setPeers(new Map([[raw.peerId.toString(), raw.getMultiaddrs().map(String)]]));
    await diary.until(() => network.links()[0]!.attempts >= 3);
    expect(network.links()[0]).toMatchObject({ up: false, lastError: 'protocol_version' });
    expect(diary.lines.some((line) => /^(up|down)/.test(line))).toBe(false);
  });
});
