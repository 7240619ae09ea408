import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PatchcordError } from '../../protocol/errors.ts';
import type { MessageView } from '../../protocol/views.ts';
import type { Session } from '../../mcp/messenger.ts';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { boundText, Ledger } from '../processes/ledger.ts';
import { Stage } from '../processes/stage.ts';
import { SeededRandom } from '../sim/random.ts';

/** SIGKILL of everything that can be killed. A failure is repeated with PATCHCORD_SEED set to the printed seed. */
const SEED = process.env['PATCHCORD_SEED'] ?? String(Date.now());
const ROUNDS = Number(process.env['PATCHCORD_ROUNDS'] ?? 12);
/** A kill comes after at most so many more acknowledged messages, and at most so much later. */
const MESSAGES_MAX = 50;
const DELAY_MS_MAX = 30;
/** Messages that may be acknowledged and not yet shown before a sender pauses. */
const AHEAD_MAX = 80;
/** How a session says that its daemon has died. */
const LOST = new Set(['daemon_unreachable', 'unknown_session']);
const CLIENT = fileURLToPath(new URL('../processes/client-process.ts', import.meta.url));

const stage = new Stage();
let a: DaemonProcess;
let b: DaemonProcess;

beforeAll(async () => {
  [a, b] = await Promise.all([stage.machine('alpha'), stage.machine('beta')]);
  await mesh('team', a, b);
});
afterAll(() => stage.end());

/** Lets somebody wait for the next time that something happened. */
class Bell {
  #next = Promise.withResolvers<void>();

  ring(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  rung(): Promise<void> {
    return this.#next.promise;
  }
}

/** An agent whose client opens a session again whenever its daemon is back. */
class Survivor {
  readonly address: string;
  readonly #machine: DaemonProcess;
  readonly #up: () => Promise<unknown>;
  #session: Session | undefined;

  constructor(machine: DaemonProcess, address: string, up: () => Promise<unknown>) {
    this.#machine = machine;
    this.address = address;
    this.#up = up;
  }

  /** Runs a call once; undefined when the daemon died under it, and it is unknown whether it ran. */
  async try<T>(call: (session: Session) => Promise<T>): Promise<T | undefined> {
    try {
      this.#session ??= await this.#machine
        .client()
        .messenger.open({ agent: this.address, client: 'ledger' });
      return await call(this.#session);
    } catch (error) {
      if (!(error instanceof PatchcordError) || !LOST.has(error.code)) throw error;
      this.#session = undefined;
      await this.#up();
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.#session?.close();
  }
}

/** Two lanes of messages, one each way, that go on while daemons die; what the clients see is in the ledger. */
class Traffic {
  readonly ledger = new Ledger();
  readonly acknowledged = new Bell();
  readonly #shown = new Bell();
  readonly #starting = new Map<DaemonProcess, Promise<unknown>>();
  readonly #lanes: { sender: Survivor; reader: Survivor }[];
  #sending = true;
  readonly #read = new AbortController();
  #senders: Promise<void>[] = [];
  #readers: Promise<void>[] = [];

  constructor(...ways: (readonly [from: DaemonProcess, to: DaemonProcess])[]) {
    const survivor = (role: string, machine: DaemonProcess) =>
      new Survivor(machine, `${role}.${machine.label}@team`, async () => this.#starting.get(machine));
    this.#lanes = ways.map(([from, to]) => ({
      sender: survivor('sender', from),
      reader: survivor('reader', to),
    }));
  }

