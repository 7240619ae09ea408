import { cpus } from 'node:os';
import { drain } from './drain.ts';
import { formatFigure, isMissed } from './figures.ts';
import { idle } from './idle.ts';
import { latency } from './latency.ts';
import { start } from './start.ts';
import { throughput } from './throughput.ts';
import { trust } from './trust.ts';

/** `npm run bench [NAME]...`: prints every figure with what it is held to; status 1 when one is missed. */
const BENCHES = { start, latency, throughput, idle, trust, drain };

const wanted = process.argv.slice(2);
console.log(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown'}`);
for (const [name, measure] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const figure of await measure()) {
    console.log(formatFigure(figure));
    if (isMissed(figure)) process.exitCode = 1;
  }
}
