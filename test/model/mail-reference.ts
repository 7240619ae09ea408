import { GAP_HOLD_MS } from '../../protocol/limits.ts';
import type { NoticeKind } from '../../daemon/store/mail-store.ts';
import type { ReceiptState } from '../../protocol/receipt.ts';

/** What lies in the inbox, or did. */
interface Visible {
  state: 'away' | 'held' | 'pending' | 'read' | 'deferred' | 'replied' | 'unsent';
  isShown: boolean;
  /** Place in the history; 0 while it is not there. */
  number: number;
}

/** A message of the other side, as the reference sees it; its number in their line is its index plus one. */
export interface Incoming extends Visible {
  /** It was taken back before it arrived; its place in the line is still open. */
  isVoid: boolean;
  heldSinceMs: number;
  late: boolean;
  missingBefore: number;
}

/** What the machine itself says of a sent message. */
export interface Notice extends Visible {
  kind: NoticeKind;
  about: string;
}

export interface Sent {
  id: string;
  ns: string;
  seq: number;
  number: number;
  status: ReceiptState;
  sentAtMs: number;
  held: readonly string[];
  /** Its sender was told that taking it back was requested. */
  isAsked: boolean;
  /** Its machine had no room when it was tried last. */
  isWaiting?: boolean;
  /** It ended while something was on its way: whether it arrived nobody knows. */
  mayHaveArrived?: boolean;
}

/** What waits in the outbox: what it carries, and of which sent message. */
export interface Waiting {
  k: 'message' | 'void' | 'unsend' | 'receipts';
  ns: string;
  sent?: Sent;
  atMs: number;
  held: readonly string[];
}

const RANK: Record<ReceiptState, number> = {
  queued: 0,
  held: 1,
  delivered: 2,
  read: 3,
  deferred: 4,
  replied: 5,
  unsent: 3,
  expired: 3,
  refused: 3,
};
const ENDS: ReadonlySet<ReceiptState> = new Set(['unsent', 'refused', 'expired']);

/** The mail of one agent with one other, in plain objects: no transactions, no keys, nothing ever lost. */
export class MailReference {
  readonly incoming: Incoming[];
  readonly sent: Sent[] = [];
  readonly notices: Notice[] = [];
  readonly outbox = new Map<number, Waiting>();
  nowMs: number;
  next = 1;
  #numbers = 0;
  /** The letters of one receipt that were queued last, by what it says. */
  readonly #told = new Map<string, number>();
  #outboxNumbers = 0;
  /** What was read and is still to be told. */
  #owed: Incoming[] = [];

  /** Namespace of what comes in. */
  readonly #ns: string;

  constructor(incoming: number, nowMs: number, ns: string) {
    this.nowMs = nowMs;
    this.#ns = ns;
    this.incoming = Array.from({ length: incoming }, () => ({
      state: 'away',
      isVoid: false,
      isShown: false,
      heldSinceMs: 0,
      late: false,
      missingBefore: 0,
      number: 0,
    }));
  }

