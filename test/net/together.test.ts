import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { reportOf } from '../processes/ledger.ts';
import { Traffic } from '../processes/traffic.ts';
import { skipAloud } from './namespace.ts';
import { daemons, Net, type Host } from './net.ts';
import { allLinked, LEDGER_MS_MAX, linked, linkOf, timed, unlinked } from './watch.ts';

/**
 * Five machines in two offices behind NAT, a keeper between the offices, and one of the five a laptop that is plugged
 * into both.
 */
describe.skipIf(skipAloud('two offices and a keeper'))('two offices and a keeper', () => {
  const EVERY_MS = 50;
  const PATIENCE_MS = 30_000;
  let net: Net;
  let middle: Host;
  let laptopHost: Host;
  let keeper: DaemonProcess;
  let l1: DaemonProcess;
  let l2: DaemonProcess;
  let laptop: DaemonProcess;
  let r1: DaemonProcess;
  let r2: DaemonProcess;
  let all: DaemonProcess[];
  let traffic: Traffic;

  beforeAll(async () => {
    net = new Net();
    const outside = net.lan('outside', '203.0.113');
    const left = net.lan('left', '192.168.1', { gateway: true });
    const right = net.lan('right', '192.168.2', { gateway: true });
    net.nat('leftgate', left, outside, { hard: true });
    net.nat('rightgate', right, outside, { hard: true });
    middle = net.host('keeper', outside);
    laptopHost = net.host('laptop', left);
    laptopHost.alsoInto(right);
    keeper = await middle.daemon({ flags: ['--relay'] });
    const hosts = [
      net.host('left1', left),
      net.host('left2', left),
      laptopHost,
      net.host('right1', right),
      net.host('right2', right),
    ];
    const started = await daemons(hosts, { mdns: true });
    [l1, l2, laptop, r1, r2] = [started[0]!, started[1]!, started[2]!, started[3]!, started[4]!];
    all = [keeper, l1, l2, laptop, r1, r2];
    await mesh('team', ...all);
  }, 120_000);
  afterAll(() => net?.end());

  test('all find each other from one invite each', async () => {
    await timed('six machines are all linked', () => allLinked(all, PATIENCE_MS));
    expect((await linkOf(l1, l2))?.address).toContain('192.168.1.');
    expect((await linkOf(l1, r1))?.address).toContain('p2p-circuit');
  });

  test('top shows all agents everywhere', async () => {
    const names = all.map(({ label }) => `${label}.agent`);
    for (const machine of all) await machine.client().admin.addAgent(`${machine.label}.agent@team`);
    for (const machine of all) {
      const seen = await eventually(
        `${machine.label} shows all agents`,
        async () => (await machine.run('top', '--once')).stdout,
        (text) => names.every((name) => text.includes(name)),
      );
      expect(seen).toContain(names.at(-1));
    }
  });

  test('the cable of the keeper is pulled: mail goes by the laptop; it is plugged in: the links are back', async () => {
    traffic = new Traffic(
      [
        [l1, r1],
        [r1, l1],
        [l2, laptop],
        [laptop, r2],
      ],
      [],
      EVERY_MS,
    );
    await traffic.start();
    await traffic.more(40);
    await traffic.arrived();
    middle.plugged(false);
    await timed('the cable of the keeper is pulled, noticed', () => unlinked(l1, r1));
    await traffic.more(20);
    await timed('messages arrive without the keeper', () => traffic.arrived());
    middle.plugged(true);
    await timed('the keeper is back', () => linked(l1, keeper));
    await timed('the link through the keeper is back', () => linked(l1, r1));
    expect(traffic.ledger.figures()).toMatchObject({ duplicated: 0, reordered: 0, flagged: 0 });
  });

  test('the cable of the laptop is pulled: its mail goes by the other one', async () => {
    laptopHost.plugged(false);
    await traffic.more(20);
    await timed('messages arrive by the other cable', () => traffic.arrived());
    await timed('linked by the other cable', () =>
      eventually(
        `${l2.label} is linked with the laptop through the keeper`,
        () => linkOf(l2, laptop),
        (link) => link?.up === true && link.address!.includes('p2p-circuit'),
      ),
    );
    laptopHost.plugged(true);
    await timed('all are linked again', () => allLinked(all, PATIENCE_MS));
    await timed('linked by its first cable again', () =>
      eventually(
        `${l2.label} is linked with the laptop without the keeper`,
        () => linkOf(l2, laptop),
        (link) => link?.up === true && !link.address!.includes('p2p-circuit'),
        PATIENCE_MS,
      ),
    );
    await traffic.more(20);
    await traffic.arrived();
    expect(traffic.ledger.figures()).toMatchObject({ duplicated: 0, reordered: 0, flagged: 0 });
  });

  test(
    'the ledger',
    async () => {
      await traffic.drain();
      const figures = traffic.ledger.figures();
      console.log(`net: two offices, two cables pulled, ${reportOf(figures, 2)}`);
      expect(traffic.ledger.lost()).toEqual([]);
      expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
    },
    LEDGER_MS_MAX,
  );
});
