import type { Connection } from '@libp2p/interface';
import { beforeEach, describe, expect, test } from 'vitest';
import { silentLog } from '../../daemon/log.ts';
import { askWhatIsSeen } from '../../daemon/network/hole-punch-door.ts';
import { HolePunching, PUNCH_PROTOCOL } from '../../daemon/network/hole-punching.ts';
import { MEET_PROTOCOL, Meetings } from '../../daemon/network/meetings.ts';
import { Talk } from '../../daemon/network/talk.ts';
import { encode } from '../../protocol/codec.ts';
import { MEETS_BURST, PUNCHES_BURST, PUNCHES_MAX, PUNCH_TIMEOUT_MS } from '../../protocol/limits.ts';
import {
  decodePunchAnswer,
  encodePunching,
  type Endpoint,
  type MeetAnswer,
} from '../../protocol/punching.ts';
import { writeBlock } from '../../daemon/network/block.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { NodeClock, VirtualTime } from '../sim/clock.ts';
import { connectionPair, type PairedConnection } from './stream-pair.ts';

const peerOf = (seed: number): string => signerFromSeed(new Uint8Array(32).fill(seed)).peerId;
const [A, B, C, RELAY] = [peerOf(1), peerOf(2), peerOf(3), peerOf(4)];
const RELAY_IP = '203.0.113.1';
const IPS: Record<string, string> = { [A]: '203.0.113.11', [B]: '203.0.113.12', [C]: '203.0.113.13' };
/** An outside address that each machine has at an interface of its own. */
const OWN_IP = '203.0.113.50';
/** One way between a machine and the relay. */
const WAY_MS = 40;

/** A try to connect to another machine. */
interface Try {
  from: string;
  address: string;
  localPort: number;
  initiator: boolean;
  atMs: number;
}

/** Machines with links through a relay; what their NATs do is for the test to say. */
class World {
  readonly time = new VirtualTime();
  readonly clock = new NodeClock(this.time, 0);
  readonly tries: Try[] = [];
  readonly doors: PairedConnection[] = [];
  /** What came of tries, by who made them. */
  readonly made: [self: string, connection: PairedConnection][] = [];
  readonly links = new Map<string, PairedConnection>();
  /** What a try comes to: an error, or that it never ends, or a connection. */
  outcome: (one: Try) => 'refused' | 'in use' | 'silent' | 'connected' = () => 'silent';
  /** What the relay answers instead of the truth. */
  lie: MeetAnswer | undefined;
  readonly meetings: Meetings;
  #port = 40_000;
  readonly #stopping = new AbortController();

  constructor() {
    this.meetings = new Meetings({
      handlers: { relays: () => true, mayRelay: () => true },
      mayLink: () => true,
      linkWith: (peerId) => this.links.get(`${RELAY} ${peerId}`)?.real,
      clock: this.clock,
      log: silentLog,
      stopping: this.#stopping.signal,
    });
  }

