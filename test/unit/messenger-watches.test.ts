import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { messageText } from '../../mcp/message-text.ts';
import type { Session } from '../../mcp/messenger.ts';
import {
  ACTIVITY_ANNOUNCE_MS,
  WATCH_TTL_MS,
  WATCH_TTL_MS_MAX,
  WATCHES_PER_AGENT_MAX,
} from '../../protocol/limits.ts';
import { deskAndLaptop, refusal, type Team } from './team.ts';
import { turn, type TestMachine } from './wire.ts';

/** Two machines: ada lives on the desk, bob on the laptop, and time stands still. */
let team: Team;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;
let bob: Session;

const ADA = 'ada@myproject';
const BOB = 'bob@myproject';

beforeEach(async () => {
  ({ team, desk, laptop, ada, bob } = await deskAndLaptop());
});
afterEach(() => team.stopAll());

const settle = () => team.clock.advance(ACTIVITY_ANNOUNCE_MS);
const pending = async () => {
  await settle();
  return (await desk.admin.peek(ADA, 99)).pending;
};
const watch = (state: 'online' | 'idle', ttlMs?: number) =>
  desk.admin.watch(ADA, { agent: BOB, state, ttlMs });
/** Bob goes, and desk has heard of it. */
async function gone(): Promise<void> {
  await bob.close();
  await turn();
}
async function busy(): Promise<void> {
  await bob.recall({ limit: 1, from_agent: '', thread_id: '' });
  await settle();
}

describe('a watch', () => {
  test('is told at once when it is so already, once, by patchcord and nobody else', async () => {
    expect(await watch('online')).toMatchObject({ as: ADA, agent: BOB, state: 'online' });
    const [notice, ...more] = await pending();
    expect(more).toEqual([]);
    expect(notice).toMatchObject({ from: 'patchcord', notice: 'watch', about: BOB, verified: 'local' });
    expect(notice!.content).toBe(`${BOB} is online now. You asked to be told.`);
    expect(messageText(notice!)).toMatch(/^NOTICE of patchcord on this machine about bob@myproject/);
    expect(await desk.admin.watches(ADA)).toEqual([]);
    await gone();
    bob = await team.open(laptop, 'bob');
    expect(await pending()).toHaveLength(1);
    await expect(
      ada.reply({ message_id: notice!.message_id, content: 'x', defer: false, resolve: false }),
    ).rejects.toEqual(refusal('not_addressee'));
  });

  test('for idle is told when the agent waits, not while it works or does not want to be disturbed', async () => {
    await busy();
    await watch('idle');
    expect(await pending()).toEqual([]);
    await laptop.admin.setAgent(BOB, { dnd: true });
    void bob.wait({ timeout_seconds: 3_600 }).catch(() => undefined);
    expect(await pending()).toEqual([]);
    await laptop.admin.setAgent(BOB, { dnd: false });
    expect(await pending()).toMatchObject([{ notice: 'watch', about: BOB }]);
  });

  test('wakes who waits', async () => {
    await gone();
    await watch('online');
    const waiting = ada.wait({ timeout_seconds: 60 });
    bob = await team.open(laptop, 'bob');
    await settle();
    expect(await waiting).toMatchObject({ status: 'message', message: { notice: 'watch', about: BOB } });
  });

  test('outlives its machine: what came true meanwhile is told after the start', async () => {
    await gone();
    const { id } = await watch('online');
    await team.stop(desk);
    bob = await team.open(laptop, 'bob');
    desk = await team.again(desk);
    expect(await pending()).toMatchObject([{ notice: 'watch', about: BOB }]);
    desk = await team.again(desk);
    expect(await pending()).toHaveLength(1);
    await expect(desk.admin.unwatch(ADA, id)).rejects.toEqual(refusal('not_found'));
  });

  test('is told of the way of a link, too', async () => {
    team.cut(desk, laptop);
    await turn();
    await watch('online');
    expect(await pending()).toEqual([]);
    await team.mend(desk, laptop);
    expect(await pending()).toMatchObject([{ notice: 'watch' }]);
  });

  test('ends after a day, and says so; also when that was over before the machine came back', async () => {
    await gone();
    await watch('online');
    await watch('idle', 2 * WATCH_TTL_MS);
    await team.clock.advance(WATCH_TTL_MS - ACTIVITY_ANNOUNCE_MS - 1);
    expect(await pending()).toEqual([]);
    const [over] = await pending();
    expect(over!.content).toBe(`${BOB} was not seen online in the time that you gave; the watch is over.`);
    await team.stop(desk);
    await team.clock.advance(2 * WATCH_TTL_MS);
    desk = await team.again(desk);
    expect(await pending()).toHaveLength(2);
    expect(await desk.admin.watches(ADA)).toEqual([]);
  });

  test('is renewed by the same again, listed and cancelled', async () => {
    await gone();
    const { id } = await watch('online');
    expect((await watch('online', WATCH_TTL_MS_MAX)).id).toBe(id);
    expect(await desk.admin.watches(ADA)).toMatchObject([{ id, agent: BOB, state: 'online' }]);
    expect(await desk.admin.unwatch(ADA, id)).toMatchObject({ id });
    bob = await team.open(laptop, 'bob');
    expect(await pending()).toEqual([]);
  });

  test.each([
    ['nobody@myproject', WATCH_TTL_MS, 'unknown_recipient'],
    ['bob@elsewhere', WATCH_TTL_MS, 'unknown_recipient'],
    [BOB, WATCH_TTL_MS_MAX + 1, 'invalid_input'],
    [BOB, Number.NaN, 'invalid_input'],
    ['bob, ada', WATCH_TTL_MS, 'invalid_input'],
  ])('of %s for %i ms is refused as %s', async (agent, ttlMs, code) => {
    await expect(desk.admin.watch(ADA, { agent, state: 'online', ttlMs })).rejects.toEqual(refusal(code));
    expect(await desk.admin.watches(ADA)).toEqual([]);
  });

  test('is one of fifty at most', async () => {
    const names = Array.from({ length: 26 }, (_none, at) => `agent-${at}`);
    for (const name of names) await laptop.admin.addAgent(`${name}@myproject`);
    await turn();
    const all = names.flatMap((agent) => [
      { agent, state: 'online' as const },
      { agent, state: 'idle' as const },
    ]);
    for (const one of all.slice(0, WATCHES_PER_AGENT_MAX)) await desk.admin.watch(ADA, one);
    await expect(desk.admin.watch(ADA, all[WATCHES_PER_AGENT_MAX]!)).rejects.toEqual(refusal('too_many'));
  });

  test('of an agent that was removed tells nobody', async () => {
    await gone();
    await watch('online');
    await desk.admin.removeAgent(ADA);
    bob = await team.open(laptop, 'bob');
    await settle();
    const again = await desk.admin.addAgent(ADA);
    expect(again.pending).toBe(0);
  });
});

test('a link that breaks brings nothing back that its machine said before it said something newer there', async () => {
  const { team, desk, laptop, bob } = await deskAndLaptop({ gossips: true });
  await bob.close();
  await team.clock.advance(2_000);
  // To all that bob came is told at once, and that he left a little later; over the link both are told at once.
  const again = await team.open(laptop, 'bob');
  await again.close();
  await turn();
  await desk.admin.watch(ADA, { agent: BOB, state: 'online' });
  team.cut(desk, laptop);
  await turn();
  expect(await desk.admin.watches(ADA)).toHaveLength(1);
  await team.stopAll();
});
