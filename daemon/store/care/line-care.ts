import { EMPTY_LINE, type Line } from '../../../protocol/delivery/line.ts';
import type { Message } from '../../../protocol/letter.ts';
import type { Tx } from '../journal.ts';
import { below, key, numberOf, type HeldRecord, type LineOut, type StoredLine } from '../mail-records.ts';
import type { Findings } from './findings.ts';
import { namesBelow, pagesOf } from './pages.ts';

/** The highest place by the other side: of what was sent to it, of what came from it. */
export interface Places {
  sent: Map<string, Message>;
  received: Map<string, Message>;
}

/** Makes lines go on behind what the history has. */
export async function mendLines(
  tx: Tx,
  agent: string,
  places: Places,
  found: Findings,
  nowMs: number,
): Promise<void> {
  for (const [recipient, { seq, epoch }] of places.sent) {
    const given = await tx.get<LineOut>(key.lineOut(agent, recipient));
    const last = typeof given === 'number' ? { epoch: 0, seq: given } : given;
    const own = { epoch: epoch ?? 0, seq };
    if (last && (last.epoch > own.epoch || (last.epoch === own.epoch && last.seq >= seq))) continue;
    tx.put(key.lineOut(agent, recipient), (epoch === undefined ? seq : own) satisfies LineOut);
    found.add('mended', `a sequence of agent ${agent}, from its history`);
    // What was swept from the history may have had a higher place.
    found.wantsResend = true;
  }
  const senders = new Set([
    ...(await namesBelow(tx, `line-in/${agent}/`)),
    ...(await namesBelow(tx, `held/${agent}/`)),
    ...places.received.keys(),
  ]);
  for (const sender of senders) await mendLine(tx, agent, sender, places.received.get(sender), found, nowMs);
}

/** A line goes on behind what was released, and holds exactly what is held. */
async function mendLine(
  tx: Tx,
  agent: string,
  sender: string,
  newest: Message | undefined,
  found: Findings,
  nowMs: number,
): Promise<void> {
  const line = await tx.get<StoredLine>(key.lineIn(agent, sender));
  const held: Line['held'] = [];
  for await (const page of pagesOf<HeldRecord>(tx, below(`held/${agent}/${sender}/`))) {
    for (const [heldKey, { letter }] of page) {
      const seq = numberOf(heldKey);
      const sinceMs = line?.held.find((one) => one.seq === seq)?.sinceMs ?? nowMs;
      held.push({ seq, id: letter.id, sinceMs });
    }
  }
  const before = line ?? startOf(newest);
  const isSame = newest !== undefined && (before.epoch ?? 0) === (newest.epoch ?? 0);
  const next = isSame ? Math.max(before.next, newest.seq + 1) : before.next;
  const isRight =
    line?.next === next &&
    line.held.length === held.length &&
    line.held.every(({ seq }, at) => seq === held[at]!.seq);
  if (isRight) return;
  if (!line && next === 1 && held.length === 0) return;
  if (!line) found.wantsResend = true;
  tx.put(key.lineIn(agent, sender), { ...before, next, held } satisfies StoredLine);
  if (held.length > 0) tx.put(key.gap(agent, sender), true);
  else tx.delete(key.gap(agent, sender));
  found.add('mended', `what agent ${agent} awaits of a sender`);
}

/** A line that is gone begins in the epoch of what came last. */
function startOf(newest: Message | undefined): StoredLine {
  return newest?.epoch === undefined ? EMPTY_LINE : { ...EMPTY_LINE, epoch: newest.epoch };
}
