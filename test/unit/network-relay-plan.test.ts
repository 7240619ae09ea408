import { describe, expect, test } from 'vitest';
import { DirectSeeker, seekDelayMs } from '../../daemon/network/direct-seeker.ts';
import { relayedAddresses, waysThrough } from '../../daemon/network/relay-plan.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

const machine = (n: number): string => signerFromSeed(new Uint8Array(32).fill(n)).peerId;
const [SELF, RELAY, OTHER] = [machine(1), machine(2), machine(3)] as const;

describe('relayedAddresses', () => {
  const end = `/p2p/${RELAY}/p2p-circuit/p2p/${SELF}`;
  test.each([
    [[], []],
    [['/ip4/127.0.0.1/tcp/1'], [`/ip4/127.0.0.1/tcp/1${end}`]],
    [
      ['/ip4/127.0.0.1/tcp/1', '/ip4/10.0.0.1/tcp/1', '/ip4/10.0.0.2/tcp/1', '/ip4/8.8.8.8/tcp/1/ws'],
      [`/ip4/8.8.8.8/tcp/1/ws${end}`, `/ip4/10.0.0.1/tcp/1${end}`],
    ],
    [['/ip4/10.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/1'], [`/ip4/10.0.0.1/tcp/1${end}`]],
    [[`/ip4/8.8.8.8/tcp/1/p2p/${OTHER}`, `/ip4/8.8.8.8/tcp/1/p2p/${OTHER}/p2p-circuit`, 'junk'], []],
  ])('of %j are %j', (known, expected) => {
    expect(relayedAddresses(SELF, RELAY, known)).toEqual(expected);
  });
});

describe('waysThrough', () => {
  test('leads through each relay, but not to itself nor through a second one', () => {
    const relays = [
      { peerId: RELAY, address: '/ip4/10.0.0.1/tcp/5' },
      { peerId: OTHER, address: `/ip4/10.0.0.1/tcp/5/p2p/${RELAY}/p2p-circuit/p2p/${OTHER}` },
    ];
    expect(waysThrough(SELF, relays)).toEqual([`/ip4/10.0.0.1/tcp/5/p2p/${RELAY}/p2p-circuit/p2p/${SELF}`]);
    expect(waysThrough(RELAY, relays)).toEqual([]);
  });
});

describe('DirectSeeker', () => {
  /** Timers that fire when the test says so. */
  function seeker() {
    const timers: { delayMs: number; task: () => void }[] = [];
    const tried: string[][] = [];
    const world = { addresses: ['one'], fail: true };
    const seeker = new DirectSeeker({
      clock: {
        now: () => 0,
        elapsed: () => 0,
        after(delayMs, task) {
          const timer = { delayMs, task };
          timers.push(timer);
          return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
        },
      },
      random: { fraction: () => 1, bytes: (count) => new Uint8Array(count) },
      addresses: () => world.addresses,
      connect: async (_, addresses) => {
        tried.push([...addresses]);
        if (world.fail) throw new Error('unreachable');
      },
    });
    const fire = async (): Promise<number> => {
      const { delayMs, task } = timers.shift()!;
      task();
      // The attempt's promises settle.
      for (let n = 0; n < 5; n++) await Promise.resolve();
      return delayMs;
    };
    return { seeker, timers, tried, world, fire };
  }

  test.each([
    [0, 1_000],
    [3, 8_000],
    [9, 512_000],
    [10, 600_000],
    [2_000, 600_000],
  ])('waits at most this long after %i failures: %i ms', (failures, mostMs) => {
    expect(seekDelayMs(failures, 1)).toBe(mostMs);
    expect(seekDelayMs(failures, 0)).toBe(mostMs / 2);
  });

  test('tries on, more and more rarely', async () => {
    const { seeker: one, tried, fire } = seeker();
    one.seek(OTHER);
    expect([await fire(), await fire(), await fire()]).toEqual([1_000, 2_000, 4_000]);
    expect(tried).toEqual([['one'], ['one'], ['one']]);
  });

  test('tries soon what has new addresses, and only that', async () => {
    const { seeker: one, timers, world, fire } = seeker();
    one.seek(OTHER);
    await fire();
    await fire();
    one.again();
    expect(timers.map(({ delayMs }) => delayMs)).toEqual([4_000]);
    world.addresses = ['two'];
    one.again();
    expect(timers.map(({ delayMs }) => delayMs)).toEqual([1_000]);
  });

  test('stops when told', async () => {
    const { seeker: one, timers, fire, tried } = seeker();
    one.seek(OTHER);
    one.seek(RELAY);
    one.forget(OTHER);
    expect(timers).toHaveLength(1);
    await fire();
    one.stop();
    expect([timers.length, tried.length]).toEqual([0, 1]);
  });
});
