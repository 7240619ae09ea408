import type { Urgency } from '../../protocol/delivery/wakes.ts';
import type { ThreadState } from '../../protocol/delivery/thread.ts';
import type { ErrorCode } from '../../protocol/errors.ts';
import type { Doubts, Letter, Message, Party, Told, Unsend, Void } from '../../protocol/letter.ts';
import type { Receipt, ReceiptState } from '../../protocol/receipt.ts';

/**
 * Everything the mail of this machine's agents needs of a store. Each method that writes is one atomic, synced
 * batch: when it resolves, it survives a power cut; when it throws, it did not happen. `daemon/store/kv-mail-store.ts`
 * keeps it in LevelDB; another implementation has to pass test/unit/mail-store-suite.ts.
 */
export interface MailStore {
  /**
   * Puts a message into the sender's history and, a copy per recipient, into the outbox. `meanwhile` gets what it will
   * answer while that is being written; see Journal.transact.
   */
  accept(outgoing: Outgoing, meanwhile?: (accepted: Accepted) => void): Promise<Accepted>;
  /** Marks a received message deferred or replied without saying anything to its sender. Throws `unknown_message`. */
  mark(agent: string, mark: Mark, boot: string, nowMs: number): Promise<Queued>;

  /** A page of the outbox for a machine, by rising number; ends early at `sizeBytesMax`, never empty before the end. */
  outboxPage(machine: string, after: number, limit: number, sizeBytesMax: number): Promise<OutboxEntry[]>;
  outboxEntry(machine: string, number: number): Promise<OutboxEntry | undefined>;
  outboxCount(machine: string): Promise<number>;
  /** Machines that have something in the outbox. */
  outboxMachines(): Promise<string[]>;
  /** The peer has the parcel: takes it out of the outbox and lets the message climb to the receipt's state. */
  settle(machine: string, number: number, receipt: Receipt | undefined): Promise<Settled>;
  /**
   * The peer cannot take the parcel now, and says why: a message keeps that until it climbs. Nothing of it is written
   * when it is known already.
   */
  postponed(machine: string, number: number, code: ErrorCode): Promise<Settled>;
  /** The peer refused the parcel for good; `mayHaveArrived` when it may have taken an earlier copy of it. */
  refuse(machine: string, number: number, code: ErrorCode, mayHaveArrived?: boolean): Promise<Settled>;
  /**
   * Ends what was queued for a machine before a time. One batch looks at 100 entries at most, beyond number `after`;
   * start at 0 and call again with `next` until there is none. `neverLeft` as for refuseAll.
   */
  expire(
    machine: string,
    beforeMs: number,
    after: number,
    neverLeft: (entry: OutboxEntry) => boolean,
  ): Promise<Expired>;
  /**
   * The sender of a message is told `requested`, and is to hear how its taking back ends. If that has ended meanwhile,
   * there will be no notice, and the state that the message has come to is given back instead.
   */
  unsendAsked(agent: string, messageId: string): Promise<ReceiptState | undefined>;
  /** A mailbox holds a copy of an entry: a message climbs to `held`. */
  markHeld(machine: string, number: number, mailbox: string): Promise<Settled>;
  /** Queues a receipt for the home machine of a message's sender, unless the same waits for it already. */
  tell(machine: string, ns: string, receipt: Uint8Array, boot: string): Promise<Queued>;
  /**
   * What waits for a machine in a namespace will never be taken: each such entry ends as if it were refused. One
   * batch looks at 500 entries at most, beyond number `after`; start at 0 and call again with `next` until there is
   * none. It does not see what is queued later. What other namespaces have there stays. `neverLeft` as for takeBack:
   * of what may have left nobody knows whether it arrived.
   */
  refuseAll(
    machine: string,
    ns: string,
    code: ErrorCode,
    after: number,
    neverLeft: (entry: OutboxEntry) => boolean,
  ): Promise<RefusedAll>;

