import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { key, readTally } from '../../daemon/store/mail-records.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { recallText, sendText } from '../../mcp/text.ts';
import { INBOX_MAX, RETRY_MAX_MS } from '../../protocol/limits.ts';
import { pendingOf, rungOf, three, type Three } from './team.ts';

let all: Three;
beforeEach(async () => {
  all = await three();
});
afterEach(async () => {
  await all.team.stopAll();
});

const LAPTOP_SEED = 2;

/** Lets bob's inbox believe that so many messages more wait in it. */
async function fillInbox(more: number): Promise<void> {
  const { laptop, team } = all;
  await team.stop(laptop);
  const seal = createRecordSeal(new Uint8Array(32).fill(LAPTOP_SEED), systemRandom.bytes);
  const journal = new Journal(laptop.kv, seal);
  const bob = (await team.stored(laptop)).agents.find(({ name }) => name === 'bob')!;
  await journal.transact(async (tx) => {
    const tally = await readTally(tx, bob.id);
    tx.put(key.tally(bob.id), { ...tally, pending: tally.pending + more });
  });
  all.laptop = await team.again(laptop);
  all.bob = await team.open(all.laptop, 'bob');
}

const recall = () => all.ada.recall({ limit: 100, from_agent: '', thread_id: '' });
const recalled = async (content: string) => (await recall()).messages.find((one) => one.content === content)!;

test('a full inbox is told to the sender, loses nothing, and takes what waits when there is room', async () => {
  const { team } = all;
  for (const content of ['one', 'two', 'three']) await team.say(all.ada, 'bob', content);
  await fillInbox(INBOX_MAX - 3);
  const sent = await team.say(all.ada, 'bob', 'four');
  expect(sent).toMatchObject({
    status: 'sent',
    receipts: [{ state: 'queued', error: { code: 'mailbox_full', retryable: true } }],
  });
  expect(sendText(sent)).toContain(
    "queued on this machine, safe on disk, not delivered yet; the recipient is online and idle; the recipient's inbox is full",
  );
  expect(await recalled('four')).toMatchObject({ status: 'queued', waiting: 'mailbox_full' });
  expect(recallText(await recall())).toContain("Status: queued; the recipient's inbox is full");
  await team.say(all.ada, 'bob', 'five');
  await team.clock.advance(10 * RETRY_MAX_MS);
  expect(await rungOf(all.ada, 'four')).toBe('queued');
  expect(all.desk.kv.keys('outbox/')).toHaveLength(2);
  expect(await pendingOf(all.bob)).toEqual(['one', 'two', 'three']);
  await all.bob.confirm();
  await team.clock.advance(2 * RETRY_MAX_MS);
  expect(await recalled('four')).toMatchObject({ status: 'delivered' });
  expect((await recalled('four')).waiting).toBeUndefined();
  expect(await pendingOf(all.bob)).toEqual(['four', 'five']);
  expect(all.desk.kv.keys('outbox/')).toEqual([]);
});

test('what waits for room can be taken back', async () => {
  const { team } = all;
  await fillInbox(INBOX_MAX);
  await team.say(all.ada, 'bob', 'one');
  const { message_id: messageId } = await recalled('one');
  const unsending = all.ada.unsend({ message_id: messageId });
  await team.clock.advance(6_000);
  expect((await unsending).status).toBe('unsent');
  expect((await recalled('one')).waiting).toBeUndefined();
});
