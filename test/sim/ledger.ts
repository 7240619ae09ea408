import type { MailRecord } from '../../daemon/store/mail-store.ts';
import type { MessageView, UnsendResult } from '../../protocol/views.ts';
import type { VirtualTime } from './clock.ts';

/** A promise that was broken. */
export interface Problem {
  kind:
    | 'lost'
    | 'duplicated'
    | 'reordered'
    | 'leaked'
    /** Taken back and shown all the same. */
    | 'unread'
    /** Claimed further than it had come. */
    | 'claimed'
    /** Shown, though nobody or somebody else said it. */
    | 'altered'
    /** Not done when it should have been. */
    | 'stuck'
    | 'presence'
    /** Machines disagree about who is in, or one that is out is treated as if it were in. */
    | 'membership'
    /** Two runs of one seed differ. */
    | 'varied'
    | 'internal';
  text: string;
}

/** One copy of one message, as the agents that sent and received it remember it. */
interface Copy {
  name: string;
  sender: string;
  recipient: string;
  /** Whose counter it bears: of two agents of one address, which. */
  author: string;
  content: string;
  askedMs: number;
  /** When it was shown first. */
  shownMs?: number;
  /** Place among what its sender tried to send. */
  order: number;
  /** `open`: whether it was accepted is not known, for the answer was lost. */
  fate: 'open' | 'accepted' | 'failed';
  id?: string;
  unsend?: UnsendResult['status'];
  shows: number;
  isConfirmed: boolean;
  /** What the sender was told last. */
  status: MailRecord['status'];
}

/** One way of one message. */
export interface Shown {
  author: string;
  recipient: string;
  askedMs: number;
  shownMs: number;
}

const RANK: Record<MailRecord['status'], number> = {
  pending: 0,
  queued: 0,
  held: 1,
  delivered: 2,
  read: 3,
  deferred: 4,
  replied: 5,
  unsent: 9,
  expired: 9,
  refused: 9,
};

/**
 * The agents' own books: what each was told of what it sent, and what each was shown. They alone decide what is
 * lost, doubled, out of order or leaked; the system's books are only compared with them.
 */
export class Ledger {
  readonly problems: Problem[] = [];
  /** Addresses that others may lose on the way: what is said to them and by them may be refused in the end. */
  readonly fleeting = new Set<string>();
  readonly #copies = new Map<string, Copy>();
  readonly #byId = new Map<string, Copy>();
  /** The highest order shown, by recipient and sender. */
  readonly #last = new Map<string, number>();
  /** Ids of notices, by what they tell of. */
  readonly #notices = new Map<string, string>();
  readonly #time: VirtualTime;
  #orders = 0;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  get accepted(): number {
    return [...this.#copies.values()].filter(({ fate }) => fate === 'accepted').length;
  }

  get shown(): number {
    return [...this.#copies.values()].filter(({ shows }) => shows > 0).length;
  }

  /** What was shown, but for what was said to or by those that come and go. */
  shownOnce(): Shown[] {
    return [...this.#copies.values()].flatMap((copy) => {
      const { author, recipient, askedMs, shownMs } = copy;
      return shownMs === undefined || this.#isFleeting(copy) ? [] : [{ author, recipient, askedMs, shownMs }];
    });
  }

  problem(kind: Problem['kind'], text: string): void {
    this.problems.push({ kind, text });
  }

