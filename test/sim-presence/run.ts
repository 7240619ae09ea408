import { PRESENCE_TTL_MS } from '../../protocol/limits.ts';
import { isHere } from '../../protocol/presence/state.ts';
import { Mesh } from './mesh.ts';

/**
 * What presence costs as the mesh grows, and how soon everybody sees what happened:
 *
 *     npm run sim:presence -- [--machines 10,100,1000] [--seed N] [--seconds 60]
 *
 * While bytes are counted, each machine once in ten minutes changes what it says of its agents.
 */
const CHANGE_EVERY_MS = 600_000;
/** Of the wire's bytes, and of a machine's memory for what it knows. */
const KB_PER_SECOND_MAX = 50;
const MEMORY_MB_MAX = 100;

function valueOf(name: string, otherwise: string): string {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise);
}

function heapMb(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 1_048_576;
}

const measuredMs = 1_000 * Number(valueOf('--seconds', '60'));
const seed = Number(valueOf('--seed', '1'));
let failures = 0;
const columns = [
  'machines',
  'KB/s in+out',
  'worst',
  'crash seen',
  'change seen',
  'stop seen',
  'MB each',
  'CPU s',
];
console.log(columns.map((column) => column.padStart(12)).join(''));
for (const count of valueOf('--machines', '10,100,1000').split(',').map(Number)) {
  const beganMs = process.cpuUsage().user / 1_000;
  const before = heapMb();
  const mesh = new Mesh({ seed, machines: count });
  const [first, second, third] = mesh.machines;
  mesh.run(5_000);
  for (const machine of mesh.machines) Object.assign(machine, { bytesIn: 0, bytesOut: 0 });
  for (const machine of mesh.machines) {
    const changesMs = mesh.random.fraction() * CHANGE_EVERY_MS;
    if (changesMs < measuredMs) mesh.after(changesMs, () => mesh.change(machine, 'codex 1.2.3'));
  }
  mesh.run(measuredMs);
  const perMachine = mesh.machines.map(({ bytesIn, bytesOut }) => (bytesIn + bytesOut) / measuredMs);
  const mean = perMachine.reduce((sum, one) => sum + one, 0) / count;
  const worst = Math.max(...perMachine);
  const memoryMb = (heapMb() - before) / count;
  if (!mesh.agrees()) failures += 1;

  mesh.crash(first!);
  const crashMs = mesh.until(() => mesh.agrees(), 60_000);
  mesh.change(second!, 'cursor 9');
  const said = second!.state.entries.get(second!.peerId)!.seq;
  const sees = () => mesh.up.every(({ state }) => state.entries.get(second!.peerId)?.seq === said);
  const changeMs = mesh.until(sees, 60_000);
  mesh.leave(third!);
  const isThere = (peerId: string) =>
    mesh.up.some(({ state }) => state.self !== peerId && isHere(state, peerId));
  const stopMs = mesh.until(() => !isThere(third!.peerId), 60_000);
  const cpuSeconds = (process.cpuUsage().user / 1_000 - beganMs) / 1_000;
  const row = [
    String(count),
    mean.toFixed(2),
    worst.toFixed(2),
    `${crashMs} ms`,
    `${changeMs} ms`,
    `${stopMs} ms`,
    memoryMb.toFixed(2),
    cpuSeconds.toFixed(0),
  ];
  console.log(row.map((cell) => cell.padStart(12)).join(''));
  const isGood =
    worst < KB_PER_SECOND_MAX &&
    memoryMb < MEMORY_MB_MAX &&
    crashMs < (count <= 100 ? 10_000 : PRESENCE_TTL_MS) &&
    changeMs <= 1_000 &&
    stopMs <= 1_000;
  if (!isGood) failures += 1;
}
console.log(failures === 0 ? 'all within their bounds' : `${failures} beyond their bounds`);
if (failures > 0) process.exitCode = 1;
