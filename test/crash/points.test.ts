import { afterAll, beforeAll, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { reportOf } from '../processes/ledger.ts';
import { Stage } from '../processes/stage.ts';
import { Traffic } from '../processes/traffic.ts';
import { drained } from './kills.ts';
import { STORE_STEPS } from './store-steps.ts';

/** SIGKILL between every two steps of the store: right before one is written, and right after. */
const KILL_AT = new URL('kill-at.ts', import.meta.url).href;
const POINTS = STORE_STEPS.flatMap(({ name, at }) => [
  { point: `before ${name}`, at },
  { point: `after ${name}`, at },
]);
/** Each sender rests so long after a message: enough are under way, and no case waits until others are shown. */
const REST_MS = 30;

const stage = new Stage();
let a: DaemonProcess;
let b: DaemonProcess;
let c: DaemonProcess;
let traffic: Traffic;

beforeAll(async () => {
  [a, b, c] = await Promise.all([stage.machine('alpha'), stage.machine('beta'), stage.machine('gamma')]);
  await mesh('team', a, b, c);
  traffic = new Traffic(
    [
      [a, b],
      [b, a],
    ],
    [],
    REST_MS,
  );
  await traffic.start();
});
afterAll(() => stage.end());

/** Starts a machine that kills itself at a point. */
async function arm(machine: DaemonProcess, point: string): Promise<void> {
  await traffic.down(machine);
  machine.env = { NODE_OPTIONS: `--import=${KILL_AT}`, PATCHCORD_TEST_KILL: point };
  await traffic.up(machine);
  traffic.expectDown(machine);
  machine.env = {};
}

/** Waits until it has, and starts it again. */
async function killedItself(machine: DaemonProcess): Promise<void> {
  await traffic.ended(machine);
  expect(machine.process!.signalCode).toBe('SIGKILL');
  await traffic.up(machine);
}

test.each(POINTS)('killed $point, nothing is lost', async ({ point, at }) => {
  await traffic.level();
  if (at === 'mailbox taking') {
    await arm(c, point);
    await traffic.down(b);
    await killedItself(c);
    await traffic.up(b);
  } else if (at === 'mailbox giving') {
    await traffic.down(b);
    await traffic.more(10);
    await arm(c, point);
    await traffic.up(b);
    await killedItself(c);
  } else {
    const machine = at === 'sender' ? a : b;
    await arm(machine, point);
    await killedItself(machine);
  }
  await expect(traffic.more(5)).resolves.toBeUndefined();
});

test('and the ledger of the clients says so', async () => {
  await traffic.drain();
  const figures = traffic.ledger.figures();
  console.log(`crash: ${POINTS.length} named points, ${reportOf(figures, POINTS.length)}`);
  expect(traffic.ledger.lost()).toEqual([]);
  expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
  for (const machine of [a, b, c]) await drained(machine);
});
