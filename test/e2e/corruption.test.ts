import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CheckView } from '../../protocol/doctor-view.ts';
import type { MessageView } from '../../protocol/views.ts';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import { Stage } from '../processes/stage.ts';

/**
 * Damage to the files of a home. Two daemons with acknowledged messages are stopped; each case damages a copy of their
 * homes and starts again. Whatever happens: no text is altered, and an acknowledged message is shown as it was sent
 * or somebody is told of a loss, by the status and by the exit code of `patchcord doctor`.
 */
const SENDER = 'sender@team';
const READER = 'reader@team';
/** Read, delivered but unread, and still with the sender. */
const [READ, DELIVERED, QUEUED] = [20, 40, 50];

const stage = new Stage();
let homes: { a: string; b: string };
const textOf = (counter: number) =>
  `${counter} ${createHash('sha256').update(String(counter)).digest('hex').repeat(8)}`;

beforeAll(async () => {
  const [a, b] = await Promise.all([stage.machine('alpha'), stage.machine('beta')]);
  await mesh('team', a, b);
  const open = (machine: DaemonProcess, agent: string) =>
    machine.client().messenger.open({ agent, client: 'ledger' });
  await (await open(b, READER)).close();
  const send = async (from: number, to: number) => {
    const session = await open(a, SENDER);
    await eventually(
      'the reader is known',
      () => session.inbox({ all_agents: true }),
      ({ agents }) => agents.some(({ agent }) => agent === READER),
    );
    for (let counter = from; counter <= to; counter++) {
      const sent = await session.send({ to_agent: READER, content: textOf(counter), thread: '' });
      if (sent.status !== 'sent') throw new Error(JSON.stringify(sent));
    }
    await session.close();
  };
  const drained = (machine: DaemonProcess) =>
    eventually(
      'everything is delivered',
      () => machine.client().status(),
      ({ links }) => links.length > 0 && links.every(({ queued }) => queued === 0),
    );
  await send(1, READ);
  await drained(a);
  const reader = await open(b, READER);
  await reader.inbox({ all_agents: false });
  // The next call makes what was shown read.
  await reader.recall({ limit: 1, from_agent: '', thread_id: '' });
  await reader.close();
  await drained(b);
  // At a start LevelDB makes a table of its log: so both have some of each.
  await Promise.all([a.kill('SIGTERM'), b.kill('SIGTERM')]);
  await Promise.all([a.start(), b.start()]);
  await send(READ + 1, DELIVERED);
  await drained(a);
  await b.kill('SIGTERM');
  await send(DELIVERED + 1, QUEUED);
  await a.kill('SIGTERM');
  homes = { a: a.home, b: b.home };
});
afterAll(() => stage.end());

type Damage = (home: string) => void;

const newest = (home: string, ending: string): string => {
  const store = join(home, 'store');
  const files = readdirSync(store).filter((name) => name.endsWith(ending));
  const sized = files.map((name) => join(store, name)).sort((x, y) => statSync(x).size - statSync(y).size);
  expect(statSync(sized.at(-1)!).size).toBeGreaterThan(0);
  return sized.at(-1)!;
};
const flip =
  (find: (home: string) => string, ...shares: number[]): Damage =>
  (home) => {
    const path = find(home);
    const bytes = readFileSync(path);
    for (const share of shares) bytes[Math.floor(bytes.length * share)]! ^= 1;
    writeFileSync(path, bytes);
  };
const zero =
  (find: (home: string) => string, share: number, sizeBytes: number): Damage =>
  (home) => {
    const path = find(home);
    const bytes = readFileSync(path);
    bytes.fill(0, Math.floor(bytes.length * share), Math.floor(bytes.length * share) + sizeBytes);
    writeFileSync(path, bytes);
  };
const cut =
  (find: (home: string) => string, share: number): Damage =>
  (home) => {
    const path = find(home);
    truncateSync(path, Math.floor(statSync(path).size * share));
  };
const drop =
  (...find: ((home: string) => string)[]): Damage =>
  (home) => {
    for (const one of find) rmSync(one(home));
  };
