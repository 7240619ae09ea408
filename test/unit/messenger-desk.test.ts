import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../mcp/messenger.ts';
import { LEASE_MS, RECEIPTS_GATHER_MS, SESSION_IDLE_MS } from '../../protocol/limits.ts';
import type { MessageView } from '../../protocol/views.ts';
import { admit, HandClock, startMachine, turn, Wire, type TestMachine } from './wire.ts';

/** Two machines: ada lives on the desk, bob on the laptop, and time stands still. */
let wire: Wire;
let clock: HandClock;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;
let bob: Session;

beforeEach(async () => {
  wire = new Wire();
  clock = new HandClock();
  desk = await startMachine(wire, { seed: 1, label: 'desk', clock });
  laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock });
  await desk.admin.createNamespace('myproject');
  await admit(desk, laptop);
  ada = await desk.messenger.open({ agent: 'ada@myproject', client: 'test 1' });
  bob = await laptop.messenger.open({ agent: 'bob@myproject', client: 'test 2' });
  await turn();
});
afterEach(async () => {
  await desk.stop();
  await laptop.stop();
});

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const openBob = () => laptop.messenger.open({ agent: 'bob@myproject', client: 'second client' });
const texts = (messages: readonly MessageView[]) => messages.map(({ content }) => content);
const inboxOf = async (session: Session) => texts((await session.inbox({ all_agents: false })).pending);
const wait = (session: Session, signal?: AbortSignal) => session.wait({ timeout_seconds: 60 }, signal);
const peek = async () => texts((await laptop.admin.peek('bob@myproject', 100)).pending);
/** Sends without being held back by what waits. */
async function say(...contents: string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const content of contents) {
    const sent = await ada.send({ to_agent: 'bob', content, thread: '' });
    expect(sent.status).toBe('sent');
    ids.push(sent.message_id!);
  }
  await turn();
  return ids;
}
/** Lets what was read be told. */
const tell = () => clock.advance(RECEIPTS_GATHER_MS);
const rungOf = async (id: string) => {
  await turn();
  const { messages } = await ada.recall({ limit: 100, from_agent: '', thread_id: '' });
  return messages.find((message) => message.message_id === id)?.status;
};

