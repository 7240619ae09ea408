import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { reportOf } from '../processes/ledger.ts';
import { Traffic } from '../processes/traffic.ts';
import { skipAloud } from './namespace.ts';
import { Net } from './net.ts';
import { SlowLine } from './slow-line.ts';
import { LEDGER_MS_MAX, linked, timed } from './watch.ts';

/** Two machines with nothing between them but a slow line that breaks. */
describe.skipIf(skipAloud('a slow line'))('a slow line', () => {
  const RESETS = 3;
  const EVERY_MS = 50;
  const BACK_MS_MAX = 10_000;
  let net: Net;
  let a: DaemonProcess;
  let b: DaemonProcess;
  let line: SlowLine;
  let traffic: Traffic;

  beforeAll(async () => {
    net = new Net();
    const near = net.lan('near', '10.1.1', { gateway: true });
    const far = net.lan('far', '10.1.2', { gateway: true });
    const router = net.router('line', near, far);
    const [here, there] = [net.host('here', near), net.host('there', far)];
    line = await SlowLine.between(router, [
      [near, here],
      [far, there],
    ]);
    [a, b] = await Promise.all([here.daemon(), there.daemon()]);
    await mesh('team', a, b);
    await linked(a, b);
    const both = [
      [a, b],
      [b, a],
    ] as const;
    traffic = new Traffic(both, [], EVERY_MS);
    await traffic.start();
  });
  afterAll(() => net?.end());

  test('every piece comes 50 to 500 ms late', async () => {
    line.delay(50, 500);
    await timed('100 messages over a line of 50 to 500 ms', async () => {
      await traffic.more(100);
      await traffic.arrived();
    });
    expect((await linked(a, b)).up).toBe(true);
  });

  test(`the line breaks ${RESETS} times`, async () => {
    for (let reset = 0; reset < RESETS; reset++) {
      line.delay(reset * 50, reset * 100);
      await traffic.more(20);
      line.reset();
      await traffic.more(1);
      expect(await timed('linked after a reset', () => linked(a, b))).toBeLessThan(BACK_MS_MAX);
    }
    line.delay(0, 0);
    await traffic.arrived();
  });

  test(
    'the ledger',
    async () => {
      await traffic.drain();
      const figures = traffic.ledger.figures();
      console.log(`net: a slow line, ${RESETS} resets, ${reportOf(figures, RESETS)}`);
      expect(traffic.ledger.lost()).toEqual([]);
      expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
    },
    LEDGER_MS_MAX,
  );
});
