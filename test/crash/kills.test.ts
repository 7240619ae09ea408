import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MessageView } from '../../protocol/views.ts';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { reportOf } from '../processes/ledger.ts';
import { Stage } from '../processes/stage.ts';
import { Traffic } from '../processes/traffic.ts';
import { SeededRandom } from '../sim/random.ts';
import { drained, killAtRandom } from './kills.ts';

/** SIGKILL of everything that can be killed. A failure is repeated with PATCHCORD_SEED set to the printed seed. */
const SEED = process.env['PATCHCORD_SEED'] ?? String(Date.now());
const KILLS = Number(process.env['PATCHCORD_KILLS'] ?? 30);
const CLIENT = fileURLToPath(new URL('../processes/client-process.ts', import.meta.url));

const stage = new Stage();
let a: DaemonProcess;
let b: DaemonProcess;
let c: DaemonProcess;

beforeAll(async () => {
  [a, b, c] = await Promise.all([stage.machine('alpha'), stage.machine('beta'), stage.machine('gamma')]);
  await mesh('team', a, b, c);
});
afterAll(() => stage.end());

test('nothing acknowledged is lost, doubled or reordered when daemons are killed at random', async () => {
  const random = new SeededRandom(SEED);
  const traffic = new Traffic([
    [a, b],
    [b, a],
    [a, c],
    [c, b],
  ]);
  await traffic.start();
  await killAtRandom(traffic, [a, b, c], random, KILLS);
  await traffic.drain();
  const figures = traffic.ledger.figures();
  console.log(`crash: seed ${SEED}, ${KILLS} kills, ${reportOf(figures, KILLS)}`);
  expect(traffic.ledger.lost()).toEqual([]);
  expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, flagged: 0 });
  expect(figures.acknowledged).toBeGreaterThan(KILLS);
  for (const machine of [a, b, c]) await drained(machine);
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
