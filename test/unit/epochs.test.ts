import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { key, type EpochWork } from '../../daemon/store/mail-records.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import type { Session } from '../../mcp/messenger.ts';
import { DOUBT_MS, GAP_HOLD_MS } from '../../protocol/limits.ts';
import { copyOf, type MemoryKv } from '../sim/memory-kv.ts';
import { deskAndLaptop, peeked, rungOf, type Team } from './team.ts';
import type { TestMachine } from './wire.ts';

/** Two machines, of which one is set back to what it was: the desk with ada, seed 1, and the laptop with bob, seed 2. */

let team: Team;
let desk: TestMachine;
let laptop: TestMachine;
let ada: Session;
let bob: Session;

beforeEach(async () => {
  ({ team, desk, laptop, ada, bob } = await deskAndLaptop());
});
afterEach(() => team.stopAll());

/** The machine as it was when the copy was made, as a restore leaves it. */
async function restored(machine: TestMachine, copy: MemoryKv, inDoubt = true): Promise<TestMachine> {
  const [seed, label] = machine === desk ? [1, 'desk'] : [2, 'laptop'];
  const journal = new Journal(copy, createRecordSeal(new Uint8Array(32).fill(seed), systemRandom.bytes));
  await journal.transact(async (tx) => tx.put(key.epochWork, { inDoubt } satisfies EpochWork));
  await team.stop(machine);
  await team.clock.advance(1_000);
  return team.start(seed, label, { kv: copy });
}

const settle = () => team.clock.advance(5_000);
async function say(session: Session, to: string, ...contents: string[]): Promise<void> {
  for (const content of contents)
    expect(await team.say(session, to, content)).toMatchObject({ status: 'sent' });
}
const shownTo = async (session: Session) =>
  (await session.inbox({ all_agents: false })).pending.map(
    ({ content, seen_before, late, missing_before: missing }) =>
      `${content}${seen_before ? ' again' : ''}${late ? ' late' : ''}${missing ? ` ${missing} missing` : ''}`,
  );
const readAll = async (session: Session) => {
  const shown = await shownTo(session);
  await session.confirm();
  await team.clock.advance(100);
  return shown;
};