  /** A message or void from an agent's home machine. */
  receive(arrival: Arrived<Message | Void>): Promise<Received>;
  /** A request to take a message back. */
  receiveUnsend(
    arrival: Arrived<Unsend>,
  ): Promise<{ state: ReceiptState; receipt: Uint8Array; told: boolean }>;
  /**
   * Receipts for messages that this machine's agents sent. Returns those that changed something, each with the outbox
   * entry that it settled.
   */
  receiveReceipts(namespace: string, receipts: readonly Receipt[]): Promise<ReceiptTaken[]>;
  /**
   * What a restored machine asks about messages of this machine's agents: the answer is queued in the same batch. Or
   * the answer to that: what was read is read, the rest is visible again.
   */
  receiveAsked(arrival: Asked<Doubts | Told>): Promise<{ refusal?: ErrorCode; released: Released[] }>;
  /** Shows what was in doubt for too long, a page a call; go on with `next` until there is none. */
  giveUpDoubts(
    nowMs: number,
    after?: string,
  ): Promise<{ released: Released[]; dueAtMs: number | undefined; next: string | undefined }>;

  /** This machine's epoch; 0 is the first. */
  epoch(): Promise<number>;
  /**
   * Begins a new epoch, because something that this machine had acknowledged may be lost here: all its lines begin
   * again, in an order that nobody can confuse with the one before, and its peers send again what they do not know to
   * be read. `inDoubt`, when reading may be what was lost: what is unread is not shown until its sender's machine was
   * asked. `above` is a later epoch that this store has forgotten. Nothing may be sent meanwhile; whatever else is asked
   * of the store waits. Several batches; after a crash settleEpoch goes on.
   */
  newEpoch(begin: { inDoubt: boolean; above?: number; boot: string; nowMs: number }): Promise<number>;
  /** Finishes a new epoch that a crash cut short, or that a restore has left to begin. Returns the epoch. */
  settleEpoch(boot: string, nowMs: number): Promise<number>;
  /** The epoch of a machine for which everything that it may have lost was queued again. */
  resyncedEpoch(machine: string): Promise<number>;
  /** Machines for which that has begun and is not finished, with their epoch. */
  unfinishedResyncs(): Promise<{ machine: string; epoch: number }[]>;
  /**
   * Queues again, a page a call, what agents of a machine were sent and are not known to have read. `replaced` are
   * outbox numbers that were taken out; `full` says that the outbox has no room now. Unless it is certain that no other
   * machine has seen a message (`neverLeft`, as for takeBack), it says that it may have been shown.
   */
  resync(request: {
    machine: string;
    epoch: number;
    boot: string;
    nowMs: number;
    neverLeft: (entry: OutboxEntry) => boolean;
    /** Whether the machine is in a namespace: of others it gets nothing. */
    shares: (ns: string) => boolean;
  }): Promise<{ replaced: number[]; queued: number; state: 'more' | 'full' | 'done' }>;

  /** Gives up gaps that have held something back for too long, and says when to look again. */
  giveUpGaps(nowMs: number): Promise<{ released: Released[]; dueAtMs: number | undefined }>;

  /**
   * Pending messages, oldest first, without those that are in `except` when its turn comes; marks them shown before it
   * resolves. The records are as they were before: one that has `shownAtMs` was shown to an earlier session.
   */
  show(agent: string, limit: number, except: ReadonlySet<number>, nowMs: number): Promise<MailRecord[]>;
  /**
   * What was shown is read now. Numbers that are no longer pending are passed over. `owed` when tellRead is to tell
   * their senders: receipts of many reads go together, and nobody waits for them.
   */
  confirm(agent: string, numbers: readonly number[], nowMs: number): Promise<{ owed: boolean }>;
  /** Both in one batch: confirms `read`, then shows. */
  look(request: {
    agent: string;
    read: readonly number[];
    limit: number;
    except: ReadonlySet<number>;
    nowMs: number;
  }): Promise<{ records: MailRecord[]; owed: boolean }>;
  /** Queues the receipts that are owed, at most 400 a call; call again while there are `more`, and once at the start. */
  tellRead(boot: string, nowMs: number): Promise<Queued & { more: boolean }>;
  /**
   * Takes back a sent message. `neverLeft` says of an outbox number whether it is certain that no other machine
   * has seen it. Throws `unknown_message`, `not_sender`.
   */
  takeBack(request: {
    agent: string;
    messageId: string;
    neverLeft: (machine: string, entry: OutboxEntry) => boolean;
    boot: string;
  }): Promise<TakeBack>;

