import type { Session } from '../../mcp/messenger.ts';
import type { ReplyCall } from '../../protocol/calls.ts';
import type { MessageView, SendReceipt } from '../../protocol/views.ts';
import type { VirtualTime } from './clock.ts';
import { canaryOf, type Ledger } from './ledger.ts';
import type { Outcome, SimNode } from './node.ts';
import type { SeededRandom } from './random.ts';

/** What an agent does, and how often. */
const HABITS = [
  ['send', 30],
  ['sendSeveral', 8],
  ['inbox', 18],
  ['wait', 16],
  ['waitMeanwhile', 5],
  ['reply', 14],
  ['defer', 4],
  ['unsend', 9],
  ['recall', 5],
  ['confirm', 2],
  ['leave', 2],
] as const;

/** What every client calls itself. */
export const CLIENT = 'sim-client 1.0';

/** Errors that come before anything was written. */
const BEFORE_WRITING = new Set([
  'unknown_recipient',
  'stopping',
  'unknown_session',
  'unknown_message',
  'outbox_full',
  'not_member',
  'name_taken',
  'loop_guard',
]);

/** Errors by which an agent is told that it cannot be. */
const SHUT_OUT = new Set(['name_taken', 'not_member']);

export interface SimAgentParts {
  name: string;
  namespace: string;
  node: SimNode;
  /** What it signs its contents with, when another agent has its address; else the address. */
  pen?: string;
  /** Names of the others in its namespace, as they are now. */
  others: () => readonly string[];
  /** What must never come up in an answer to it. */
  foreign: readonly string[];
  time: VirtualTime;
  random: SeededRandom;
  ledger: Ledger;
  trace: (what: string) => void;
  /** Called before each message; false when there were enough. */
  maySend: () => boolean;
}

/** A client that sends, reads, answers and takes back at random, and keeps its books. */
export class SimAgent {
  readonly address: string;
  readonly pen: string;
  /** Before it had its first session its name was taken, or its machine was out. */
  isTooLate = false;
  hasOpened = false;
  readonly node: SimNode;
  /** `drain`: only reads; `rest`: does nothing, its session stays open. */
  mode: 'busy' | 'drain' | 'rest' = 'busy';
  /** How long it takes, on average, between two calls. */
  thinkMs = 1_000;
  /** Share of its calls in which it dies a few milliseconds later. */
  deathShare = 0;
  readonly #parts: SimAgentParts;
  readonly #random: SeededRandom;
  #session: Session | undefined;
  #sessionStart = 0;
  /** Resolved when the client dies. */
  #dead = Promise.withResolvers<void>();
  #counter = 0;
  #calls = 0;
  /** Shown to this session, not yet followed by another call. */
  #unconfirmed = new Set<string>();
  readonly #answerable = new Map<string, MessageView>();
  readonly #sent: string[] = [];
  /** Of waits that were lost with their machine, too. */
  readonly #cancels = new Set<AbortController>();

  constructor(parts: SimAgentParts) {
    this.#parts = parts;
    this.node = parts.node;
    this.address = `${parts.name}@${parts.namespace}`;
    this.pen = parts.pen ?? this.address;
    this.#random = parts.random;
  }

