import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig, readHome, sanitizeLabel, type DaemonFlags } from '../../daemon/config.ts';
import { LABEL_LENGTH_MAX, RETENTION_MS, RETENTION_MS_MAX, RETENTION_MS_MIN } from '../../protocol/limits.ts';

const PEER = '/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWAsU6aEnRXDh8svHtETnBTTkAmZNTV7osxwDBTo9wAmVL';

describe('readConfig', () => {
  const accepted: [
    what: string,
    flags: DaemonFlags,
    environment: Record<string, string>,
    expected: object,
  ][] = [
    ['nothing', {}, {}, { httpPort: undefined, listen: undefined, peers: [], logLevel: 'info' }],
    ['a port flag', { httpPort: '7000' }, {}, { httpPort: 7000 }],
    ['port 0', { httpPort: '0' }, {}, { httpPort: 0 }],
    ['a port variable', {}, { PATCHCORD_HTTP_PORT: '7001' }, { httpPort: 7001 }],
    ['flag over variable', { httpPort: '7000' }, { PATCHCORD_HTTP_PORT: '7001' }, { httpPort: 7000 }],
    ['flag over a wrong variable', { httpPort: '7000' }, { PATCHCORD_HTTP_PORT: 'x' }, { httpPort: 7000 }],
    ['an empty variable', {}, { PATCHCORD_HTTP_PORT: '' }, { httpPort: undefined }],
    ['a listen flag', { listen: ['/ip4/0.0.0.0/tcp/0'] }, {}, { listen: ['/ip4/0.0.0.0/tcp/0'] }],
    [
      'listen variables',
      {},
      { PATCHCORD_LISTEN: '/ip4/0.0.0.0/tcp/1, /ip6/::/tcp/2,' },
      { listen: ['/ip4/0.0.0.0/tcp/1', '/ip6/::/tcp/2'] },
    ],
    [
      'no listen flag',
      { listen: [] },
      { PATCHCORD_LISTEN: '/ip4/0.0.0.0/tcp/1' },
      { listen: ['/ip4/0.0.0.0/tcp/1'] },
    ],
    ['a peer', { peer: [PEER] }, {}, { peers: [PEER] }],
    ['peer variables', {}, { PATCHCORD_PEERS: PEER }, { peers: [PEER] }],
    ['nothing of multicast', {}, {}, { mdns: true, announce: [] }],
    ['no multicast', { mdns: false }, { PATCHCORD_MDNS: 'on' }, { mdns: false }],
    ['a multicast variable', { mdns: true }, { PATCHCORD_MDNS: 'off' }, { mdns: false }],
    [
      'addresses to announce',
      { announce: ['/ip4/192.0.2.7/tcp/4001'] },
      { PATCHCORD_ANNOUNCE: '/dns4/example.org/tcp/1' },
      { announce: ['/ip4/192.0.2.7/tcp/4001'] },
    ],
    [
      'variables of addresses to announce',
      {},
      { PATCHCORD_ANNOUNCE: '/dns4/example.org/tcp/443/ws,/ip6/2001:db8::1/tcp/1' },
      { announce: ['/dns4/example.org/tcp/443/ws', '/ip6/2001:db8::1/tcp/1'] },
    ],
    ['a name', { name: ' Box\n1\t ' }, {}, { label: 'Box 1' }],
    ['a name variable', {}, { PATCHCORD_NAME: 'box' }, { label: 'box' }],
    ['no bound of hops', {}, {}, { hopsMax: 40 }],
    ['a bound of hops', { maxHops: '4' }, { PATCHCORD_HOPS: '7' }, { hopsMax: 4 }],
    ['a variable of hops', {}, { PATCHCORD_HOPS: '1000' }, { hopsMax: 1_000 }],
    ['no bound of links', {}, {}, { linksMax: 64 }],
    ['a variable of links', {}, { PATCHCORD_LINKS_MAX: '4' }, { linksMax: 4 }],
    ['no retention', {}, {}, { retentionMs: RETENTION_MS }],
    ['a retention flag', { retention: '30d' }, {}, { retentionMs: RETENTION_MS_MAX }],
    ['a retention variable', {}, { PATCHCORD_RETENTION: '24h' }, { retentionMs: RETENTION_MS_MIN }],
    ['a log level', {}, { PATCHCORD_LOG_LEVEL: 'debug' }, { logLevel: 'debug' }],
  ];
  it.each(accepted)('reads %s', (_what, flags, environment, expected) => {
    expect(readConfig(flags, environment)).toMatchObject(expected);
  });

  const refused: [names: string, flags: DaemonFlags, environment: Record<string, string>][] = [
    ['--http-port', { httpPort: 'x' }, {}],
    ['--http-port', { httpPort: '65536' }, {}],
    ['--http-port', { httpPort: '-1' }, {}],
    ['--http-port', { httpPort: '' }, {}],
    ['PATCHCORD_HTTP_PORT', {}, { PATCHCORD_HTTP_PORT: '1e3' }],
    ['PATCHCORD_MDNS', {}, { PATCHCORD_MDNS: 'no' }],
    ['--announce', { announce: ['192.0.2.7:4001'] }, {}],
    ['--announce', { announce: [PEER] }, {}],
    ['--listen', { listen: ['0.0.0.0:4001'] }, {}],
    ['PATCHCORD_LISTEN', {}, { PATCHCORD_LISTEN: '/ip4/0.0.0.0/udp/1' }],
    ['--peer', { peer: ['/ip4/192.0.2.7/tcp/4001'] }, {}],
    ['PATCHCORD_PEERS', {}, { PATCHCORD_PEERS: 'x' }],
    ['--name', { name: ' \n ' }, {}],
    ['--max-hops', { maxHops: '0' }, {}],
    ['--max-hops', { maxHops: '1001' }, {}],
    ['PATCHCORD_HOPS', {}, { PATCHCORD_HOPS: 'many' }],
    ['PATCHCORD_LINKS_MAX', {}, { PATCHCORD_LINKS_MAX: '3' }],
    ['PATCHCORD_LINKS_MAX', {}, { PATCHCORD_LINKS_MAX: '1001' }],
    ['PATCHCORD_LINKS_MAX', {}, { PATCHCORD_LINKS_MAX: 'all' }],
    ['--retention', { retention: '31d' }, {}],
    ['--retention', { retention: '23h' }, {}],
    ['--retention', { retention: '' }, {}],
    ['PATCHCORD_RETENTION', {}, { PATCHCORD_RETENTION: 'a week' }],
    ['PATCHCORD_LOG_LEVEL', {}, { PATCHCORD_LOG_LEVEL: 'loud' }],
  ];
  it.each(refused)('names %s when it is wrong', (name, flags, environment) => {
    expect(() => readConfig(flags, environment)).toThrow(
      expect.objectContaining({
        code: 'invalid_input',
        message: expect.stringContaining(name),
        remedy: expect.stringMatching(/./),
      }),
    );
  });

  it('gives a frozen result with a label of its own', () => {
    const config = readConfig({}, {});
    expect(Object.isFrozen(config)).toBe(true);
    expect(config.label).toMatch(/./);
  });
});

