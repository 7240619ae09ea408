import { noise } from '@chainsafe/libp2p-noise';
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { afterEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { readBlock, writeBlock } from '../../daemon/network/block.ts';
import { encode } from '../../protocol/codec.ts';
import { encodeFrame } from '../../protocol/frame.ts';
import { newId } from '../../protocol/ids.ts';
import {
  decodeRelayAnswer,
  encodeRelay,
  type RelayAnswer,
  type RelayRequest,
} from '../../protocol/relaying.ts';
import { start, stopAll, type Machine } from './network-machine.ts';

const RELAY = '/patchcord/relay/1';
const RELAYED = '/patchcord/relayed/1';
const LINK = '/patchcord/link/1';

const nodes: Libp2p[] = [];

afterEach(async () => {
  await Promise.all(nodes.splice(0).map(async (node) => node.stop()));
  await stopAll();
});

/** A peer that speaks whatever a test writes. */
async function rogue(): Promise<Libp2p> {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
  nodes.push(node);
  return node;
}

async function connect(from: Libp2p, to: Machine): Promise<Connection> {
  return await from.dial(multiaddr(to.network.addresses()[0]));
}

/** Opens a link as a machine does, so that the peer counts as linked. */
async function link(from: Libp2p, to: Machine): Promise<Connection> {
  const connection = await connect(from, to);
  const stream = await connection.newStream(LINK);
  stream.addEventListener('message', () => {});
  stream.send(
    encodeFrame({
      t: 'hello',
      v: 1,
      boot: newId(Date.now(), systemRandom.bytes),
      window_frames: 10,
      window_bytes: 300_000,
      relay: true,
    }),
  );
  await to.linked({ peerId: from.peerId.toString() });
  return connection;
}

async function answer(connection: Connection, protocol: string, request: Uint8Array): Promise<RelayAnswer> {
  const stream = await connection.newStream(protocol);
  writeBlock(stream, request);
  return decodeRelayAnswer(await readBlock(stream, new AbortController().signal));
}

const ask = (connection: Connection, protocol: string, request: RelayRequest): Promise<RelayAnswer> =>
  answer(connection, protocol, encodeRelay(request));

/** Resolves when a stream is over, whoever ended it. */
async function over(stream: Stream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.addEventListener('close', () => resolve());
  stream.addEventListener('end', () => resolve());
  stream.addEventListener('message', () => {});
  if (stream.status !== 'open') resolve();
  await promise;
}

const relay = (): Promise<Machine> => start({ handlers: { relays: () => true, mayRelay: () => true } });

describe('a relay is asked', () => {
  test.each([
    ['nonsense', new Uint8Array([1, 2, 3])],
    ['an unknown request', encode({ t: 'reserve' })],
    ['for nobody', encode({ t: 'connect', to: 'me' })],
  ])('%s: the stream ends, and nothing else', async (_, bytes) => {
    const hub = await relay();
    const connection = await connect(await rogue(), hub);
    const stream = await connection.newStream(RELAY);
    writeBlock(stream, bytes);
    await over(stream);
    expect(connection.status).toBe('open');
  });

  test('what is asked of machines, not of relays', async () => {
    const hub = await relay();
    const node = await rogue();
    const from = node.peerId.toString();
    expect(await ask(await connect(node, hub), RELAY, { t: 'incoming', from })).toEqual({
      t: 'refused',
      why: 'malformed',
    });
  });

  test('to expect guests of one that has no link', async () => {
    const hub = await relay();
    const connection = await connect(await rogue(), hub);
    expect(await ask(connection, RELAY, { t: 'guests', for_ms: 1_000 })).toEqual({
      t: 'refused',
      why: 'not_member',
    });
  });

  test('to reach a machine that answers with nonsense', async () => {
    const hub = await relay();
    const [target, asker] = [await rogue(), await rogue()];
    await target.handle(RELAYED, (stream) => writeBlock(stream, new Uint8Array([9])));
    await link(target, hub);
    const stream = await (await connect(asker, hub)).newStream(RELAY);
    writeBlock(stream, encodeRelay({ t: 'connect', to: target.peerId.toString() }));
    await over(stream);
    expect(hub.events).toHaveLength(1);
  });

  test('too often for one pair: it says so, and counts what ends', async () => {
    const hub = await relay();
    const [target, asker] = [await rogue(), await rogue()];
    await target.handle(RELAYED, (stream) => writeBlock(stream, encodeRelay({ t: 'ok' })));
    await link(target, hub);
    const connection = await connect(asker, hub);
    const to = target.peerId.toString();
    const open: Stream[] = [];
    for (let n = 0; n < 4; n++) {
      const stream = await connection.newStream(RELAY);
      writeBlock(stream, encodeRelay({ t: 'connect', to }));
      expect(decodeRelayAnswer(await readBlock(stream, new AbortController().signal))).toEqual({ t: 'ok' });
      open.push(stream);
    }
    expect(await ask(connection, RELAY, { t: 'connect', to })).toEqual({ t: 'refused', why: 'busy' });
    open[0]!.abort(new Error('done'));
    let last: RelayAnswer;
    do last = await ask(connection, RELAY, { t: 'connect', to });
    while (last.t === 'refused');
    expect(last).toEqual({ t: 'ok' });
  });
});

describe('a machine is told that somebody comes', () => {
  test('by one that has no link with it: refused', async () => {
    const machine = await start();
    const node = await rogue();
    const other = (await rogue()).peerId.toString();
    expect(await ask(await connect(node, machine), RELAYED, { t: 'incoming', from: other })).toEqual({
      t: 'refused',
      why: 'not_linked',
    });
  });

  test('from one who is no member: refused', async () => {
    const machine = await start();
    const node = await rogue();
    const other = (await rogue()).peerId.toString();
    machine.admits = (peerId) => peerId === node.peerId.toString();
    expect(await ask(await link(node, machine), RELAYED, { t: 'incoming', from: other })).toEqual({
      t: 'refused',
      why: 'not_member',
    });
  });

  test('by a member that then poses as another: Noise proves who it is, and no link comes of it', async () => {
    const machine = await start();
    const node = await rogue();
    const victim = (await rogue()).peerId.toString();
    const stream = await (await link(node, machine)).newStream(RELAYED);
    writeBlock(stream, encodeRelay({ t: 'incoming', from: victim }));
    expect(decodeRelayAnswer(await readBlock(stream, new AbortController().signal))).toEqual({ t: 'ok' });
    // What follows would have to be a Noise handshake with the victim's key.
    stream.send(systemRandom.bytes(1_000));
    await over(stream);
    expect(machine.events.some((event) => event.includes(victim))).toBe(false);
  });

  test('so often that it has its hands full: refused, and others still get in', async () => {
    const machine = await start();
    const node = await rogue();
    const connection = await link(node, machine);
    const from = (await rogue()).peerId.toString();
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => ask(connection, RELAYED, { t: 'incoming', from })),
    );
    expect(answers.filter((one) => one.t === 'ok').length).toBeLessThanOrEqual(16);
    expect(answers).toContainEqual({ t: 'refused', why: 'busy' });
    const friend = await start();
    friend.name(machine);
    await friend.linked(machine);
  });
});
