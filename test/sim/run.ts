import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { closingReport, failureText } from './report.ts';
import { simulate, type SimResult } from './simulate.ts';

/**
 * Runs simulations and prints the closing report:
 *
 *     node test/sim/run.ts --seeds N [--seed S] [--messages M] [--trace]
 *
 * `--seed S --seeds N` runs S, S+1 and so on; without `--seed` the first is drawn at random. `--trace` prints the
 * event log.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    seed: { type: 'string' },
    messages: { type: 'string', default: '150' },
    trace: { type: 'boolean', default: false },
  },
});
const first = values.seed === undefined ? randomInt(1_000_000_000) : Number(values.seed);
const messages = Number(values.messages);
const startedMs = performance.now();
const results: SimResult[] = [];
for (let seed = first; seed < first + Number(values.seeds); seed++) {
  const onTrace = (line: string) => console.log(line);
  const result = await simulate({ seed: String(seed), messages, ...(values.trace ? { onTrace } : {}) });
  results.push(result);
  if (result.problems.length > 0) console.log(failureText(result, messages));
}
console.log(closingReport(results, performance.now() - startedMs));
if (results.some(({ problems }) => problems.length > 0)) process.exitCode = 1;