describe('a machine that was restored', () => {
  test('shows what was not read, not what was, in order, and what came since', async () => {
    await say(ada, 'bob', '1', '2');
    expect(await readAll(bob)).toEqual(['1', '2']);
    await say(ada, 'bob', '3', '4');
    const copy = await copyOf(laptop.kv);
    expect(await readAll(bob)).toEqual(['3', '4']);
    await say(ada, 'bob', '5', '6');
    expect(await readAll(bob)).toEqual(['5', '6']);
    await say(ada, 'bob', '7', '8');
    expect(await rungOf(ada, '7')).toBe('delivered');

    laptop = await restored(laptop, copy);
    await say(ada, 'bob', '9');
    await settle();
    bob = await team.open(laptop, 'bob');
    expect(await shownTo(bob)).toEqual(['7 again', '8 again', '9']);
    await bob.confirm();
    await team.clock.advance(GAP_HOLD_MS);
    expect(await shownTo(bob)).toEqual([]);
    expect(await rungOf(ada, '8')).toBe('read');
    await say(ada, 'bob', '10');
    expect(await shownTo(bob)).toEqual(['10']);
  });

  test('what was unread then and is unread now is shown, marked as perhaps seen', async () => {
    await say(ada, 'bob', '1', '2');
    const copy = await copyOf(laptop.kv);
    laptop = await restored(laptop, copy);
    await settle();
    expect(await peeked(laptop, 'bob')).toEqual(['1', '2']);
    bob = await team.open(laptop, 'bob');
    expect(await shownTo(bob)).toEqual(['1 again', '2 again']);
    await say(ada, 'bob', '3');
    expect(await shownTo(bob)).toEqual(['3']);
  });

  test('shows nothing that is in doubt until the other machine is there, and says so', async () => {
    await say(ada, 'bob', '1', '2');
    const copy = await copyOf(laptop.kv);
    expect(await readAll(bob)).toEqual(['1', '2']);
    await say(ada, 'bob', '3');
    team.cut(desk, laptop);
    laptop = await restored(laptop, copy);
    await settle();
    bob = await team.open(laptop, 'bob');
    const { pending, warnings } = await bob.inbox({ all_agents: false });
    expect(pending).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining('2 messages')]);
    expect(await laptop.admin.agents()).toMatchObject([{ pending: 0, in_doubt: 2 }]);
    await say(ada, 'bob', '4');
    await team.mend(desk, laptop);
    await settle();
    expect(await shownTo(bob)).toEqual(['3 again', '4']);
    expect(await bob.inbox({ all_agents: false })).toMatchObject({ pending: [], warnings: [] });
  });

  test('shows them after a day when nobody tells', async () => {
    await say(ada, 'bob', '1');
    const copy = await copyOf(laptop.kv);
    team.cut(desk, laptop);
    laptop = await restored(laptop, copy);
    await team.clock.advance(DOUBT_MS - 1_000);
    expect(await peeked(laptop, 'bob')).toEqual([]);
    laptop = await team.again(laptop);
    await team.clock.advance(2_000);
    bob = await team.open(laptop, 'bob');
    expect(await shownTo(bob)).toEqual(['1 again']);
  });

  test('sends in an order that the other side sees, and nothing twice', async () => {
    await say(bob, 'ada', '1');
    team.cut(desk, laptop);
    await say(bob, 'ada', '2', '3');
    const copy = await copyOf(laptop.kv);
    await team.mend(desk, laptop);
    await settle();
    await say(bob, 'ada', 'lost 4', 'lost 5');
    expect(await readAll(ada)).toEqual(['1', '2', '3', 'lost 4', 'lost 5']);
    laptop = await restored(laptop, copy);
    bob = await team.open(laptop, 'bob');
    await say(bob, 'ada', '6', '7');
    await settle();
    expect(await readAll(ada)).toEqual(['6', '7']);
    expect(await rungOf(bob, '3')).toBe('read');
    await say(bob, 'ada', '8');
    expect(await readAll(ada)).toEqual(['8']);
  });

  test('is restored again from the same copy', async () => {
    await say(ada, 'bob', '1');
    const copy = await copyOf(laptop.kv);
    for (const round of ['2', '3', '4']) {
      await say(ada, 'bob', round);
      await readAll(bob);
      await say(ada, 'bob', `${round} unread`);
      const again = await copyOf(copy);
      await team.clock.advance(60_000);
      laptop = await restored(laptop, again);
      await settle();
      bob = await team.open(laptop, 'bob');
      expect(await readAll(bob)).toEqual([`${round} unread again`]);
      await say(bob, 'ada', `answer ${round}`);
      expect(await readAll(ada)).toEqual([`answer ${round}`]);
    }
  });

  test('both are restored', async () => {
    const eve = await team.open(laptop, 'eve');
    await team.open(desk, 'dan');
    await say(ada, 'bob', '1');
    await say(eve, 'dan', 'a');
    const [one, other] = [await copyOf(desk.kv), await copyOf(laptop.kv)];
    await say(ada, 'bob', '2');
    await say(eve, 'dan', 'b');
    await readAll(bob);
    desk = await restored(desk, one);
    laptop = await restored(laptop, other);
    await settle();
    const [cal, dan] = [await team.open(laptop, 'eve'), await team.open(desk, 'dan')];
    [ada, bob] = [await team.open(desk, 'ada'), await team.open(laptop, 'bob')];
    // The desk came back while the laptop still had what it lost a moment later; that 1 was read, nobody knows now.
    expect(await readAll(dan)).toEqual(['a again', 'b again']);
    expect(await readAll(bob)).toEqual(['1 again']);
    await say(ada, 'bob', '3', '4');
    await say(cal, 'dan', 'c', 'd');
    expect(await readAll(bob)).toEqual(['3', '4']);
    expect(await readAll(dan)).toEqual(['c', 'd']);
  });
});

test('a store that lost something has what is unread sent again, and puts nothing in doubt', async () => {
  await say(ada, 'bob', '1');
  const copy = await copyOf(laptop.kv);
  await say(ada, 'bob', '2');
  laptop = await restored(laptop, copy, false);
  await settle();
  bob = await team.open(laptop, 'bob');
  expect(await shownTo(bob)).toEqual(['1', '2 again']);
});

