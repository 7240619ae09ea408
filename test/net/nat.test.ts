import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { reportOf } from '../processes/ledger.ts';
import { Traffic } from '../processes/traffic.ts';
import { skipAloud } from './namespace.ts';
import { Net } from './net.ts';
import { LEDGER_MS_MAX, linked, linkOf, timed } from './watch.ts';

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
