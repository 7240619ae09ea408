import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { jobOf, runFleet } from './fleet.ts';
import { closingReport, failureText } from './report.ts';
import { work, type Worked } from './worker.ts';

/**
 * Runs simulations and prints the closing report:
 *
 *     node test/sim/run.ts --seeds N [--seed S] [--messages M] [--real] [--trace]
 *
 * `--seed S --seeds N` runs S, S+1 and so on; without `--seed` the first is drawn at random. `--trace` prints the
 * event log; with `--real` no module of the product is replaced by a stand-in. A single seed runs in this process, more of them in one for each processor.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    seed: { type: 'string' },
    messages: { type: 'string', default: '500' },
    real: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
});
const first = values.seed === undefined ? randomInt(1_000_000_000) : Number(values.seed);
const messages = Number(values.messages);
const count = Number(values.seeds);
const startedMs = performance.now();
const results: Worked[] = [];
const jobs = Array.from({ length: count }, (_none, index) => {
  const job = jobOf(first + index, messages);
  return values.real ? { ...job, isReal: true } : job;
});
const take = (result: Worked) => {
  results.push(result);
  if (result.problems.length > 0) console.log(failureText(result, messages));
  return true;
};
if (count === 1) take(await work(jobs[0]!, values.trace ? (line) => console.log(line) : undefined));
else await runFleet(jobs, take);
console.log(closingReport(results, performance.now() - startedMs));
if (results.some(({ problems }) => problems.length > 0)) process.exitCode = 1;
