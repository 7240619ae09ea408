import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../processes/eventually.ts';
import { realMachine, seenBy, type RealMachine } from './presence-team.ts';

/** More machines behind one address than gossipsub likes by itself, which is ten. */
const COUNT = 12;
const labels = Array.from({ length: COUNT }, (_none, index) => `m${String(index).padStart(2, '0')}`);
let machines: RealMachine[] = [];

beforeAll(async () => {
  const founder = await realMachine(labels[0]!);
  machines = [founder];
  for (const label of labels.slice(1)) machines.push(await realMachine(label, founder));
});

afterAll(async () => {
  await Promise.all(machines.map((machine) => machine.stop()));
});

/** How long it takes until all of them see exactly those online, in ms. */
async function allSee(watching: readonly RealMachine[], there: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  await Promise.all(
    watching.map((machine) =>
      eventually(
        'everyone is seen',
        () => seenBy(machine),
        (seen) => [...seen, machine.label].sort().join() === [...there].sort().join(),
      ),
    ),
  );
  return performance.now() - startedMs;
}

test('twelve machines behind one address see each other', async () => {
  await allSee(machines, labels);
});

test('those that are not linked see each other too, and what each says of itself', async () => {
  // Each keeps its links with the two on either side, as in a ring.
  for (const [index, machine] of machines.entries()) {
    const kept = [1, 2, COUNT - 2, COUNT - 1].map((step) => machines[(index + step) % COUNT]!.peerId);
    machine.narrow((peerId) => kept.includes(peerId));
  }
  await eventually(
    'the links are a ring',
    async () => machines.map(({ network }) => network.links().filter(({ up }) => up).length),
    (counts) => counts.every((count) => count === 4),
  );
  await allSee(machines, labels);
  const extra = await machines[3]!.messenger.open({ agent: 'extra@team', client: 'test 1' });
  const tookMs = await allSee(
    machines.filter((machine) => machine !== machines[3]),
    [...labels, 'extra'],
  );
  console.log(`a change is seen by all in ${Math.round(tookMs)} ms`);
  extra.close();
  await allSee(machines, labels);
});

test('a clean stop is seen at once, also without a link', async () => {
  const gone = machines.pop()!;
  await gone.stop();
  const tookMs = await allSee(machines, labels.slice(0, -1));
  console.log(`a clean stop is seen by all in ${Math.round(tookMs)} ms`);
});
