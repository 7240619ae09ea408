import { describe, expect, test } from 'vitest';
import { checkListenAddresses, parsePeerAddress, reachOf } from '../../daemon/network/addresses.ts';
import { dialOrder, countedFailures, firstDelayMs, retryDelayMs } from '../../daemon/network/dial-plan.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

const PEER = signerFromSeed(new Uint8Array(32).fill(1)).peerId;
const OTHER = signerFromSeed(new Uint8Array(32).fill(2)).peerId;
const THIRD = signerFromSeed(new Uint8Array(32).fill(3)).peerId;

describe('addresses', () => {
  test.each([
    ['/ip4/127.0.0.1/tcp/1', 'loopback'],
    ['/ip6/::1/tcp/1', 'loopback'],
    ['/dns4/localhost/tcp/1', 'loopback'],
    ['/ip4/10.1.2.3/tcp/1', 'private'],
    ['/ip4/172.31.0.1/tcp/1', 'private'],
    ['/ip4/172.32.0.1/tcp/1', 'public'],
    ['/ip4/192.168.1.1/tcp/1', 'private'],
    ['/ip4/100.100.0.1/tcp/1', 'private'],
    ['/ip6/fe80::1/tcp/1', 'private'],
    ['/ip6/fd00::1/tcp/1', 'private'],
    ['/ip6/2001:db8::1/tcp/1', 'public'],
    [`/dns/example.org/tcp/443/p2p/${PEER}`, 'public'],
  ])('%s is %s', (text, reach) => {
    expect(reachOf(parsePeerAddress(text)!)).toBe(reach);
  });

  test.each([
    'nonsense',
    '',
    '/ip4/127.0.0.1',
    '/ip4/300.0.0.1/tcp/1',
    '/ip4/127.0.0.1/tcp/99999',
    '/ip4/127.0.0.1/udp/1',
    '/ip4/127.0.0.1/tcp/1/tls',
    '/ip4/127.0.0.1/tcp/1/ws/ws',
    '/ip4/127.0.0.1/tcp/1/p2p-circuit',
    `/p2p/${PEER}/p2p-circuit/p2p/${OTHER}`,
    `/ip4/127.0.0.1/tcp/1/p2p/${PEER}/p2p-circuit/p2p/${PEER}`,
    `/ip4/127.0.0.1/tcp/1/p2p/${PEER}/p2p-circuit/ip4/127.0.0.1/tcp/2`,
    `/ip4/127.0.0.1/tcp/1/p2p/${PEER}/p2p-circuit/p2p/${OTHER}/p2p-circuit`,
    `/dns4/${'a'.repeat(600)}/tcp/1`,
    '/unix/run.sock',
    '/dnsaddr/example.org',
    `/p2p/${PEER}`,
  ])('%j is no address to follow', (text) => {
    expect(parsePeerAddress(text)).toBeUndefined();
  });

  test.each([
    ['/ip4/1.2.3.4/tcp/5', { transport: 'tcp', port: 5 }],
    ['/ip4/1.2.3.4/tcp/5/ws', { transport: 'ws', port: 5 }],
    ['/dns4/example.org/tcp/443/wss', { transport: 'wss', host: 'example.org' }],
    ['/dns4/example.org/tcp/443/tls/ws', { transport: 'wss', port: 443 }],
    [`/ip6/::1/tcp/5/ws/p2p/${PEER}`, { text: '/ip6/::1/tcp/5/ws', peerId: PEER }],
    [
      `/ip4/1.2.3.4/tcp/5/ws/p2p/${OTHER}/p2p-circuit/p2p/${PEER}`,
      {
        text: `/ip4/1.2.3.4/tcp/5/ws/p2p/${OTHER}/p2p-circuit`,
        transport: 'ws',
        peerId: PEER,
        relay: { peerId: OTHER, address: '/ip4/1.2.3.4/tcp/5/ws' },
      },
    ],
    [
      `/ip4/1.2.3.4/tcp/5/p2p/${OTHER}/p2p-circuit`,
      { relay: { peerId: OTHER, address: '/ip4/1.2.3.4/tcp/5' } },
    ],
  ])('%s is read', (text, expected) => {
    expect(parsePeerAddress(text)).toMatchObject(expected);
  });

  test.each([
    '/dns4/localhost/tcp/1',
    '/ip4/0.0.0.0/tcp/1/wss',
    `/ip4/1.2.3.4/tcp/5/p2p/${OTHER}/p2p-circuit`,
    `/ip4/127.0.0.1/tcp/1/p2p/${PEER}`,
    'x',
    '/unix/run.sock',
  ])('%j is refused for listening', (text) => {
    expect(() => checkListenAddresses(['/ip4/0.0.0.0/tcp/0', text])).toThrow(
      expect.objectContaining({ code: 'invalid_input' }),
    );
  });
});

