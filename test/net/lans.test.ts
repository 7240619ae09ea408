import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { reportOf } from '../processes/ledger.ts';
import { Traffic } from '../processes/traffic.ts';
import { skipAloud } from './namespace.ts';
import { Net, part, type Host } from './net.ts';
import { allLinked, LEDGER_MS_MAX, linked, linkOf, SLACK, timed, unlinked } from './watch.ts';

/** Three offices, each a network with one machine in it, joined by a router, under steady traffic. */
describe.skipIf(skipAloud('three networks and a router'))('three networks joined by a router', () => {
  /** Promised: 5 s. */
  const HEALED_MS_MAX = SLACK * 5_000;
  const EVERY_MS = 50;
  const CLEAN = { duplicated: 0, reordered: 0, flagged: 0 };
  let net: Net;
  let hosts: [Host, Host, Host];
  let machines: [DaemonProcess, DaemonProcess, DaemonProcess];
  let traffic: Traffic;
  let faults = 0;

  beforeAll(async () => {
    net = new Net();
    const [north, south, east] = [1, 2, 3].map((n) => net.lan(`lan${n}`, `10.1.${n}`, { gateway: true }));
    net.router('router', north!, south!, east!);
    hosts = [net.host('alpha', north!), net.host('beta', south!), net.host('gamma', east!)];
    const started = await Promise.all(hosts.map((host) => host.daemon()));
    machines = [started[0]!, started[1]!, started[2]!];
    await mesh('team', ...machines);
    await timed('three machines on three networks are linked', () => allLinked(machines));
    const [a, b, c] = machines;
    traffic = new Traffic(
      [
        [a, b],
        [b, a],
        [a, c],
        [c, b],
      ],
      [],
      EVERY_MS,
    );
    await traffic.start();
  });
  afterEach(() => {
    for (const { process } of machines) process?.kill('SIGCONT');
    for (const host of hosts) host.well();
  });
  afterAll(() => net?.end());

  /** All that was acknowledged arrives, and the ledger has nothing against it. */
  const arrives = async () => {
    await traffic.arrived();
    expect(traffic.ledger.figures()).toMatchObject(CLEAN);
  };

  test('messages flow', async () => {
    await traffic.more(50);
    await arrives();
    expect(traffic.ledger.acknowledgedCount).toBeGreaterThanOrEqual(50);
  });

  test('a partition: mail goes by the third machine, and the link is back when it heals', async () => {
    const [alpha, beta] = hosts;
    const [a, b] = machines;
    faults += 1;
    part(alpha, beta);
    await timed('partition noticed', () => unlinked(a, b));
    await traffic.more(30);
    await timed('messages arrive by the third machine', () => arrives());
    for (const host of [alpha, beta]) host.well();
    expect(await timed('partition healed', () => linked(a, b))).toBeLessThan(HEALED_MS_MAX);
    await arrives();
  });

  test('a partition one way: noticed by both, healed', async () => {
    const [, beta, gamma] = hosts;
    const [, b, c] = machines;
    faults += 1;
    beta.deafTo(gamma);
    await timed('one-way partition noticed', () => unlinked(b, c));
    await traffic.more(30);
    await arrives();
    beta.well();
    expect(await timed('one-way partition healed', () => linked(b, c))).toBeLessThan(HEALED_MS_MAX);
    await arrives();
  });

  test.each([1, 5, 20])('%i % of packets are lost', async (percent) => {
    faults += 1;
    for (const host of hosts) host.loses(percent);
    await timed(`100 messages with ${percent} % loss`, async () => {
      await traffic.more(100);
      await traffic.level();
    });
    for (const host of hosts) host.well();
    await timed(`the rest after ${percent} % loss`, arrives);
    expect(traffic.ledger.figures()).toMatchObject(CLEAN);
  });

  test.each([1, 5, 12])('a daemon that is stopped for %i s', async (seconds) => {
    const [a, b] = machines;
    faults += 1;
    const { process } = b;
    process!.kill('SIGSTOP');
    await delay(seconds * 1_000);
    process!.kill('SIGCONT');
    expect(await timed(`linked after a stop of ${seconds} s`, () => linked(a, b))).toBeLessThan(
      HEALED_MS_MAX,
    );
    await timed(`all arrived after a stop of ${seconds} s`, arrives);
  });

  test('a host gets another address', async () => {
    const [, , gamma] = hosts;
    const [a, b, c] = machines;
    faults += 1;
    gamma.renumber(77);
    for (const machine of [a, b]) {
      await timed(`${machine.label} finds it at the new address`, () =>
        eventually(
          `${machine.label} is linked with the new address`,
          () => linkOf(machine, c),
          (link) => link?.up === true && link.address!.includes(gamma.address),
        ),
      );
    }
    await traffic.more(30);
    await arrives();
    expect(gamma.address).toBe('10.1.3.77');
  });

  test(
    'the ledger',
    async () => {
      await traffic.drain();
      const figures = traffic.ledger.figures();
      console.log(`net: ${faults} faults, ${reportOf(figures, faults)}`);
      expect(traffic.ledger.lost()).toEqual([]);
      expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
    },
    LEDGER_MS_MAX,
  );
});
