import { expect, test } from 'vitest';
import { rungOf, Team } from './team.ts';
import { admit, type TestMachine } from './wire.ts';

const AWAY = ['bob', 'cid', 'dot', 'eve', 'fay'];

test('one mailbox takes mail for many machines that are away, also what comes later', async () => {
  const team = new Team();
  const desk = await team.start(1, 'desk');
  await desk.admin.createNamespace('myproject');
  const tower = await team.start(2, 'tower');
  await admit(desk, tower);
  const ada = await team.open(desk, 'ada');
  const machines: TestMachine[] = [];
  for (const [at, name] of AWAY.entries()) {
    const machine = await team.start(3 + at, name);
    await admit(desk, machine);
    await team.open(machine, name);
    machines.push(machine);
  }
  for (const machine of machines) await team.stop(machine);
  for (const round of [1, 2, 3]) {
    for (const name of AWAY) await team.say(ada, name, `${name} ${round}`);
    await team.clock.advance(5_000);
    const rungs = await Promise.all(AWAY.map((name) => rungOf(ada, `${name} ${round}`)));
    expect(rungs).toEqual(AWAY.map(() => 'held'));
  }
  expect(tower.kv.keys('mailbox-envelope/')).toHaveLength(3 * AWAY.length);
  await team.stopAll();
}, 60_000);