  get isQuiet(): boolean {
    return this.isTooLate || (this.#session !== undefined && this.#unconfirmed.size === 0);
  }

  async run(): Promise<void> {
    const { time } = this.#parts;
    for (;;) {
      await time.sleep(this.mode === 'busy' ? this.#random.interval(this.thinkMs) : 1_500);
      if (this.mode === 'rest' && this.#current()) continue;
      const session = this.#current() ?? (await this.#open());
      if (!session) continue;
      if (this.mode === 'busy') await this.#act();
      else await this.#inbox();
    }
  }

  /** Nobody waits any more: what Node keeps for a signal that may come would outlive the simulation. */
  end(): void {
    for (const cancel of this.#cancels) cancel.abort();
  }

  /** The client dies; its daemon notices and ends the session. */
  kill(): void {
    const session = this.#current();
    if (!session) return;
    this.#parts.trace(`${this.pen} dies`);
    this.#forget();
    void this.node.call(() => session.close());
  }

  /** Everybody it believes to be there, and what it is warned of. */
  async look(): Promise<{ all: string[]; online: string[]; warnings: string[] }> {
    const outcome = await this.#call('presence', (session) => session.inbox({ all_agents: true }));
    if (outcome.kind !== 'answer') return { all: [], online: [], warnings: [] };
    const { agents, warnings } = outcome.value;
    const names = (list: typeof agents) => list.map(({ agent }) => agent).sort();
    return { all: names(agents), online: names(agents.filter(({ online }) => online)), warnings };
  }

  /** The code with which a message to another is refused at once; none when it is accepted. */
  async refusal(to: string): Promise<string> {
    const call = { to_agent: to, content: this.#content(), thread: '' };
    const outcome = await this.#call('a send that should fail', (session) => session.send(call));
    return outcome.kind === 'error' ? outcome.error.code : '';
  }

  async #open(): Promise<Session | undefined> {
    await this.node.up();
    const request = { agent: this.address, client: CLIENT };
    const outcome = await this.node.call(({ messenger }) => messenger.open(request));
    this.#parts.trace(`${this.pen} opens: ${outcome.kind}`);
    if (outcome.kind === 'answer') {
      this.#session = outcome.value;
      this.#sessionStart = this.node.startNumber;
      this.hasOpened = true;
    }
    if (outcome.kind === 'error' && SHUT_OUT.has(outcome.error.code)) this.isTooLate = true;
    return this.#session;
  }

  /** The session, unless it ended with its machine. */
  #current(): Session | undefined {
    if (this.#session && (this.#sessionStart !== this.node.startNumber || !this.node.isRunning))
      this.#forget();
    return this.#session;
  }

  async #act(): Promise<void> {
    const habit = this.#random.weighted(HABITS);
    if (habit === 'send') await this.#send([this.#random.pick(this.#parts.others())]);
    else if (habit === 'sendSeveral') await this.#send(this.#several());
    else if (habit === 'inbox') await this.#inbox();
    else if (habit === 'wait') await this.#wait(this.#random.between(1, 15), this.#random.chance(0.2));
    else if (habit === 'waitMeanwhile') await this.#waitMeanwhile();
    else if (habit === 'reply' || habit === 'defer') await this.#reply(habit === 'defer');
    else if (habit === 'unsend') await this.#unsend();
    else if (habit === 'recall') await this.#recall();
    else if (habit === 'confirm') await this.#call('confirm', (session) => session.confirm());
    else await this.#leave();
  }

  #several(): string[] {
    return this.#parts.others().filter((_name, index) => index === 0 || this.#random.chance(0.6));
  }

  async #send(names: string[]): Promise<void> {
    if (!this.#parts.maySend()) return;
    const { ledger, namespace } = this.#parts;
    const recipients = names.map((name) => `${name}@${namespace}`);
    const content = this.#content();
    const thread = this.#random.chance(0.3)
      ? this.#random.pick(['plan-slug', 'bugs-slug', 'release-slug'])
      : '';
    ledger.asked(this.address, recipients, content);
    const call = { to_agent: names.join(', '), content, thread };
    const outcome = await this.#call(`send ${names.join()} ${this.#counter}`, (session) =>
      session.send(call),
    );
    if (outcome.kind === 'answer' && outcome.value.status === 'blocked') {
      ledger.failed(recipients, content);
      await this.#inbox();
    } else if (outcome.kind === 'answer') {
      for (const receipt of outcome.value.receipts) this.#received(receipt, content);
    } else if (outcome.kind === 'error' && BEFORE_WRITING.has(outcome.error.code)) {
      ledger.failed(recipients, content);
    }
  }

  #received({ to, message_id: id, state, error }: SendReceipt, content: string): void {
    if (error) this.#parts.ledger.failed([to], content);
    if (!id) return;
    this.#parts.ledger.acceptedAs(to, content, id, state ?? 'queued');
    this.#sent.push(id);
  }

