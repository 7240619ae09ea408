import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RETENTION_MS, RETRY_MAX_MS } from '../../protocol/limits.ts';
import type { MessageView } from '../../protocol/views.ts';
import { pendingOf, rungOf, three, type Three } from './team.ts';
import { admit, turn, type TestMachine } from './wire.ts';

/** Desk sends, laptop is away, tower keeps what waits for it; ada, bob and cid live there. */
let all: Three;
beforeEach(async () => {
  all = await three();
});
afterEach(async () => {
  await all.team.stopAll();
});

const FIVE = ['one', 'two', 'three', 'four', 'five'];
const MINUTE_MS = 60_000;

/** How many envelopes lie in a machine's mailbox, as its disk shows. */
const heldAt = ({ kv }: TestMachine) => kv.keys('mailbox-envelope/').length;
const waitingAt = ({ kv }: TestMachine) => kv.keys('outbox/').length;

/** A sent message as its sender recalls it. */
async function recalled(content: string): Promise<MessageView> {
  const { messages } = await all.ada.recall({ limit: 100, from_agent: '', thread_id: '' });
  return messages.find((one) => one.content === content)!;
}

const rungs = (contents: readonly string[] = FIVE) =>
  Promise.all(contents.map((content) => rungOf(all.ada, content)));

/** Notices in ada's inbox: kind, and the text of the message that each is about. */
async function notices(): Promise<unknown[]> {
  const { messages } = await all.ada.recall({ limit: 100, from_agent: '', thread_id: '' });
  return messages.flatMap(({ notice, about }) =>
    notice ? [[notice, messages.find(({ message_id: one }) => one === about)?.content]] : [],
  );
}

async function say(...contents: string[]): Promise<void> {
  for (const content of contents) {
    expect(await all.team.say(all.ada, 'bob', content)).toMatchObject({ status: 'sent' });
  }
}

async function unsend(content: string): Promise<string> {
  const { message_id: messageId } = await recalled(content);
  const unsending = all.ada.unsend({ message_id: messageId });
  await all.team.clock.advance(6_000);
  return (await unsending).status;
}

async function deskOff(): Promise<void> {
  await all.team.stop(all.desk);
}
async function deskOn(): Promise<void> {
  all.desk = await all.team.again(all.desk);
  all.ada = await all.team.open(all.desk, 'ada');
}
async function laptopOff(): Promise<void> {
  await all.team.stop(all.laptop);
}
async function laptopOn(): Promise<void> {
  all.laptop = await all.team.again(all.laptop);
  all.bob = await all.team.open(all.laptop, 'bob');
}
async function towerAgain(): Promise<void> {
  all.tower = await all.team.again(all.tower);
}
async function pass(): Promise<void> {
  await all.team.clock.advance(MINUTE_MS);
}

