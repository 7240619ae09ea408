import type { Message } from '../../protocol/letter.ts';
import { INBOX_MAX, INBOX_SENDER_MAX, INBOX_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import type { Tx } from './journal.ts';
import { key, readTally, type StoredTally } from './mail-records.ts';
import type { MailRecord } from './mail-store.ts';

/**
 * How much an agent has unread, in doubt or not, in all and of each sender. What was taken is never put out to make room: whoever
 * would go past a bound is refused. Notices are not counted here; there is one at most for each message sent.
 */

/** Whether one more unread message fits; one sender that has filled its share keeps no other out. */
export async function hasRoomFor(tx: Tx, { to, from, content }: Message): Promise<boolean> {
  const { pending, doubt = 0, pendingSizeBytes = 0 } = await readTally(tx, to.id);
  if (pending + doubt >= INBOX_MAX || pendingSizeBytes + sizeOf(content) > INBOX_SIZE_BYTES_MAX) return false;
  return ((await tx.get<number>(key.unread(to.id, from.id))) ?? 0) < INBOX_SENDER_MAX;
}

/** Counts a message of another agent that became unread; the tally is the caller's to store. */
export async function withUnread(
  tx: Tx,
  tally: StoredTally,
  { to, from, content, urgency }: Message,
): Promise<StoredTally> {
  const place = key.unread(to.id, from.id);
  tx.put(place, ((await tx.get<number>(place)) ?? 0) + 1);
  const pendingSizeBytes = (tally.pendingSizeBytes ?? 0) + sizeOf(content);
  return withUrgent({ ...tally, pending: tally.pending + 1, pendingSizeBytes }, urgency, 1);
}

/** Counts what is unread and not in doubt, where its urgency is not normal. */
export function withUrgent(tally: StoredTally, urgency: Message['urgency'], by: 1 | -1): StoredTally {
  return urgency === undefined ? tally : { ...tally, [urgency]: Math.max(0, (tally[urgency] ?? 0) + by) };
}

/** Takes messages of an agent out of what waits unread, or in doubt, and out of the counts. */
export async function leaveUnread(tx: Tx, agent: string, records: readonly MailRecord[]): Promise<void> {
  let tally = { ...(await readTally(tx, agent)) };
  const bySender = new Map<string, number>();
  for (const { number, doubt, message, notice } of records) {
    if (doubt) {
      tx.delete(key.doubt(agent, number));
      tally.doubt = (tally.doubt ?? 1) - 1;
    } else {
      tx.delete(key.pending(agent, number));
      tally = withUrgent({ ...tally, pending: tally.pending - 1 }, message.urgency, -1);
    }
    if (notice) continue;
    // What was stored before bytes were counted is not in them.
    tally.pendingSizeBytes = Math.max(0, (tally.pendingSizeBytes ?? 0) - sizeOf(message.content));
    bySender.set(message.from.id, (bySender.get(message.from.id) ?? 0) + 1);
  }
  for (const [sender, count] of bySender) {
    const place = key.unread(agent, sender);
    const left = ((await tx.get<number>(place)) ?? 0) - count;
    if (left > 0) tx.put(place, left);
    else tx.delete(place);
  }
  tx.put(key.tally(agent), tally);
}

function sizeOf(content: string): number {
  return Buffer.byteLength(content);
}