  async #inbox(): Promise<void> {
    const outcome = await this.#call('inbox', (session) => session.inbox({ all_agents: false }));
    if (outcome.kind === 'answer') for (const view of outcome.value.pending) this.#shown(view);
  }

  async #wait(seconds: number, isCancelled: boolean): Promise<void> {
    const { time, ledger } = this.#parts;
    const cancel = new AbortController();
    this.#cancels.add(cancel);
    if (isCancelled) time.after(this.#random.between(0, 2_000), () => cancel.abort());
    const outcome = await this.#call(`wait ${seconds}`, async (session) => {
      try {
        const result = await session.wait({ timeout_seconds: seconds }, cancel.signal);
        return { result, isLate: cancel.signal.aborted };
      } catch (error) {
        if (cancel.signal.aborted && error === cancel.signal.reason)
          return { result: undefined, isLate: false };
        throw error;
      }
    });
    if (outcome.kind !== 'lost') this.#cancels.delete(cancel);
    if (outcome.kind !== 'answer' || !outcome.value.result?.message) return;
    const { result, isLate } = outcome.value;
    if (!isLate) return this.#shown(result.message!);
    // Nobody looks at an answer to a cancelled call.
    ledger.problem('internal', `${this.address}: a cancelled wait consumed ${result.message!.message_id}`);
    await this.#leave();
  }

  /** Sends while a wait is open, as a client that calls tools in parallel does. */
  async #waitMeanwhile(): Promise<void> {
    const waiting = this.#wait(this.#random.between(1, 10), false);
    for (let count = this.#random.between(1, 3); count > 0; count--) {
      await this.#parts.time.sleep(this.#random.between(0, 300));
      if (this.#current()) await this.#send([this.#random.pick(this.#parts.others())]);
    }
    await waiting;
  }

  async #reply(defer: boolean): Promise<void> {
    const { ledger } = this.#parts;
    const ids = [...this.#answerable.keys()];
    if (ids.length === 0 || !this.#parts.maySend()) return;
    const view = this.#answerable.get(this.#random.pick(ids))!;
    const resolve = !defer && this.#random.chance(0.2);
    const isSilent = defer || (resolve && this.#random.chance(0.3));
    const content = isSilent ? '' : this.#content();
    if (content) ledger.asked(this.address, [view.from], content);
    const call: ReplyCall = { message_id: view.message_id, content, defer, resolve };
    const outcome = await this.#call(`reply ${view.message_id} ${this.#counter}`, (session) =>
      session.reply(call),
    );
    if (outcome.kind === 'answer') {
      if (!defer) this.#answerable.delete(view.message_id);
      const { reply_id: id, state } = outcome.value;
      if (content && id) this.#received({ to: view.from, message_id: id, state }, content);
    } else if (outcome.kind === 'error' && BEFORE_WRITING.has(outcome.error.code)) {
      if (content) ledger.failed([view.from], content);
      if (outcome.error.code === 'unknown_message')
        ledger.problem('claimed', `${this.address}: ${view.message_id} was shown and cannot be answered`);
    }
  }

  async #unsend(): Promise<void> {
    if (this.#sent.length === 0) return;
    const id = this.#random.pick(this.#sent.slice(-4));
    this.#parts.ledger.unsendAsked(id);
    const outcome = await this.#call(`unsend ${id}`, (session) => session.unsend({ message_id: id }));
    if (outcome.kind === 'answer') this.#parts.ledger.unsendAnswered(id, outcome.value.status);
    if (outcome.kind === 'error' && outcome.error.code === 'unknown_message')
      this.#parts.ledger.problem('lost', `${this.address}: ${id} was accepted and is not known`);
  }

  async #recall(): Promise<void> {
    const call = { limit: 100, from_agent: '', thread_id: '' };
    const outcome = await this.#call('recall', (session) => session.recall(call));
    if (outcome.kind !== 'answer') return;
    const canary = canaryOf(this.#parts.namespace);
    for (const { direction, message_id: id, status, content, notice } of outcome.value.messages) {
      if (direction === 'sent') this.#parts.ledger.told(id, status);
      if (content !== '' && notice === undefined && !content.startsWith(canary))
        this.#parts.ledger.problem('leaked', `${this.address} recalls ${content.slice(0, 40)}`);
    }
  }

  async #leave(): Promise<void> {
    const session = this.#current();
    if (!session) return;
    this.#forget();
    await this.node.call(() => session.close());
  }

  #shown(view: MessageView): void {
    if (view.notice) return this.#parts.ledger.noticed(this, view);
    this.#unconfirmed.add(this.#parts.ledger.wasShown(this, view));
    this.#answerable.set(view.message_id, view);
  }

  #content(): string {
    const { namespace } = this.#parts;
    this.#counter += 1;
    const filler = this.#random.chance(0.05) ? 'x'.repeat(this.#random.between(1_000, 40_000)) : 'hello';
    return `${canaryOf(namespace)} ${this.pen} ${this.#counter} ${filler}`;
  }

  /** Makes a call unless the client or its machine dies first, and settles what earlier calls showed. */
  async #call<T>(what: string, run: (session: Session) => Promise<T>): Promise<Outcome<T>> {
    const session = this.#current();
    if (!session) return { kind: 'lost' };
    const died = this.#dead.promise.then((): Outcome<T> => ({ kind: 'lost' }));
    const before = this.#calls === 0 ? [...this.#unconfirmed] : [];
    this.#calls += 1;
    if (this.#random.chance(this.deathShare))
      this.#parts.time.after(this.#random.between(0, 8), () => this.kill());
    const outcome = await Promise.race([died, this.node.call(() => run(session))]);
    this.#calls -= 1;
    const code = outcome.kind === 'error' ? outcome.error.code : '';
    const told = JSON.stringify(outcome);
    for (const secret of this.#parts.foreign) {
      if (told.includes(secret))
        this.#parts.ledger.problem('leaked', `${secret} to ${this.pen}, ${what}: ${told.slice(0, 200)}`);
    }
    this.#parts.trace(`${this.pen} ${what}: ${outcome.kind} ${code} ${told}`);
    if (outcome.kind === 'answer') {
      this.#parts.ledger.confirmed(before);
      if (this.#session === session) for (const name of before) this.#unconfirmed.delete(name);
    }
    if (this.#session === session && (outcome.kind === 'lost' || isGone(code))) this.#forget();
    return outcome;
  }

  #forget(): void {
    this.#session = undefined;
    this.#unconfirmed = new Set();
    this.#dead.resolve();
    this.#dead = Promise.withResolvers();
  }
}

function isGone(code: string): boolean {
  return code === 'unknown_session' || code === 'stopping';
}
