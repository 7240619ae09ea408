import { expect, test } from 'vitest';
import { three } from './team.ts';
import { turn } from './wire.ts';

test('who hears of a removal together with what came after tells the removed one the removal alone', async () => {
  const { team, ns, desk, laptop, tower } = await three();
  team.cut(desk, laptop);
  team.cut(desk, tower);
  await desk.admin.removeMember('myproject', 'tower');
  await desk.admin.addAgent('after@myproject');
  await turn();
  // The laptop still has a link with the tower, and gets both from the desk in one frame.
  await team.mend(desk, laptop);
  expect([...(await team.log(laptop, ns)).claims.keys()]).toContain('after');
  const told = await team.log(tower, ns);
  expect(told.removed.has(tower.peerId)).toBe(true);
  expect([...told.claims.keys()]).not.toContain('after');
  await team.stopAll();
});
