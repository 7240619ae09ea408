import { formatAddress, threadSlug } from '../../protocol/address.ts';
import type {
  AttachmentCall,
  InboxCall,
  RecallCall,
  ReplyCall,
  SendCall,
  UnsendCall,
  WaitCall,
} from '../../protocol/calls.ts';
import { disturbs, endsWait, type Urgency } from '../../protocol/delivery/wakes.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { parseId } from '../../protocol/ids.ts';
import {
  INBOX_SHOWN_MAX,
  RECALL_CONTENT_LENGTH,
  RECALL_MAX,
  WAIT_SECONDS_MAX,
  WAIT_SECONDS_MIN,
} from '../../protocol/limits.ts';
import type {
  AttachmentResult,
  InboxResult,
  MessageView,
  RecallResult,
  ReplyResult,
  Self,
  SendResult,
  UnsendResult,
  WaitResult,
} from '../../protocol/views.ts';
import type { Session } from '../../mcp/messenger.ts';
import type { LocalAgent } from '../directory/directory-store.ts';
import { damageWarning } from '../doctor/store-checks.ts';
import { listings, nameHolder } from '../directory/listings.ts';
import type { MailRecord } from '../store/mail-store.ts';
import { peerOf } from '../store/mail-threads.ts';
import { awaitedAgent } from './awaited-agent.ts';
import type { Consumer, Desk } from './desk.ts';
import { reply } from './replying.ts';
import { send, unsend, type SendingParts, type Speaker } from './sending.ts';
import { agentView, messageView } from './views.ts';

/** History entries that one recall reads at a time, and at most, when a filter passes over many. */
const RECALL_PAGE = 200;
const RECALL_SCAN_MAX = 20_000;

/** One client acting as one agent, in process. Its calls are described in mcp/messenger.ts. */
export class MachineSession implements Session, Consumer {
  readonly self: Self;
  readonly client: string;
  lastCallAtMs: number;
  readonly #agent: LocalAgent;
  readonly #byPerson: boolean;
  readonly #desk: Desk;
  readonly #parts: SendingParts;
  readonly #stopping: AbortSignal;
  readonly #onClose: () => void;
  readonly #closed = new AbortController();
  /** Calls that lease, while they run. */
  readonly #leasing = new Set<Promise<unknown>>();
  /** Ends the wait that runs when its caller is found to be gone. */
  #released = new AbortController();

  constructor(options: {
    agent: LocalAgent;
    client: string;
    byPerson: boolean;
    desk: Desk;
    parts: SendingParts;
    /** Aborts when the machine stops. */
    stopping: AbortSignal;
    onClose: () => void;
  }) {
    const { agent, client, byPerson, desk, parts, stopping, onClose } = options;
    const { directory } = parts;
    const namespace = directory.logs.get(agent.ns)!.name;
    this.self = {
      agent: formatAddress({ name: agent.name, namespace }),
      namespace,
      machine: directory.labelOf(agent.ns, directory.self.peerId),
      client,
    };
    this.client = client;
    this.#agent = agent;
    this.#byPerson = byPerson;
    this.#desk = desk;
    this.#parts = parts;
    this.#stopping = stopping;
    this.#onClose = onClose;
    this.lastCallAtMs = parts.clock.now();
  }

  get ended(): boolean {
    return this.#closed.signal.aborted;
  }

  inbox(call: InboxCall): Promise<InboxResult> {
    return this.#whileLeasing(this.#inbox(call));
  }

  async #inbox(call: InboxCall): Promise<InboxResult> {
    this.#enter();
    const { mail, directory } = this.#parts;
    const other = this.#desk.otherOwner(this);
    const records = other ? [] : await this.#desk.look(this, { confirms: true });
    const pending = await this.#views(records);
    const deferred = await this.#views(await mail.deferred(this.#agent.id, INBOX_SHOWN_MAX));
    const others = listings(directory, this.#agent.ns).filter(({ name }) => name !== this.#agent.name);
    const shown = call.all_agents ? others : others.filter(({ online }) => online);
    return {
      self: this.self,
      pending,
      threads: threadsOf(pending),
      deferred,
      agents: shown.map((listing) => agentView(listing, this.self.namespace)),
      warnings: await this.#warnings(other),
      more: other ? 0 : await this.#desk.unseen(),
    };
  }