  /** Pending messages, oldest first. Marks nothing. */
  pending(agent: string, limit: number): Promise<MailRecord[]>;
  deferred(agent: string, limit: number): Promise<MailRecord[]>;
  tally(agent: string): Promise<Tally>;
  find(agent: string, messageId: string): Promise<MailRecord | undefined>;
  /** Whether anything was heard of a message, also when it is not visible or was taken back. */
  knows(agent: string, messageId: string): Promise<boolean>;
  /** History, newest first, of what is visible to the agent; pages by `before`. */
  history(agent: string, limit: number, before?: number): Promise<MailRecord[]>;
  /** What an agent and another say under a slug. */
  thread(agent: string, peer: string, slug: string): Promise<ThreadState | undefined>;

  /**
   * Says of answers that are due and still owed: to the recipient that it is, to the sender that there is none. One
   * batch looks at 100 at most: call again at once while it says `more`, and else at `dueAtMs`, if ever.
   */
  remind(nowMs: number): Promise<Reminded>;
  /** A person says that an agent may go on answering, in every thread or in those of one slug. */
  resetChains(agent: string, slug: string | undefined): Promise<void>;
}

/** A letter of a machine about what it does not know for itself. */
export interface Asked<L> {
  ns: string;
  /** Verified. */
  machine: string;
  letter: L;
  boot: string;
  nowMs: number;
}

/** A message in one agent's history. `number` rises in the order in which this machine accepted or released it. */
export interface MailRecord {
  number: number;
  direction: 'sent' | 'received';
  ns: string;
  message: Message;
  /** Home machine of the other side. */
  machine: string;
  status: 'pending' | ReceiptState;
  acceptedAtMs: number;
  /** Unread here, but it may have been read before this machine was restored: not shown for now. */
  doubt?: true;
  /** First shown to a session then, or perhaps before a restore. */
  shownAtMs?: number;
  /** A notice told its sender of its end then. */
  endedAtMs?: number;
  /** How many messages of this sender before it were given up as missing. */
  missingBefore?: number;
  late?: boolean;
  /**
   * The machine from which this sender's name wrote before, when it was another. Said of every message from the
   * new machine until one of them was shown, so that it is not lost with one that is taken back.
   */
  movedFrom?: string;
  /** Why it was refused. */
  refusal?: ErrorCode;
  /** Why its machine could not take it when it was tried last; it waits in the outbox. */
  waiting?: ErrorCode;
  /** It was given up here, but may have been on its way: whether it arrived is not known. */
  mayHaveArrived?: true;
  /** Mailboxes that hold a copy, or did before it was delivered. */
  held?: string[];
  /** It is no agent's message, but tells what became of one: see mail-notices.ts. */
  notice?: { kind: NoticeKind; about: string; peer: string };
  /** Taking it back was answered `requested`: its sender is told of the outcome. */
  unsendAsked?: true;
  /** The record before it in its thread, of the same sender and kind; see mail-threads.ts. */
  threadBefore?: number;
  /** It asked for an answer, and its sender wants none any more. */
  letGo?: true;
  /** Its place in the outbox while it is there. */
  outbox?: number;
}

/**
 * What a notice tells of: a message that was refused or expired, or how its taking back ended; an answer that is owed,
 * to who owes it (`reminder`) and to who waits for it (`unanswered`); that another agent is here, or idle (`watch`).
 */
export type NoticeKind = 'refused' | 'expired' | 'unsend' | 'reminder' | 'unanswered' | 'watch';

export interface Outgoing {
  ns: string;
  from: Party;
  copies: { id: string; to: Party; machine: string }[];
  content: string;
  /** Slug of the thread, if any. The first message of a thread becomes its root. */
  thread?: string;
  replyTo?: string;
  resolve?: boolean;
  /** Asks for an answer within this time. */
  replyWithinMs?: number | undefined;
  /** A person says it: its chain of answers begins anew. */
  byPerson?: boolean;
  /** Longest chain of answers that content may have. Unbounded when absent. */
  hopsMax?: number;
  group?: string;
  /** Normal unless told otherwise. */
  urgency?: Message['urgency'];
  /** What becomes of the message that this one answers. */
  mark?: Mark;
  /** This start of the daemon. */
  boot: string;
  nowMs: number;
}

export interface Mark {
  messageId: string;
  status: 'deferred' | 'replied';
}

