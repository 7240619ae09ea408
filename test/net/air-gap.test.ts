import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { skipAloud } from './namespace.ts';
import { Net, type Host } from './net.ts';
import { allLinked, linked, SLACK, timed } from './watch.ts';

/** A switch and what is plugged into it, and no way out: not even a route that leads nowhere. */
describe.skipIf(skipAloud('a network without a way out'))('a network without a way out', () => {
  /** Promised: 2 s. */
  const FOUND_MS_MAX = SLACK * 2_000;
  let net: Net;
  let hosts: [Host, Host, Host];
  let a: DaemonProcess;
  let b: DaemonProcess;
  let third: DaemonProcess;

  beforeAll(async () => {
    net = new Net();
    const lan = net.lan('island', '10.9.9');
    hosts = [net.host('alpha', lan), net.host('beta', lan), net.host('third', lan)];
    const started = await Promise.all(hosts.map((host) => host.daemon({ mdns: true })));
    [a, b, third] = [started[0]!, started[1]!, started[2]!];
    await mesh('team', third, a, b);
    await timed('three machines of one network are linked', () => allLinked([a, b, third]));
  });
  afterAll(() => net?.end());

  test('agents talk', async () => {
    const asking = await net.agent(a, 'asking@team');
    const answering = await net.agent(b, 'answering@team');
    await asking.sees('answering', { online: true });
    const id = await asking.send('answering', 'is anybody there?');
    const question = await answering.next();
    expect(question).toMatchObject({ message_id: id, content: 'is anybody there?' });
    await answering.call('reply', { message_id: id, content: 'only us' });
    expect(await asking.next()).toMatchObject({ content: 'only us', reply_to: id });
  });

  test('machines find each other whose addresses are all wrong by now', async () => {
    const [alpha, beta] = hosts;
    for (const machine of [a, b, third]) await machine.kill('SIGTERM');
    alpha.renumber(101);
    beta.renumber(102);
    await Promise.all([a.start(), b.start()]);
    expect(await timed('found by multicast', () => linked(a, b))).toBeLessThan(FOUND_MS_MAX);
    const sender = await net.agent(a, 'finder@team');
    const reader = await net.agent(b, 'found@team');
    await sender.sees('found', { online: true });
    await sender.send('found', 'there you are');
    expect(await reader.next()).toMatchObject({ content: 'there you are' });
  });

  test('a machine that is plugged in later is found', async () => {
    const [, beta] = hosts;
    await b.kill('SIGTERM');
    beta.plugged(false);
    beta.renumber(103);
    await b.start();
    beta.plugged(true);
    expect(await timed('found after it was plugged in', () => linked(a, b))).toBeLessThan(FOUND_MS_MAX);
  });
});