describe('a lease', () => {
  test('becomes read after two minutes, and not before; the sender learns it', async () => {
    const [id] = await say('hello');
    expect(await inboxOf(bob)).toEqual(['hello']);
    expect(await rungOf(id!)).toBe('delivered');
    await clock.advance(LEASE_MS - 1);
    expect(await peek()).toEqual(['hello']);
    expect(await rungOf(id!)).toBe('delivered');
    await clock.advance(1);
    expect(await peek()).toEqual([]);
    await tell();
    expect(await rungOf(id!)).toBe('read');
    await bob.close();
    expect(await inboxOf(await openBob())).toEqual([]);
  });

  test('becomes read with the next call, whichever it is', async () => {
    const calls: [string, () => Promise<unknown>][] = [
      ['inbox', () => bob.inbox({ all_agents: false })],
      ['send', () => bob.send({ to_agent: 'ada', content: 'x', thread: '' })],
      ['recall', () => bob.recall({ limit: 1, from_agent: '', thread_id: '' })],
      ['confirm', () => bob.confirm()],
      ['a refused unsend', () => bob.unsend({ message_id: 'none' })],
      [
        'a refused attachment',
        () =>
          bob.attachment({
            path_or_url: '',
            upload: false,
            filename: '',
            file_data: '',
            relay: false,
            mime_type: '',
          }),
      ],
    ];
    for (const [name, call] of calls) {
      const [id] = await say(name);
      expect(await inboxOf(bob)).toEqual([name]);
      await call().catch(() => undefined);
      await tell();
      expect([name, await rungOf(id!)]).toEqual([name, 'read']);
      await ada.inbox({ all_agents: false });
    }
  });

  test('is given back by a session that closes first, and says so when it is shown again', async () => {
    const [id] = await say('hello');
    const { message } = await wait(bob);
    expect(message!.seen_before).toBeUndefined();
    await bob.close();
    expect(await rungOf(id!)).toBe('delivered');
    await clock.advance(2 * LEASE_MS);
    expect(await peek()).toEqual(['hello']);
    const second = await openBob();
    expect((await second.inbox({ all_agents: false })).pending).toMatchObject([
      { content: 'hello', seen_before: true },
    ]);
    await second.confirm();
    await tell();
    expect(await rungOf(id!)).toBe('read');
  });

  test('of a session that closed while it looked is given back', async () => {
    await say('hello');
    const looking = bob.inbox({ all_agents: false }).catch(() => undefined);
    await bob.close();
    await looking;
    expect(await peek()).toEqual(['hello']);
    expect(await inboxOf(await openBob())).toEqual(['hello']);
    await clock.advance(2 * LEASE_MS);
    expect(await peek()).toEqual([]);
  });

  test('of a session that closed while it looked is never confirmed by time', async () => {
    await say('hello');
    const looking = bob.inbox({ all_agents: false }).catch(() => undefined);
    await bob.close();
    await looking;
    await clock.advance(2 * LEASE_MS);
    expect(await peek()).toEqual(['hello']);
  });

  test('is renewed by nothing but its own message', async () => {
    await say('one');
    expect(await inboxOf(bob)).toEqual(['one']);
    await clock.advance(LEASE_MS / 2);
    await say('two');
    await clock.advance(LEASE_MS / 2);
    expect(await peek()).toEqual(['two']);
  });

  test('shows a message once to a session that looks twice at the same time', async () => {
    await say('one', 'two');
    const looks = await Promise.all([inboxOf(bob), inboxOf(bob)]);
    expect(looks.flat().sort()).toEqual(['one', 'two']);
  });

  test('survives the machine: what was shown and not confirmed is shown again', async () => {
    await say('hello');
    expect(await inboxOf(bob)).toEqual(['hello']);
    await laptop.stop();
    laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock, kv: laptop.kv });
    const again = await openBob();
    expect((await again.inbox({ all_agents: false })).pending).toMatchObject([
      { content: 'hello', seen_before: true },
    ]);
  });
});

describe('a second session', () => {
  test('is told, and consumes nothing', async () => {
    await bob.inbox({ all_agents: false });
    const second = await openBob();
    await say('hello');
    const told = await second.inbox({ all_agents: false });
    expect([told.pending, told.more]).toEqual([[], 0]);
    expect(told.warnings).toEqual([expect.stringContaining('test 2')]);
    await expect(wait(second)).rejects.toEqual(refusal('agent_in_use'));
    await second.confirm();
    await second.close();
    expect((await bob.inbox({ all_agents: false })).pending).toMatchObject([{ content: 'hello' }]);
  });

  test('does not confirm what the first was shown', async () => {
    const [id] = await say('hello');
    expect(await inboxOf(bob)).toEqual(['hello']);
    const second = await openBob();
    await second.inbox({ all_agents: false });
    await second.confirm();
    expect(await rungOf(id!)).toBe('delivered');
    expect(await peek()).toEqual(['hello']);
  });

  test('takes over when the first has said nothing for long', async () => {
    await say('hello');
    expect(await inboxOf(bob)).toEqual(['hello']);
    const second = await openBob();
    await clock.advance(SESSION_IDLE_MS);
    expect((await second.inbox({ all_agents: false })).warnings).not.toEqual([]);
    await clock.advance(1);
    await say('later');
    expect(await inboxOf(second)).toEqual(['later']);
  });

  test('does not take over from one that waits', async () => {
    const waiting = bob.wait({ timeout_seconds: 3_600 });
    await turn();
    const second = await openBob();
    await clock.advance(SESSION_IDLE_MS + 1);
    await expect(wait(second)).rejects.toEqual(refusal('agent_in_use'));
    await say('hello');
    expect((await waiting).message?.content).toBe('hello');
  });

  test('consumes when the first has closed', async () => {
    await bob.inbox({ all_agents: false });
    const second = await openBob();
    await bob.close();
    await say('hello');
    expect((await wait(second)).message?.content).toBe('hello');
    await expect(bob.inbox({ all_agents: false })).rejects.toEqual(refusal('unknown_session'));
    await expect(bob.confirm()).rejects.toEqual(refusal('unknown_session'));
  });

  test('waits once at a time', async () => {
    const waiting = wait(bob);
    await turn();
    await expect(wait(bob)).rejects.toEqual(refusal('agent_in_use'));
    await say('hello');
    expect((await waiting).message?.content).toBe('hello');
  });
});

