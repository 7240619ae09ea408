import { once } from 'node:events';
import { createServer } from 'node:net';
import { noise } from '@chainsafe/libp2p-noise';
import type { ComponentLogger, Connection, Libp2p, Upgrader } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { afterEach, describe, expect, test } from 'vitest';
import type { DialFrom } from '../../daemon/network/dial.ts';
import { dialerFrom, freePort } from '../../daemon/network/dial-from.ts';
import { eventually } from '../processes/eventually.ts';
import { start, stopAll, type Machine } from './network-machine.ts';

/** Holes themselves need NATs, see test/net/nat; here is what they are made of, over the sockets of one host. */

const nodes: Libp2p[] = [];
const never = new AbortController().signal;

afterEach(async () => {
  await Promise.all(nodes.splice(0).map(async (node) => node.stop()));
  await stopAll();
});

/** A dialer of a machine that listens nowhere. */
async function dialer(): Promise<DialFrom> {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    services: { dialFrom: (parts: { upgrader: Upgrader; logger: ComponentLogger }) => dialerFrom(parts) },
  });
  nodes.push(node);
  return node.services.dialFrom;
}

const addressOf = (machine: Machine): string => `/ip4/127.0.0.1/tcp/${machine.port}/p2p/${machine.peerId}`;

describe('a dial from a port of our choice', () => {
  test('reaches a machine, and another one from the same port', async () => {
    const dialFrom = await dialer();
    const [one, two] = [await start(), await start()];
    const from = { localPort: await freePort('ip4'), initiator: true };
    const connections: Connection[] = [];
    for (const machine of [one, two]) connections.push(await dialFrom(addressOf(machine), from, never));
    expect(connections.map(({ remotePeer }) => remotePeer.toString())).toEqual([one.peerId, two.peerId]);
    expect(connections.map(({ status }) => status)).toEqual(['open', 'open']);
    await one.network.stop();
    await eventually(
      'the end of the other machine is noticed',
      async () => connections.map(({ status }) => status),
      ([first]) => first === 'closed' || first === 'aborted',
    );
    await connections[1]!.close();
    expect(connections[1]!.status).toBe('closed');
  });

  test('takes no other machine than the one that is expected', async () => {
    const dialFrom = await dialer();
    const [expected, other] = [await start(), await start()];
    const address = `/ip4/127.0.0.1/tcp/${other.port}/p2p/${expected.peerId}`;
    const from = { localPort: await freePort('ip4'), initiator: true };
    await expect(dialFrom(address, from, never)).rejects.toThrow('does not match');
  });

  test('fails when nobody is there, when the port is taken, and when it is called off', async () => {
    const dialFrom = await dialer();
    const machine = await start();
    const from = { localPort: await freePort('ip4'), initiator: true };
    const nowhere = `/ip4/127.0.0.1/tcp/${await freePort('ip4')}/p2p/${machine.peerId}`;
    await expect(dialFrom(nowhere, from, never)).rejects.toThrow('ECONNREFUSED');
    const taken = createServer().listen(from.localPort, '0.0.0.0');
    await once(taken, 'listening');
    await expect(dialFrom(addressOf(machine), from, never)).rejects.toThrow('EADDRINUSE');
    taken.close();
    const called = AbortSignal.abort(new Error('called off'));
    await expect(dialFrom(addressOf(machine), from, called)).rejects.toThrow('called off');
  });
});

test('a machine learns from its relay what it looks like; without a NAT it is as it is', async () => {
  const hub = await start({ handlers: { relays: () => true, mayRelay: () => true } });
  const machine = await start({ listen: [] });
  machine.name(hub);
  await machine.linked(hub);
  const seen = await eventually(
    'it knows',
    async () => machine.network.seenAs?.(),
    (seen) => seen !== undefined,
  );
  expect(seen).toMatchObject({ ip: '127.0.0.1', behindNat: false, relay: hub.peerId });
  expect(hub.network.seenAs?.()).toBeUndefined();
});