  machine(self: string): HolePunching {
    const end = { peer: self, address: `/ip4/${IPS[self]}/tcp/5000/p2p/${self}` };
    const [, atRelay] = connectionPair(end, this.#relay, this.clock, WAY_MS);
    this.links.set(`${RELAY} ${self}`, atRelay);
    return new HolePunching({
      dialFrom: async (address, from, signal) => await this.#dial(self, address, from, signal),
      linkWith: (peerId) => this.links.get(`${self} ${peerId}`)?.real,
      relayAddresses: (relay) => [`/ip4/${RELAY_IP}/tcp/4001/p2p/${relay}`],
      freePort: async () => (this.#port += 1),
      ownIps: () => new Set(['127.0.0.1', OWN_IP]),
      clock: this.clock,
      random: { bytes: (count) => new Uint8Array(count), fraction: () => 0 },
      log: silentLog,
      stopping: this.#stopping.signal,
    });
  }

  /** Links two machines through the relay, or directly. */
  link(a: string, b: string, through = `/ip4/${RELAY_IP}/tcp/4001/p2p/${RELAY}/p2p-circuit`): void {
    const end = (peer: string) => ({ peer, address: `${through}/p2p/${peer}` });
    const [atA, atB] = connectionPair(end(a), end(b), this.clock, 2 * WAY_MS);
    this.links.set(`${a} ${b}`, atA);
    this.links.set(`${b} ${a}`, atB);
  }

  /** Has a machine answer what comes on its link with another. */
  answer(self: string, other: string, punching: HolePunching): void {
    this.links
      .get(`${self} ${other}`)!
      .handlers.set(PUNCH_PROTOCOL, (stream, connection) => punching.serve(stream, connection));
  }

  get #relay(): { peer: string; address: string } {
    return { peer: RELAY, address: `/ip4/${RELAY_IP}/tcp/4001/p2p/${RELAY}` };
  }

  async #dial(
    self: string,
    address: string,
    { localPort, initiator }: { localPort: number; initiator: boolean },
    signal: AbortSignal,
  ): Promise<Connection> {
    const end = { peer: self, address: `/ip4/${IPS[self]}/tcp/${localPort}/p2p/${self}` };
    if (address.includes(RELAY)) {
      const [door, atRelay] = connectionPair(end, this.#relay, this.clock, WAY_MS);
      atRelay.handlers.set(MEET_PROTOCOL, async (stream, connection) => {
        if (this.lie === undefined) return await this.meetings.serve(stream, connection);
        writeBlock(stream, encodePunching(this.lie));
      });
      this.doors.push(door);
      return door.real;
    }
    const one = { from: self, address, localPort, initiator, atMs: this.time.nowMs };
    this.tries.push(one);
    const outcome = this.outcome(one);
    await this.time.sleep(1);
    if (outcome === 'refused') throw new Error('connect ECONNREFUSED');
    if (outcome === 'in use') throw new Error('bind EADDRINUSE');
    if (outcome === 'connected') {
      const [near] = connectionPair(end, { peer: self === A ? B : A, address }, this.clock);
      this.made.push([self, near]);
      return near.real;
    }
    const { promise, reject } = Promise.withResolvers<Connection>();
    signal.addEventListener('abort', () => reject(new Error('aborted')));
    return await promise;
  }
}

const never = new AbortController().signal;
let world: World;
let a: HolePunching;
let b: HolePunching;

beforeEach(() => {
  world = new World();
  [a, b] = [world.machine(A), world.machine(B)];
  world.link(A, B);
  world.answer(B, A, b);
});

const start = (): Promise<Connection> => a.start(B, never);
/** What an attempt comes to, once it is over. */
const outcomeOf = (attempt: Promise<unknown>): Promise<string> =>
  world.time.finish(
    attempt.then(
      () => 'connected',
      (error: unknown) => String(error),
    ),
    60_000,
  );
const triesOf = (self: string): Try[] => world.tries.filter(({ from }) => from === self);

describe('two machines behind NAT', () => {
  test('connect at the same moment, from where the relay sees them, each as one side of the handshake', async () => {
    world.outcome = () => 'connected';
    const attempt = start();
    expect(await outcomeOf(attempt)).toBe('connected');
    const [fromA, fromB] = [triesOf(A)[0]!, triesOf(B)[0]!];
    expect(world.tries).toHaveLength(2);
    expect(fromA.address).toBe(`/ip4/${IPS[B]}/tcp/${fromB.localPort}/p2p/${B}`);
    expect(fromB.address).toBe(`/ip4/${IPS[A]}/tcp/${fromA.localPort}/p2p/${A}`);
    expect(Math.abs(fromA.atMs - fromB.atMs)).toBeLessThanOrEqual(1);
    expect([fromA.initiator, fromB.initiator]).toEqual([true, false]);
    expect(a.isPunched(await attempt)).toBe(true);
    expect(world.doors.map(({ status }) => status)).toEqual(['closed', 'closed']);
  });

  test('try again together when a NAT refuses what comes too early', async () => {
    let met = false;
    world.outcome = ({ from }) => {
      met ||= triesOf(from).length === 3;
      return met ? 'connected' : 'refused';
    };
    expect(await outcomeOf(start())).toBe('connected');
    const [ofA, ofB] = [triesOf(A), triesOf(B)];
    expect(ofA.length).toBeGreaterThanOrEqual(3);
    expect(ofB.length).toBeGreaterThanOrEqual(2);
    for (const [index, { atMs }] of ofB.entries()) {
      expect(Math.abs(ofA[index]!.atMs - atMs)).toBeLessThanOrEqual(1);
    }
  });

  test('give up after a few tries where their NATs take another port for each', async () => {
    world.outcome = () => 'refused';
    expect(await outcomeOf(start())).toContain('10 tries did not meet');
    await world.time.run(PUNCH_TIMEOUT_MS);
    expect([triesOf(A).length, triesOf(B).length]).toEqual([10, 10]);
    expect(new Set(world.tries.map(({ address }) => address)).size).toBe(2);
  });

  test('keep the relay no longer where a port cannot be shared', async () => {
    world.outcome = () => (world.doors.some(({ status }) => status === 'open') ? 'in use' : 'connected');
    expect(await outcomeOf(start())).toBe('connected');
  });

  test.each([true, false])(
    'what the other side does not make the link is not kept (made: %s)',
    async (made) => {
      world.outcome = () => 'connected';
      expect(await outcomeOf(start())).toBe('connected');
      await world.time.run(5_000);
      const ofB = world.made.find(([self]) => self === B)![1];
      expect(ofB.status).toBe('open');
      if (made) world.links.set(`${B} ${A}`, ofB);
      await world.time.run(10_000);
      expect(ofB.status).toBe(made ? 'open' : 'closed');
    },
  );

  test('only so many attempts are under way at once', async () => {
    const others = Array.from({ length: PUNCHES_MAX + 1 }, (_, index) => peerOf(10 + index));
    const attempts = others.map((other) => {
      world.link(A, other);
      return a.start(other, never);
    });
    const outcomes = attempts.map(outcomeOf);
    expect(await outcomes.at(-1)).toContain('too many attempts at once');
    expect(await outcomes[0]).not.toContain('too many');
    await Promise.all(outcomes);
    expect(await outcomeOf(start())).toContain('did not meet');
  });
});

/** What B answers to words that A says on their link, one after the other; `ended` when it hangs up. */
async function answersTo(...words: object[]): Promise<object[]> {
  const answers: object[] = [];
  const talking = async (): Promise<void> => {
    const talk = new Talk(await world.links.get(`${A} ${B}`)!.newStream(PUNCH_PROTOCOL));
    for (const word of words) {
      talk.say(encode(word));
      answers.push(decodePunchAnswer(await talk.hear(never)));
    }
  };
  await world.time.finish(
    talking().catch(() => answers.push({ t: 'ended' })),
    60_000,
  );
  return answers;
}

describe('nobody can have a machine connect where they like', () => {
  const you = { ip: IPS[B]!, port: 40_000 };

  test.each<[string, Endpoint]>([
    ['its own loopback', { ip: '127.0.0.1', port: 5_432 }],
    ['another loopback', { ip: '127.8.8.8', port: 5_432 }],
    ['itself', { ip: OWN_IP, port: 5_432 }],
    ['its neighbour', { ip: '192.168.1.11', port: 5_432 }],
    ['what a cloud tells its machines', { ip: '169.254.169.254', port: 8_080 }],
    ['this network', { ip: '0.0.0.0', port: 5_432 }],
    ['a group', { ip: '224.0.0.251', port: 5_353 }],
    ['everybody', { ip: '255.255.255.255', port: 5_353 }],
    ['a service', { ip: '203.0.113.99', port: 443 }],
    ['another family', { ip: '2001:db8::1', port: 40_000 }],
    ['IPv4 in disguise', { ip: '::ffff:127.0.0.1', port: 5_432 }],
  ])('not by a relay that names %s', async (_, other) => {
    world.lie = { t: 'seen', you, other };
    expect(await answersTo({ t: 'punch' })).toEqual([{ t: 'refused', why: 'not_seen' }]);
    expect(await outcomeOf(start())).toMatch(/not_seen/);
    world.links.get(`${B} ${A}`)!.handlers.set(PUNCH_PROTOCOL, (stream) => {
      const talk = new Talk(stream);
      void talk.hear(never).then(() => talk.say(encode({ t: 'ready' })));
    });
    expect(await outcomeOf(start())).toMatch(/no address that is one to try/);
    expect(world.tries).toEqual([]);
  });

  test('a relay and a member that lie together get a few tries at one place, and then have to wait', async () => {
    world.lie = { t: 'seen', you, other: { ip: '203.0.113.99', port: 8_080 } };
    world.outcome = () => 'refused';
    for (let attempt = 0; attempt < PUNCHES_BURST; attempt++) {
      expect(await answersTo({ t: 'punch' }, { t: 'go' })).toEqual([{ t: 'ready' }, { t: 'going' }]);
      await world.time.run(6_000);
      expect(world.tries).toHaveLength(10 * (attempt + 1));
    }
    expect(await answersTo({ t: 'punch' })).toEqual([{ t: 'refused', why: 'too_soon' }]);
    expect(new Set(world.tries.map(({ address }) => address))).toEqual(
      new Set([`/ip4/203.0.113.99/tcp/8080/p2p/${A}`]),
    );
  });

  test('not by a member that has not met the relay', async () => {
    expect(await answersTo({ t: 'punch' })).toEqual([{ t: 'refused', why: 'not_seen' }]);
    expect(world.tries).toEqual([]);
  });

  test('not on a link that is direct, and not on a connection that is no link', async () => {
    const refused = [{ t: 'refused', why: 'not_relayed' }];
    const ofLink = world.links.get(`${B} ${A}`)!;
    world.links.delete(`${B} ${A}`);
    expect(await answersTo({ t: 'punch' })).toEqual(refused);
    world.links.set(`${B} ${A}`, ofLink);
    world.link(A, B, `/ip4/${IPS[B]}/tcp/4001`);
    world.answer(B, A, b);
    expect(await answersTo({ t: 'punch' })).toEqual(refused);
    expect(world.doors).toEqual([]);
  });

  test('whoever asks and says no more is forgotten, and may not ask twice at once', async () => {
    world.lie = { t: 'seen', you, other: { ip: IPS[A]!, port: 40_000 } };
    expect(await answersTo({ t: 'punch' })).toEqual([{ t: 'ready' }]);
    expect(await answersTo({ t: 'punch' })).toEqual([{ t: 'refused', why: 'busy' }]);
    await world.time.run(PUNCH_TIMEOUT_MS);
    expect(world.doors.map(({ status }) => status)).toEqual(['closed']);
    expect(await answersTo({ t: 'punch' })).toEqual([{ t: 'ready' }]);
    expect(world.tries).toEqual([]);
  });

  test.each<[string, object[]]>([
    ['go before punch', [{ t: 'go' }]],
    ['an address', [{ t: 'punch', ip: '203.0.113.99', port: 25 }]],
  ])('%s ends the talk', async (_, words) => {
    expect(await answersTo(...words)).toEqual([{ t: 'ended' }]);
    expect(world.tries).toEqual([]);
  });
});

test('a talk is cut off when more comes than anybody reads', async () => {
  const talk = await world.links.get(`${A} ${B}`)!.newStream(PUNCH_PROTOCOL);
  const head = Uint8Array.of(0, 1, 0, 0);
  talk.send(head);
  await world.time.run(1_000);
  expect(talk.status).toBe('open');
  talk.send(new Uint8Array(5_000));
  await world.time.run(1_000);
  expect(talk.status).toBe('reset');
});

describe('a relay', () => {
  /** What the relay answers a machine on a connection of its own. */
  async function meet(self: string, port: number, other?: string) {
    const [near, far] = connectionPair(
      { peer: self, address: `/ip4/${IPS[self]}/tcp/${port}/p2p/${self}` },
      { peer: RELAY, address: `/ip4/${RELAY_IP}/tcp/4001` },
      world.clock,
    );
    far.handlers.set(MEET_PROTOCOL, (stream, connection) => world.meetings.serve(stream, connection));
    const again = async (): Promise<unknown> =>
      await world.time.finish(askWhatIsSeen(near.real, other, never).catch(String), 10_000);
    return { near, again, answer: await again() };
  }

  test('tells an address to the machine that it is meant for, for as long as the connection is there', async () => {
    const ofA = await meet(A, 1_111, B);
    expect(ofA.answer).toEqual({ t: 'seen', you: { ip: IPS[A], port: 1_111 } });
    world.machine(C);
    expect(await meet(C, 3_333, A)).toMatchObject({ answer: { you: { ip: IPS[C], port: 3_333 } } });
    expect((await meet(C, 3_333, A)).answer).not.toHaveProperty('other');
    const ofB = await meet(B, 2_222, A);
    expect(ofB.answer).toMatchObject({ other: { ip: IPS[A], port: 1_111 } });
    expect(await ofA.again()).toMatchObject({ other: { ip: IPS[B], port: 2_222 } });
    ofA.near.abort();
    expect(await ofB.again()).not.toHaveProperty('other');
  });

  test('forgets it after half a minute', async () => {
    await meet(A, 1_111, B);
    await world.time.run(29_000);
    const ofB = await meet(B, 2_222, A);
    expect(ofB.answer).toHaveProperty('other');
    await world.time.run(2_000);
    expect(await ofB.again()).not.toHaveProperty('other');
  });

  test('tells one who asks too often to wait, and others still', async () => {
    const ofA = await meet(A, 1_111);
    for (let n = 1; n < MEETS_BURST; n++) expect(await ofA.again()).toHaveProperty('you');
    expect(await ofA.again()).toContain('busy');
    expect((await meet(B, 2_222)).answer).toHaveProperty('you');
    await world.time.run(2_000);
    expect(await ofA.again()).toHaveProperty('you');
  });

  test('tells nothing to one without a link, and nothing about a connection that another relay passes on', async () => {
    world.links.delete(`${RELAY} ${A}`);
    expect((await meet(A, 1_111)).answer).toContain('not_member');
    const [near, far] = connectionPair(
      { peer: B, address: `/ip4/${RELAY_IP}/tcp/4001/p2p/${C}/p2p-circuit/p2p/${B}` },
      { peer: RELAY, address: `/ip4/${RELAY_IP}/tcp/4001` },
      world.clock,
    );
    far.handlers.set(MEET_PROTOCOL, (stream, connection) => world.meetings.serve(stream, connection));
    expect(await outcomeOf(askWhatIsSeen(near.real, undefined, never))).toContain('not_seen');
  });
});