describe('mail for a machine that is away', () => {
  test('is held, and its sender is told so and by whom', async () => {
    await laptopOff();
    const sent = await all.team.say(all.ada, 'bob', 'one');
    expect(sent.receipts).toMatchObject([{ state: 'held', online: false }]);
    expect(await recalled('one')).toMatchObject({ status: 'held', held_by: ['tower'] });
    expect([heldAt(all.tower), waitingAt(all.desk)]).toEqual([1, 1]);
    const linkOf = async ({ admin }: TestMachine) =>
      (await admin.status()).links.find(({ peer_id: peer }) => peer === all.laptop.peerId);
    expect(await linkOf(all.tower)).toMatchObject({ held: 1, queued: 0 });
    expect(await linkOf(all.desk)).toMatchObject({ held: 0, queued: 1 });
  });

  test('comes from the mailbox in order while its sender is off, and its sender hears of it', async () => {
    await laptopOff();
    await say(...FIVE);
    expect(await rungs()).toEqual(FIVE.map(() => 'held'));
    expect(heldAt(all.tower)).toBe(5);
    await deskOff();
    await laptopOn();
    const { pending } = await all.bob.inbox({ all_agents: false });
    expect(pending.map(({ content }) => content)).toEqual(FIVE);
    expect(new Set(pending.map(({ from, from_machine: machine }) => `${from} ${machine}`))).toEqual(
      new Set(['ada@myproject desk']),
    );
    expect(pending.some(({ late, missing_before: missing }) => late || missing)).toBe(false);
    await all.bob.confirm();
    await pass();
    // What waits at the mailbox now is what the laptop has to say to the desk.
    expect(all.tower.kv.keys(`mailbox-place/${all.laptop.peerId}/`)).toEqual([]);
    expect(heldAt(all.tower)).toBeGreaterThan(0);
    await deskOn();
    expect(await rungs()).toEqual(FIVE.map(() => 'read'));
    expect((await recalled('one')).held_by).toBeUndefined();
    await pass();
    for (const machine of [all.desk, all.laptop, all.tower])
      expect([heldAt(machine), waitingAt(machine)]).toEqual([0, 0]);
    expect(await pendingOf(all.bob)).toEqual([]);
    expect(await notices()).toEqual([]);
  });

  test('is delivered when its sender and the mailbox are both there: nothing twice, no copy left', async () => {
    await laptopOff();
    await say(...FIVE);
    await laptopOn();
    await pass();
    expect(await pendingOf(all.bob)).toEqual(FIVE);
    expect(await rungs()).toEqual(FIVE.map(() => 'delivered'));
    for (const machine of [all.desk, all.laptop, all.tower])
      expect([heldAt(machine), waitingAt(machine)]).toEqual([0, 0]);
  });

  test('goes straight there while the mailbox is cut off, whose copies go when they meet', async () => {
    await laptopOff();
    await say(...FIVE);
    all.team.cut(all.laptop, all.tower);
    await laptopOn();
    await pass();
    expect(await pendingOf(all.bob)).toEqual(FIVE);
    await all.bob.confirm();
    expect(heldAt(all.tower)).toBe(5);
    await all.team.mend(all.laptop, all.tower);
    await pass();
    expect([heldAt(all.tower), waitingAt(all.desk), waitingAt(all.laptop)]).toEqual([0, 0, 0]);
    expect(await pendingOf(all.bob)).toEqual([]);
    expect(await rungs()).toEqual(FIVE.map(() => 'read'));
  });

  test('survives a restart of the mailbox', async () => {
    await laptopOff();
    await say('one', 'two');
    await deskOff();
    await towerAgain();
    expect(heldAt(all.tower)).toBe(2);
    await laptopOn();
    expect(await pendingOf(all.bob)).toEqual(['one', 'two']);
    await pass();
    expect(all.tower.kv.keys(`mailbox-place/${all.laptop.peerId}/`)).toEqual([]);
  });

  test('is not left twice at one mailbox when its sender restarts', async () => {
    await laptopOff();
    await say('one', 'two');
    for (let time = 0; time < 2; time++) {
      await deskOff();
      await deskOn();
      await pass();
    }
    expect(heldAt(all.tower)).toBe(2);
    expect(await recalled('one')).toMatchObject({ status: 'held', held_by: ['tower'] });
    await laptopOn();
    await pass();
    expect(await pendingOf(all.bob)).toEqual(['one', 'two']);
  });

  test('that was sent while nobody was there stays queued, until somebody comes', async () => {
    all.team.cut(all.desk, all.tower);
    await laptopOff();
    expect((await all.team.say(all.ada, 'bob', 'one')).receipts).toMatchObject([{ state: 'queued' }]);
    await pass();
    expect(await rungs(['one'])).toEqual(['queued']);
    expect([heldAt(all.tower), heldAt(all.desk)]).toEqual([0, 0]);
    await all.team.mend(all.desk, all.tower);
    await pass();
    expect(await rungs(['one'])).toEqual(['held']);
    expect(heldAt(all.tower)).toBe(1);
  });

  test('is held for a machine that its sender never met, by the prekey that the mailbox knows', async () => {
    const { team, desk, tower } = all;
    const attic = await team.start(4, 'attic');
    team.cut(desk, attic);
    // An admin lets it in; here desk does, by the tower's link.
    await admitBy(desk, attic);
    const dan = await team.open(attic, 'dan');
    await pass();
    await dan.confirm();
    await team.stop(attic);
    await pass();
    expect((await team.say(all.ada, 'dan', 'hello')).receipts).toMatchObject([{ state: 'held' }]);
    expect(tower.kv.keys(`mailbox-place/${attic.peerId}/`)).toHaveLength(1);
    await team.stop(desk);
    const again = await team.again(attic);
    const reader = await team.open(again, 'dan');
    expect(await pendingOf(reader)).toEqual(['hello']);
  });

  test('in which one machine is a member of nothing common with the mailbox is not left there', async () => {
    const { team, desk, laptop } = all;
    await desk.admin.createNamespace('other');
    await admit(desk, laptop, 'other');
    const sec = await team.open(desk, 'sec', 'other');
    const bill = await team.open(laptop, 'bill', 'other');
    await bill.confirm();
    await laptopOff();
    expect((await team.say(sec, 'bill', 'hidden')).receipts).toMatchObject([{ state: 'queued' }]);
    await pass();
    expect(heldAt(all.tower)).toBe(0);
  });
});

