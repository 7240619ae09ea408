import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { createApi } from '../../daemon/api/api.ts';
import type { Api, ApiParts } from '../../daemon/api/api.ts';
import type { Admin } from '../../daemon/api/admin.ts';
import type { Bundles } from '../../daemon/api/bundles.ts';
import type { Doctor } from '../../daemon/api/doctor.ts';
import { systemClock } from '../../daemon/clock.ts';
import type { Clock } from '../../daemon/clock.ts';
import { silentLog } from '../../daemon/log.ts';
import type { HttpMcp } from '../../mcp/http.ts';
import type { Messenger, Session, SessionRequest } from '../../mcp/messenger.ts';
import type {
  JoinCheckView,
  JoinPendingView,
  LocalAgentView,
  MemberView,
  NamespaceView,
} from '../../protocol/admin-views.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { MessageView, WaitResult } from '../../protocol/views.ts';
import { fakeTop, PEER, WATCH } from './presence-fakes.ts';

/** The other side of the two interfaces that the API serves, as small as it can be. */

export const API_TOKEN = 'api-token-of-the-machine';
export const AGENT_TOKEN = 'token-of-frontend';
export const FRONTEND = 'frontend@myproject';
export const STARTED_AT = '2026-11-22T20:00:00.000Z';

export const MESSAGE: MessageView = {
  message_id: '019a0000-0000-7000-8000-000000000001',
  from: 'backend@myproject',
  from_machine: 'laptop',
  to: FRONTEND,
  namespace: 'myproject',
  content: 'hello \u{1F44B}',
  sent_at: STARTED_AT,
  status: 'pending',
};

export const NAMESPACE: NamespaceView = {
  namespace: 'myproject',
  id: 'ab',
  role: 'admin',
  members: 1,
  agents: [FRONTEND],
};
/** 24 words, none of them of another test's text. */
export const PHRASE = Array.from({ length: 24 }, (_, index) => (index % 2 === 0 ? 'zebra' : 'abandon')).join(
  ' ',
);
export const CHECK: JoinCheckView = {
  code: '012345',
  machine: 'tower',
  peer_id: '12D3KooWtower-key',
  since: STARTED_AT,
};
export const MEMBER: MemberView = {
  machine: 'laptop',
  peer_id: 'p',
  role: 'admin',
  online: true,
  self: true,
  agents: [FRONTEND],
};

export function localAgent(agent: string, pending = 0): LocalAgentView {
  return { agent, id: 'x', online: true, last_seen: null, client: 'c', pending, deferred: 1 };
}

export interface FakeSession extends Session {
  readonly request: SessionRequest;
  /** Name and parameters of every call. */
  readonly calls: [string, unknown][];
  /** Resolves with the wait's signal when `wait` was called. */
  readonly waiting: Promise<AbortSignal>;
  readonly waitAborted: Promise<unknown>;
  readonly closed: Promise<void>;
  answerWait: (result: WaitResult) => void;
}

export interface FakeMessenger extends Messenger {
  readonly sessions: FakeSession[];
  /** The session that was opened n-th, once it is. */
  opened(index: number): Promise<FakeSession>;
  /** Thrown by the next calls when set. */
  failure?: Error | undefined;
}

export function fakeMessenger(): FakeMessenger {
  const sessions: FakeSession[] = [];
  const watchers: PromiseWithResolvers<FakeSession>[] = [];
  const watcher = (index: number): PromiseWithResolvers<FakeSession> =>
    (watchers[index] ??= Promise.withResolvers<FakeSession>());
  const fake: FakeMessenger = {
    sessions,
    opened: async (index) => watcher(index).promise,
    async open(request) {
      if (fake.failure) throw fake.failure;
      const session = fakeSession(request, fake);
      sessions.push(session);
      watcher(sessions.length - 1).resolve(session);
      return session;
    },
  };
  return fake;
}

