import { setTimeout as delay } from 'node:timers/promises';
import type { DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import type { Traffic } from '../processes/traffic.ts';
import type { SeededRandom } from '../sim/random.ts';

/** A kill comes after at most so many more acknowledged messages, and at most so much later. */
const MESSAGES_MAX = 50;
const DELAY_MS_MAX = 30;
/** Every so many kills a machine stays away while the others go on, so that its mail waits at a mailbox. */
const AWAY_EVERY = 4;
/** Less than what lets a sender pause. */
const AWAY_MESSAGES_MAX = 40;

/** Kills machines by SIGKILL, one after another, amid traffic; `onKill` hears how many it were. */
export async function killAtRandom(
  traffic: Traffic,
  machines: readonly DaemonProcess[],
  random: SeededRandom,
  kills: number,
  onKill: (kills: number) => boolean = () => true,
): Promise<void> {
  for (let kill = 1; kill <= kills; kill++) {
    await traffic.more(random.between(1, MESSAGES_MAX));
    await delay(random.between(0, DELAY_MS_MAX));
    const machine = random.pick(machines);
    await traffic.down(machine);
    if (kill % AWAY_EVERY === 0) await traffic.more(random.between(1, AWAY_MESSAGES_MAX));
    await traffic.up(machine);
    if (!onKill(kill)) return;
  }
}

/** Waits until a machine has nothing left to send; its store must be as it was written then. */
export async function drained(machine: DaemonProcess): Promise<void> {
  await eventually(
    `${machine.label} has nothing left to send`,
    async () => (await machine.client().status()).links.map(({ queued }) => queued),
    (queued) => queued.every((count) => count === 0),
    60_000,
  );
  const { code, stdout } = await machine.run('doctor');
  if (code !== 0) throw new Error(`${machine.label} is not well:\n${stdout}`);
}