  /** An agent is about to send; `content` starts with the canary of its namespace, its address and a counter. */
  asked(sender: string, recipients: readonly string[], content: string): void {
    const order = (this.#orders += 1);
    for (const recipient of recipients) {
      const name = `${nameOf(content)} > ${recipient}`;
      const copy: Copy = {
        name,
        sender,
        recipient,
        author: content.split(' ', 2)[1]!,
        content,
        askedMs: this.#time.nowMs,
        order,
        fate: 'open',
        shows: 0,
        isConfirmed: false,
        status: 'queued',
      };
      this.#copies.set(name, copy);
    }
  }

  /** It was not sent, and will not be. */
  failed(recipients: readonly string[], content: string): void {
    for (const recipient of recipients) this.#copyOf(content, recipient)!.fate = 'failed';
  }

  acceptedAs(recipient: string, content: string, id: string, status: MailRecord['status']): void {
    const copy = this.#copyOf(content, recipient)!;
    copy.fate = 'accepted';
    copy.id = id;
    this.#byId.set(id, copy);
    this.told(id, status);
  }

  /** A notice was shown: it is about a message of that agent, from nobody, and an end is told once. */
  noticed({ address }: { address: string }, view: MessageView): void {
    const copy = this.#byId.get(view.about ?? '');
    const where = `${address} was noticed of ${view.about}: ${view.content}`;
    if (view.from !== 'patchcord' || (copy && copy.sender !== address)) this.problem('altered', where);
    const known = this.#notices.get(`${view.about} ${view.notice}`);
    // Whoever asks twice to take a message back is told twice how that ended.
    const isAgain = known !== undefined && known !== view.message_id && view.notice !== 'unsend';
    if (isAgain) this.problem('duplicated', where);
    this.#notices.set(`${view.about} ${view.notice}`, view.message_id);
  }

  /** What an agent was shown to read. Returns the copy's name, for `confirmed`. */
  wasShown({ address: recipient, pen }: { address: string; pen: string }, view: MessageView): string {
    const where = `${recipient} was shown ${JSON.stringify(view.content.slice(0, 60))} (${view.message_id})`;
    const namespace = recipient.split('@')[1]!;
    if (view.namespace !== namespace || !isOf(namespace, view.content)) this.problem('leaked', where);
    const copy = this.#copyOf(view.content, recipient) ?? this.#byId.get(view.message_id);
    if (!copy) {
      // Nothing in it says whose it is when only a thread was resolved.
      if (view.content !== '') this.problem('altered', `${where}, which nobody sent`);
      return view.message_id;
    }
    const isOwn = copy.recipient === recipient && copy.sender === view.from && copy.content === view.content;
    if (!isOwn || (copy.id ?? view.message_id) !== view.message_id) this.problem('altered', where);
    copy.id = view.message_id;
    this.#byId.set(copy.id, copy);
    if (copy.fate === 'failed') this.problem('claimed', `${where} that was refused to its sender`);
    if (copy.unsend === 'unsent' || copy.status === 'unsent') this.problem('unread', where);
    if (copy.isConfirmed) this.problem('duplicated', `${where} though it was read`);
    else if (copy.shows > 0 && !view.seen_before)
      this.problem('duplicated', `${where}, not marked as seen before`);
    const line = `${pen} < ${copy.author}`;
    const last = this.#last.get(line) ?? 0;
    if (copy.shows === 0 && copy.order < last && !view.late) this.problem('reordered', where);
    this.#last.set(line, Math.max(last, copy.order));
    copy.shows += 1;
    copy.shownMs ??= this.#time.nowMs;
    return copy.name;
  }

  /** A later call of the session that was shown them was answered. */
  confirmed(names: Iterable<string>): void {
    for (const name of names) {
      const copy = this.#copies.get(name);
      if (copy) copy.isConfirmed = true;
    }
  }

  /** It may be taken back from now on, whether or not an answer comes. */
  unsendAsked(id: string): void {
    const copy = this.#byId.get(id)!;
    copy.unsend ??= 'requested';
  }

  unsendAnswered(id: string, status: UnsendResult['status']): void {
    const copy = this.#byId.get(id)!;
    if (status === 'requested') return;
    if (copy.unsend && copy.unsend !== 'requested' && copy.unsend !== status) {
      this.problem('claimed', `${copy.name}: unsend said ${copy.unsend}, later ${status}`);
    }
    copy.unsend = status;
    if (status === 'unsent') {
      if (copy.shows > 0) this.problem('unread', `${copy.name}: unsend said unsent after it was shown`);
      this.told(id, 'unsent');
    }
  }

  /** The sender was told that its message came so far. */
  told(id: string, status: MailRecord['status']): void {
    const copy = this.#byId.get(id);
    if (!copy) return;
    const before = copy.status;
    copy.status = status;
    const says = `${copy.name}: ${status} after ${before}, shown ${copy.shows} times`;
    // What was refused can be taken back: nobody will see it, by either name.
    const isOver = this.#isFleeting(copy) && before === 'unsent' && status === 'refused';
    if (RANK[status] < RANK[before] || (before === 'unsent' && status !== 'unsent' && !isOver))
      this.problem('claimed', says);
    if (status === 'unsent' && RANK[before] >= RANK.read && before !== 'unsent' && before !== 'refused')
      this.problem('claimed', says);
    const isRead = status === 'read' || status === 'deferred' || status === 'replied';
    if (isRead && copy.shows === 0) this.problem('claimed', says);
    if (status === 'unsent' && copy.shows > 0) this.problem('unread', says);
  }

  /** When all is quiet: `records` is the history of each agent. */
  finish(records: ReadonlyMap<string, readonly MailRecord[]>): void {
    const sent = new Set<string>();
    for (const [agent, history] of records) {
      for (const record of history) {
        this.#checkRecord(agent, record);
        sent.add(`${agent} ${record.message.id}`);
      }
    }
    for (const copy of this.#copies.values()) {
      const { fate, shows, unsend, status, name } = copy;
      if (fate === 'accepted' && status === 'refused' && this.#isFleeting(copy)) continue;
      if (fate === 'accepted' && !sent.has(`${copy.sender} ${copy.id}`))
        this.problem('lost', `${name}: not in the history of its sender`);
      const mayBeUnsent = unsend !== undefined && unsend !== 'already_read';
      // The machine that took it back may have gone before it could say so.
      const isUnsent = status === 'unsent' || (status === 'delivered' && this.#isFleeting(copy));
      if (fate === 'accepted' && shows === 0 && !(mayBeUnsent && isUnsent)) {
        this.problem(
          'lost',
          `${name} was accepted and never shown; its sender was told ${status}, unsend ${unsend}`,
        );
      }
    }
  }

  #checkRecord(agent: string, record: MailRecord): void {
    const { direction, status, message, notice } = record;
    const where = `${agent} has ${direction} ${message.id} ${JSON.stringify(message.content.slice(0, 40))}: ${status}`;
    const namespace = agent.split('@')[1]!;
    if (message.content !== '' && !notice && !isOf(namespace, message.content)) this.problem('leaked', where);
    if (direction === 'received') {
      if (status === 'pending') this.problem('stuck', where);
      return;
    }
    const isEnd = ['read', 'deferred', 'replied', 'unsent'].includes(status);
    const recipient = `${message.to.name}@${namespace}`;
    const mayEnd =
      ['refused', 'delivered'].includes(status) && this.#isFleeting({ sender: agent, recipient });
    if (!isEnd && !mayEnd) this.problem('stuck', where);
    this.told(message.id, status);
  }

  #isFleeting({ sender, recipient }: Pick<Copy, 'sender' | 'recipient'>): boolean {
    return this.fleeting.has(sender) || this.fleeting.has(recipient);
  }

  #copyOf(content: string, recipient: string): Copy | undefined {
    return this.#copies.get(`${nameOf(content)} > ${recipient}`);
  }
}

/** The first words of a content: canary, sender and counter. */
function nameOf(content: string): string {
  return content.split(' ', 3).join(' ');
}

function isOf(namespace: string, content: string): boolean {
  return content === '' || content.startsWith(canaryOf(namespace));
}

/** What every content of a namespace begins with, and no other does. */
export function canaryOf(namespace: string): string {
  return `${namespace}-canary`;
}