const log = (home: string) => newest(home, '.log');
const table = (home: string) => newest(home, '.ldb');
const manifest = (home: string) => {
  const name = readdirSync(join(home, 'store')).find((one) => one.startsWith('MANIFEST'))!;
  return join(home, 'store', name);
};
const inStore = (name: string) => (home: string) => join(home, 'store', name);
const inHome = (name: string) => (home: string) => join(home, name);

/** What a case is over: who has the damage, and what must come of it. */
interface Case {
  what: string;
  at: 'a' | 'b';
  damage: Damage;
  /** `starts`: by itself; `repair`: after `doctor --repair`. */
  outcome: 'starts' | 'repair';
  /** Something is gone, and it must be said; otherwise all is there or it is said. */
  told?: true;
}

const BITS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
const CASES: Case[] = [
  { what: 'a bit of the log, early', at: 'b', damage: flip(log, 0.15), outcome: 'starts', told: true },
  { what: 'a bit of the log, late', at: 'b', damage: flip(log, 0.95), outcome: 'starts', told: true },
  { what: 'a bit of the log of the sender', at: 'a', damage: flip(log, 0.5), outcome: 'starts', told: true },
  { what: 'half of the log is cut', at: 'b', damage: cut(log, 0.5), outcome: 'starts', told: true },
  { what: 'the log is gone', at: 'b', damage: drop(log), outcome: 'starts', told: true },
  { what: 'a zeroed block of the log', at: 'a', damage: zero(log, 0.4, 4096), outcome: 'starts', told: true },
  { what: 'bits of a table', at: 'b', damage: flip(table, ...BITS), outcome: 'starts', told: true },
  {
    what: 'bits of a table of the sender',
    at: 'a',
    damage: flip(table, ...BITS),
    outcome: 'starts',
    told: true,
  },
  {
    what: 'a zeroed block of a table',
    at: 'b',
    damage: zero(table, 0.5, 4096),
    outcome: 'starts',
    told: true,
  },
  { what: 'half of a table is cut', at: 'b', damage: cut(table, 0.5), outcome: 'repair', told: true },
  { what: 'a table is gone', at: 'b', damage: drop(table), outcome: 'repair', told: true },
  { what: 'MANIFEST is gone', at: 'b', damage: drop(manifest), outcome: 'repair', told: true },
  { what: 'a bit of CURRENT', at: 'b', damage: flip(inStore('CURRENT'), 0.5), outcome: 'repair', told: true },
  { what: 'CURRENT is gone', at: 'b', damage: drop(inStore('CURRENT')), outcome: 'repair', told: true },
  {
    what: 'store.tally is gone',
    at: 'b',
    damage: drop(inHome('store.tally')),
    outcome: 'starts',
    told: true,
  },
  { what: 'the prekeys are gone', at: 'b', damage: drop(inHome('prekeys')), outcome: 'starts', told: true },
  { what: 'a bit of the prekeys', at: 'b', damage: flip(inHome('prekeys'), 0.5), outcome: 'repair' },
];

/** Both machines over copies of their homes; the one that is damaged has not started. */
function copies({ at, damage }: Case): { a: DaemonProcess; b: DaemonProcess; damaged: DaemonProcess } {
  const copy = (from: string, label: string) => {
    const machine = stage.home(label);
    cpSync(from, machine.home, { recursive: true });
    return machine;
  };
  const machines = { a: copy(homes.a, 'alpha'), b: copy(homes.b, 'beta') };
  damage(machines[at].home);
  return { ...machines, damaged: machines[at] };
}

async function doctor(machine: DaemonProcess, ...options: string[]) {
  const { code, stdout } = await machine.run('doctor', '--json', ...options);
  const { checks }: { checks: CheckView[] } = JSON.parse(stdout);
  return { code, checks };
}