describe('a store that is damaged', () => {
  /** One bit of a record is another on the disk. */
  async function damage(machine: TestMachine, prefix: string): Promise<string> {
    const [entry] = await machine.kv.range({ from: prefix, to: `${prefix}~`, reverse: true, limit: 1 });
    const [name, value] = entry!;
    const altered = value.map((byte, at) => (at === value.length - 5 ? byte ^ 4 : byte));
    await machine.kv.write([{ key: name, value: altered }], { sync: true });
    return name;
  }

  test.each(['at the start', 'while it runs'])(
    'has what was not read sent again, once, when it is noticed %s',
    async (when) => {
      await say(ada, 'bob', '1', '2', '3');
      if (when === 'at the start') await team.stop(laptop);
      await damage(laptop, 'history/');
      if (when === 'at the start') {
        laptop = await team.start(2, 'laptop', { kv: laptop.kv });
        bob = await team.open(laptop, 'bob');
      }
      await expect(bob.inbox({ all_agents: false })).rejects.toMatchObject({ code: 'store_damaged' });
      await settle();
      expect(await readAll(bob)).toEqual(['1', '2', '3 again']);
      await say(bob, 'ada', 'all there');
      await team.clock.advance(GAP_HOLD_MS);
      expect(await readAll(ada)).toEqual(['all there']);
      await say(ada, 'bob', '4');
      expect(await readAll(bob)).toEqual(['4']);
      expect(await rungOf(ada, '3')).toBe('read');
      laptop = await team.again(laptop);
      bob = await team.open(laptop, 'bob');
      await settle();
      expect(await shownTo(bob)).toEqual([]);
      expect(await laptop.admin.status()).toMatchObject({ damage: { findings: expect.anything() } });
    },
  );

  test('has what was in a batch that is missing sent again, before it sends anything', async () => {
    await say(ada, 'bob', '1', '2', '3');
    await team.stop(laptop);
    const all = (await laptop.kv.range({ from: '', to: '\x7f' })).map(([name]) => name);
    const last = (kind: string) =>
      all
        .filter((name) => name.startsWith(kind))
        .sort()
        .at(-1)!;
    const gone = ['history/', 'pending/', 'known/'].map(last);
    // A mark that is not the last, which only the file beside the store would miss.
    gone.push(all.filter((name) => name.startsWith('batch/')).at(-2)!);
    await laptop.kv.write(
      gone.map((name) => ({ key: name, value: undefined })),
      { sync: true },
    );
    laptop = await team.start(2, 'laptop', { kv: laptop.kv });
    bob = await team.open(laptop, 'bob');
    await settle();
    const { pending, warnings } = await bob.inbox({ all_agents: false });
    expect(warnings).toEqual([expect.stringContaining('written batches')]);
    expect(pending.map(({ content }) => content)).toEqual(['1', '2', '3']);
    await bob.confirm();
    await say(ada, 'bob', '4');
    expect(await readAll(bob)).toEqual(['4']);
  });

  test('refuses mail for now, not for good, until it was put right', async () => {
    await say(ada, 'bob', '1');
    expect(await readAll(bob)).toEqual(['1']);
    laptop = await team.again(laptop);
    await team.stop(laptop);
    await damage(laptop, 'tally/');
    laptop = await team.start(2, 'laptop', { kv: laptop.kv });
    await say(ada, 'bob', '2');
    await settle();
    bob = await team.open(laptop, 'bob');
    expect(await shownTo(bob)).toEqual(['2']);
    expect(await rungOf(ada, '2')).toBe('delivered');
  });

  test('sends what waited, in the order in which it was written, when its places are gone', async () => {
    await say(bob, 'ada', '1');
    team.cut(desk, laptop);
    await say(bob, 'ada', '2', '3');
    await team.stop(laptop);
    await damage(laptop, 'line-out/');
    laptop = await team.start(2, 'laptop', { kv: laptop.kv });
    await laptop.doctor.repair();
    bob = await team.open(laptop, 'bob');
    await say(bob, 'ada', '4');
    await team.mend(desk, laptop);
    await settle();
    expect(await readAll(ada)).toEqual(['1', '2', '3', '4']);
    await team.clock.advance(GAP_HOLD_MS);
    await say(bob, 'ada', '5');
    expect(await readAll(ada)).toEqual(['5']);
  });
});
