import process from 'node:process';
import { parseArgs } from 'node:util';
import { mesh } from '../processes/daemon-process.ts';
import { reportOf } from '../processes/ledger.ts';
import { Stage } from '../processes/stage.ts';
import { Traffic } from '../processes/traffic.ts';
import { SeededRandom } from '../sim/random.ts';
import { drained, killAtRandom } from './kills.ts';

/**
 * Three machines under load, each killed by SIGKILL again and again: `npm run crash -- --minutes 5`. Exits with 1
 * when anything acknowledged was lost, doubled or reordered.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now()) },
  },
});
const REPORT_EVERY = 25;
const endMs = performance.now() + Number(values.minutes) * 60_000;
const stage = new Stage();
let kills = 0;

try {
  const machines = await Promise.all([stage.machine('alpha'), stage.machine('beta'), stage.machine('gamma')]);
  const [a, b, c] = machines;
  await mesh('team', a, b, c);
  const traffic = new Traffic([
    [a, b],
    [b, a],
    [a, c],
    [c, b],
  ]);
  await traffic.start();
  console.log(`seed ${values.seed}, ${values.minutes} minutes`);
  await killAtRandom(traffic, machines, new SeededRandom(values.seed), Infinity, (count) => {
    kills = count;
    if (count % REPORT_EVERY === 0)
      console.log(`${count} kills, ${JSON.stringify(traffic.ledger.figures())}`);
    return performance.now() < endMs;
  });
  await traffic.drain();
  for (const machine of machines) await drained(machine);
  const figures = traffic.ledger.figures();
  console.log(`${kills} kills, ${reportOf(figures, kills)}`);
  if (figures.lost + figures.duplicated + figures.reordered + figures.flagged > 0) {
    console.error(`lost: ${traffic.ledger.lost().slice(0, 20).join(', ')}`);
    process.exitCode = 1;
  }
} finally {
  await stage.end();
}