  accept(id: string, ns: string): void {
    this.#numbers += 1;
    const place = { id, ns, seq: this.sent.length + 1, number: this.#numbers, sentAtMs: this.nowMs };
    const sent: Sent = { ...place, status: 'queued', held: [], isAsked: false };
    this.sent.push(sent);
    this.#queue('message', sent);
  }

  /** The sender's machine is to hear what became of something, unless the same waits for it already. */
  tell(index: number, state: ReceiptState): void {
    if (this.outbox.has(this.#told.get(`${index} ${state}`) ?? 0)) return;
    this.#queueReceipts([this.incoming[index]!], state);
  }

  #queueReceipts(about: readonly (Incoming | Notice)[], state: ReceiptState): void {
    const [one, ...others] = about.filter((each): each is Incoming => !isNotice(each));
    if (!one) return;
    this.#queue('receipts');
    if (others.length === 0) this.#told.set(`${this.incoming.indexOf(one)} ${state}`, this.#outboxNumbers);
  }

  /** A message or a void for its place arrives; returns the state that its receipt tells. */
  arrive(index: number, kind: 'message' | 'void'): ReceiptState {
    const one = this.incoming[index]!;
    const isVoid = one.isVoid || kind === 'void';
    if (one.state === 'unsent') return 'unsent';
    if (one.state !== 'away') return kind === 'void' ? this.withdraw(index) : told(one);
    one.isVoid = isVoid;
    if (index + 1 > this.next) {
      one.state = 'held';
      one.heldSinceMs = this.nowMs;
    } else {
      one.late = index + 1 < this.next;
      this.#release(one);
      if (index + 1 === this.next) this.#advance();
    }
    return isVoid ? 'unsent' : 'delivered';
  }

  /** The sender takes it back; returns the state that its receipt tells. */
  withdraw(index: number): ReceiptState {
    const one = this.incoming[index]!;
    if (one.state === 'away' || one.state === 'held') {
      one.isVoid = true;
      return 'unsent';
    }
    if (one.state === 'pending' && !one.isShown) one.state = 'unsent';
    return told(one);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (;;) {
      const held = this.incoming.filter(({ state }) => state === 'held');
      const isDue = held.some(({ heldSinceMs }) => heldSinceMs + GAP_HOLD_MS <= this.nowMs);
      if (!isDue) return;
      const index = this.incoming.indexOf(held[0]!);
      held[0]!.missingBefore = index + 1 - this.next;
      this.next = index + 1;
      this.#release(held[0]!);
      this.#advance();
    }
  }

  /** Pending ones in the order in which they became visible. */
  get pending(): (Incoming | Notice)[] {
    return this.visible(({ state }) => state === 'pending');
  }

  get deferred(): (Incoming | Notice)[] {
    return this.visible(({ state }) => state === 'deferred');
  }

  /** What is in the history of what came in, in the order in which it became visible. */
  visible(wanted: (one: Visible) => boolean = () => true): (Incoming | Notice)[] {
    return [...this.incoming, ...this.notices]
      .filter((one) => one.number > 0 && wanted(one))
      .sort((a, b) => a.number - b.number);
  }

  confirm(shown: readonly (Incoming | Notice)[]): void {
    const read = shown.filter(({ state }) => state === 'pending');
    for (const one of read) one.state = 'read';
    this.#owed.push(...read.filter((one): one is Incoming => !isNotice(one)));
  }

  tellRead(): void {
    this.#queueReceipts(this.#owed, 'read');
    this.#owed = [];
  }

  mark(one: Incoming | Notice, status: 'deferred' | 'replied'): void {
    if (one.state === status) return;
    const isNews = status === 'deferred' || one.state === 'pending';
    one.state = status;
    if (isNews) this.#queueReceipts([one], status === 'deferred' ? 'deferred' : 'read');
  }

  /** The outbox entry was answered, by a receipt of that state or a bare acknowledgement, or it ended so. */
  settle(number: number, state: ReceiptState | undefined): void {
    const waiting = this.outbox.get(number);
    this.outbox.delete(number);
    if (waiting?.sent) this.#ended(waiting.sent, state ?? waiting.sent.status, waiting.k !== 'message');
  }

  /** The outbox entry was ended here, or refused without a receipt. */
  end(number: number, state: 'refused' | 'expired'): void {
    const { k, sent } = this.outbox.get(number)!;
    this.settle(number, k === 'unsend' ? undefined : state);
    // A void takes the place of what has left.
    if (k === 'void' && sent?.status === state) sent.mayHaveArrived = true;
  }

  /** Its machine has no room for that entry now. */
  postpone(number: number): void {
    const { k, sent } = this.outbox.get(number)!;
    if (k === 'message' && sent?.status === 'queued') sent.isWaiting = true;
  }

  /** Whether its sender is told that it waits for room. */
  isWaiting(sent: Sent): boolean {
    return sent.isWaiting === true && sent.status === 'queued' && this.#waitingOf(sent)[1]?.k === 'message';
  }

  /** A mailbox has a copy of that entry. */
  markHeld(number: number, mailbox: string): void {
    const waiting = this.outbox.get(number)!;
    if (waiting.held.includes(mailbox)) return;
    waiting.held = [...waiting.held, mailbox];
    if (waiting.k !== 'message') return;
    waiting.sent!.held = waiting.held;
    climb(waiting.sent!, 'held');
  }

  /** The machine will take nothing of that namespace any more; returns what was taken out. */
  refuseAll(ns: string): number[] {
    return this.#endAll((waiting) => waiting.ns === ns, 'refused');
  }

  /** Nobody fetched it in time; returns what was taken out. */
  expire(beforeMs: number): number[] {
    return this.#endAll((waiting) => waiting.atMs < beforeMs, 'expired');
  }

  /** A receipt came by letter; says which entry it ended. */
  receipt(sent: Sent, state: ReceiptState): number | undefined {
    // Not the home machine's to say; or a refusal of what it has said to have.
    if (state === 'queued' || state === 'held' || state === 'expired') return undefined;
    if (state === 'refused' && sent.status === 'delivered') return undefined;
    const [number, waiting] = this.#waitingOf(sent);
    const ends = waiting && (waiting.k === 'message' || state !== 'delivered');
    if (ends) this.outbox.delete(number);
    this.#ended(sent, state, ends === true);
    return ends ? number : undefined;
  }

  unsendAsked(sent: Sent): void {
    if (this.#waitingOf(sent)[1]) sent.isAsked = true;
  }

  takeBack(sent: Sent, neverLeft: boolean): 'unsent' | 'asked' | 'already_read' | 'unknown' {
    if (ENDS.has(sent.status)) return sent.mayHaveArrived ? 'unknown' : 'unsent';
    if (RANK[sent.status] >= RANK.read) return 'already_read';
    const [number, waiting] = this.#waitingOf(sent);
    if (!waiting) this.#queue('unsend', sent);
    if (waiting?.k !== 'message') return 'asked';
    if (neverLeft) {
      this.outbox.set(number, { ...waiting, k: 'void' });
      sent.status = 'unsent';
      return 'unsent';
    }
    this.outbox.delete(number);
    this.#queue('void', sent);
    return 'asked';
  }

  #queue(k: Waiting['k'], sent?: Sent): void {
    this.#outboxNumbers += 1;
    const place = { k, ns: sent?.ns ?? this.#ns, atMs: sent?.sentAtMs ?? this.nowMs, held: [] };
    this.outbox.set(this.#outboxNumbers, sent ? { ...place, sent } : place);
  }

  /** What waits for the other machine about a sent message; number 0 when nothing does. */
  #waitingOf(sent: Sent): [number: number, waiting: Waiting | undefined] {
    return [...this.outbox].find(([, entry]) => entry.sent === sent) ?? [0, undefined];
  }

  #endAll(wanted: (waiting: Waiting) => boolean, state: 'refused' | 'expired'): number[] {
    const entries = [...this.outbox].filter(([, waiting]) => wanted(waiting)).sort(([a], [b]) => a - b);
    for (const [number] of entries) this.end(number, state);
    return entries.map(([number]) => number);
  }

  /** What a sent message came to; its sender is told of an end that it would not hear of otherwise. */
  #ended(sent: Sent, state: ReceiptState, answersTakingBack: boolean): void {
    const { status, isAsked } = sent;
    climb(sent, state);
    if (answersTakingBack) sent.isAsked = false;
    if (sent.status !== status && (sent.status === 'refused' || sent.status === 'expired')) {
      this.#notify(sent.status, sent);
    } else if (isAsked && !sent.isAsked) this.#notify('unsend', sent);
  }

  #notify(kind: NoticeKind, { id }: Sent): void {
    this.#numbers += 1;
    this.notices.push({ kind, about: id, number: this.#numbers, state: 'pending', isShown: false });
  }

  #advance(): void {
    this.next += 1;
    for (let one = this.incoming[this.next - 1]; one?.state === 'held'; one = this.incoming[this.next - 1]) {
      this.#release(one);
      this.next += 1;
    }
  }

  #release(one: Incoming): void {
    one.state = one.isVoid ? 'unsent' : 'pending';
    if (one.isVoid) return;
    this.#numbers += 1;
    one.number = this.#numbers;
  }
}

export function isNotice(one: Incoming | Notice): one is Notice {
  return 'kind' in one;
}

function told({ state, isVoid }: Incoming): ReceiptState {
  if (isVoid) return 'unsent';
  return state === 'pending' || state === 'held' || state === 'away' ? 'delivered' : state;
}

function climb(sent: Sent, next: ReceiptState): void {
  if (!ENDS.has(sent.status) && RANK[next] > RANK[sent.status]) sent.status = next;
}
