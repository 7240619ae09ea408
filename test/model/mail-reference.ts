import { GAP_HOLD_MS } from '../../protocol/limits.ts';
import type { ReceiptState } from '../../protocol/receipt.ts';

/** A message of the other side, as the reference sees it; its number in their line is its index plus one. */
export interface Incoming {
  state: 'away' | 'held' | 'pending' | 'read' | 'deferred' | 'replied' | 'unsent';
  /** It was taken back before it arrived; its place in the line is still open. */
  isVoid: boolean;
  isShown: boolean;
  heldSinceMs: number;
  late: boolean;
  missingBefore: number;
  /** Place in the history; 0 while it is not there. */
  number: number;
}

export interface Sent {
  id: string;
  ns: string;
  seq: number;
  number: number;
  status: ReceiptState;
}

/** What waits in the outbox: what it carries, and of which sent message. */
export interface Waiting {
  k: 'message' | 'void' | 'unsend' | 'receipts';
  ns: string;
  sent?: Sent;
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
  readonly outbox = new Map<number, Waiting>();
  nowMs: number;
  next = 1;
  #numbers = 0;
  #outboxNumbers = 0;

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
    const sent: Sent = { id, ns, seq: this.sent.length + 1, number: this.#numbers, status: 'queued' };
    this.sent.push(sent);
    this.#queue('message', sent);
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
  get pending(): Incoming[] {
    return this.#visible(({ state }) => state === 'pending');
  }

  get deferred(): Incoming[] {
    return this.#visible(({ state }) => state === 'deferred');
  }

  confirm(shown: readonly Incoming[]): void {
    const read = shown.filter(({ state }) => state === 'pending');
    for (const one of read) one.state = 'read';
    if (read.length > 0) this.#queue('receipts');
  }

  mark(one: Incoming, status: 'deferred' | 'replied'): void {
    if (one.state === status) return;
    const isNews = status === 'deferred' || one.state === 'pending';
    one.state = status;
    if (isNews) this.#queue('receipts');
  }

  /** The outbox entry was answered: by a receipt of that state, or refused for good. */
  settle(number: number, state: ReceiptState | undefined): void {
    const waiting = this.outbox.get(number);
    this.outbox.delete(number);
    if (waiting?.sent && state) climb(waiting.sent, state);
  }

  /** The machine will take nothing of that namespace any more; returns what was taken out. */
  refuseAll(ns: string): number[] {
    const entries = [...this.outbox].filter(([, waiting]) => waiting.ns === ns).sort(([a], [b]) => a - b);
    for (const [number, { k }] of entries) this.settle(number, k === 'unsend' ? undefined : 'refused');
    return entries.map(([number]) => number);
  }

  receipt(sent: Sent, state: ReceiptState): void {
    climb(sent, state);
  }

  takeBack(sent: Sent, neverLeft: boolean): 'unsent' | 'asked' | 'already_read' {
    if (ENDS.has(sent.status)) return 'unsent';
    if (RANK[sent.status] >= RANK.read) return 'already_read';
    const [number, waiting] = [...this.outbox].find(([, entry]) => entry.sent === sent) ?? [0, undefined];
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
    this.outbox.set(this.#outboxNumbers, sent ? { k, ns: sent.ns, sent } : { k, ns: this.#ns });
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

  #visible(wanted: (one: Incoming) => boolean): Incoming[] {
    return this.incoming.filter((one) => one.number > 0 && wanted(one)).sort((a, b) => a.number - b.number);
  }
}

function told({ state, isVoid }: Incoming): ReceiptState {
  if (isVoid) return 'unsent';
  return state === 'pending' || state === 'held' || state === 'away' ? 'delivered' : state;
}

function climb(sent: Sent, next: ReceiptState): void {
  if (!ENDS.has(sent.status) && RANK[next] > RANK[sent.status]) sent.status = next;
}