export interface Accepted {
  thread: ThreadRecord | undefined;
  /** When an answer is asked for. */
  dueAtMs?: number;
  /** How many more answers may follow, when it is few. */
  hopsLeft?: number;
  /** One a copy: its outbox number, none for a note to oneself; or the error that kept it out. */
  copies: ({ id: string; number: number | undefined } | { id: string; error: ErrorCode })[];
  /** What was put into the outbox. */
  queued: Appended[];
}

/** A new entry of the outbox for a machine. */
export interface Appended {
  machine: string;
  entry: OutboxEntry;
  /** The number that was given before it for that machine; undefined when that is not known any more. */
  previous: number | undefined;
}

export interface ThreadRecord {
  slug: string;
  /** Id of the message that opened the thread. */
  root: string;
}

export interface Reminded {
  /** Notices that came of it. */
  released: Released[];
  more: boolean;
  /** When the next answer is due. */
  dueAtMs: number | undefined;
}

/** One letter that waits for a machine. */
export interface OutboxEntry {
  number: number;
  ns: string;
  letter: Letter;
  /** The local agent whose message it carries, takes back, or voids. */
  agent?: string;
  /** The start of the daemon that queued it. */
  boot: string;
  sizeBytes: number;
  /** When it was queued. */
  atMs: number;
  /** Mailboxes that hold a copy. */
  held?: string[];
  /** It was sent before, and its machine may have lost it. */
  again?: true;
}

export interface ReceiptTaken {
  receipt: Receipt;
  settled?: { machine: string; number: number } | undefined;
  /** Notices that came of it. */
  released: Released[];
}

/** What settling an outbox entry meant for the message it was about. */
export interface Settled {
  about?: { agent: string; messageId: string; kind: 'message' | 'void' | 'unsend'; state: ReceiptState };
  /** Notices that came of it. */
  released?: Released[];
}

/** Outbox numbers that were taken out, and for each what that meant. */
export interface RefusedAll {
  numbers: number[];
  settled: Settled[];
  /** Where to go on; undefined at the end. */
  next: number | undefined;
}

/** What expired, each with the entry as it was, and what that meant. */
export interface Expired {
  settled: (Settled & { entry: OutboxEntry })[];
  /** Where to go on; undefined at the end. */
  next: number | undefined;
}

export interface Arrived<L> {
  ns: string;
  /** The sender's home machine, verified. */
  machine: string;
  letter: L;
  nowMs: number;
  /**
   * Set when a mailbox passed it on: in the same batch its receipt is queued for the sender's machine, under this
   * start of the daemon, unless the same waits for it already.
   */
  relayedIn?: string | undefined;
  /**
   * Asked, before it is stored, of a message that becomes all that an agent has unread: whether a session waits that
   * gets it from this very batch, which then marks it shown.
   */
  handOff?: ((agent: string, number: number, urgency: Urgency) => boolean) | undefined;
}

export type Received =
  /**
   * It is fsynced here; `receipt` says which state it reached, `released` what became visible, `told` whether the
   * receipt was queued.
   */
  | {
      taken: true;
      receipt: Uint8Array;
      released: Released[];
      gapDueAtMs: number | undefined;
      told: boolean;
    }
  | { taken: false; code: ErrorCode; retry: boolean };

export interface Released {
  agent: string;
  messageId: string;
  /** The record, as `show` gives it, when it was handed off. */
  handed?: MailRecord;
  /** When it asks for an answer. */
  dueAtMs?: number;
}

/** The machines for which the outbox got something new. */
export interface Queued {
  machines: string[];
}

export type TakeBack =
  /** Nobody will see it. */
  | { status: 'unsent' }
  /** The recipient's machine is asked by outbox entry `number`; `replaced` is the entry it takes the place of. */
  | { status: 'asked'; machine: string; number: number; replaced?: number }
  /** Known to be read, or further. */
  | { status: 'already_read' }
  /** It may have arrived, and there is nobody left to ask. */
  | { status: 'unknown' };

export interface Tally {
  /** Unread messages. */
  pending: number;
  deferred: number;
  /** Messages that may have been read before this machine was restored, if there are any. */
  doubt?: number;
  /** Of the unread ones those of an urgency that is not normal, if there are any. */
  info?: number;
  steer?: number;
}
