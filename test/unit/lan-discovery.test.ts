import { beforeEach, describe, expect, test } from 'vitest';
import { LanDiscovery } from '../../daemon/discovery/lan-discovery.ts';
import type { Multicast } from '../../daemon/discovery/multicast.ts';
import { NetworkWatch, type Place } from '../../daemon/discovery/network-watch.ts';
import { sealAnnouncement, tagOf, type Circle } from '../../protocol/discovery/announcement.ts';
import { encodeAnswer, encodeQuestion, parseDatagram } from '../../protocol/discovery/datagram.ts';
import { readWhereabouts, signWhereabouts } from '../../protocol/discovery/whereabouts.ts';
import { DATAGRAM_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { countingRandom, HandClock, turn } from './wire.ts';

const NS = 'a'.repeat(64);
const circleOf = (key: number, epoch = 1): Circle => ({ ns: NS, epoch, key: new Uint8Array(32).fill(key) });
const place = (name: string, address: string): Place => ({
  name,
  family: address.includes(':') ? 6 : 4,
  address,
  internal: name === 'lo',
  scope: 0,
});
const LAN = [place('lo', '127.0.0.1'), place('eth0', '192.168.1.5'), place('eth0', 'fe80::1')];

/** Everybody hears everybody, themselves included, at once and in order. */
class Ether {
  readonly machines: LanMachine[] = [];
  /** Whether datagrams are lost. */
  deaf = false;
  sent = 0;
  sizeBytesMost = 0;

  send(bytes: Uint8Array, source: string): void {
    this.sent += 1;
    this.sizeBytesMost = Math.max(this.sizeBytesMost, bytes.length);
    if (this.deaf) return;
    for (const machine of this.machines) machine.discovery.datagram(bytes, source);
  }
}

class LanMachine implements Multicast {
  readonly discovery: LanDiscovery;
  readonly opened: (readonly Place[])[] = [];
  /** Who called, with what. */
  readonly heard: { machine: string; at: number; afterMs: number }[] = [];
  readonly signer;
  addresses = ['/ip4/192.168.1.5/tcp/4001'];
  circles: Circle[];
  places = LAN;
  calls = 0;
  questions = 0;
  readonly #ether: Ether;
  readonly #name: string;
  #at = 0;

  constructor(ether: Ether, clock: HandClock, seed: number, circles: Circle[]) {
    this.#ether = ether;
    this.#name = `192.168.1.${seed}`;
    this.signer = signerFromSeed(new Uint8Array(32).fill(seed));
    this.circles = circles;
    const startMs = clock.elapsed();
    this.discovery = new LanDiscovery({
      clock,
      random: countingRandom(seed),
      multicast: this,
      places: () => this.places,
      circles: () => this.circles,
      own: () => signWhereabouts(this.addresses, (this.#at += 1), this.signer),
      heard: (_ns, bytes) => {
        const said = readWhereabouts(bytes, () => true)!;
        this.heard.push({ machine: said.machine, at: said.at, afterMs: clock.elapsed() - startMs });
      },
    });
    ether.machines.push(this);
  }

  async open(places: readonly Place[]): Promise<void> {
    this.opened.push(places);
  }

  send(bytes: Uint8Array): void {
    if (parseDatagram(bytes)?.k === 'question') this.questions += 1;
    else this.calls += 1;
    this.#ether.send(bytes, this.#name);
  }

  async close(): Promise<void> {}

  others(): string[] {
    return [...new Set(this.heard.map(({ machine }) => machine))].filter((id) => id !== this.signer.peerId);
  }
}

let ether: Ether;
let clock: HandClock;
beforeEach(() => {
  ether = new Ether();
  clock = new HandClock();
});
const machine = (seed: number, ...circles: Circle[]) => new LanMachine(ether, clock, seed, circles);

describe('machines on one LAN', () => {
  test('find each other in less than a second, whoever comes first', async () => {
    const first = machine(1, circleOf(7));
    await first.discovery.start();
    await clock.advance(300_000);
    const second = machine(2, circleOf(7));
    await second.discovery.start();
    await clock.advance(1_000);
    expect(first.others()).toEqual([second.signer.peerId]);
    expect(second.others()).toEqual([first.signer.peerId]);
    expect(second.heard.find((one) => one.machine === first.signer.peerId)!.afterMs).toBeLessThan(300);
    expect(ether.sizeBytesMost).toBeLessThanOrEqual(DATAGRAM_SIZE_BYTES_MAX);
  });

  test('find each other although the first second of datagrams is lost', async () => {
    const [first, second] = [machine(1, circleOf(7)), machine(2, circleOf(7))];
    await first.discovery.start();
    await clock.advance(300_000);
    ether.deaf = true;
    await second.discovery.start();
    await clock.advance(900);
    ether.deaf = false;
    await clock.advance(600);
    expect([first.others(), second.others()]).toEqual([[second.signer.peerId], [first.signer.peerId]]);
  });

  test('of other namespaces, and of other keys of the same, hear nothing', async () => {
    const machines = [machine(1, circleOf(7)), machine(2, circleOf(8)), machine(3, circleOf(7, 2))];
    for (const one of machines) await one.discovery.start();
    await clock.advance(120_000);
    expect(machines.map((one) => one.others())).toEqual([[], [], []]);
  });

  test('call anew under another tag once the key was changed', async () => {
    const [first, second, removed] = [
      machine(1, circleOf(7)),
      machine(2, circleOf(7)),
      machine(3, circleOf(7)),
    ];
    for (const one of [first, second, removed]) await one.discovery.start();
    await clock.advance(10_000);
    for (const one of [first, second]) one.circles = [circleOf(9, 2)];
    await clock.advance(1_000);
    for (const one of [first, second, removed]) one.heard.length = 0;
    await clock.advance(200_000);
    expect(first.others()).toEqual([second.signer.peerId]);
    expect(removed.others()).toEqual([]);
  });

  test('a thousand questions in ten seconds are answered once a second', async () => {
    const one = machine(1, circleOf(7));
    await one.discovery.start();
    await clock.advance(30_000);
    const before = one.calls;
    for (let count = 0; count < 1_000; count++) {
      one.discovery.datagram(encodeQuestion(tagOf(circleOf(7))), `10.0.0.${count % 250}`);
      await clock.advance(10);
    }
    await clock.advance(2_000);
    expect(one.calls - before).toBeLessThanOrEqual(12);
    expect(one.calls - before).toBeGreaterThanOrEqual(9);
  });

  test('an idle machine calls about once a minute, and asks no more', async () => {
    const one = machine(1, circleOf(7));
    await one.discovery.start();
    await clock.advance(10_000);
    const before = { calls: one.calls, questions: one.questions };
    expect(before.questions).toBe(3);
    await clock.advance(3_600_000);
    expect(one.questions).toBe(3);
    expect(one.calls - before.calls).toBeGreaterThan(45);
    expect(one.calls - before.calls).toBeLessThan(85);
  });

  test('a machine without namespaces, or without an address, says nothing', async () => {
    const [idle, nowhere] = [machine(1), machine(2, circleOf(7))];
    nowhere.addresses = [];
    for (const one of [idle, nowhere]) await one.discovery.start();
    await clock.advance(120_000);
    expect([idle.calls, idle.questions, nowhere.calls]).toEqual([0, 0, 0]);
  });

  test('a machine that listens on loopback alone speaks there alone', async () => {
    const one = machine(1, circleOf(7));
    one.addresses = ['/ip4/127.0.0.1/tcp/4001', '/ip6/::1/tcp/4001'];
    await one.discovery.start();
    expect(one.opened.map((places) => places.map(({ name }) => name))).toEqual([['lo']]);
    one.addresses = ['/ip4/192.168.1.5/tcp/4001'];
    await one.discovery.changed();
    expect(one.opened.at(-1)).toEqual(LAN);
  });

  test('nothing is done after the stop', async () => {
    const one = machine(1, circleOf(7));
    await one.discovery.start();
    await one.discovery.stop();
    const before = ether.sent;
    one.discovery.datagram(encodeQuestion(tagOf(circleOf(7))), '10.0.0.1');
    await one.discovery.changed();
    await clock.advance(300_000);
    expect(ether.sent).toBe(before);
  });
});

describe('a hostile LAN', () => {
  const circle = circleOf(7);
  const answerOf = (content: Uint8Array, at: Circle = circle) =>
    encodeAnswer(tagOf(circle), sealAnnouncement(content, at, countingRandom(5).bytes));
  const seen = Buffer.from('0102', 'hex');

  test.each<[string, () => Uint8Array]>([
    ['nothing', () => new Uint8Array(0)],
    ['garbage', () => new Uint8Array(500).fill(0x5a)],
    ['64 KB', () => new Uint8Array(65_000)],
    ['a call as long as the wire takes', () => Buffer.concat([answerOf(seen), new Uint8Array(8_000)])],
    ['a call under the right tag, sealed with another key', () => answerOf(seen, circleOf(8))],
    ['a call with a tag of nobody', () => encodeAnswer('bcdfghjkmnpqrst', new Uint8Array(600))],
    ['a question with a tag of nobody', () => encodeQuestion('bcdfghjkmnpqrst')],
    ['a call without content', () => encodeAnswer(tagOf(circle), new Uint8Array(1))],
    ['a call of a salt alone', () => encodeAnswer(tagOf(circle), new Uint8Array(32))],
  ])('%s is heard by nobody and answered by nobody', async (_what, make) => {
    const one = machine(1, circle);
    await one.discovery.start();
    await clock.advance(30_000);
    const before = ether.sent;
    one.heard.length = 0;
    for (let count = 0; count < 100; count++) one.discovery.datagram(make(), '10.0.0.66');
    await clock.advance(2_000);
    expect([one.heard, ether.sent - before]).toEqual([[], 0]);
  });

  test('a flood from one source costs a bounded number of openings, and keeps nobody else out', async () => {
    const one = machine(1, circle);
    await one.discovery.start();
    await clock.advance(30_000);
    one.heard.length = 0;
    const mal = signerFromSeed(new Uint8Array(32).fill(66));
    const call = answerOf(signWhereabouts(['/ip4/10.0.0.66/tcp/1'], 1, mal).bytes);
    for (let count = 0; count < 10_000; count++) {
      one.discovery.datagram(call, '10.0.0.66');
      if (count % 10 === 0) await clock.advance(1);
    }
    // 40 at once and 10 a second, for the one second that passed.
    expect(one.heard.length).toBeLessThanOrEqual(51);
    const friend = machine(2, circle);
    await friend.discovery.start();
    await clock.advance(500);
    expect(one.others()).toContain(friend.signer.peerId);
  });

  test('a flood from made-up sources costs a bounded number of openings', async () => {
    const one = machine(1, circle);
    await one.discovery.start();
    await clock.advance(30_000);
    one.heard.length = 0;
    const mal = signerFromSeed(new Uint8Array(32).fill(66));
    const call = answerOf(signWhereabouts(['/ip4/10.0.0.66/tcp/1'], 1, mal).bytes);
    for (let count = 0; count < 20_000; count++) {
      one.discovery.datagram(call, `10.${count >> 8}.0.${count & 255}`);
      if (count % 20 === 0) await clock.advance(1);
    }
    expect(one.heard.length).toBeLessThanOrEqual(601);
  });
});

describe('the watch over the networks', () => {
  function watchOf() {
    const world = { places: LAN, seen: [] as string[], watch: undefined as NetworkWatch | undefined };
    world.watch = new NetworkWatch({
      clock,
      places: () => world.places,
      events: { changed: (why) => world.seen.push(why) },
    });
    world.watch.start();
    return world;
  }

  test('tells of an address that comes or goes within a second, and of nothing else', async () => {
    const world = watchOf();
    await clock.advance(60_000);
    world.places = [...LAN].reverse();
    await clock.advance(60_000);
    expect(world.seen).toEqual([]);
    world.places = [...LAN, place('tun0', '10.8.0.2')];
    await clock.advance(1_000);
    expect(world.seen).toEqual(['addresses']);
    world.places = [LAN[0]!];
    await clock.advance(1_000);
    expect(world.seen).toEqual(['addresses', 'addresses']);
    world.watch!.stop();
    world.places = LAN;
    await clock.advance(10_000);
    expect(world.seen).toHaveLength(2);
  });

  test('tells of sleep by the clock that ran on meanwhile', async () => {
    const asleep = new SleepyClock();
    const seen: string[] = [];
    const events = { changed: (why: string) => seen.push(why) };
    const watch = new NetworkWatch({ clock: asleep, places: () => LAN, events });
    watch.start();
    asleep.tick(1_000, 1_000);
    asleep.tick(1_900, 1_900);
    expect(seen).toEqual([]);
    // The machine slept: its steady clock stood still. Then the process was stopped: no clock did.
    asleep.tick(1_000, 30_000);
    asleep.tick(30_000, 30_000);
    expect(seen).toEqual(['sleep', 'sleep']);
    watch.stop();
    await turn();
  });
});

/** One timer, and two clocks that need not agree. */
class SleepyClock extends HandClock {
  #steadyMs = 0;
  #wallMs = 0;
  #task: () => void = () => {};

  override now(): number {
    return this.#wallMs;
  }

  override elapsed(): number {
    return this.#steadyMs;
  }

  override after(_delayMs: number, task: () => void): { cancel(): void } {
    this.#task = task;
    return { cancel: () => (this.#task = () => {}) };
  }

  tick(steadyMs: number, wallMs: number): void {
    this.#steadyMs += steadyMs;
    this.#wallMs += wallMs;
    this.#task();
  }
}