describe('waiting', () => {
  test('wakes once for one message', async () => {
    const first = wait(bob);
    await turn();
    await say('one');
    expect(await first).toMatchObject({ status: 'message', message: { content: 'one' }, more: 0 });
    let again = false;
    const second = wait(bob).finally(() => (again = true));
    await turn();
    expect(again).toBe(false);
    await clock.advance(60_000);
    expect(await second).toEqual({ status: 'timeout', more: 0 });
  });

  test('misses nothing that arrives between the look and the wait', async () => {
    // Each point in time at which a message may arrive while the wait begins.
    for (let steps = 0; steps < 40; steps++) {
      const sent = ada.send({ to_agent: 'bob', content: `after ${steps}`, thread: '' });
      for (let step = 0; step < steps; step++) await Promise.resolve();
      const woken = await wait(bob);
      expect(woken.message?.content).toBe(`after ${steps}`);
      await sent;
    }
    expect(await peek()).toEqual(['after 39']);
  });

  test('gets several that come at once in their order', async () => {
    const first = wait(bob);
    await turn();
    const sent = ['one', 'two', 'three'].map((content) => ada.send({ to_agent: 'bob', content, thread: '' }));
    expect(await first).toMatchObject({ message: { content: 'one' } });
    await Promise.all(sent);
    expect(await wait(bob)).toMatchObject({ message: { content: 'two' }, more: 1 });
    expect(await wait(bob)).toMatchObject({ message: { content: 'three' }, more: 0 });
  });

  test('is handed nothing while something older is unread', async () => {
    const second = await laptop.messenger.open({ agent: 'cyd@myproject', client: 'test 3' });
    await second.send({ to_agent: 'bob', content: 'of here', thread: '' });
    await say('of there');
    expect(await wait(bob)).toMatchObject({ message: { content: 'of here' } });
    expect(await wait(bob)).toMatchObject({ message: { content: 'of there' } });
  });

  test('that was handed a message holds it by a lease like any other', async () => {
    const waiting = wait(bob);
    await turn();
    const [id] = await say('hello');
    const { message } = await waiting;
    expect(message!.seen_before).toBeUndefined();
    // Shown: it cannot be taken back.
    const { status } = await ada.unsend({ message_id: id! });
    expect(status).toBe('already_read');
    await bob.close();
    const second = await openBob();
    expect((await second.inbox({ all_agents: false })).pending).toMatchObject([
      { content: 'hello', seen_before: true },
    ]);
  });

  test('that is aborted while its message is stored leaves it to the next', async () => {
    const reason = new Error('cancelled');
    let left = 0;
    for (let steps = 0; steps < 120; steps += 3) {
      const abort = new AbortController();
      const waiting = wait(bob, abort.signal).catch((error: unknown) => error);
      await turn();
      const sent = ada.send({ to_agent: 'bob', content: `after ${steps}`, thread: '' });
      for (let step = 0; step < steps; step++) await Promise.resolve();
      abort.abort(reason);
      const ended = await waiting;
      await sent;
      await turn();
      if (ended === reason) {
        left += 1;
        expect(await inboxOf(bob)).toEqual([`after ${steps}`]);
      } else expect(ended).toMatchObject({ message: { content: `after ${steps}` } });
      await bob.confirm();
      expect(await peek()).toEqual([]);
    }
    expect(left).toBeGreaterThan(0);
  });

  test('aborted at any point consumes nothing', async () => {
    const reason = new Error('cancelled');
    const outcomes: [ended: unknown, rung: string | undefined, pending: string[]][] = [];
    for (let steps = 0; steps < 40; steps++) {
      const [id] = await say(`after ${steps}`);
      const abort = new AbortController();
      const waiting = wait(bob, abort.signal).then(
        ({ message }) => message!.content,
        (error: unknown) => error,
      );
      for (let step = 0; step < steps; step++) await Promise.resolve();
      abort.abort(reason);
      const ended = await waiting;
      await clock.advance(LEASE_MS);
      await tell();
      outcomes.push([ended, await rungOf(id!), await peek()]);
      await bob.inbox({ all_agents: false });
      await bob.confirm();
    }
    const cancelled = outcomes.filter(([ended]) => ended === reason).length;
    expect(cancelled).toBeGreaterThan(0);
    expect(outcomes).toEqual(
      outcomes.map((_outcome, steps) =>
        steps < cancelled ? [reason, 'delivered', [`after ${steps}`]] : [`after ${steps}`, 'read', []],
      ),
    );
  });

  test('ends when its time is over, to the millisecond', async () => {
    for (const [seconds, ms] of [
      [5, 5_000],
      [0, 1_000],
      [-1, 1_000],
      [NaN, 1_000],
      [1e9, 3_600_000],
    ] as const) {
      let ended = false;
      const waiting = bob.wait({ timeout_seconds: seconds }).finally(() => (ended = true));
      await clock.advance(ms - 1);
      expect(ended, `${seconds} s`).toBe(false);
      await clock.advance(1);
      expect(await waiting).toEqual({ status: 'timeout', more: 0 });
    }
  });

  test('ends when the session closes, and when the machine stops', async () => {
    const closing = wait(bob);
    await turn();
    await bob.close();
    await expect(closing).rejects.toEqual(refusal('unknown_session'));
    const second = await openBob();
    const stopping = wait(second);
    await turn();
    await laptop.stop();
    expect(await stopping).toEqual({ status: 'timeout', more: 0, reason: 'stopping' });
    await expect(second.inbox({ all_agents: false })).rejects.toEqual(refusal('stopping'));
    laptop = await startMachine(wire, { seed: 2, label: 'laptop', clock, kv: laptop.kv });
  });
});

