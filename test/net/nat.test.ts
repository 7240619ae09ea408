import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { reportOf } from '../processes/ledger.ts';
import { Traffic } from '../processes/traffic.ts';
import { skipAloud } from './namespace.ts';
import { Net } from './net.ts';
import { LEDGER_MS_MAX, linked, linkOf, timed } from './watch.ts';

/** Two homes whose routers let nobody in, but for what answers; they keep the port of whoever speaks, as most do. */
describe.skipIf(skipAloud('holes in NATs')).each([
  ['drop', false],
  ['reset', true],
])('two homes behind NATs that keep ports; what comes unasked one drops, one %ss', (_, resets) => {
  const EVERY_MS = 50;
  const PUNCHED_MS_MAX = 30_000;
  let net: Net;
  let a: DaemonProcess;
  let b: DaemonProcess;
  let keeper: DaemonProcess;
  let traffic: Traffic;

  beforeAll(async () => {
    net = new Net();
    const outside = net.lan('outside', '203.0.113');
    const middle = net.host('keeper', outside);
    const homes = ['left', 'right'].map((home, index) => {
      const inside = net.lan(home, '192.168.1', { gateway: true });
      net.nat(`${home}gate`, inside, outside, { resets: resets && index === 0 });
      return net.host(home, inside, 20 + index);
    });
    keeper = await middle.daemon({ flags: ['--relay'] });
    const [left, right] = await Promise.all(homes.map((host) => host.daemon()));
    [a, b] = [left!, right!];
    await mesh('team', keeper, a, b);
    await Promise.all([linked(keeper, a), linked(keeper, b)]);
  });
  afterAll(() => net?.end());

  test('each knows that it is behind NAT, and as what it is seen', async () => {
    for (const [machine, ip] of [
      [a, '203.0.113.11'],
      [b, '203.0.113.12'],
    ] as const) {
      const status = await eventually(
        `${machine.label} knows its outside address`,
        () => machine.client().status(),
        ({ seen_as: seen }) => seen !== undefined,
      );
      expect(status.behind_nat).toBe(true);
      expect(status.seen_as).toMatch(new RegExp(`^${ip.replaceAll('.', '\\.')}:\\d+$`));
    }
  });

  test('their link begins at the keeper and then leads from router to router, with mail under way', async () => {
    await timed('linked through the keeper', () => linked(a, b));
    expect((await linkOf(a, b))?.address).toContain(`/p2p/${keeper.info!.peerId}/p2p-circuit`);
    traffic = new Traffic(
      [
        [a, b],
        [b, a],
      ],
      ['stopping'],
      EVERY_MS,
    );
    await traffic.start();
    await timed('punched', () =>
      eventually(
        'both sides are linked through holes',
        async () => [await linkOf(a, b), await linkOf(b, a)],
        (links) => links.every((link) => link?.punched === true),
        PUNCHED_MS_MAX,
      ),
    );
    expect((await linkOf(a, b))?.address).toMatch(/^\/ip4\/203\.0\.113\.12\/tcp\/\d+\/p2p\/[^/]+$/);
    expect((await linkOf(b, a))?.relay).toBeUndefined();
  });

  test('mail flows on without the keeper', async () => {
    await keeper.kill('SIGKILL');
    await traffic.more(100);
    await timed('arrived without the keeper', () => traffic.arrived());
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      expect(await linkOf(from, to)).toMatchObject({ up: true, punched: true });
    }
  });

  test(
    'the ledger',
    async () => {
      await traffic.drain();
      const figures = traffic.ledger.figures();
      console.log(`net: through holes, ${reportOf(figures, 2)}`);
      expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
    },
    LEDGER_MS_MAX,
  );
});

/**
 * Two homes whose routers let nobody in and give every connection another port, with the same addresses inside, as homes
 * have; between them a keeper that both reach.
 */
describe.skipIf(skipAloud('two homes behind NAT'))('two homes behind NAT, and a keeper between them', () => {
  const EVERY_MS = 50;
  const STARTED_MS_MAX = 30_000;
  let net: Net;
  let a: DaemonProcess;
  let b: DaemonProcess;
  let keeper: DaemonProcess;
  let traffic: Traffic;

  beforeAll(async () => {
    net = new Net();
    const outside = net.lan('outside', '203.0.113');
    const [left, right] = ['left', 'right'].map((home) => {
      const inside = net.lan(home, '192.168.1', { gateway: true });
      net.nat(`${home}gate`, inside, outside, { hard: true });
      return inside;
    });
    const middle = net.host('keeper', outside);
    const homes = [net.host('here', left!), net.host('there', right!)];
    keeper = await middle.daemon({ flags: ['--relay'] });
    const [here, there] = await Promise.all(homes.map((host) => host.daemon()));
    [a, b] = [here!, there!];
    await mesh('team', keeper, a, b);
    await Promise.all([linked(keeper, a), linked(keeper, b)]);
  });
  afterAll(() => net?.end());

  test('neither is reached from outside but by what it opened itself', async () => {
    const { links } = await keeper.client().status();
    for (const { address } of links) expect(address).toMatch(/^\/ip4\/203\.0\.113\.1[01]\//);
  });

  test('the homes reach each other through the keeper', async () => {
    await timed('linked through the keeper', () => linked(a, b));
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const link = await linkOf(from, to);
      expect(link?.address).toContain(`/p2p/${keeper.info!.peerId}/p2p-circuit`);
    }
  });

  test('messages flow, and go on by mailbox and relay when the keeper was away', async () => {
    traffic = new Traffic(
      [
        [a, b],
        [b, a],
      ],
      // A daemon that is told to stop tells so whoever waits.
      ['stopping'],
      EVERY_MS,
    );
    await traffic.start();
    await traffic.more(40);
    await traffic.arrived();
    await keeper.kill('SIGKILL');
    await traffic.more(20);
    await keeper.start();
    await timed('the keeper is back', () => Promise.all([linked(keeper, a), linked(keeper, b)]));
    await timed('linked through the keeper again', () => linked(a, b, STARTED_MS_MAX));
    await timed('arrived after the keeper came back', () => traffic.arrived());
    expect(traffic.ledger.lost().length).toBeLessThan(traffic.ledger.acknowledgedCount);
  });

  test('no hole can be punched, and the link stays as it is', async () => {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const link = await linkOf(from, to);
      expect(link).toMatchObject({ up: true, relay: keeper.label });
      expect(link).not.toHaveProperty('punched');
    }
  });

  test('mail for a home that is off is kept by the keeper', async () => {
    const sender = await net.agent(a, 'left.behind@team');
    const reader = await net.agent(b, 'right.behind@team');
    await sender.sees('right.behind');
    await reader.close();
    traffic.expectDown(b);
    await b.kill('SIGTERM');
    const id = await sender.send('right.behind', 'kept for you');
    await sender.reaches(id, 'held');
    await eventually(
      'the keeper says that it holds mail',
      async () => (await linkOf(keeper, b))?.held ?? 0,
      (held) => held > 0,
    );
    await traffic.up(b);
    const again = await net.agent(b, 'right.behind@team');
    expect(await again.next()).toMatchObject({ message_id: id, content: 'kept for you' });
  });

  test(
    'the ledger',
    async () => {
      await traffic.drain();
      const figures = traffic.ledger.figures();
      console.log(`net: behind NAT, ${reportOf(figures, 2)}`);
      expect(traffic.ledger.lost()).toEqual([]);
      expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
    },
    LEDGER_MS_MAX,
  );
});
