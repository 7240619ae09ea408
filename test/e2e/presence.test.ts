import { afterAll, beforeAll, expect, test } from 'vitest';
import { PRESENCE_BEAT_MS, PRESENCE_TTL_MS, SUSPICION_MS } from '../../protocol/limits.ts';
import { eventually } from '../processes/eventually.ts';
import { realMachine, seenBy, type RealMachine } from './presence-team.ts';

/** More machines behind one address than gossipsub likes by itself, which is ten. */
const COUNT = 12;
const CRASH_MS_MAX = 10_000;
/**
 * Making the ring breaks 42 links at once. That uses up what machines follow of suspicions and answer to them, so for a
 * while they see what they are not linked with by its beats alone: after one of them at the latest,
 */
const BEATS_MS_MAX = PRESENCE_BEAT_MS + SUSPICION_MS + 2_000;
/** and a crash when the last one is too old. */
const TTL_MS_MAX = PRESENCE_TTL_MS + 5_000;
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

/** How long it takes until all of them see exactly those online, in ms, `withinMs` at most. */
async function allSee(
  watching: readonly RealMachine[],
  there: readonly string[],
  withinMs: number,
): Promise<number> {
  const startedMs = performance.now();
  const wanted = [...there].sort().join();
  // One after the other: all of them looking all the time would be what takes the time.
  for (const machine of watching) {
    await eventually(
      `${machine.label} sees everyone`,
      () => seenBy(machine),
      (seen) => [...new Set([...seen, machine.label])].sort().join() === wanted,
      withinMs,
    );
  }
  const tookMs = performance.now() - startedMs;
  console.log(`all see ${there.length} machines after ${Math.round(tookMs)} ms`);
  return tookMs;
}

/** Each keeps its links with the two on either side. */
async function makeRing(): Promise<void> {
  for (const [index, machine] of machines.entries()) {
    const steps = [1, 2, COUNT - 2, COUNT - 1];
    const kept = new Set(steps.map((step) => machines[(index + step) % COUNT]!.peerId));
    machine.narrow((peerId) => kept.has(peerId));
  }
  await eventually(
    'the links are a ring',
    async () => machines.map(({ network }) => network.links().filter(({ up }) => up).length),
    (counts) => counts.every((count) => count === 4),
  );
}

test('twelve machines behind one address see each other', async () => {
  expect(await allSee(machines, labels, CRASH_MS_MAX)).toBeLessThan(CRASH_MS_MAX);
});

test('those that are not linked see each other, and who comes and goes on each', async () => {
  await makeRing();
  expect(await allSee(machines, labels, BEATS_MS_MAX)).toBeLessThan(BEATS_MS_MAX);
  const [first, ...others] = machines;
  await first!.session.close();
  expect(await allSee(others, labels.slice(1), BEATS_MS_MAX)).toBeLessThan(BEATS_MS_MAX);
  await first!.messenger.open({ agent: `${first!.label}@team`, client: 'test 1' });
  expect(await allSee(others, labels, BEATS_MS_MAX)).toBeLessThan(BEATS_MS_MAX);
});

test('a clean stop is seen, also without a link', async () => {
  await machines.pop()!.stop();
  const there = labels.slice(0, COUNT - 1);
  expect(await allSee(machines.slice(1), there, BEATS_MS_MAX)).toBeLessThan(BEATS_MS_MAX);
});

test('a machine that dies is seen to be gone, also without a link', async () => {
  const dead = machines.pop()!;
  await dead.die();
  const there = labels.slice(0, COUNT - 2);
  expect(await allSee(machines.slice(1), there, TTL_MS_MAX)).toBeLessThan(TTL_MS_MAX);
  await dead.stop();
});
