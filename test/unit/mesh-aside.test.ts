import { expect, test } from 'vitest';
import { LABELS, meshWorld } from './mesh-world.ts';
import { pendingOf } from './team.ts';

const MINUTE_MS = 60_000;
const NINE = LABELS.slice(0, 9);

test('mail for a machine that is there goes other ways when none that keeps it can link with it', async () => {
  // Three rows of three: neighbours of m0 are m1 and m2 in its row, m3 and m6 in its column.
  const world = await meshWorld(NINE, { gossips: true });
  expect(world.neighbours('m0')).toEqual(['m1', 'm2', 'm3', 'm6']);
  const machine = (label: string) => world.machines.get(label)!;
  const keepers = () =>
    NINE.filter((label) => machine(label).kv.keys(`mailbox-place/${machine('m0').peerId}`).length > 0);
  await world.stop('m0');
  await world.team.say(world.agents.get('m8')!, 'm0', 'by another way');
  await world.team.clock.advance(2 * MINUTE_MS);
  const holders = keepers();
  expect(holders.length).toBeGreaterThan(0);
  expect(world.neighbours('m0').length).toBeGreaterThan(holders.length);
  for (const label of holders) world.team.cut(machine('m0'), machine(label));
  await world.restart('m0');
  await world.team.clock.advance(MINUTE_MS);
  expect(await pendingOf(world.agents.get('m0')!)).toEqual([]);
  // Copies wander by chance: half an hour is more than enough.
  for (let minute = 0; minute < 30 && keepers().length > 0; minute++)
    await world.team.clock.advance(MINUTE_MS);
  expect(keepers()).toEqual([]);
  expect(await pendingOf(world.agents.get('m0')!)).toEqual(['by another way']);
  await world.team.stopAll();
}, 120_000);