describe('readHome', () => {
  it.each([
    ['the flag', 'here', { PATCHCORD_HOME: '/elsewhere' }, resolve('here')],
    ['the variable', undefined, { PATCHCORD_HOME: '/elsewhere' }, resolve('/elsewhere')],
  ])('takes %s', (_what, flag, environment, expected) => {
    expect(readHome(flag, environment)).toBe(expected);
  });

  it("falls back to the platform's data folder", () => {
    expect(readHome(undefined, { PATCHCORD_HOME: '' })).toContain('patchcord');
  });

  it('expands ~, which configuration files cannot', () => {
    const home = readHome(undefined, { PATCHCORD_HOME: '~/x' });
    expect(home.endsWith(join('/', 'x'))).toBe(true);
    expect(home).not.toContain('~');
  });

  it('refuses a flag without a folder', () => {
    expect(() => readHome('', {})).toThrow(expect.objectContaining({ code: 'invalid_input' }));
  });
});

describe('sanitizeLabel', () => {
  it.each([
    ['a\u001b[31mb', 'a [31mb'],
    ['  a \n b  ', 'a b'],
    ['\u202ea', 'a'],
    ['', ''],
    ['x'.repeat(500), 'x'.repeat(LABEL_LENGTH_MAX)],
    [`${'x'.repeat(LABEL_LENGTH_MAX - 1)}😀`, 'x'.repeat(LABEL_LENGTH_MAX - 1)],
  ])('%j', (text, expected) => {
    expect(sanitizeLabel(text)).toBe(expected);
  });
});