describe('dialOrder', () => {
  const everywhere = ['/ip4/8.8.8.8/tcp/1', '/ip4/10.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/1'];
  const hosts = (addresses: string[]): string[] => addresses.map((text) => text.split('/')[2]!);

  test.each([
    [
      ['/ip4/127.0.0.1/tcp/9', '/ip4/192.168.0.2/tcp/9'],
      ['127.0.0.1', '10.0.0.1', '8.8.8.8'],
    ],
    [['/ip4/192.168.0.2/tcp/9'], ['10.0.0.1', '8.8.8.8', '127.0.0.1']],
    [['/ip4/127.0.0.1/tcp/9'], ['127.0.0.1', '8.8.8.8', '10.0.0.1']],
    [[], ['8.8.8.8', '10.0.0.1', '127.0.0.1']],
  ])('listening on %j dials %j', (own, expected) => {
    expect(hosts(dialOrder(PEER, everywhere, own))).toEqual(expected);
  });

  test('leaves out what is damaged, of another machine, doubled, or our own', () => {
    const given = [
      'junk',
      `/ip4/10.0.0.1/tcp/1/p2p/${OTHER}`,
      '/ip4/10.0.0.2/tcp/1',
      `/ip4/10.0.0.2/tcp/1/p2p/${PEER}`,
      '/ip4/127.0.0.1/tcp/9',
    ];
    const own = [`/ip4/127.0.0.1/tcp/9/p2p/${OTHER}`];
    expect(dialOrder(PEER, given, own)).toEqual([`/ip4/10.0.0.2/tcp/1/p2p/${PEER}`]);
  });

  test('TCP comes before WebSocket, and that before a relay', () => {
    const relayed = (port: number) => `/ip4/127.0.0.1/tcp/${port}/p2p/${OTHER}/p2p-circuit`;
    const given = [relayed(5), '/ip4/127.0.0.1/tcp/4/ws', '/ip4/8.8.8.8/tcp/3', '/ip4/8.8.8.8/tcp/2/wss'];
    expect(dialOrder(PEER, given, ['/ip4/127.0.0.1/tcp/9'])).toEqual([
      `/ip4/8.8.8.8/tcp/3/p2p/${PEER}`,
      `/ip4/127.0.0.1/tcp/4/ws/p2p/${PEER}`,
      `/ip4/8.8.8.8/tcp/2/wss/p2p/${PEER}`,
      `${relayed(5)}/p2p/${PEER}`,
    ]);
  });

  test('a few ways through relays stay among many direct ones; none leads through us or the machine itself', () => {
    const relayed = (port: number, relay = OTHER) =>
      `/ip4/10.0.0.9/tcp/${port}/p2p/${relay}/p2p-circuit/p2p/${PEER}`;
    const direct = Array.from({ length: 20 }, (_, index) => `/ip4/10.0.0.1/tcp/${index + 1}`);
    const given = [relayed(1), relayed(2), relayed(3), relayed(4), relayed(5, THIRD), ...direct];
    const order = dialOrder(PEER, given, [`/ip4/10.0.0.3/tcp/1/p2p/${THIRD}`]);
    expect(order).toHaveLength(16);
    expect(order.slice(-3)).toEqual([relayed(1), relayed(2), relayed(3)]);
  });

  test('is bounded', () => {
    const many = Array.from({ length: 100 }, (_, index) => `/ip4/10.0.0.1/tcp/${index + 1}`);
    expect(dialOrder(PEER, many, [])).toHaveLength(16);
  });
});

describe('delays', () => {
  test('the lower peer id dials at once, the higher one a moment later', () => {
    const [low, high] = [PEER, OTHER].sort();
    expect(firstDelayMs(low!, high!)).toBe(0);
    expect(firstDelayMs(high!, low!)).toBe(300);
  });

  test.each([
    [0, 250],
    [1, 500],
    [6, 16_000],
    [7, 30_000],
    [5_000, 30_000],
  ])('after %i failures at most %i ms', (failures, mostMs) => {
    expect(retryDelayMs({ failures, cheap: false }, 1)).toBe(mostMs);
    expect(retryDelayMs({ failures, cheap: false }, 0.5)).toBe(0.75 * mostMs);
    expect(retryDelayMs({ failures, cheap: false }, 0)).toBe(0.5 * mostMs);
  });

  test.each([
    ['linked just now', { unlinkedMs: 0, cheap: false }, 2_000],
    ['linked ten minutes ago less a moment', { unlinkedMs: 599_999, cheap: false }, 2_000],
    ['linked ten minutes ago', { unlinkedMs: 600_000, cheap: false }, 30_000],
    ['never linked, and no way there', { cheap: true }, 5_000],
    ['linked just now, and no way there', { unlinkedMs: 0, cheap: true }, 2_000],
  ])('%s: at most %o %i ms', (_name, more, mostMs) => {
    expect(retryDelayMs({ failures: 20, ...more }, 1)).toBe(mostMs);
  });

  test('when the bound rises the delay grows on from where it was', () => {
    let failures = 0;
    const delays: number[] = [];
    const next = (unlinkedMs: number) => {
      const tries = { failures, unlinkedMs, cheap: false };
      delays.push(retryDelayMs(tries, 1));
      failures = countedFailures(tries);
    };
    for (let count = 0; count < 6; count++) next(1_000);
    for (let count = 0; count < 6; count++) next(600_000);
    expect(delays).toEqual([
      250, 500, 1_000, 2_000, 2_000, 2_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
    ]);
  });
});
