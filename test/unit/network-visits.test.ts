import type { Connection } from '@libp2p/interface';
import { expect, test } from 'vitest';
import { Visits } from '../../daemon/network/visits.ts';
import { TABLE_VISIT_IDLE_MS, TABLE_VISITS_MAX } from '../../protocol/limits.ts';
import { HandClock } from './wire.ts';

const { signal } = new AbortController();

/** Of a connection what is looked at here. */
function fakeConnection(): Connection {
  const fake: Partial<Connection> = {
    status: 'open',
    abort() {
      this.status = 'aborted';
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is missing is not used
  return fake as Connection;
}

function world() {
  const clock = new HandClock();
  const made: Connection[] = [];
  const links = new Map<string, Connection>();
  const visits = new Visits({
    clock,
    linkWith: (peerId) => links.get(peerId),
    async connect(_peerId, addresses) {
      if (addresses.length === 0) throw new Error('nowhere');
      const connection = fakeConnection();
      made.push(connection);
      return connection;
    },
  });
  return { clock, made, links, visits };
}

test('a link is used, and nobody is dialled for it', async () => {
  const { visits, links, made } = world();
  const link = fakeConnection();
  links.set('ann', link);
  expect(await visits.with('ann', ['/somewhere'], signal)).toBe(link);
  expect(made).toEqual([]);
});

test('without leave to dial only links are used, and visits that are there', async () => {
  const { visits, made } = world();
  await expect(visits.with('ann', undefined, signal)).rejects.toThrow('not linked');
  const visit = await visits.with('ann', ['/somewhere'], signal);
  expect(await visits.with('ann', undefined, signal)).toBe(visit);
  expect(made).toEqual([visit]);
});

test('a visit ends some time after its last use', async () => {
  const { visits, clock } = world();
  const visit = await visits.with('ann', ['/somewhere'], signal);
  await clock.advance(TABLE_VISIT_IDLE_MS - 1);
  await visits.with('ann', ['/somewhere'], signal);
  await clock.advance(TABLE_VISIT_IDLE_MS - 1);
  expect(visit.status).toBe('open');
  await clock.advance(1);
  expect(visit.status).toBe('aborted');
  await expect(visits.with('ann', undefined, signal)).rejects.toThrow('not linked');
});

test('there are so many visits at a time', async () => {
  const { visits, clock } = world();
  for (let index = 0; index < TABLE_VISITS_MAX; index += 1)
    await visits.with(String(index), ['/somewhere'], signal);
  await expect(visits.with('one more', ['/somewhere'], signal)).rejects.toThrow('too many visits');
  await clock.advance(TABLE_VISIT_IDLE_MS);
  await expect(visits.with('one more', ['/somewhere'], signal)).resolves.toBeDefined();
});

test('a machine that is not reached takes no place, and stopping ends all', async () => {
  const { visits, made } = world();
  for (let index = 0; index <= TABLE_VISITS_MAX; index += 1)
    await expect(visits.with(String(index), [], signal)).rejects.toThrow('nowhere');
  await visits.with('ann', ['/somewhere'], signal);
  visits.stop();
  await Promise.resolve();
  expect(made.map(({ status }) => status)).toEqual(['aborted']);
  await expect(visits.with('bob', ['/somewhere'], signal)).rejects.toThrow('too many visits');
});