describe('the gate', () => {
  const send = async (session: Session = bob) =>
    (await session.send({ to_agent: 'ada', content: 'x', thread: '' })).status;

  test('opens for what was shown, and closes for what was not', async () => {
    await say('one');
    expect(await send()).toBe('blocked');
    expect(await inboxOf(bob)).toEqual(['one']);
    expect(await send()).toBe('sent');
    await ada.inbox({ all_agents: false });
    await say('two', 'three');
    expect((await wait(bob)).message?.content).toBe('two');
    const blocked = await bob.send({ to_agent: 'ada', content: 'x', thread: '' });
    expect([blocked.status, blocked.pending_total, texts(blocked.pending!)]).toEqual([
      'blocked',
      1,
      ['three'],
    ]);
    await bob.inbox({ all_agents: false });
    expect(await send()).toBe('sent');
  });

  test('does not count what the session that reads was shown, for another one', async () => {
    await say('one');
    const second = await openBob();
    expect(await inboxOf(bob)).toEqual(['one']);
    expect(await send(second)).toBe('sent');
    await ada.inbox({ all_agents: false });
    await say('two');
    expect(await send(second)).toBe('blocked');
  });

  test('counts what arrives after another session answered what was shown', async () => {
    const [id] = await say('one');
    const second = await openBob();
    expect(await inboxOf(bob)).toEqual(['one']);
    await second.reply({ message_id: id!, content: 'mine', defer: false, resolve: false });
    await ada.inbox({ all_agents: false });
    await say('two');
    expect(await send(second)).toBe('blocked');
  });

  test('does not count deferred ones, notes to oneself, and what was taken back', async () => {
    const [first, second] = await say('one', 'two');
    expect(await ada.unsend({ message_id: second! })).toMatchObject({ status: 'unsent' });
    await bob.reply({ message_id: first!, content: '', defer: true, resolve: false });
    await bob.send({ to_agent: 'bob', content: 'note', thread: '' });
    expect(await send()).toBe('sent');
  });
});