/** Lets a machine in over a link that ends right after it. */
async function admitBy(from: TestMachine, to: TestMachine): Promise<void> {
  await all.team.mend(from, to);
  const { ticket } = await from.admin.invite('myproject');
  await to.admin.join(ticket);
  all.team.cut(from, to);
  await turn();
}

describe('several mailboxes', () => {
  const more: TestMachine[] = [];
  beforeEach(async () => {
    more.length = 0;
    for (const [seed, label] of [
      [5, 'attic'],
      [6, 'cellar'],
      [7, 'shed'],
    ] as const) {
      const machine = await all.team.start(seed, label);
      await admit(all.desk, machine);
      more.push(machine);
    }
    await pass();
  });
  const mailboxes = () => [all.tower, ...more];

  test('hold it, three at most, and the same bytes', async () => {
    await laptopOff();
    await say(...FIVE);
    await pass();
    const { held_by: holders } = await recalled('one');
    expect(holders).toHaveLength(3);
    const places = mailboxes().map(({ kv }) => kv.keys(`mailbox-place/${all.laptop.peerId}/`));
    expect(places.filter((one) => one.length > 0).map((one) => one.length)).toEqual([5, 5, 5]);
    expect(new Set(places.flat()).size).toBe(5);
  });

  test('give it once each, whatever the others gave', async () => {
    await laptopOff();
    await say(...FIVE);
    await pass();
    await deskOff();
    for (const machine of mailboxes()) all.team.cut(all.laptop, machine);
    await laptopOn();
    expect(await pendingOf(all.bob)).toEqual([]);
    for (const machine of mailboxes()) {
      await all.team.mend(all.laptop, machine);
      await pass();
    }
    const { messages } = await all.bob.recall({ limit: 100, from_agent: '', thread_id: '' });
    expect(messages.map(({ content }) => content).toReversed()).toEqual(FIVE);
    for (const { kv } of mailboxes()) expect(kv.keys(`mailbox-place/${all.laptop.peerId}/`)).toEqual([]);
  });

  test('that all come at once give it once', async () => {
    await laptopOff();
    await say(...FIVE);
    await pass();
    await deskOff();
    await laptopOn();
    await pass();
    expect(await pendingOf(all.bob)).toEqual(FIVE);
    for (const { kv } of mailboxes()) expect(kv.keys(`mailbox-place/${all.laptop.peerId}/`)).toEqual([]);
    await deskOn();
    await pass();
    expect(await rungs()).toEqual(FIVE.map(() => 'delivered'));
    for (const machine of [all.desk, all.laptop, ...mailboxes()])
      expect([heldAt(machine), waitingAt(machine)]).toEqual([0, 0]);
  });

  test('are others when one of them went: its copy is not counted on', async () => {
    await laptopOff();
    await say('one');
    await pass();
    const { held_by: holders = [] } = await recalled('one');
    const labels = new Map(
      [...mailboxes().entries()].map(([at, one]) => [['tower', 'attic', 'cellar', 'shed'][at]!, one]),
    );
    const [first, ...rest] = holders.map((label) => labels.get(label)!);
    await deskOff();
    await all.team.stop(first!);
    await all.team.stop(rest[0]!);
    await laptopOn();
    await pass();
    expect(await pendingOf(all.bob)).toEqual(['one']);
  });
});

