import { once } from 'node:events';
import mdns from 'multicast-dns';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SystemMulticast } from '../../daemon/discovery/multicast.ts';
import { silentLog } from '../../daemon/log.ts';
import { encodeAnswer, encodeQuestion } from '../../protocol/discovery/datagram.ts';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { Stage } from '../processes/stage.ts';

/** Real multicast, on the loopback network, which needs no rights and reaches nobody else. */

const HERE = [{ name: 'lo', family: 4 as const, address: '127.0.0.1', internal: true, scope: 0 }];
const TAG = 'bcdfghjkmnpqrst';

const stage = new Stage();
let desk: DaemonProcess;
let laptop: DaemonProcess;
const stops: (() => unknown)[] = [];

beforeEach(async () => {
  [desk, laptop] = await Promise.all([stage.machine('desk'), stage.machine('laptop')]);
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  await stage.end();
});

async function isLinked(machine: DaemonProcess): Promise<boolean> {
  const { members } = await machine.json<{ members: { online: boolean }[] }>('namespace', 'members', 'team');
  return members.every(({ online }) => online);
}

test('two daemons of one host that both have moved find each other, and only with multicast', async () => {
  await mesh('team', desk, laptop);
  for (const machine of [desk, laptop]) {
    await machine.kill('SIGTERM');
    machine.move();
    machine.mdns = true;
  }
  desk.mdns = false;
  await desk.start();
  await laptop.start();
  expect(await isLinked(laptop)).toBe(false);
  await desk.kill('SIGTERM');
  desk.move();
  desk.mdns = true;
  await desk.start();
  await eventually('a link', () => isLinked(desk), Boolean);
});

test('several programs share the port, and what is said is DNS', async () => {
  const heard: { who: string; bytes: Uint8Array }[] = [];
  const speakers = ['one', 'two'].map(
    (who) => new SystemMulticast(silentLog, (bytes) => heard.push({ who, bytes })),
  );
  for (const speaker of speakers) stops.push(() => speaker.close());
  const neighbour = mdns({ interface: '127.0.0.1', bind: '0.0.0.0' });
  stops.push(() => new Promise<void>((resolve) => neighbour.destroy(() => resolve())));
  await once(neighbour, 'ready');
  for (const speaker of speakers) await speaker.open(HERE);

  const name = `_${TAG}._udp.local`;
  const asked = new Promise((resolve) => {
    neighbour.on('query', ({ questions = [] }) => {
      if (questions.some((one) => one.name === name)) resolve(questions);
    });
  });
  const answered = new Promise((resolve) => {
    neighbour.on('response', ({ answers = [] }) => {
      if (answers.some((one) => one.name === name)) resolve(answers);
    });
  });
  const box = new Uint8Array(600).fill(7);
  speakers[0]!.send(encodeQuestion(TAG));
  speakers[0]!.send(encodeAnswer(TAG, box));
  expect(await asked).toMatchObject([{ name, type: 'TXT', class: 'IN' }]);
  const parts = [box.subarray(0, 255), box.subarray(0, 255), box.subarray(0, 90)].map((part) =>
    Buffer.from(part),
  );
  expect(await answered).toMatchObject([{ name, type: 'TXT', ttl: 120, flush: false, data: parts }]);
  const ears = async () => new Set(heard.map(({ who }) => who)).size;
  await eventually('both hear it', ears, (count) => count === 2);
});