/** Everything that the reader is shown until nothing more is on its way. */
async function shownBy(a: DaemonProcess, b: DaemonProcess): Promise<MessageView[]> {
  const isMember = (await b.client().admin.namespaces()).length > 0;
  if (!isMember) return [];
  const session = await b.client().messenger.open({ agent: READER, client: 'ledger' });
  const shown: MessageView[] = [];
  const peer = b.info!.peerId;
  await eventually(
    'all is handed over',
    () => a.client().status(),
    ({ links }) => links.every((link) => link.peer_id !== peer || (link.up && link.queued === 0)),
  ).catch(() => undefined);
  for (;;) {
    const { pending } = await session.inbox({ all_agents: false });
    if (pending.length === 0) break;
    shown.push(...pending);
  }
  await session.close();
  return shown;
}

/** It does not start, says that it is damaged, and so does the doctor. */
async function refuses(machine: DaemonProcess): Promise<void> {
  await expect(machine.start()).rejects.toThrow(/ended/);
  expect(machine.log).toMatch(/damaged/);
  const { code, checks } = await doctor(machine);
  expect(code).toBe(1);
  expect(checks).toContainEqual(
    expect.objectContaining({ state: 'fail', text: expect.stringMatching(/damaged|tables/) }),
  );
}

describe('damage', () => {
  test.each(CASES)('$what ($at): nothing altered, nothing lost in silence', async (one) => {
    const { a, b, damaged } = copies(one);
    if (one.outcome === 'repair') {
      await refuses(damaged);
      await doctor(damaged, '--repair');
    }
    const { listen } = await (damaged === a ? b : a).start();
    await damaged.start('--peer', listen[0]!);
    const shown = await shownBy(a, b);
    const counters = new Set(shown.map(({ content }) => Number(content.split(' ')[0])));
    for (const { content } of shown) expect(content).toBe(textOf(Number(content.split(' ')[0])));
    const sent = Array.from({ length: QUEUED - READ }, (_none, index) => READ + 1 + index);
    const lost = sent.filter((counter) => !counters.has(counter));
    const { damage } = await damaged.client().status();
    const { checks } = await damaged.client().doctor.examine();
    const isTold =
      /lost|damaged/.test(JSON.stringify(damage?.findings ?? [])) &&
      checks.some(({ name, state }) => name === 'damage' && state === 'fail');
    expect(isTold || (!one.told && lost.length === 0)).toBe(true);
    // What was found has been put right.
    expect(checks).toContainEqual(expect.objectContaining({ name: 'store', state: 'ok' }));
    console.log(
      `${one.what}: ${counters.size} shown, ${lost.length} lost, ${damage ? 'told' : 'nothing to tell'}`,
    );
    await Promise.all([a.remove(), b.remove()]);
  });

  test.each(['store.key', 'machine.key'])('a bit of %s: refused until it is put back', async (name) => {
    const { b } = copies({ what: name, at: 'b', damage: flip(inHome(name), 0.7), outcome: 'starts' });
    await refuses(b);
    expect((await doctor(b, '--repair')).code).toBe(1);
    await expect(b.start()).rejects.toThrow(/ended/);
    cpSync(join(homes.b, name), join(b.home, name));
    await b.start();
    const session = await b.client().messenger.open({ agent: READER, client: 'ledger' });
    expect((await session.inbox({ all_agents: false })).pending).toHaveLength(DELIVERED - READ);
    expect((await b.client().status()).damage).toBeUndefined();
    await session.close();
    await b.remove();
  });

  test('is said until a person has seen it', async () => {
    const { b } = copies({ what: '', at: 'b', damage: drop(inHome('store.tally')), outcome: 'starts' });
    await b.start();
    expect((await b.run('status')).stdout).toContain('DAMAGED');
    const session = await b.client().messenger.open({ agent: READER, client: 'ledger' });
    const { warnings } = await session.inbox({ all_agents: false });
    expect(warnings.join()).toContain('patchcord doctor');
    expect((await doctor(b)).code).toBe(1);
    expect((await doctor(b, '--ack')).code).toBe(0);
    expect((await b.run('status')).stdout).not.toContain('DAMAGED');
    expect((await session.inbox({ all_agents: false })).warnings).toEqual([]);
    await session.close();
    await b.remove();
  });
});
