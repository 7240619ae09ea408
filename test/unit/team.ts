import { expect } from 'vitest';
import { systemRandom, type Random } from '../../daemon/clock.ts';
import { DirectoryStore } from '../../daemon/directory/directory-store.ts';
import type { Log } from '../../daemon/log.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import type { Session } from '../../mcp/messenger.ts';
import { addStatements, openLog, type NamespaceLog } from '../../protocol/membership/log.ts';
import { readStatement } from '../../protocol/membership/statement.ts';
import { HandPeer } from './hand-peer.ts';
import { admit, HandClock, startMachine, turn, Wire, type TestMachine } from './wire.ts';

/** Whole machines on one wire, and what tests of a namespace ask of them. Time stands still between calls. */
export class Team {
  readonly wire = new Wire();
  readonly clock = new HandClock();
  readonly #seeds = new Map<string, number>();
  readonly #labels = new Map<string, string>();
  readonly #running = new Map<string, TestMachine>();
  readonly #linksMax: number | undefined;

  /** `linksMax`: links that each machine keeps in a namespace. */
  constructor(linksMax?: number) {
    this.#linksMax = linksMax;
  }

  async start(
    seed: number,
    label: string,
    more: { kv?: TestMachine['kv']; random?: Random; log?: Log; retentionMs?: number } = {},
  ): Promise<TestMachine> {
    const machine = await startMachine(this.wire, {
      seed,
      label,
      clock: this.clock,
      ...this.#more(),
      ...more,
    });
    this.#seeds.set(machine.peerId, seed);
    this.#labels.set(machine.peerId, label);
    this.#running.set(machine.peerId, machine);
    await turn();
    return machine;
  }

  #more(): { linksMax?: number } {
    return this.#linksMax === undefined ? {} : { linksMax: this.#linksMax };
  }

  async stop(machine: TestMachine): Promise<void> {
    this.#running.delete(machine.peerId);
    await machine.stop();
    await turn();
  }

  /** The machine, started again on its store. */
  async again(machine: TestMachine): Promise<TestMachine> {
    if (this.#running.has(machine.peerId)) await this.stop(machine);
    const { peerId, kv } = machine;
    return this.start(this.#seeds.get(peerId)!, this.#labels.get(peerId)!, { kv });
  }

  async stopAll(): Promise<void> {
    for (const machine of this.#running.values()) await machine.stop();
  }

  cut(a: { peerId: string }, b: { peerId: string }): void {
    this.wire.cut(a.peerId, b.peerId);
  }

  async mend(a: { peerId: string }, b: { peerId: string }): Promise<void> {
    this.wire.mend(a.peerId, b.peerId);
    await turn();
  }

  async hand(seed: number, from?: TestMachine, namespace = 'myproject'): Promise<HandPeer> {
    const peer = new HandPeer(this.wire, seed);
    await peer.start();
    if (from) await peer.join((await from.admin.invite(namespace)).ticket);
    return peer;
  }

  async open(machine: TestMachine, name: string, namespace = 'myproject'): Promise<Session> {
    const session = await machine.messenger.open({ agent: `${name}@${namespace}`, client: 'test 1' });
    await turn();
    return session;
  }

  async say(session: Session, to: string, content: string) {
    const sending = session.send({ to_agent: to, content, thread: '' });
    sending.catch(() => undefined);
    await this.clock.advance(100);
    return sending;
  }

  /** What a machine keeps of its directory, as it lies in its store. */
  async stored(machine: TestMachine) {
    const storeKey = new Uint8Array(32).fill(this.#seeds.get(machine.peerId)!);
    const seal = createRecordSeal(storeKey, systemRandom.bytes);
    return new DirectoryStore(new Journal(machine.kv, seal)).load();
  }

  /** A namespace log as it lies in a machine's store. */
  async log(machine: TestMachine, ns: string): Promise<NamespaceLog> {
    const { statements } = await this.stored(machine);
    const list = statements.filter((one) => one.ns === ns).map(({ bytes }) => readStatement(bytes));
    return addStatements(openLog(list.find(({ hash }) => hash === ns)!), list).log;
  }

  /** The namespace key that lies in a machine's store, in hex. */
  async key(machine: TestMachine, ns: string): Promise<string | undefined> {
    const found = (await this.stored(machine)).keys.find((one) => one.ns === ns);
    return found && Buffer.from(found.key).toString('hex');
  }
}

/** Desk, laptop and tower in one namespace; desk is its admin. On each lives one agent: ada, bob, cid. */
export interface Three {
  team: Team;
  ns: string;
  phrase: string;
  desk: TestMachine;
  laptop: TestMachine;
  tower: TestMachine;
  ada: Session;
  bob: Session;
  cid: Session;
}

export async function three(): Promise<Three> {
  const team = new Team();
  const desk = await team.start(1, 'desk');
  const laptop = await team.start(2, 'laptop');
  const tower = await team.start(3, 'tower');
  const { id: ns, recovery_phrase: phrase } = await desk.admin.createNamespace('myproject');
  for (const machine of [laptop, tower]) await admit(desk, machine);
  const ada = await team.open(desk, 'ada');
  const bob = await team.open(laptop, 'bob');
  const cid = await team.open(tower, 'cid');
  return { team, ns, phrase, desk, laptop, tower, ada, bob, cid };
}

export function refusal(code: string): unknown {
  return expect.objectContaining({ name: 'PatchcordError', code });
}

/** Labels of the machines that are in, as one of them sees it. */
export async function membersOf(machine: TestMachine, namespace = 'myproject'): Promise<string[]> {
  return (await machine.admin.members(namespace)).map(({ machine: label }) => label).sort();
}

/** Labels of the other machines that one is linked with now. */
export async function linksOf(machine: TestMachine): Promise<string[]> {
  const { links } = await machine.admin.status();
  return links
    .filter(({ up }) => up)
    .map(({ machine: label }) => label)
    .sort();
}

/** Names of all agents that a session is told of. */
export async function agentsOf(session: Session): Promise<string[]> {
  const { agents } = await session.inbox({ all_agents: true });
  return agents.map(({ agent, online }) => `${agent.split('@')[0]}${online ? '' : ' (away)'}`);
}

export async function warningsOf(session: Session): Promise<string[]> {
  return (await session.inbox({ all_agents: false })).warnings;
}

/** What the inbox of an agent shows for the first time; the next call of the session reads it. */
export async function pendingOf(session: Session): Promise<string[]> {
  return (await session.inbox({ all_agents: false })).pending.map(({ content }) => content);
}

/** What waits for an agent, unread. */
export async function peeked(machine: TestMachine, name: string, namespace = 'myproject'): Promise<string[]> {
  const { pending } = await machine.admin.peek(`${name}@${namespace}`, 100);
  return pending.map(({ content }) => content);
}

/** How far a message came that a session has sent, as its history shows it. */
export async function rungOf(session: Session, content: string): Promise<string | undefined> {
  const { messages } = await session.recall({ limit: 100, from_agent: '', thread_id: '' });
  return messages.find((one) => one.content === content && one.direction === 'sent')?.status;
}

/** The desk with ada, seed 1, and the laptop with bob, seed 2, in the namespace `myproject`. */
export async function deskAndLaptop({ gossips = false } = {}) {
  const team = new Team();
  team.wire.gossips = gossips;
  const desk = await team.start(1, 'desk');
  const laptop = await team.start(2, 'laptop');
  await desk.admin.createNamespace('myproject');
  await admit(desk, laptop);
  return { team, desk, laptop, ada: await team.open(desk, 'ada'), bob: await team.open(laptop, 'bob') };
}
