import type { Connection } from '@libp2p/interface';
import { describe, expect, test, vi } from 'vitest';
import type { Clock } from '../../daemon/clock.ts';
import { silentLog } from '../../daemon/log.ts';
import { dialFirst, isUnreachableHere } from '../../daemon/network/dial.ts';
import { Dialer } from '../../daemon/network/dialer.ts';
import { PatchcordError } from '../../protocol/errors.ts';

/** Time that passes only when told to. */
class ManualClock implements Clock {
  #now = 0;
  #timers = new Map<object, { at: number; task: () => void }>();

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#now;
  }

  after(delayMs: number, task: () => void): { cancel(): void } {
    const key = {};
    this.#timers.set(key, { at: this.#now + delayMs, task });
    return { cancel: () => void this.#timers.delete(key) };
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = due[1].at;
      due[1].task();
      await settle();
    }
    this.#now = end;
  }

  get timers(): number {
    return this.#timers.size;
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A dialer whose dials fail until told otherwise, and what it did when. */
function dialerOf(self: string, reachable = false) {
  const clock = new ManualClock();
  const linked = new Map<string, string>();
  const dials: { peerId: string; at: number; addresses: readonly string[] }[] = [];
  const world = {
    reachable,
    hang: false,
    noWay: false,
    clock,
    linked,
    dials,
    aborted: 0,
    fail: undefined as (() => Promise<unknown>) | undefined,
  };
  const dialer = new Dialer({
    self,
    clock,
    log: silentLog,
    random: { bytes: () => new Uint8Array(), fraction: () => 1 },
    own: () => [],
    linkAddress: (peerId) => linked.get(peerId),
    async connect(peerId, addresses, signal) {
      dials.push({ peerId, at: clock.now(), addresses });
      if (world.hang) {
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            world.aborted += 1;
            reject(new Error('aborted'));
          });
        });
      }
      await world.fail?.();
      if (world.noWay) {
        const cause = new AggregateError([new Error('connect ENETUNREACH 10.0.0.1:1 - Local')]);
        throw new PatchcordError('peer_unreachable', 'No way.', '', { cause });
      }
      if (!world.reachable) throw new Error('refused');
      linked.set(peerId, '/here');
      dialer.up(peerId);
    },
  });
  return Object.assign(world, { dialer });
}

const at = (port: number): string => `/ip4/10.0.0.1/tcp/${port}`;
const times = (world: { dials: { at: number }[] }): number[] => world.dials.map((dial) => dial.at);