function fakeSession(request: SessionRequest, messenger: FakeMessenger): FakeSession {
  const calls: [string, unknown][] = [];
  const waiting = Promise.withResolvers<AbortSignal>();
  const answer = Promise.withResolvers<WaitResult>();
  const aborted = Promise.withResolvers<unknown>();
  const closed = Promise.withResolvers<void>();
  const note = (name: string, params: unknown): void => {
    calls.push([name, params]);
    if (messenger.failure) throw messenger.failure;
  };
  const [agent = '', namespace = ''] = request.agent.split('@');
  const self = { agent, namespace, machine: 'laptop', client: request.client };
  return {
    request,
    self,
    calls,
    waiting: waiting.promise,
    waitAborted: aborted.promise,
    closed: closed.promise,
    answerWait: answer.resolve,
    async inbox(call) {
      note('inbox', call);
      return { self, pending: [MESSAGE], threads: [], deferred: [], agents: [], warnings: [], more: 0 };
    },
    async send(call) {
      note('send', call);
      return {
        status: 'sent',
        message_id: MESSAGE.message_id,
        receipts: [{ to: call.to_agent, state: 'queued' }],
      };
    },
    async reply(call) {
      note('reply', call);
      return { status: 'replied', to: MESSAGE.from, reply_id: call.message_id };
    },
    async wait(call, signal) {
      note('wait', call);
      waiting.resolve(signal!);
      const gone = Promise.withResolvers<never>();
      signal!.addEventListener('abort', () => {
        aborted.resolve(signal!.reason);
        gone.reject(signal!.reason);
      });
      signal!.throwIfAborted();
      return Promise.race([answer.promise, gone.promise]);
    },
    async attachment(call) {
      note('attachment', call);
      return { status: 'ok', path: call.path_or_url, content: 'aGk=' };
    },
    async recall(call) {
      note('recall', call);
      return { messages: [{ ...MESSAGE, direction: 'received', content_cut: false }] };
    },
    async unsend(call) {
      note('unsend', call);
      return { status: 'unsent', message_id: call.message_id };
    },
    async release() {
      note('release', {});
    },
    async confirm() {
      note('confirm', {});
    },
    async close() {
      closed.resolve();
    },
  };
}

export interface FakeAdmin extends Admin {
  readonly calls: unknown[][];
  readonly list: LocalAgentView[];
  /** What the next joins answer, before the last of them succeeds. */
  readonly pendingJoins: (JoinPendingView | Promise<JoinPendingView>)[];
  failure?: Error | undefined;
}

export function fakeAdmin(): FakeAdmin {
  const calls: unknown[][] = [];
  const list = [localAgent(FRONTEND, 2)];
  const note = (...call: unknown[]): void => {
    calls.push(call);
    if (fake.failure) throw fake.failure;
  };
  const fake: FakeAdmin = {
    calls,
    list,
    pendingJoins: [],
    async resetChains(agent, thread) {
      note('resetChains', agent, thread);
      return { agent, thread };
    },
    async status() {
      note('status');
      const link = {
        machine: 'desktop',
        peer_id: 'q',
        up: true,
        prekey: 'fresh' as const,
        queued: 3,
        held: 0,
      };
      return {
        machine: 'laptop',
        peer_id: 'p',
        listen: [],
        namespaces: [NAMESPACE],
        agents: list,
        links: [link],
      };
    },
    async createNamespace(name) {
      note('createNamespace', name);
      return { ...NAMESPACE, namespace: name, recovery_phrase: PHRASE };
    },
    async namespaces() {
      note('namespaces');
      return [NAMESPACE];
    },
    async members(namespace) {
      note('members', namespace);
      return [MEMBER];
    },
    async invite(namespace, options) {
      note('invite', namespace, options);
      return { ticket: 'pc1:x', expires_at: STARTED_AT };
    },
    async join(ticket) {
      note('join', ticket);
      const pending = fake.pendingJoins.shift();
      if (pending !== undefined) return pending;
      return { namespace: 'myproject', id: 'ab', admitted_by: 'desktop', members: [MEMBER], joined: true };
    },
    async joinChecks(namespace) {
      note('joinChecks', namespace);
      return [CHECK];
    },
    async decideJoin(namespace, code, accept) {
      note('decideJoin', namespace, code, accept);
      return { ...CHECK, code };
    },
    async removeMember(namespace, machine) {
      note('removeMember', namespace, machine);
      return { ...MEMBER, machine, self: false };
    },
    async promote(namespace, machine) {
      note('promote', namespace, machine);
      return { ...MEMBER, machine };
    },
    async leave(namespace) {
      note('leave', namespace);
    },
    async recover(namespace, phrase, remove) {
      note('recover', namespace, phrase, remove);
      return { ...NAMESPACE, namespace };
    },
    async addAgent(address) {
      note('addAgent', address);
      return { ...localAgent(address), added: true };
    },
    async agents() {
      note('agents');
      return list;
    },
    async removeAgent(address) {
      note('removeAgent', address);
    },
    async newToken(address) {
      note('newToken', address);
      return { agent: address, token: 'fresh' };
    },
    async agentOfToken(token) {
      return token === AGENT_TOKEN ? FRONTEND : undefined;
    },
    async setAgent(address, settings) {
      note('setAgent', address, settings);
      return localAgent(address);
    },
    async watch(address, watch) {
      note('watch', address, watch);
      return { ...WATCH, as: address };
    },
    async watches(address) {
      note('watches', address);
      return [{ ...WATCH, as: address }];
    },
    async unwatch(address, id) {
      note('unwatch', address, id);
      return { ...WATCH, as: address, id };
    },
    async peek(address, limit) {
      note('peek', address, limit);
      return { pending: [MESSAGE], total: 1 };
    },
  };
  return fake;
}

