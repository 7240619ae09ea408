import { EventEmitter, once } from 'node:events';
import type { Messenger, Session, SessionRequest } from '../../mcp/messenger.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { MessageView, RecallResult, WaitResult } from '../../protocol/views.ts';
import type { WaitCall } from '../../protocol/calls.ts';

export const MESSAGE: MessageView = {
  message_id: '0193aaaa-0000-7000-8000-000000000001',
  from: 'backend@proj',
  from_machine: 'server',
  to: 'frontend@proj',
  namespace: 'proj',
  content: 'run the migration',
  sent_at: '2026-11-22T10:00:00.000Z',
  thread: 'auth-migration',
  thread_id: '0193aaaa-0000-7000-8000-000000000000',
  status: 'pending',
};

const RECALLED: RecallResult['messages'][number] = {
  ...MESSAGE,
  status: 'read',
  direction: 'received',
  content_cut: true,
};

export type Method = 'inbox' | 'send' | 'reply' | 'wait' | 'attachment' | 'recall' | 'unsend';

interface OpenWait {
  call: WaitCall;
  signal: AbortSignal | undefined;
  answer: (result: WaitResult) => void;
}

/** A messenger's session from the tools' side: fixed answers, waits that the test ends, errors on demand. */
export class FakeSession implements Session {
  readonly self = { agent: 'frontend', namespace: 'proj', machine: 'laptop', client: 'test 1' };
  readonly calls: { method: Method; call: unknown }[] = [];
  readonly events = new EventEmitter();
  /** Errors that the next calls of a method throw, first one first. */
  readonly errors: Partial<Record<Method, PatchcordError[]>> = {};
  readonly waits: OpenWait[] = [];
  closed = 0;
  released = 0;

  #take(method: Method, call: unknown): void {
    if (this.closed > 0) throw new PatchcordError('unknown_session', 'This session was closed.');
    this.calls.push({ method, call });
    const error = this.errors[method]?.shift();
    if (error) throw error;
  }

  /** Resolves when a wait is open. */
  async waiting(): Promise<OpenWait> {
    if (this.waits.length === 0) await once(this.events, 'wait');
    return this.waits[0]!;
  }

  async inbox(call: unknown) {
    this.#take('inbox', call);
    return {
      self: this.self,
      pending: [MESSAGE],
      threads: [{ thread_id: MESSAGE.thread_id!, thread: MESSAGE.thread!, messages: [MESSAGE.message_id] }],
      deferred: [],
      agents: [
        {
          agent: 'backend',
          namespace: 'proj',
          machine: 'server',
          client: 'codex 0.169',
          platform: 'linux',
          online: false,
          last_seen: null,
        },
      ],
      warnings: ['The clock of machine server is off.'],
      more: 0,
    };
  }

  async send(call: { to_agent: string }) {
    this.#take('send', call);
    return {
      status: 'sent' as const,
      message_id: MESSAGE.message_id,
      receipts: [
        {
          to: 'backend@proj',
          message_id: MESSAGE.message_id,
          state: 'queued' as const,
          online: false,
          last_seen: '2026-11-22T09:00:00.000Z',
        },
      ],
    };
  }

  async reply(call: unknown) {
    this.#take('reply', call);
    return { status: 'replied' as const, reply_id: 'r1', to: 'backend@proj', state: 'delivered' as const };
  }

  async wait(call: WaitCall, signal?: AbortSignal): Promise<WaitResult> {
    this.#take('wait', call);
    const { promise, resolve, reject } = Promise.withResolvers<WaitResult>();
    const abort = () => {
      this.events.emit('aborted');
      reject(signal?.reason);
    };
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    this.waits.push({ call, signal, answer: resolve });
    this.events.emit('wait');
    return await promise.finally(() => this.waits.shift());
  }

  async attachment(call: unknown) {
    this.#take('attachment', call);
    return { status: 'ok' as const, path: 'proj/backend/1_a.txt', mime_type: 'text/plain', content: 'hello' };
  }

  async recall(call: unknown) {
    this.#take('recall', call);
    return { messages: [RECALLED, { ...RECALLED, direction: 'sent' as const, content_cut: false }] };
  }

  async unsend(call: { message_id: string }) {
    this.#take('unsend', call);
    return { status: 'unsent' as const, message_id: call.message_id };
  }

  async confirm(): Promise<void> {}

  async release(): Promise<void> {
    this.released += 1;
    this.events.emit('released');
  }

  async close(): Promise<void> {
    this.closed += 1;
    this.events.emit('closed');
  }
}

/** Opens fake sessions; `errors` are what the next openings throw, first one first. */
export class FakeMessenger implements Messenger {
  readonly requests: SessionRequest[] = [];
  readonly sessions: FakeSession[] = [];
  readonly errors: PatchcordError[] = [];
  /** Called with each new session before it is handed out. */
  prepare: (session: FakeSession) => void = () => {};

  async open(request: SessionRequest): Promise<FakeSession> {
    const error = this.errors.shift();
    if (error) throw error;
    const session = new FakeSession();
    this.prepare(session);
    this.requests.push(request);
    this.sessions.push(session);
    return session;
  }
}

/** The method of the session that each tool calls. */
export const METHODS: Record<string, Method> = {
  inbox: 'inbox',
  send_message: 'send',
  reply: 'reply',
  wait_for_message: 'wait',
  attachment: 'attachment',
  recall: 'recall',
  unsend: 'unsend',
};

/** Valid arguments for each tool. */
export const ARGUMENTS: Record<string, Record<string, unknown>> = {
  inbox: {},
  send_message: { to_agent: 'backend', content: 'hi' },
  reply: { message_id: 'm1', content: 'ok' },
  wait_for_message: { timeout_seconds: 5 },
  attachment: { path_or_url: 'proj/backend/1_a.txt' },
  recall: {},
  unsend: { message_id: 'm1' },
};
