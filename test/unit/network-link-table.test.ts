import type { Connection, Stream } from '@libp2p/interface';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../daemon/clock.ts';
import { LinkTable } from '../../daemon/network/link-table.ts';
import { newId } from '../../protocol/ids.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

/** The same numbers for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Delivery = () => void;

/** Two machines and the wires between them; what is under way arrives in an order that chance decides. */
class World {
  readonly random: () => number;
  readonly wires: Delivery[][] = [];
  readonly low: Machine;
  readonly high: Machine;

  constructor(seed: number) {
    this.random = seeded(seed);
    this.low = new Machine('a', this);
    this.high = new Machine('b', this);
  }

  machine(peerId: string): Machine {
    return peerId === 'a' ? this.low : this.high;
  }

  /** Delivers one thing; false when nothing is under way. */
  async step(): Promise<boolean> {
    // What was sent leaves when the turn ends.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    const busy = this.wires.filter((wire) => wire.length > 0);
    const wire = busy[Math.floor(this.random() * busy.length)];
    wire?.shift()!();
    return wire !== undefined;
  }

  async drain(): Promise<void> {
    while (await this.step());
  }
}

/** One end of a stream, as much of it as a link uses. */
class End extends EventTarget {
  status = 'open';
  readableEnded = false;
  writableNeedsDrain = false;
  writeBufferLength = 0;
  peer: End | undefined;
  readonly wire: Delivery[] = [];

  send(bytes: Uint8Array): boolean {
    const { peer } = this;
    this.wire.push(() => peer?.dispatch('message', { data: bytes }));
    return true;
  }

  async close(): Promise<void> {
    this.wire.push(() => this.peer?.dispatch('end', {}));
  }

  abort(): void {
    if (this.status !== 'open') return;
    this.status = 'aborted';
    this.dispatch('close', { local: true, error: new Error('aborted') });
    this.wire.push(() => this.peer?.reset());
  }

  reset(): void {
    if (this.status !== 'open') return;
    this.status = 'reset';
    this.dispatch('close', { error: new Error('reset') });
  }

  dispatch(type: string, fields: object): void {
    if (type === 'message' && this.status !== 'open') return;
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }
}

class Machine {
  readonly peerId: string;
  readonly world: World;
  readonly events: string[] = [];
  readonly heard: string[] = [];
  onDown: () => void = () => {};
  table: LinkTable;
  opens: End[] = [];
  now = 0;
  timers = new Map<object, { at: number; task: () => void }>();

  constructor(peerId: string, world: World) {
    this.peerId = peerId;
    this.world = world;
    this.table = this.#newTable(1);
  }

  get isUp(): boolean {
    return this.events.at(-1) === 'up';
  }

  #newTable(boot: number): LinkTable {
    const clock: Clock = {
      now: () => this.now,
      elapsed: () => this.now,
      after: (delayMs, task) => {
        const key = {};
        this.timers.set(key, { at: this.now + delayMs, task });
        return { cancel: () => void this.timers.delete(key) };
      },
    };
    return new LinkTable({
      self: this.peerId,
      bootId: newId(boot, (length) => new Uint8Array(length)),
      clock,
      events: {
        up: () => this.events.push('up'),
        down: (_, reason) => {
          this.events.push(reason);
          this.onDown();
        },
        frame: (link, frame) => {
          if (this.table.get(link.peerId) !== link) throw new Error('a frame of a link that is not the link');
          if (frame.t === 'ack') this.heard.push(`${frame.n}`);
        },
      },
    });
  }

  dial(address = '/wire'): void {
    const other = this.peerId === 'a' ? this.world.high : this.world.low;
    const [mine, theirs] = [new End(), new End()];
    mine.peer = theirs;
    theirs.peer = mine;
    this.world.wires.push(mine.wire, theirs.wire);
    mine.wire.push(() => other.adopt(theirs, this.peerId, address));
    this.adopt(mine, other.peerId, address);
  }

  adopt(end: End, from: string, address = '/wire'): void {
    this.opens.push(end);
    const connection = {
      remotePeer: from,
      remoteAddr: address,
      abort: () => end.abort(),
      addEventListener: (type: string, listener: () => void) => end.addEventListener(type, listener),
    };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of both as a link uses
    this.table.adopt(end as unknown as Stream, connection as unknown as Connection, () => {});
  }

  /** Forgets everything without a word to the other side, as a power cut does. */
  restart(boot: number): void {
    if (this.isUp) this.events.push('restarted');
    for (const end of this.opens) {
      if (end.peer !== undefined) end.peer.peer = undefined;
      end.status = 'gone';
    }
    this.opens = [];
    this.timers.clear();
    this.table = this.#newTable(boot);
  }

  pass(ms: number): void {
    this.now += ms;
    const due = this.timers
      .entries()
      .filter(([, { at }]) => at <= this.now)
      .toArray();
    for (const [key, { task }] of due) if (this.timers.delete(key)) task();
  }
}

