import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Session } from '../../mcp/messenger.ts';
import { HISTORY_SWEEP_INTERVAL_MS } from '../../protocol/limits.ts';
import { pendingOf, rungOf, Team } from './team.ts';
import { admit, type TestMachine } from './wire.ts';

/** Desk keeps for three days, laptop and tower for one. */
const DAY_MS = 24 * 3_600_000;
const HOUR_MS = 3_600_000;

let team: Team;
let [desk, laptop, tower]: TestMachine[] = [];
let [ada, bob]: Session[] = [];

beforeEach(async () => {
  team = new Team();
  desk = await team.start(1, 'desk', { retentionMs: 3 * DAY_MS });
  laptop = await team.start(2, 'laptop', { retentionMs: DAY_MS });
  tower = await team.start(3, 'tower', { retentionMs: DAY_MS });
  await desk.admin.createNamespace('myproject');
  for (const machine of [laptop, tower]) await admit(desk, machine);
  ada = await team.open(desk, 'ada');
  bob = await team.open(laptop, 'bob');
});
afterEach(() => team.stopAll());

const recalled = async (session: Session) =>
  (await session.recall({ limit: 100, from_agent: '', thread_id: '' })).messages.map(
    ({ content }) => content,
  );
const heldAt = ({ kv }: TestMachine) => kv.keys('mailbox-envelope/').length;

test('mail waits for as long as its own machine was told', async () => {
  await team.stop(laptop!);
  await team.say(ada!, 'bob', 'from the desk');
  const cid = await team.open(tower!, 'cid');
  await team.say(cid, 'bob', 'from the tower');
  await team.clock.advance(DAY_MS + HOUR_MS);
  expect(await rungOf(cid, 'from the tower')).toBe('expired');
  expect(await rungOf(ada!, 'from the desk')).toBe('held');
  await team.clock.advance(DAY_MS + 20 * HOUR_MS);
  expect(await rungOf(ada!, 'from the desk')).toBe('held');
  await team.clock.advance(DAY_MS);
  expect(await rungOf(ada!, 'from the desk')).toBe('expired');
});

test('a mailbox keeps for as long as it was told', async () => {
  await team.stop(laptop!);
  await team.say(ada!, 'bob', 'one');
  expect(heldAt(tower!)).toBe(1);
  await team.clock.advance(DAY_MS - HOUR_MS);
  expect(heldAt(tower!)).toBe(1);
  await team.clock.advance(DAY_MS + 2 * HOUR_MS);
  expect(heldAt(tower!)).toBe(0);
});

test('the history lets go of what is old, and of nothing that is unread', async () => {
  for (const content of ['one', 'two', 'three']) await team.say(ada!, 'bob', content);
  for (const content of ['one', 'two']) {
    const answer = await bob!.wait({ timeout_seconds: 1 });
    expect(answer.message?.content).toBe(content);
  }
  await bob!.confirm();
  await team.clock.advance(DAY_MS + HISTORY_SWEEP_INTERVAL_MS);
  expect(await recalled(bob!)).toEqual(['three']);
  expect(await recalled(ada!)).toEqual(['three', 'two', 'one']);
  expect(await pendingOf(bob!)).toEqual(['three']);
  await bob!.confirm();
  await team.clock.advance(DAY_MS + HISTORY_SWEEP_INTERVAL_MS);
  expect(await recalled(bob!)).toEqual([]);
});

test('a sweep ends with its machine, also between two batches', async () => {
  for (let number = 0; number < 450; number++) void team.say(bob!, 'ada', String(number));
  await team.clock.advance(HOUR_MS);
  const left = () => laptop!.kv.keys(`history/`).length;
  expect(left()).toBe(450);
  const write = laptop!.kv.write.bind(laptop!.kv);
  const stopped = Promise.withResolvers<void>();
  let stopping = false;
  laptop!.kv.write = async (operations, options) => {
    await write(operations, options);
    if (stopping || left() === 450) return;
    stopping = true;
    void team.stop(laptop!).then(stopped.resolve);
  };
  await team.clock.advance(DAY_MS + HISTORY_SWEEP_INTERVAL_MS);
  await stopped.promise;
  expect(left()).toBe(250);
});
