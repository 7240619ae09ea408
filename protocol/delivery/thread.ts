import { THREAD_ROOTS_MAX } from '../limits.ts';

/**
 * A thread between two agents, as one of them knows it: which id it has, and whether it is resolved. Each side keeps,
 * for itself and for the other, the newest message that says something and the newest that resolves.
 *
 * Invariants, whatever the order in which messages arrive:
 * - two sides that know the same messages have the same id and agree whether the thread is resolved, for both follow
 *   from the newest of each kind alone, and of two places in one line one is the newer everywhere;
 * - the id is the lowest that any of these messages gives: of two threads opened apart the lower id stays, and what is
 *   sent later carries it;
 * - a resolve holds over what its sender had said before it and over what it had `seen` of the other side; a message
 *   beyond that, before or after it by any clock, keeps the thread open;
 * - a message that was taken back counts for nothing, as if it had never been sent.
 */
export interface ThreadState {
  own: SideOfThread;
  peer: SideOfThread;
  /** Every id that the thread was called by, the lowest of them: messages of either may be asked for. */
  roots: string[];
}

export interface SideOfThread {
  content?: Said;
  resolve?: Resolve;
}

/** The newest message of its kind. `number` is where its record lies. */
export interface Said {
  place: Place;
  root: string;
  number: number;
}

export interface Resolve extends Said {
  /** The last place of the other side's line that its sender had taken in. */
  seen: Place;
  atMs: number;
}

/** A place in the line of one sender and recipient; a higher epoch is beyond every place of a lower one. */
export interface Place {
  epoch?: number | undefined;
  seq: number;
}

export type Side = 'own' | 'peer';

export const EMPTY_THREAD: ThreadState = { own: {}, peer: {}, roots: [] };

export function isBeyond(place: Place, other: Place): boolean {
  const [epoch, otherEpoch] = [place.epoch ?? 0, other.epoch ?? 0];
  return epoch === otherEpoch ? place.seq > other.seq : epoch > otherEpoch;
}

/** How far a line was taken in: what is held behind a gap was not. */
export function takenIn(line: { next: number; epoch?: number | undefined }): Place {
  const { epoch, next } = line;
  return { ...(epoch === undefined ? {} : { epoch }), seq: next - 1 };
}

/** A message of one side. `before` is the record of the newest of its kind until now, also when this one is older. */
export function joined(
  state: ThreadState,
  by: Side,
  message: Said | Resolve,
): { state: ThreadState; isNewest: boolean; before: number | undefined } {
  const kind = kindOf(message);
  const known = state[by][kind];
  const roots = [...new Set([...state.roots, message.root])].sort().slice(0, THREAD_ROOTS_MAX);
  if (known && !isBeyond(message.place, known.place))
    return { state: { ...state, roots }, isNewest: false, before: known.number };
  const side = { ...state[by], [kind]: message };
  return { state: { ...state, roots, [by]: side }, isNewest: true, before: known?.number };
}

/** The newest message of a kind was taken back; `before` is the newest of the others, if any. */
export function takenBack(
  state: ThreadState,
  by: Side,
  kind: keyof SideOfThread,
  before: Said | Resolve | undefined,
): ThreadState {
  const { [kind]: _gone, ...rest } = state[by];
  return { ...state, [by]: before ? { ...rest, [kind]: before } : rest };
}

/** The id of the thread; undefined when all of it was taken back. */
export function rootOf({ own, peer }: ThreadState): string | undefined {
  const known = [own.content, own.resolve, peer.content, peer.resolve];
  return known.flatMap((said) => (said ? [said.root] : [])).sort()[0];
}

/** When the thread was resolved by a resolve that still holds. */
export function resolvedAtMs(state: ThreadState): number | undefined {
  const holding = (['own', 'peer'] as const).flatMap((by) => {
    const { resolve } = state[by];
    return resolve && holds(resolve, state[by].content, state[other(by)].content) ? [resolve.atMs] : [];
  });
  return holding.length === 0 ? undefined : Math.min(...holding);
}

/** Whether a resolve of either side came after a message: by its sender later, or by the other who had seen it. */
export function isSettled(state: ThreadState, by: Side, place: Place): boolean {
  const [later, answer] = [state[by].resolve, state[other(by)].resolve];
  return (
    (later !== undefined && isBeyond(later.place, place)) ||
    (answer !== undefined && !isBeyond(place, answer.seen))
  );
}

function holds(resolve: Resolve, ownContent: Said | undefined, otherContent: Said | undefined): boolean {
  if (ownContent && isBeyond(ownContent.place, resolve.place)) return false;
  return !otherContent || !isBeyond(otherContent.place, resolve.seen);
}

export function kindOf(message: Said | Resolve): keyof SideOfThread {
  return 'seen' in message ? 'resolve' : 'content';
}

function other(side: Side): Side {
  return side === 'own' ? 'peer' : 'own';
}