/** A clock that stands still until it is told. */
export function handClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  const timers = new Set<{ atMs: number; task: () => void }>();
  return {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(delayMs, task) {
      const timer = { atMs: nowMs + delayMs, task };
      timers.add(timer);
      return { cancel: () => timers.delete(timer) };
    },
    advance(ms) {
      nowMs += ms;
      for (const timer of timers) {
        if (timer.atMs > nowMs) continue;
        timers.delete(timer);
        timer.task();
      }
    },
  };
}

/** Exports its own words, and counts the bytes of an import as messages. */
export const fakeBundles: Bundles = {
  async export(namespace) {
    if (namespace !== NAMESPACE.namespace) throw refusal;
    return Readable.from([Buffer.from('bundle of '), Buffer.from(namespace)]);
  },
  async import(chunks) {
    let taken = 0;
    for await (const chunk of chunks) taken += chunk.length;
    return {
      namespace: NAMESPACE.namespace,
      from: 'laptop',
      made_at: STARTED_AT,
      ending: 'whole',
      damaged: 0,
      statements: { new: 0, known: 1, refused: 0 },
      prekeys: 0,
      messages: { taken, known: 0, refused: 0, held: 0 },
      receipts: { new: 0, known: 0 },
      refusals: {},
    };
  },
};

/** Finds nothing, mends nothing. */
export const fakeDoctor: Doctor = {
  async examine() {
    return { checks: [{ name: 'store', state: 'ok', text: 'examined' }] };
  },
  async repair() {
    return { checks: [{ name: 'store', state: 'warn', text: 'repaired' }] };
  },
  async peers() {
    return [PEER];
  },
  async acknowledge() {},
};

export interface World {
  api: Api;
  messenger: FakeMessenger;
  admin: FakeAdmin;
  socketPath: string;
  port: number;
  /** Ends everything; the rest of the world may have ended before. */
  teardown(): Promise<void>;
}

export const idleMcp: HttpMcp = {
  async handle(_request, response) {
    response.end();
  },
  async close() {},
};

export async function startWorld(changes: Partial<ApiParts> = {}, at?: string): Promise<World> {
  const messenger = fakeMessenger();
  const admin = fakeAdmin();
  const folder = await mkdtemp(join(tmpdir(), 'patchcord-api-'));
  const socketPath = at ?? join(folder, 's');
  const info = { version: '0.1.0', pid: 4711, home: folder, startedAt: STARTED_AT };
  const api = createApi({
    messenger,
    admin,
    bundles: fakeBundles,
    storeCopy: async function* () {},
    doctor: fakeDoctor,
    top: fakeTop,
    mcp: idleMcp,
    log: silentLog,
    clock: systemClock,
    info,
    apiToken: API_TOKEN,
    onStop: () => {},
    ...changes,
  });
  const { http } = await api.start({ socketPath, host: '127.0.0.1', port: 0 });
  async function teardown(): Promise<void> {
    await api.stop();
    await rm(folder, { recursive: true, force: true });
  }
  return { api, messenger, admin, socketPath, port: Number(new URL(http).port), teardown };
}

export interface Asked {
  method?: string;
  headers?: Record<string, string>;
  body?: unknown;
  /** Sent as it is, in place of `body`. */
  text?: string;
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Empty for what is no JSON. */
  json: Record<string, unknown>;
}

/** Over TCP when `at` is a port, over a socket when it is a path. */
export async function ask(at: number | string, path: string, asked: Asked = {}): Promise<Answer> {
  const response = await openResponse(at, path, asked);
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const isJson = response.headers['content-type']?.includes('json') === true;
  return {
    status: response.statusCode!,
    headers: response.headers,
    text,
    json: z.record(z.string(), z.unknown()).parse(isJson ? JSON.parse(text) : {}),
  };
}

/** Where a request goes: a port of this host, or a socket. */
export function placeOf(at: number | string) {
  return typeof at === 'number' ? { host: '127.0.0.1', port: at } : { socketPath: at };
}

export async function openResponse(
  at: number | string,
  path: string,
  asked: Asked = {},
): Promise<IncomingMessage> {
  const text = asked.text ?? (asked.body === undefined ? undefined : JSON.stringify(asked.body));
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = request({
    ...placeOf(at),
    path,
    method: asked.method ?? (text === undefined ? 'GET' : 'POST'),
    headers: { ...(text !== undefined && { 'content-type': 'application/json' }), ...asked.headers },
    agent: false,
    ...(asked.signal && { signal: asked.signal }),
  });
  sent.once('response', resolve);
  sent.on('error', reject);
  sent.end(text);
  return promise;
}

export function bearer(token: string): { headers: Record<string, string> } {
  return { headers: { authorization: `Bearer ${token}` } };
}

export const refusal = new PatchcordError('unknown_recipient', 'No agent "bakend".', 'Did you mean backend?');
