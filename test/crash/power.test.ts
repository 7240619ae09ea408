import { afterAll, expect, test } from 'vitest';
import { mesh } from '../processes/daemon-process.ts';
import { reportOf } from '../processes/ledger.ts';
import { Stage } from '../processes/stage.ts';
import { Traffic } from '../processes/traffic.ts';
import { SeededRandom } from '../sim/random.ts';
import { drained } from './kills.ts';
import { PowerDisk, skipAloud } from './power-disk.ts';

/** Power cuts: SIGKILL alone cannot show whether what was acknowledged is on the disk. */
const SEED = process.env['PATCHCORD_SEED'] ?? String(Date.now());
const CUTS = Number(process.env['PATCHCORD_CUTS'] ?? 6);
const MESSAGES_MAX = 60;
const DISK_SIZE_MB = 96;
/** How calls may fail while the disk is gone and the daemon is not yet. */
const AMID_A_CUT = ['store_failed', 'disk_full', 'internal'];

const stage = new Stage();
const disks: PowerDisk[] = [];

afterAll(async () => {
  await stage.end();
  for (const disk of disks) disk.remove();
});

test.skipIf(skipAloud('power cuts'))('nothing acknowledged is lost when the power goes', async () => {
  const random = new SeededRandom(SEED);
  const place = async (label: string) => {
    const disk = new PowerDisk(DISK_SIZE_MB);
    disks.push(disk);
    return { disk, machine: await stage.machine(label, disk.folder) };
  };
  const [a, b] = await Promise.all([place('alpha'), place('beta')]);
  await mesh('team', a.machine, b.machine);
  const traffic = new Traffic(
    [
      [a.machine, b.machine],
      [b.machine, a.machine],
    ],
    AMID_A_CUT,
  );
  await traffic.start();
  for (let cut = 0; cut < CUTS; cut++) {
    await traffic.more(random.between(1, MESSAGES_MAX));
    const { disk, machine } = cut % 2 === 0 ? a : b;
    traffic.expectDown(machine);
    // With the power the processor stops too: it answers nothing on the word of a disk that is going.
    machine.process!.kill('SIGSTOP');
    disk.cut();
    await traffic.down(machine);
    disk.restore();
    await traffic.up(machine);
  }
  await traffic.drain();
  const figures = traffic.ledger.figures();
  console.log(`crash: seed ${SEED}, ${CUTS} power cuts, ${reportOf(figures, CUTS)}`);
  expect(traffic.ledger.lost()).toEqual([]);
  expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
  for (const { machine } of [a, b]) await drained(machine);
});