const other = (machine: Machine): string => (machine.peerId === 'a' ? 'b' : 'a');

function alternates(events: string[]): boolean {
  return events.every((event, index) => (event === 'up') === (index % 2 === 0));
}

/** Both are up, on the same stream: what one says the other hears. */
async function expectLinked(world: World): Promise<void> {
  for (const machine of [world.low, world.high]) {
    machine.heard.length = 0;
    expect(machine.events.at(-1)).toBe('up');
    expect(machine.table.get(other(machine))!.send([{ t: 'ack', n: 1 }])).toBe(true);
  }
  await world.drain();
  expect([world.low.heard, world.high.heard]).toEqual([['1'], ['1']]);
}

const [RELAY, TARGET] = [7, 8].map((fill) => signerFromSeed(new Uint8Array(32).fill(fill)).peerId);
const RELAYED = `/ip4/192.0.2.1/tcp/1/p2p/${RELAY}/p2p-circuit/p2p/${TARGET}`;

describe('LinkTable', () => {
  test('a direct stream replaces a link through a relay at once, whoever dialled, in any order of events', async () => {
    for (let seed = 0; seed < 300; seed++) {
      const world = new World(seed);
      const [first, second] = world.random() < 0.5 ? [world.low, world.high] : [world.high, world.low];
      first.dial(RELAYED);
      await world.drain();
      const [direct, relayed] = world.random() < 0.5 ? [first, second] : [second, first];
      direct.dial();
      for (let steps = Math.floor(world.random() * 6); steps > 0; steps--) await world.step();
      // The other still tries the relay, or again.
      if (world.random() < 0.5) relayed.dial(RELAYED);
      await world.drain();
      await expectLinked(world);
      for (const machine of [world.low, world.high]) {
        expect(machine.table.get(other(machine))!.address).toBe('/wire');
        // The end of the old link may arrive before the hello on the new one.
        expect(machine.events).toEqual(['up', expect.stringMatching(/^(superseded|reset by peer)$/), 'up']);
      }
    }
  });

  test('a stream through a relay does not replace a direct link at once', async () => {
    const world = new World(1);
    world.high.dial();
    await world.drain();
    world.high.dial(RELAYED);
    await world.drain();
    expect([world.low.events, world.low.table.get('b')!.address]).toEqual([['up'], '/wire']);
  });

  test('both dial at once: one link, and never a flap, in any order of events', async () => {
    for (let seed = 0; seed < 400; seed++) {
      const world = new World(seed);
      const [first, second] = world.random() < 0.5 ? [world.low, world.high] : [world.high, world.low];
      first.dial();
      for (let steps = Math.floor(world.random() * 6); steps > 0; steps--) await world.step();
      if (!second.isUp) second.dial();
      await world.drain();
      await expectLinked(world);
      for (const machine of [world.low, world.high]) machine.pass(5_000);
      await world.drain();
      expect([world.low.events, world.high.events]).toEqual([['up'], ['up']]);
    }
  });

  test('through resets, redials and restarts both end up on one link', async () => {
    for (let seed = 0; seed < 300; seed++) {
      const world = new World(seed);
      const machines = [world.low, world.high];
      for (let round = 0; round < 30; round++) {
        const machine = machines[Math.floor(world.random() * 2)]!;
        const chance = world.random();
        if (chance < 0.4 && !machine.isUp) machine.dial();
        else if (chance < 0.5) machine.table.drop(other(machine), 'test');
        else if (chance < 0.55) machine.restart(round + 2);
        else if (chance < 0.7) machine.pass(500);
        for (let steps = Math.floor(world.random() * 5); steps > 0; steps--) await world.step();
      }
      // Faults stop; a machine without a link dials now and then, and time passes.
      for (let round = 0; round < 12; round++) {
        for (const machine of machines) if (!machine.isUp) machine.dial();
        await world.drain();
        for (const machine of machines) machine.pass(5_000);
        await world.drain();
      }
      await expectLinked(world);
      for (const { events } of machines) expect(alternates(events)).toBe(true);
    }
  });

  test('a second stream of the same boot replaces the link only after a moment', async () => {
    const world = new World(1);
    world.high.dial();
    await world.drain();
    const before = world.low.table.get('b');
    // The higher machine has lost its link and dials again; the lower one has not noticed.
    world.high.table.drop('b', '');
    world.high.restart(1);
    world.high.dial();
    await world.drain();
    world.low.pass(999);
    await world.drain();
    expect(world.low.table.get('b')).toBe(before);
    world.low.pass(1);
    await world.drain();
    expect(world.low.events).toEqual(['up', 'superseded', 'up']);
    await expectLinked(world);
  });

  test('another boot replaces the link at once', async () => {
    const world = new World(1);
    world.high.dial();
    await world.drain();
    world.high.restart(2);
    world.high.dial();
    await world.drain();
    expect(world.low.events).toEqual(['up', 'superseded', 'up']);
    await expectLinked(world);
  });

  test('who hears that a link is down may drop the one that replaces it', async () => {
    const world = new World(1);
    world.high.dial();
    await world.drain();
    world.low.onDown = () => world.low.table.drop('b', 'enough');
    world.high.restart(2);
    world.high.dial();
    await world.drain();
    expect(world.low.events).toEqual(['up', 'superseded']);
    expect(world.low.table.get('b')).toBeUndefined();
    expect(world.low.opens.filter((end) => end.status === 'open')).toEqual([]);
    world.high.dial();
    await world.drain();
    await expectLinked(world);
  });

  test('streams that never say hello are bounded and end', async () => {
    const world = new World(1);
    for (let count = 0; count < 10; count++) world.low.adopt(new End(), 'b');
    expect(world.low.opens.filter((end) => end.status === 'open')).toHaveLength(4);
    world.low.pass(10_000);
    expect(world.low.opens.filter((end) => end.status === 'open')).toHaveLength(0);
    expect(world.low.timers.size).toBe(0);
    expect(world.low.events).toEqual([]);
  });

  test('silence ends a link', async () => {
    const world = new World(1);
    world.low.dial();
    await world.drain();
    const look = () => world.low.table.get('b')!.look();
    world.low.pass(6_999);
    world.high.table.get('a')!.send([{ t: 'ack', n: 1 }]);
    await world.drain();
    world.low.pass(6_999);
    look();
    // Its question gets lost.
    // What was sent leaves when the turn ends.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    expect(world.wires.flat()).toHaveLength(1);
    for (const wire of world.wires) wire.length = 0;
    expect(world.low.events).toEqual(['up']);
    world.low.pass(1);
    look();
    await world.drain();
    expect([world.low.events, world.high.events]).toEqual([
      ['up', 'silence'],
      ['up', 'reset by peer'],
    ]);
  });

  test('a link that is asked answers, and lives on', async () => {
    const world = new World(1);
    world.low.dial();
    await world.drain();
    for (let second = 0; second < 120; second++) {
      for (const machine of [world.low, world.high]) machine.pass(1_000);
      world.low.table.get('b')!.look();
      world.high.table.get('a')!.look();
      await world.drain();
    }
    // Neither question nor answer is anybody else's business.
    expect([world.low.heard, world.high.heard]).toEqual([[], []]);
    await expectLinked(world);
  });

  test('who is asked in a hurry has less time to answer', async () => {
    const world = new World(1);
    world.low.dial();
    await world.drain();
    const link = world.low.table.get('b')!;
    link.ask(true);
    await world.drain();
    world.low.pass(4_000);
    link.look();
    expect(world.low.events).toEqual(['up']);
    await world.drain();
    world.low.table.get('b')!.ask(true);
    // What was sent leaves when the turn ends.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    for (const wire of world.wires) wire.length = 0;
    world.low.pass(3_999);
    link.look();
    expect(world.low.events).toEqual(['up']);
    world.low.pass(1);
    link.look();
    expect(world.low.events).toEqual(['up', 'silence']);
  });
});