describe('what is taken back while a mailbox holds it', () => {
  test('is withdrawn there; its recipient never sees it, and its sender hears how it ended', async () => {
    await laptopOff();
    await say('one', 'two', 'three');
    await deskOff();
    await deskOn();
    // A mailbox may have given it away: nobody can say yet that it is not read.
    expect(await unsend('two')).toBe('requested');
    expect(await rungs(['two'])).toEqual(['held']);
    await pass();
    expect(heldAt(all.tower)).toBe(3);
    await deskOff();
    await laptopOn();
    await pass();
    expect(await pendingOf(all.bob)).toEqual(['one', 'three']);
    await all.bob.confirm();
    await pass();
    await deskOn();
    await pass();
    expect(await rungs(['one', 'two', 'three'])).toEqual(['read', 'unsent', 'read']);
    expect(await notices()).toEqual([['unsend', 'two']]);
    expect((await all.ada.inbox({ all_agents: false })).pending).toMatchObject([
      { from: 'patchcord', notice: 'unsend', content: expect.stringContaining('was taken back') },
    ]);
  });
});

describe('what is taken back while the mailbox that holds it is away', () => {
  test('is read when the mailbox brings it first, and its sender hears that', async () => {
    await laptopOff();
    await say('one');
    await deskOff();
    all.team.cut(all.desk, all.tower);
    await deskOn();
    expect(await unsend('one')).toBe('requested');
    all.team.cut(all.desk, all.laptop);
    await laptopOn();
    expect(await pendingOf(all.bob)).toEqual(['one']);
    await all.bob.confirm();
    await all.team.mend(all.desk, all.laptop);
    await pass();
    expect(await rungs(['one'])).toEqual(['read']);
    expect(await notices()).toEqual([['unsend', 'one']]);
    expect((await all.ada.inbox({ all_agents: false })).pending).toMatchObject([
      { notice: 'unsend', content: expect.stringContaining('could not be taken back: it was read') },
    ]);
  });

  test('is not read when its sender comes first, whatever the mailbox brings later', async () => {
    await laptopOff();
    await say('one', 'two');
    await deskOff();
    all.team.cut(all.desk, all.tower);
    await deskOn();
    expect(await unsend('one')).toBe('requested');
    all.team.cut(all.laptop, all.tower);
    await laptopOn();
    await pass();
    expect(await rungs(['one', 'two'])).toEqual(['unsent', 'delivered']);
    await all.team.mend(all.laptop, all.tower);
    await pass();
    expect(await pendingOf(all.bob)).toEqual(['two']);
    expect(heldAt(all.tower)).toBe(0);
    expect(await notices()).toEqual([['unsend', 'one']]);
  });
});

describe('a recipient that is removed', () => {
  const remove = async () => {
    const removing = all.desk.admin.removeMember('myproject', 'laptop');
    await all.team.clock.advance(10_000);
    await removing;
  };

  test('is kept nothing for any more, and its senders are told', async () => {
    await laptopOff();
    await say('one', 'two');
    expect(heldAt(all.tower)).toBe(2);
    await remove();
    await pass();
    expect([heldAt(all.tower), waitingAt(all.desk)]).toEqual([0, 0]);
    expect(await rungs(['one', 'two'])).toEqual(['refused', 'refused']);
    expect((await notices()).toSorted((a, b) => String(a).localeCompare(String(b)))).toEqual([
      ['refused', 'one'],
      ['refused', 'two'],
    ]);
  });

  test('is dropped by a mailbox that hears of it later', async () => {
    await laptopOff();
    await say('one');
    all.team.cut(all.desk, all.tower);
    await remove();
    expect(heldAt(all.tower)).toBe(1);
    await all.team.mend(all.desk, all.tower);
    await pass();
    expect(heldAt(all.tower)).toBe(0);
  });
});

describe('mail that nobody fetched in time', () => {
  test('expires with a notice, once', { timeout: 60_000 }, async () => {
    await laptopOff();
    await say('one');
    await all.team.clock.advance(RETENTION_MS - MINUTE_MS);
    expect(await rungs(['one'])).toEqual(['held']);
    await all.team.clock.advance(20 * MINUTE_MS);
    expect(await rungs(['one'])).toEqual(['expired']);
    expect(await notices()).toEqual([['expired', 'one']]);
    expect(waitingAt(all.desk)).toBe(0);
    await all.team.clock.advance(RETRY_MAX_MS);
    expect(await notices()).toHaveLength(1);
  });
});
