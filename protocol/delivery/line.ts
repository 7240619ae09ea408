import { GAP_HELD_MAX, GAP_HOLD_MS } from '../limits.ts';

/**
 * The receiving side of delivery: one sender, one recipient, numbered messages that may arrive late, twice or
 * out of order. A sender that may have lost its place begins a new epoch, in which it counts from 1 again.
 *
 * Invariants, whatever arrives in whatever order:
 * - a place is taken at most once; a known message (the caller tells whether its id is, from the same batch) that
 *   comes again for a place that is still open takes it, so that it leaves no gap, and is not shown;
 * - what is released is in the order of epoch and sequence number, unless it is late and says so;
 * - (epoch, `next`) never falls; everything below it was released, void, or given up as missing;
 * - nothing is held longer than GAP_HOLD_MS, nor past the first message of a later epoch, and never more than
 *   GAP_HELD_MAX.
 */
export interface Line {
  /** Absent in the first. */
  epoch?: number;
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
  /** Its turn: release what an earlier epoch held, then it, then what it set free. */
  | { verdict: 'release'; line: Line; closed: GivenUp[]; freed: Held[] }
  /** Ahead of a gap: keep it unseen, after releasing what an earlier epoch held. */
  | { verdict: 'hold'; line: Line; closed: GivenUp[] }
  /** Its place was given up, or its epoch is over: release it, marked late. */
  | { verdict: 'late'; line: Line }
  /** Known already, and its place needs nobody: change nothing, acknowledge again. */
  | { verdict: 'duplicate' }
  /** Too many are held: not now. */
  | { verdict: 'full' };

export function decideArrival(
  line: Line,
  arrival: { epoch?: number | undefined; seq: number; id: string; known: boolean },
  nowMs: number,
): Arrival {
  const { seq, id, known } = arrival;
  const epoch = arrival.epoch ?? 0;
  const begun = line.epoch ?? 0;
  if (epoch < begun) return known ? { verdict: 'duplicate' } : { verdict: 'late', line };
  const current: Line = epoch > begun ? { epoch, next: 1, held: [] } : line;
  const closed = epoch > begun ? giveUpAll(line) : [];
  const isTaken = seq < current.next || current.held.some((held) => held.seq === seq);
  if (isTaken) return known ? { verdict: 'duplicate' } : { verdict: 'late', line };
  if (seq === current.next) {
    const { line: after, freed } = advance({ ...current, next: seq + 1 });
    return { verdict: 'release', line: after, closed, freed };
  }
  if (current.held.length >= GAP_HELD_MAX) return { verdict: 'full' };
  const held = [...current.held, { seq, id, sinceMs: nowMs }].sort((a, b) => a.seq - b.seq);
  return { verdict: 'hold', line: { ...current, held }, closed };
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
  let current: Line = { ...line, held };
  for (;;) {
    const dueAtMs = gapDueAt(current);
    if (dueAtMs === undefined || dueAtMs > nowMs) return { line: current, freed, dueAtMs };
    const step = giveUpFirst(current);
    freed.push(...step.freed);
    current = step.line;
  }
}

/** Gives up every gap of a line whose epoch is over. */
function giveUpAll(line: Line): GivenUp[] {
  const freed: GivenUp[] = [];
  for (let current = line; current.held.length > 0;) {
    const step = giveUpFirst(current);
    freed.push(...step.freed);
    current = step.line;
  }
  return freed;
}

function giveUpFirst(line: Line): { line: Line; freed: GivenUp[] } {
  const missing = line.held[0]!.seq - line.next;
  const { line: after, freed } = advance({ ...line, next: line.held[0]!.seq });
  return {
    line: after,
    freed: freed.map((held, index) => ({ held, missingBefore: index === 0 ? missing : 0 })),
  };
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
  return { line: { ...line, next, held: line.held.slice(freed.length) }, freed };
}