  async send(call: SendCall): Promise<SendResult> {
    await this.#begin();
    return send(this.#parts, this.#speaker, this.#desk, call);
  }

  async reply(call: ReplyCall): Promise<ReplyResult> {
    await this.#begin();
    const answer = await reply(this.#parts, this.#speaker, call);
    const record = await this.#parts.mail.find(this.#agent.id, parseId(call.message_id));
    if (record) this.#desk.taken(record.number);
    return answer;
  }

  wait(call: WaitCall, signal?: AbortSignal): Promise<WaitResult> {
    return this.#whileLeasing(this.#wait(call, signal));
  }

  async #wait(call: WaitCall, signal?: AbortSignal): Promise<WaitResult> {
    this.#enter();
    const awaited = awaitedAgent(this.#parts.directory, this.#agent, call);
    const seconds = Math.min(WAIT_SECONDS_MAX, Math.max(WAIT_SECONDS_MIN, call.timeout_seconds || 0));
    const timeout = new AbortController();
    const timer = this.#parts.clock.after(seconds * 1_000, () => timeout.abort());
    const { signal: released } = this.#released;
    const ends = [timeout.signal, released, this.#stopping, this.#closed.signal, ...(signal ? [signal] : [])];
    const end = AbortSignal.any(ends);
    const look = (ns: string): void => void (ns === this.#agent.ns && this.#desk.wake());
    const unwatch = awaited && this.#parts.directory.onPresenceChanged(look);
    const worksAgain = this.#parts.activity.waiting(this.#agent.id);
    try {
      for (let confirms = true; ; confirms = false) {
        end.throwIfAborted();
        const { arrivals } = this.#desk;
        // What was shown before is read now, in the batch of this look, also when nothing is worth an end.
        const isWorthIt = endsWait(await this.#desk.unseenByUrgency(), this.#isDnd);
        const [found] = await this.#desk.look(this, { limit: isWorthIt ? 1 : 0, confirms });
        const notice = found ? undefined : this.#noticed(awaited);
        if (notice) return { status: 'notice', notice, more: await this.#desk.unseen() };
        const record = found ?? (await this.#arrival(arrivals, end));
        if (!record) continue;
        const [message] = await this.#views([record]);
        const more = await this.#desk.unseen();
        // Nobody is left to read the answer: the message stays unread.
        if (signal?.aborted || released.aborted || this.ended) {
          this.#desk.release(this);
          end.throwIfAborted();
        }
        return { status: 'message', message: message!, more };
      }
    } catch (error) {
      if (signal?.aborted || !end.aborted) throw error;
      if (this.#closed.signal.aborted) throw this.#gone();
      if (released.aborted)
        throw new PatchcordError('timeout', 'The wait was given up.', 'Call again.', { cause: error });
      return {
        status: 'timeout',
        more: 0,
        ...(this.#stopping.aborted ? { reason: 'stopping' as const } : {}),
      };
    } finally {
      timer.cancel();
      unwatch?.();
      worksAgain();
      this.lastCallAtMs = this.#parts.clock.now();
    }
  }

  #noticed(awaited: ReturnType<typeof awaitedAgent>): WaitResult['notice'] {
    const { directory } = this.#parts;
    const log = directory.logs.get(this.#agent.ns);
    if (log) directory.assertMember(log);
    return awaited?.();
  }

  #arrival(seen: number, signal: AbortSignal): Promise<MailRecord | undefined> {
    const takes = (urgency: Urgency) => disturbs(urgency, this.#isDnd);
    return this.#desk.arrival(this, seen, { takes, signal });
  }

  async attachment(_call: AttachmentCall): Promise<AttachmentResult> {
    await this.#begin();
    throw new PatchcordError(
      'not_available',
      'Attachments are not available in this version.',
      `Put the text into a message; up to 50,000 characters fit.`,
    );
  }

  async recall(call: RecallCall): Promise<RecallResult> {
    await this.#begin();
    const limit = Math.min(RECALL_MAX, Math.max(1, call.limit));
    const wanted = this.#recallFilter(call);
    const found: MailRecord[] = [];
    let before: number | undefined;
    for (let read = 0; found.length < limit && read < RECALL_SCAN_MAX; read += RECALL_PAGE) {
      const page = await this.#parts.mail.history(this.#agent.id, RECALL_PAGE, before);
      for (const record of page) if (found.length < limit && (await wanted(record))) found.push(record);
      if (page.length < RECALL_PAGE) break;
      before = page.at(-1)!.number;
    }
    const views = await this.#views(found);
    return {
      messages: views.map((view, index) => ({
        ...view,
        content: cut(view.content),
        content_cut: view.content.length > RECALL_CONTENT_LENGTH,
        direction: found[index]!.direction,
      })),
    };
  }

  async unsend(call: UnsendCall): Promise<UnsendResult> {
    await this.#begin();
    return unsend(this.#parts, this.#agent, call.message_id);
  }

  async confirm(): Promise<void> {
    await this.#begin();
  }

  async release(): Promise<void> {
    this.#released.abort();
    this.#released = new AbortController();
    // What still runs may lease until it ends, and the next call would confirm that.
    await Promise.allSettled(this.#leasing);
    this.#desk.release(this);
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#desk.leave(this);
    this.#onClose();
  }

  async #whileLeasing<T>(call: Promise<T>): Promise<T> {
    this.#leasing.add(call);
    try {
      return await call;
    } finally {
      this.#leasing.delete(call);
    }
  }

  get #isDnd(): boolean {
    return this.#parts.directory.agents.get(this.#agent.id)?.dnd === true;
  }

  get #speaker(): Speaker {
    return { agent: this.#agent, byPerson: this.#byPerson };
  }

  /** Every call but close: the session must be open, and what it was shown before is read now. */
  async #begin(): Promise<void> {
    this.#enter();
    await this.#desk.confirm(this);
  }

  #enter(): void {
    if (this.#closed.signal.aborted) throw this.#gone();
    if (this.#stopping.aborted) {
      throw new PatchcordError('stopping', 'The daemon is stopping.', 'Call again in a moment.');
    }
    this.lastCallAtMs = this.#parts.clock.now();
    this.#parts.activity.called(this.#agent.id);
  }

  #gone(): PatchcordError {
    return new PatchcordError('unknown_session', 'This session has ended.', 'Open a new one.');
  }

  #views(records: readonly MailRecord[]): Promise<MessageView[]> {
    return Promise.all(
      records.map((record) => messageView(record, { ...this.#parts, viewer: this.#agent.id })),
    );
  }

  async #warnings(other: Consumer | undefined): Promise<string[]> {
    const { directory, care } = this.#parts;
    const warnings: string[] = [];
    const damage = care.unseen;
    if (damage) warnings.push(damageWarning(damage));
    if (other) {
      const unseen = await this.#desk.unseen();
      warnings.push(
        `Another session of ${this.self.agent} (${other.client}) reads this inbox; its messages are shown there, ` +
          `${unseen} more are waiting. End that session, or give this client an agent name of its own.`,
      );
    }
    const { doubt = 0 } = await this.#parts.mail.tally(this.#agent.id);
    if (doubt > 0) {
      warnings.push(
        `${doubt} message${doubt === 1 ? '' : 's'} may have been read before this machine was restored from a ` +
          'backup; shown, or known to be read, once the machines that sent them have told, at the latest after a day.',
      );
    }
    const removal = directory.removalNotice(directory.logs.get(this.#agent.ns)!);
    if (removal !== undefined) warnings.push(`${removal} Nothing can be sent or received here.`);
    const holder = nameHolder(directory, this.#agent);
    if (holder !== undefined) {
      warnings.push(
        `The name ${this.#agent.name} was claimed first on ${directory.labelOf(this.#agent.ns, holder)}: messages ` +
          'to it go there, and none can be sent from here. Add an agent under another name.',
      );
    }
    return warnings;
  }

  #recallFilter(call: RecallCall): (record: MailRecord) => Promise<boolean> {
    const from = call.from_agent.trim().toLowerCase().split('@')[0];
    const thread = call.thread_id.trim();
    const slug = thread === '' ? '' : threadSlug(thread);
    return async (record) => {
      const { message, direction, status } = record;
      if (direction === 'received' && status === 'unsent') return false;
      if (from && message.from.name !== from) return false;
      if (thread === '' || message.thread?.root === thread || message.thread?.slug === slug) return true;
      if (!message.thread) return false;
      const peer = peerOf(this.#agent.id, record);
      const known = await this.#parts.mail.thread(this.#agent.id, peer, message.thread.slug);
      return known?.roots.includes(thread) === true;
    };
  }
}

/** Pending messages by thread, in the order in which the threads first appear. */
function threadsOf(pending: readonly MessageView[]): InboxResult['threads'] {
  const threads = new Map<string, InboxResult['threads'][number]>();
  for (const { thread, thread_id: id, message_id: messageId } of pending) {
    if (!thread || !id) continue;
    const place = `${id} ${thread}`;
    const known = threads.get(place) ?? { thread_id: id, thread, messages: [] };
    known.messages.push(messageId);
    threads.set(place, known);
  }
  return [...threads.values()];
}

/** The first characters, never half of a surrogate pair. */
function cut(content: string): string {
  return content.length <= RECALL_CONTENT_LENGTH
    ? content
    : content.slice(0, RECALL_CONTENT_LENGTH).toWellFormed();
}
