import { afterEach, expect, test } from 'vitest';
import { systemClock, systemRandom } from '../../daemon/clock.ts';
import { silentLog } from '../../daemon/log.ts';
import { Gossip } from '../../daemon/network/gossip.ts';
import { createNode, type Node } from '../../daemon/network/libp2p-node.ts';
import { eventually } from '../processes/eventually.ts';

/** Gossip over real sockets, without the machines around it. */

const TOPIC = 'topic';
const open: Node[] = [];
const gossips: Gossip[] = [];

afterEach(async () => {
  for (const gossip of gossips.splice(0)) gossip.stop();
  for (const { libp2p } of open.splice(0)) await libp2p.stop();
});

interface Talker {
  node: Node;
  gossip: Gossip;
  heard: string[];
}

/** A node that takes part; what begins with "forged" it rejects. */
async function talker(mayLink: (peerId: string) => boolean = () => true): Promise<Talker> {
  const heard: string[] = [];
  const gossip: Gossip = new Gossip({
    handlers: {
      gossip(_topic, data) {
        const text = Buffer.from(data).toString('utf8');
        heard.push(text);
        return text.startsWith('forged') ? 'reject' : 'accept';
      },
    },
    mayLink,
    connections: () => node.libp2p.getConnections(),
    clock: systemClock,
    log: silentLog,
  });
  const node = await createNode({
    seed: systemRandom.bytes(32),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    gater: {},
    gossip: gossip.service,
    clock: systemClock,
  });
  await node.libp2p.start();
  gossip.setTopics(new Set([TOPIC]));
  gossip.start();
  open.push(node);
  gossips.push(gossip);
  return { node, gossip, heard };
}

async function connect(a: Talker, b: Talker): Promise<void> {
  const address = String(b.node.libp2p.getMultiaddrs()[0]);
  await a.node.dialOne(address, AbortSignal.timeout(5_000));
}

/** Says something new again and again until it is heard: gossip promises nothing. */
async function hears(from: Talker, to: Talker, what: string): Promise<void> {
  let count = 0;
  await eventually(
    `${what} is heard`,
    async () => {
      from.gossip.publish(TOPIC, Buffer.from(`${what} ${(count += 1)}`));
      return to.heard.some((text) => text.startsWith(what));
    },
    (isHeard) => isHeard,
  );
}

const gossipStreams = ({ node }: Talker) =>
  node.libp2p
    .getConnections()
    .flatMap(({ streams }) => streams)
    .filter(({ protocol }) => protocol.includes('meshsub'));

test('streams that are reset under a live connection are opened again, on both sides', async () => {
  const [a, b] = [await talker(), await talker()];
  await connect(a, b);
  await hears(a, b, 'before');
  await hears(b, a, 'before');
  const [connection] = a.node.libp2p.getConnections();
  for (const stream of gossipStreams(a)) stream.abort(new Error('reset'));
  await hears(a, b, 'after');
  await hears(b, a, 'after');
  expect(a.node.libp2p.getConnections()).toEqual([connection]);
});

test('what was forged goes no further, what is right does', async () => {
  const [a, b, c] = [await talker(), await talker(), await talker()];
  await connect(a, b);
  await connect(b, c);
  await hears(a, c, 'right');
  await hears(a, b, 'forged');
  await hears(a, c, 'more');
  expect(c.heard.filter((text) => text.startsWith('forged'))).toEqual([]);
});

test('a peer that may not link gets no gossip, though it is connected and knows the topic', async () => {
  const stranger = await talker();
  const strangerId = stranger.node.libp2p.peerId.toString();
  const closed = (peerId: string): boolean => peerId !== strangerId;
  const [a, b] = [await talker(closed), await talker(closed)];
  await connect(a, b);
  await connect(stranger, a);
  stranger.gossip.mend();
  await hears(a, b, 'inside');
  stranger.gossip.publish(TOPIC, Buffer.from('outside'));
  await hears(b, a, 'inside');
  expect(stranger.heard).toEqual([]);
  expect([...a.heard, ...b.heard].filter((text) => text === 'outside')).toEqual([]);
});

test('more than ten peers behind one address are in the mesh', async () => {
  const first = await talker();
  const others = await Promise.all(Array.from({ length: 14 }, () => talker()));
  for (const other of others) await connect(other, first);
  for (const other of others) await hears(first, other, 'hello');
  expect(others.every(({ heard }) => heard.length > 0)).toBe(true);
});
