import process from 'node:process';
import { parseArgs } from 'node:util';
import { mesh } from '../processes/daemon-process.ts';
import { reportOf } from '../processes/ledger.ts';
import { Traffic } from '../processes/traffic.ts';
import { SeededRandom } from '../sim/random.ts';
import { faultsAtRandom } from './faults.ts';
import { skipAloud } from './namespace.ts';
import { daemons, Net } from './net.ts';
import { allLinked, timed } from './watch.ts';

/**
 * Five machines on three networks, about twenty messages a second, one fault after another: `npm run net -- --minutes
 * 10`. Exits with 1 when anything acknowledged was lost, doubled or reordered. The seed repeats the faults, not what the
 * machines make of them.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now()) },
  },
});
const MESSAGES_A_SECOND = 20;
const LINKED_MS_MAX = 60_000;

if (!skipAloud('faults of the network at random')) {
  const endMs = performance.now() + Number(values.minutes) * 60_000;
  const net = new Net();
  try {
    const lans = [1, 2, 3].map((n) => net.lan(`lan${n}`, `10.1.${n}`, { gateway: true }));
    net.router('router', ...lans);
    const hosts = ['alpha', 'beta', 'gamma', 'delta', 'epsilon'].map((label, index) =>
      net.host(label, lans[index % lans.length]!),
    );
    const machines = await daemons(hosts, { mdns: true });
    const places = hosts.map((host, index) => ({ host, machine: machines[index]! }));
    await mesh('team', ...machines);
    await allLinked(machines, LINKED_MS_MAX);
    const ways = machines.flatMap((from, index) =>
      [1, 2].map((step) => [from, machines[(index + step) % machines.length]!] as const),
    );
    const traffic = new Traffic(ways, [], (ways.length * 1_000) / MESSAGES_A_SECOND);
    await traffic.start();
    console.log(`seed ${values.seed}, ${values.minutes} minutes`);
    let faults = 0;
    const random = new SeededRandom(values.seed);
    await faultsAtRandom({ places, lans, traffic, random }, (count) => {
      faults = count;
      if (count % 5 === 0) console.log(`${count} faults, ${JSON.stringify(traffic.ledger.figures())}`);
      return performance.now() < endMs;
    });
    await timed('all are linked after the last fault', () => allLinked(machines, LINKED_MS_MAX));
    await traffic.drain();
    const figures = traffic.ledger.figures();
    console.log(`${faults} faults, ${reportOf(figures, faults)}`);
    if (figures.lost + figures.duplicated + figures.reordered + figures.flagged > 0) {
      console.error(`lost: ${traffic.ledger.lost().slice(0, 20).join(', ')}`);
      process.exitCode = 1;
    }
  } finally {
    await net.end();
  }
}
