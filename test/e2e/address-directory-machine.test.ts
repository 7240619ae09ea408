import { afterEach, expect, test } from 'vitest';
import { eventually } from '../processes/eventually.ts';
import { newHome, realMachine, type RealHome, type RealMachine } from './presence-team.ts';

/** Whole machines in a namespace that is large enough for a table, with a bound of three instead of 66. */

const running = new Set<RealMachine>();

afterEach(async () => {
  for (const machine of running) await machine.stop();
  running.clear();
});

const home = (): RealHome => ({ ...newHome(), tableMembersMin: 3 });

async function started(...args: Parameters<typeof realMachine>): Promise<RealMachine> {
  const machine = await realMachine(...args);
  running.add(machine);
  return machine;
}

const isLinked = ({ network }: RealMachine, peerId: string): boolean =>
  network.links().some((link) => link.peerId === peerId && link.up);

const linked = (machine: RealMachine, peerId: string) =>
  eventually(
    `${machine.label} has its link`,
    async () => isLinked(machine, peerId),
    (isUp) => isUp,
    30_000,
  );

test('a machine that moved is linked again, though no link brought word of it', async () => {
  const middle = await started('middle', undefined, home());
  const seeker = await started('seeker', middle, home());
  const kept = home();
  const mover = await started('mover', middle, kept);
  await linked(seeker, mover.peerId);
  await linked(mover, seeker.peerId);
  const before = mover.network.addresses();
  seeker.narrow((peerId) => peerId === middle.peerId);
  await mover.stop();
  running.delete(mover);
  const { send } = middle.network;
  // From now on nobody tells the seeker over a link where anybody is.
  middle.network.send = (peerId, frames) =>
    send.call(
      middle.network,
      peerId,
      peerId === seeker.peerId ? frames.filter(({ t }) => t !== 'shared') : frames,
    );

  const keeps = (peerId: string): boolean => peerId === middle.peerId;
  const moved = await started('mover', undefined, { ...kept, keeps });
  expect(moved.peerId).toBe(mover.peerId);
  expect(moved.network.addresses()).not.toEqual(before);
  await linked(moved, middle.peerId);
  seeker.narrow(() => true);
  await linked(seeker, moved.peerId);
  const link = seeker.network.links().find(({ peerId }) => peerId === moved.peerId);
  expect(moved.network.addresses()).toContain(link?.address);
}, 90_000);
