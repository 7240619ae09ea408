import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { skipAloud } from './namespace.ts';
import { daemons, Net } from './net.ts';
import { allLinked, timed } from './watch.ts';

/** More machines behind one address than gossip and connection limits are made for: an office behind one router. */
describe.skipIf(skipAloud('a dozen machines behind one address'))(
  'a dozen machines behind one address',
  () => {
    const MACHINES = 12;
    const PATIENCE_MS = 30_000;
    let net: Net;
    let machines: DaemonProcess[];

    beforeAll(async () => {
      net = new Net();
      const outside = net.lan('outside', '203.0.113');
      const office = net.lan('office', '10.0.0', { gateway: true });
      net.nat('gate', office, outside);
      const first = await net.host('first', outside).daemon();
      const hosts = Array.from({ length: MACHINES }, (_, index) => net.host(`desk${index}`, office));
      machines = [first, ...(await daemons(hosts))];
      await mesh('team', ...machines);
    }, 120_000);
    afterAll(() => net?.end());

    test('all are linked with all', async () => {
      await timed(`${machines.length} machines are all linked`, () => allLinked(machines, PATIENCE_MS));
      const { links } = await machines[0]!.client().status();
      const from = links.map(({ address }) => address?.split('/')[2]);
      expect(new Set(from)).toEqual(new Set(['203.0.113.10']));
    });

    test('everybody sees that everybody is online, and who leaves', async () => {
      const opened = await Promise.all(
        machines.map((machine, index) =>
          machine.client().messenger.open({ agent: `agent${index}@team`, client: 'test' }),
        ),
      );
      const online = () =>
        Promise.all(
          opened.map(async (session) => {
            const { agents } = await session.inbox({ all_agents: true });
            return agents.filter(({ online }) => online).length;
          }),
        );
      const all = (count: number) => (counts: number[]) => counts.every((seen) => seen === count);
      await timed('all see all agents online', () =>
        eventually('all see all agents online', online, all(machines.length - 1), PATIENCE_MS),
      );
      await opened.pop()!.close();
      await timed('all see that one has left', () =>
        eventually('all see that one has left', online, all(machines.length - 2), PATIENCE_MS),
      );
      await Promise.all(opened.map((session) => session.close()));
      expect(opened).toHaveLength(machines.length - 1);
    });
  },
);
