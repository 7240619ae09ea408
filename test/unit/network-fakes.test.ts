import { describe, expect, test } from 'vitest';
import type { Network, NetworkHandlers } from '../../daemon/network/network.ts';
import type { Frame } from '../../protocol/frame.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { VirtualTime } from '../sim/clock.ts';
import { SimNetwork } from '../sim/network.ts';
import { SeededRandom } from '../sim/random.ts';
import { SimWire } from '../sim/wire.ts';
import { turn, Wire } from './wire.ts';

/** What both fakes of the network owe to daemon/network/network.ts, beside carrying frames. */

/** A machine of a fake wire, which notes what it hears. */
class Machine {
  readonly network: Network;
  readonly events: string[] = [];
  readonly members = new Set<string>();
  readonly guests = new Set<string>();

  constructor(network: Network) {
    this.network = network;
  }

  get peerId(): string {
    return this.network.peerId;
  }

  async start(): Promise<void> {
    const handlers: NetworkHandlers = {
      admits: (peerId) => this.members.has(peerId),
      admitsJoin: (peerId) => this.guests.has(peerId),
      linkUp: () => this.events.push('up'),
      linkDown: () => this.events.push('down'),
      refused: () => this.events.push('refused'),
      frame: (_, frame) => this.events.push(frame.t === 'ack' ? `ack ${frame.n}` : frame.t),
      join: async (_, request) => request,
    };
    await this.network.start(handlers);
  }

  name(...others: Machine[]): void {
    this.network.setPeers(new Map(others.map(({ network }) => [network.peerId, network.addresses()])));
  }
}

interface World {
  machines: [Machine, Machine];
  /** Lets everything happen that happens within a few seconds. */
  pass: () => Promise<void>;
  /** Lets the outcome of some work come about. */
  finish: <T>(work: Promise<T>) => Promise<T>;
}

function handWorld(): World {
  const wire = new Wire();
  const machine = (seed: number) => new Machine(wire.network(signerFromSeed(new Uint8Array(32).fill(seed))));
  return { machines: [machine(1), machine(2)], pass: turn, finish: (work) => work };
}

function simWorld(): World {
  const time = new VirtualTime();
  const random = new SeededRandom('fakes');
  const deaf = () => {};
  const wire = new SimWire({ time, random, trace: deaf, onDelivered: deaf });
  const machine = (peerId: string) =>
    new Machine(new SimNetwork({ wire, peerId, boot: peerId, address: `/at/${peerId}` }));
  return {
    machines: [machine('a'), machine('b')],
    pass: async () => void (await time.run(4_000)),
    finish: (work) => time.finish(work, 4_000),
  };
}

describe.each([
  ['the wire of microtasks', handWorld],
  ['the seeded wire', simWorld],
])('%s', (_, build) => {
  async function world(): Promise<World> {
    const built = build();
    for (const machine of built.machines) await machine.start();
    return built;
  }
  const ack = (n: number): Frame => ({ t: 'ack', n });
  const question = Uint8Array.of(1, 2, 3);

  test('tells a machine that another one refuses it, which may then ask if it may', async () => {
    const { machines, pass, finish } = await world();
    const [a, b] = machines;
    b.members.add(a.peerId);
    b.name(a);
    await pass();
    expect([a.events, new Set(b.events)]).toEqual([[], new Set(['refused'])]);
    const ask = () => finish(b.network.requestJoin(a.peerId, a.network.addresses(), question));
    await expect(ask()).rejects.toMatchObject({ code: 'peer_unreachable' });
    a.guests.add('somebody else');
    await expect(ask()).rejects.toMatchObject({ code: 'peer_unreachable' });
    a.guests.add(b.peerId);
    expect(await ask()).toEqual(question);
    a.members.add(b.peerId);
    b.name(a);
    await pass();
    expect([a.events.at(-1), b.events.at(-1)]).toEqual(['up', 'up']);
  });

  test('tells nothing to a machine that refuses the other one itself, or that nobody answers', async () => {
    const { machines, pass } = await world();
    const [a, b] = machines;
    b.name(a);
    await pass();
    expect([a.events, b.events]).toEqual([[], []]);
    b.members.add(a.peerId);
    await a.network.stop();
    b.name(a);
    await pass();
    expect([a.events, b.events]).toEqual([[], []]);
  });

  test('delivers what was sent in the same tick as the end, and takes nothing any more', async () => {
    const { machines, pass } = await world();
    const [a, b] = machines;
    a.members.add(b.peerId);
    b.members.add(a.peerId);
    a.name(b);
    await pass();
    b.network.send(a.peerId, [ack(1)]);
    a.network.send(b.peerId, [ack(2)]);
    a.name();
    expect(a.network.send(b.peerId, [ack(3)])).toBe(false);
    await pass();
    expect([a.events, b.events]).toEqual([
      ['up', 'down'],
      ['up', 'ack 2', 'down'],
    ]);
  });
});