describe('Dialer', () => {
  test('tries for ever, ever more seldom', async () => {
    const world = dialerOf('a');
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(200_000);
    const gaps = times(world).map((time, index, all) => time - (all[index - 1] ?? 0));
    expect(gaps.slice(0, 10)).toEqual([0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(world.dialer.statuses()).toEqual([
      { peerId: 'b', up: false, attempts: world.dials.length, lastError: 'refused', addresses: [at(1)] },
    ]);
  });

  test('tells what each address came to, and that it was refused, until the machine is linked', async () => {
    const world = dialerOf('a');
    const failing = (address: string) => Promise.reject(new Error(`connect ECONNREFUSED ${address}`));
    world.fail = () => dialFirst(failing, [at(1), at(2)], world.clock, new AbortController().signal);
    world.dialer.setPeers(new Map([['b', [at(1), at(2)]]]));
    await world.clock.advance(200);
    const errorOf = (address: string) => ({ address, error: `connect ECONNREFUSED ${address}`, atMs: 0 });
    expect(world.dialer.statuses()).toMatchObject([{ up: false, tried: [errorOf(at(1)), errorOf(at(2))] }]);
    world.dialer.refused('b');
    expect(world.dialer.statuses()).toMatchObject([{ refusedAtMs: 200 }]);
    world.linked.set('b', '/theirs');
    world.dialer.up('b');
    world.linked.delete('b');
    expect(world.dialer.statuses()).toEqual([
      { peerId: 'b', up: false, attempts: 0, addresses: [at(1), at(2)] },
    ]);
  });

  test('a machine that was linked lately is dialled every 2 s, for 10 minutes', async () => {
    const world = dialerOf('a', true);
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(20_000);
    world.reachable = false;
    world.linked.clear();
    const start = world.clock.now();
    world.dialer.down('b', 'silence', 20_000);
    await world.clock.advance(700_000);
    const dials = times(world)
      .slice(1)
      .map((time) => time - start);
    const gaps = dials.map((time, index) => time - (dials[index - 1] ?? 0));
    expect(gaps.slice(0, 6)).toEqual([250, 500, 1_000, 2_000, 2_000, 2_000]);
    const late = gaps.filter((_gap, index) => dials[index - 1]! >= 600_000);
    expect(late.slice(0, 5)).toEqual([2_000, 4_000, 8_000, 16_000, 30_000]);
    expect(Math.max(...gaps.filter((_gap, index) => (dials[index - 1] ?? 0) < 600_000))).toBe(2_000);
  });

  test('where this machine has no way, the next try comes soon', async () => {
    const world = dialerOf('a');
    world.noWay = true;
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(200_000);
    const gaps = times(world).map((time, index, all) => time - (all[index - 1] ?? 0));
    expect(Math.max(...gaps)).toBe(5_000);
  });

  test('news of a machine end its waiting, once a second at most', async () => {
    const world = dialerOf('a');
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(100_000);
    const before = world.dials.length;
    world.dialer.nudge('b');
    await world.clock.advance(0);
    expect(world.dials).toHaveLength(before + 1);
    for (let count = 0; count < 100; count++) world.dialer.nudge('b');
    await world.clock.advance(0);
    expect(world.dials).toHaveLength(before + 1);
    world.dialer.nudge('stranger');
    await world.clock.advance(1_000);
    const since = world.dials.length;
    world.dialer.nudge('b');
    await world.clock.advance(0);
    expect(world.dials).toHaveLength(since + 1);
    world.linked.set('b', '/theirs');
    world.dialer.up('b');
    await world.clock.advance(1_000);
    world.dialer.nudge('b');
    await world.clock.advance(60_000);
    expect(world.dials).toHaveLength(since + 1);
  });

  test('after sleep everything that is not linked is dialled at once, anew where a dial hangs', async () => {
    const world = dialerOf('a');
    world.hang = true;
    world.linked.set('c', '/c');
    world.dialer.setPeers(
      new Map([
        ['b', [at(1)]],
        ['c', [at(2)]],
      ]),
    );
    await world.clock.advance(5_000);
    expect(world.dials).toHaveLength(1);
    world.dialer.wake();
    await world.clock.advance(0);
    expect([world.dials.length, world.aborted]).toEqual([2, 1]);
    world.dialer.stop();
    expect(world.clock.timers).toBe(0);
  });

  test('the higher peer id lets the other one come first', async () => {
    const world = dialerOf('c');
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(299);
    expect(world.dials).toEqual([]);
    world.linked.set('b', '/theirs');
    world.dialer.up('b');
    await world.clock.advance(60_000);
    expect(world.dials).toEqual([]);
    expect(world.dialer.statuses()).toEqual([
      { peerId: 'b', up: true, address: '/theirs', attempts: 0, addresses: [at(1)] },
    ]);
  });

  test('dials again soon after a link broke, and forgets failures after a good one', async () => {
    const world = dialerOf('a', true);
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(0);
    for (const [lastedMs, waitMs] of [
      [0, 250],
      [0, 500],
      [0, 1_000],
      [10_000, 250],
    ] as const) {
      const before = world.dials.length;
      world.linked.clear();
      world.dialer.down('b', 'broke', lastedMs);
      await world.clock.advance(waitMs - 1);
      expect(world.dials).toHaveLength(before);
      await world.clock.advance(1);
      expect(world.dials).toHaveLength(before + 1);
    }
  });

  test('a new address is tried at once, an old one is not', async () => {
    const world = dialerOf('a');
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(10_000);
    const before = world.dials.length;
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(0);
    expect(world.dials).toHaveLength(before);
    world.dialer.setPeers(new Map([['b', [at(2), at(1)]]]));
    await world.clock.advance(0);
    expect(world.dials).toHaveLength(before + 1);
    expect(world.dials.at(-1)!.addresses).toEqual([`${at(2)}/p2p/b`, `${at(1)}/p2p/b`]);
  });

  test('a new address replaces a dial under way, a link or a removal ends it', async () => {
    const world = dialerOf('a');
    world.hang = true;
    world.dialer.setPeers(new Map([['b', [at(1)]]]));
    await world.clock.advance(0);
    world.dialer.setPeers(new Map([['b', [at(2)]]]));
    await world.clock.advance(0);
    expect([world.dials.length, world.aborted]).toEqual([2, 1]);
    world.linked.set('b', '/theirs');
    world.dialer.up('b');
    await world.clock.advance(60_000);
    expect([world.dials.length, world.aborted]).toEqual([2, 2]);
    world.linked.clear();
    world.dialer.down('b', 'broke', 0);
    await world.clock.advance(60_000);
    expect(world.dialer.setPeers(new Map())).toEqual(['b']);
    await world.clock.advance(60_000);
    expect([world.dials.length, world.aborted, world.clock.timers]).toEqual([3, 3, 0]);
  });

  test('dials a bounded number of machines at once, and all in the end', async () => {
    const world = dialerOf('a');
    world.hang = true;
    const peers = Array.from({ length: 200 }, (_, index) => `b${index}`);
    world.dialer.setPeers(new Map(peers.map((peerId) => [peerId, [at(1)]])));
    await world.clock.advance(0);
    expect(world.dials).toHaveLength(64);
    world.hang = false;
    for (const { peerId } of world.dials.slice(0, 64)) world.dialer.down(peerId, 'called off', 0);
    await world.clock.advance(0);
    expect(new Set(world.dials.map((dial) => dial.peerId)).size).toBe(200);
    world.dialer.stop();
    expect(world.clock.timers).toBe(0);
  });
});

describe('dialFirst', () => {
  function connectionTo(id: string, abort: (reason: Error) => void): Connection {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as a race uses
    return { id, abort } as unknown as Connection;
  }

  /** Addresses that answer after so many ms, or fail when the number is negative. */
  function race(delays: Record<string, number>) {
    const clock = new ManualClock();
    const started: [string, number][] = [];
    const aborted = vi.fn<(reason: Error) => void>();
    const stop = new AbortController();
    const result = dialFirst(
      (address, signal) => {
        started.push([address, clock.now()]);
        const delayMs = delays[address]!;
        return new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')));
          clock.after(Math.abs(delayMs), () => {
            if (delayMs < 0) reject(new Error('refused'));
            else resolve(connectionTo(address, aborted));
          });
        });
      },
      Object.keys(delays),
      clock,
      stop.signal,
    );
    const outcome = result.then(
      (connection) => connection.id,
      (error: unknown) => error,
    );
    return { clock, started, aborted, stop, outcome };
  }

  test('starts one after the other and takes the first that works', async () => {
    const { clock, started, outcome } = race({ '/a': 5_000, '/b': 30, '/c': 10 });
    await clock.advance(500);
    expect(await outcome).toBe('/b');
    expect(started).toEqual([
      ['/a', 0],
      ['/b', 100],
    ]);
    expect(clock.timers).toBe(1);
  });

  test('a failure starts the next one at once', async () => {
    const { clock, started, outcome } = race({ '/a': -10, '/b': -10, '/c': 10 });
    await clock.advance(500);
    expect(await outcome).toBe('/c');
    expect(started.map(([, time]) => time)).toEqual([0, 10, 20]);
  });

  test('says what went wrong with each address', async () => {
    const { clock, outcome } = race({ '/a': -10, '/b': 60_000 });
    await clock.advance(7_000);
    expect(await outcome).toMatchObject({
      code: 'peer_unreachable',
      message: 'Could not connect: /a: refused; /b: no answer in 6000 ms.',
    });
  });

  test('an address that says nothing is tried again beside; the first answer counts', async () => {
    const clock = new ManualClock();
    const aborted: number[] = [];
    const started: number[] = [];
    const result = dialFirst(
      (_address, signal) => {
        const at = clock.now();
        started.push(at);
        return new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted.push(at);
            reject(new Error('aborted'));
          });
          // The hole is mended after 3 s; what was sent before went into it.
          if (at > 3_000) clock.after(10, () => resolve(connectionTo(`dial of ${at}`, () => {})));
        });
      },
      ['/a'],
      clock,
      new AbortController().signal,
    );
    await clock.advance(6_000);
    expect((await result).id).toBe('dial of 4000');
    expect([started, aborted, clock.timers]).toEqual([[0, 2_000, 4_000], [0, 2_000], 0]);
  });

  test('knows when this machine has no way to any address', async () => {
    const fail = (...messages: string[]): Promise<unknown> => {
      const left = [...messages];
      const never = new AbortController().signal;
      const dial = () => Promise.reject(new Error(left.shift()));
      return dialFirst(dial, messages, new ManualClock(), never).catch((error: unknown) => error);
    };
    const noWay = 'connect ENETUNREACH 192.0.2.1:4001';
    expect(isUnreachableHere(await fail(noWay, 'connect EHOSTUNREACH 192.0.2.2:1'))).toBe(true);
    expect(isUnreachableHere(await fail(noWay, 'connect ECONNREFUSED 192.0.2.2:1'))).toBe(false);
    expect(isUnreachableHere(await fail())).toBe(false);
    expect(isUnreachableHere(new Error(noWay))).toBe(false);
  });

  test('ends when called off, and without addresses', async () => {
    const { clock, outcome, stop } = race({ '/a': 60_000 });
    await clock.advance(10);
    stop.abort(new Error('stopping'));
    expect(await outcome).toMatchObject({ code: 'peer_unreachable' });
    expect(await race({}).outcome).toMatchObject({ message: 'Could not connect: no usable address.' });
  });
});
