import { GAP_HELD_MAX, GAP_HOLD_MS } from '../limits.ts';

/**
 * The receiving side of delivery: one sender, one recipient, numbered messages that may arrive late, twice or
 * out of order.
 *
 * Invariants, whatever arrives in whatever order:
 * - a message is placed at most once (the caller tells whether its id is known, from the same batch);
 * - what is released is in the order of its sequence numbers, unless it is late and says so;
 * - `next` never falls; everything below it was released, void, or given up as missing;
 * - nothing is held longer than GAP_HOLD_MS, and never more than GAP_HELD_MAX.
 */
export interface Line {
  /** The lowest sequence number not yet released or given up. */
  next: number;
  /** What has arrived beyond a gap, by rising sequence number. */
  held: Held[];
}

export interface Held {
  seq: number;
  id: string;
  sinceMs: number;
}

export const EMPTY_LINE: Line = { next: 1, held: [] };

export type Arrival =
  /** Its turn: release it, then what it set free. */
  | { verdict: 'release'; line: Line; freed: Held[] }
  /** Ahead of a gap: keep it unseen. */
  | { verdict: 'hold'; line: Line }
  /** Its place was given up: release it, marked late. */
  | { verdict: 'late'; line: Line }
  /** Known already: change nothing, acknowledge again. */
  | { verdict: 'duplicate' }
  /** Too many are held: not now. */
  | { verdict: 'full' };

export function decideArrival(
  line: Line,
  arrival: { seq: number; id: string; known: boolean },
  nowMs: number,
): Arrival {
  const { seq, id, known } = arrival;
  if (known) return { verdict: 'duplicate' };
  if (seq < line.next) return { verdict: 'late', line };
  if (seq === line.next) {
    const { line: after, freed } = advance({ next: seq + 1, held: line.held });
    return { verdict: 'release', line: after, freed };
  }
  if (line.held.some((held) => held.seq === seq)) return { verdict: 'late', line };
  if (line.held.length >= GAP_HELD_MAX) return { verdict: 'full' };
  const held = [...line.held, { seq, id, sinceMs: nowMs }].sort((a, b) => a.seq - b.seq);
  return { verdict: 'hold', line: { next: line.next, held } };
}

/** One message set free by giving up a gap, and how many before it are missing. */
export interface GivenUp {
  held: Held;
  missingBefore: number;
}

/** Gives up every gap that has held something back for too long. `dueAtMs` is when to look again, if ever. */
export function decideGaps(
  line: Line,
  nowMs: number,
): { line: Line; freed: GivenUp[]; dueAtMs: number | undefined } {
  const freed: GivenUp[] = [];
  // Held since a moment to come: the clock was set back, so the wait begins now.
  const held = line.held.map((one) => ({ ...one, sinceMs: Math.min(one.sinceMs, nowMs) }));
  let current: Line = { next: line.next, held };
  for (;;) {
    const dueAtMs = gapDueAt(current);
    if (dueAtMs === undefined || dueAtMs > nowMs) return { line: current, freed, dueAtMs };
    const missingBefore = current.held[0]!.seq - current.next;
    const step = advance({ next: current.held[0]!.seq, held: current.held });
    step.freed.forEach((held, index) => freed.push({ held, missingBefore: index === 0 ? missingBefore : 0 }));
    current = step.line;
  }
}

/** When the first gap of the line is given up. A clock that was set back delays it by at most that much. */
export function gapDueAt(line: Line): number | undefined {
  if (line.held.length === 0) return undefined;
  return Math.min(...line.held.map((held) => held.sinceMs)) + GAP_HOLD_MS;
}

function advance(line: Line): { line: Line; freed: Held[] } {
  const freed: Held[] = [];
  let next = line.next;
  while (line.held[freed.length]?.seq === next) {
    freed.push(line.held[freed.length]!);
    next += 1;
  }
  return { line: { next, held: line.held.slice(freed.length) }, freed };
}