  /** Resolves when messages flow. */
  async start(): Promise<void> {
    const look = async (survivor: Survivor) =>
      (await survivor.try((session) => session.inbox({ all_agents: true })))?.agents ?? [];
    for (const { reader } of this.#lanes) await look(reader);
    for (const { sender, reader } of this.#lanes) {
      await eventually(
        `${sender.address} sees ${reader.address}`,
        () => look(sender),
        (agents) => agents.some(({ agent }) => agent === reader.address),
      );
    }
    this.#senders = this.#lanes.map((lane) => this.#send(lane.sender, lane.reader.address));
    this.#readers = this.#lanes.map((lane) => this.#show(lane.reader));
  }

  /** Kills a daemon and starts it again. */
  async kill(machine: DaemonProcess): Promise<void> {
    const started = machine.kill('SIGKILL').then(() => machine.start());
    this.#starting.set(machine, started);
    await started;
  }

  /** Rejects when a client was told something that it may not be told; does not resolve before the end. */
  async failed(): Promise<void> {
    await Promise.all([...this.#senders, ...this.#readers]);
  }

  /** Stops sending, and reading when all that was acknowledged is shown or nothing more comes. */
  async drain(): Promise<void> {
    this.#sending = false;
    this.#shown.ring();
    await Promise.all(this.#senders);
    await eventually(
      'all that was acknowledged is shown',
      async () => this.ledger.lost(),
      (lost) => lost.length === 0,
    ).catch(() => undefined);
    this.#read.abort();
    await Promise.all(this.#readers);
    await Promise.all(this.#lanes.flatMap(({ sender, reader }) => [sender.close(), reader.close()]));
  }

  async #send(survivor: Survivor, to: string): Promise<void> {
    for (let counter = 1; this.#sending; counter++) {
      while (this.#sending && this.ledger.ahead > AHEAD_MAX) await this.#shown.rung();
      const content = `${survivor.address} ${counter}`;
      const sent = await survivor.try((session) => session.send({ to_agent: to, content, thread: '' }));
      if (sent?.status === 'sent') this.ledger.acknowledged(survivor.address, counter);
      else if (sent === undefined) this.ledger.unanswered();
      else throw new Error(`${content}: ${JSON.stringify(sent)}`);
      this.acknowledged.ring();
    }
  }

  async #show(survivor: Survivor): Promise<void> {
    const { signal } = this.#read;
    while (!signal.aborted) {
      const waited = await survivor
        .try((session) => session.wait({ timeout_seconds: 60 }, signal))
        .catch((error: unknown) => {
          if (!signal.aborted) throw error;
          return undefined;
        });
      if (waited?.message) this.ledger.shown(waited.message);
      this.#shown.ring();
    }
  }
}

test('nothing acknowledged is lost, doubled or reordered when daemons are killed at random', async () => {
  const random = new SeededRandom(SEED);
  const traffic = new Traffic([a, b], [b, a]);
  const { ledger } = traffic;
  await traffic.start();
  const failed = traffic.failed();
  for (let round = 0; round < ROUNDS; round++) {
    const until = ledger.acknowledgedCount + random.between(1, MESSAGES_MAX);
    while (ledger.acknowledgedCount < until) await Promise.race([traffic.acknowledged.rung(), failed]);
    await delay(random.between(0, DELAY_MS_MAX));
    await traffic.kill(random.pick([a, b]));
  }
  await traffic.drain();
  const figures = ledger.figures();
  console.log(
    `crash: seed ${SEED}, ${ROUNDS} kills, ${JSON.stringify(figures)}; with 95 % confidence fewer than ` +
      `${boundText(figures.acknowledged)} of messages and ${boundText(ROUNDS)} of kills lose, double or reorder one`,
  );
  expect(ledger.lost()).toEqual([]);
  expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
  expect(figures.acknowledged).toBeGreaterThan(ROUNDS);
  for (const machine of [a, b]) {
    await eventually(
      `${machine.label} has nothing left to send`,
      async () => (await machine.client().status()).links.map(({ queued }) => queued),
      (queued) => queued.every((count) => count === 0),
    );
  }
});

test('what was acknowledged right before the sender is killed arrives once', async () => {
  const reader = await stage.agent(b, 'once.reader@team');
  const sender = await stage.agent(a, 'once.sender@team');
  await sender.sees('once.reader');
  await reader.close();
  await b.kill('SIGTERM');
  const id = await sender.send('once.reader', 'before the kill');
  await a.kill('SIGKILL');
  await sender.close();
  await Promise.all([a.start(), b.start()]);
  const again = await stage.agent(b, 'once.reader@team');
  const message = await again.next();
  expect(message).toMatchObject({ message_id: id, content: 'before the kill' });
  expect(message.seen_before).toBeUndefined();
  const back = await stage.agent(a, 'once.sender@team');
  await back.reaches(id, 'delivered', 'read');
  await back.send('once.reader', 'and the next');
  expect(await again.next()).toMatchObject({ content: 'and the next' });
  expect((await again.call('inbox')).pending).toEqual([]);
  expect((await again.call('recall')).messages).toHaveLength(2);
});

/** A client that waits in a process of its own. */
class ClientProcess {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  server = 0;

  constructor(machine: DaemonProcess, address: string) {
    const child = spawn(process.execPath, [CLIENT, machine.home, address], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.process = child;
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  }

  async opened(): Promise<this> {
    ({ server: this.server } = await this.#document<{ server: number }>());
    return this;
  }

  /** Asks for a message; resolves when the client has been shown it. */
  async next(): Promise<MessageView> {
    this.process.stdin!.write('\n');
    return this.#document();
  }

  async kill(): Promise<void> {
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }

  async #document<T>(): Promise<T> {
    const document: T = JSON.parse((await this.#lines.next()).value);
    return document;
  }
}

test('what was shown to a client that is killed before its next call is shown again', async () => {
  const sender = await stage.agent(a, 'dead.sender@team');
  const client = await new ClientProcess(b, 'dead.reader@team').opened();
  try {
    await sender.sees('dead.reader', { online: true });
    const waiting = client.next();
    const id = await sender.send('dead.reader', 'read this');
    const first = await waiting;
    expect(first.message_id).toBe(id);
    expect(first.seen_before).toBeUndefined();
    await client.kill();
    await sender.sees('dead.reader', { online: false });
    const heir = await stage.agent(b, 'dead.reader@team');
    expect(await heir.next()).toMatchObject({ message_id: id, content: 'read this', seen_before: true });
    expect((await heir.call('inbox')).pending).toEqual([]);
    await sender.reaches(id, 'read');
  } finally {
    client.process.kill('SIGKILL');
  }
});

test.each(['before', 'while'])(
  'no message is eaten by a wait whose MCP server is killed %s it arrives',
  async (when) => {
    const [from, to] = [`eaten.sender.${when}`, `eaten.reader.${when}`];
    const sender = await stage.agent(a, `${from}@team`);
    for (let round = 0; round < 2; round++) {
      const reader = await stage.agent(b, `${to}@team`);
      await sender.sees(to, { online: true });
      const waiting = reader.call('wait_for_message', { timeout_seconds: 40 });
      const cut = waiting.then(
        ({ message }) => message?.content,
        (error: Error) => error.message,
      );
      // Answered after the wait was taken up, because the server reads one line after the other.
      await reader.call('recall');
      const sending = when === 'while' ? sender.send(to, `round ${round}`) : undefined;
      process.kill(reader.pid, 'SIGKILL');
      const outcome = await cut;
      const id = await (sending ?? sender.send(to, `round ${round}`));
      expect(outcome).toMatch(when === 'while' ? /closed|round/i : /closed/i);
      const heir = await stage.agent(b, `${to}@team`);
      expect(await heir.next()).toMatchObject({ message_id: id, content: `round ${round}` });
      expect((await heir.call('inbox')).pending).toEqual([]);
      await heir.close();
    }
  },
);
