import { RETRY_MAX_MS } from '../../protocol/limits.ts';
import type { SimAgent } from './agent.ts';
import { startFaults, type Faults } from './faults.ts';
import type { Problem } from './ledger.ts';
import { Newcomer } from './newcomer.ts';
import { labelOf, type Outcome, type SimNode } from './node.ts';
import { readHistories, reckonMembers, reckonRemoval, reckonStores, type Story } from './reckoning.ts';
import { Twins } from './twins.ts';
import { NO_WIRE_FAULTS } from './wire.ts';
import { BLUE, RED, World, type SimOptions } from './world.ts';

export interface SimResult {
  seed: string;
  /** Whether it ran with the real cryptography and encoding. */
  isReal: boolean;
  /** SHA-256 of the event log, when one was kept. */
  hash: string;
  /** Whether a second run was made, and was the same. */
  isTwice: boolean;
  /** How many events it took. */
  steps: number;
  problems: Problem[];
  /** Acknowledged copies, and how many were shown. */
  accepted: number;
  shown: number;
  /** Shown though sender and recipient were never there together. */
  byMailbox: number;
  crashes: number;
  framesDelivered: number;
  virtualMs: number;
  /** From the end of the faults until nothing was under way. */
  drainMs: number;
}

const SETUP_MS_MAX = 60_000;
/** The faults end after this long, however few messages there were. */
const BUSY_MS_MAX = 30 * 60_000;
/** When faults stop, everything is delivered and settled within this. */
const DRAIN_MS_MAX = 10 * 60_000;
/** What was under way last has settled by then, */
const CALM_MS = 10_000;
/** and in a whole interval of retries nothing more is tried. Meanwhile views of who is online come to agree. */
const REST_MS = RETRY_MAX_MS + 5_000;
/** What the operating system writes back by itself is on the disk by then. */
const WRITE_BACK_MS = 5_000;

/** Runs one seed from power on to the last reckoning. */
export async function simulate(options: SimOptions): Promise<SimResult> {
  const world = new World(options);
  const { time, ledger, agents, wire } = world;
  let drainMs = 0;
  try {
    await setUp(world);
    await becomeAcquainted(world);
    for (const agent of agents) agent.mode = 'busy';
    const story = startStory(world);
    const faults = startFaults(world);
    await time.run(BUSY_MS_MAX, () => world.isSpent);
    drainMs = await drain(world, faults, story);
    await rest(world, story);
    await time.finish(reckon(world, story), SETUP_MS_MAX);
  } catch (error) {
    ledger.problem('internal', error instanceof Error ? error.message : String(error));
  }
  const result = {
    seed: options.seed,
    isReal: options.isReal,
    hash: world.digest(),
    isTwice: false,
    steps: time.steps,
    problems: [...ledger.problems],
    accepted: ledger.accepted,
    shown: ledger.shown,
    byMailbox: world.countByMailbox(),
    crashes: world.all.reduce((sum, { crashes }) => sum + crashes, 0),
    framesDelivered: wire.framesDelivered,
    virtualMs: time.nowMs,
    drainMs,
  };
  for (const agent of agents) agent.end();
  return result;
}

/** Every agent opens its session and gets to know the others before it starts. */
async function becomeAcquainted(world: World): Promise<void> {
  const { time } = world;
  const writeBack = () => {
    for (const { disk } of world.all) void disk.write([], { sync: true });
    time.after(WRITE_BACK_MS, writeBack);
  };
  writeBack();
  world.addAgents();
  for (const agent of world.agents) {
    agent.mode = 'rest';
    world.run(agent);
  }
  await time.run(SETUP_MS_MAX / 10);
  await time.finish(learnAgentIds(world), SETUP_MS_MAX);
}

/** Founds both namespaces and links their machines, without faults. */
async function setUp(world: World): Promise<void> {
  const { north, south, west, east, center } = world.nodes;
  for (const node of world.all) node.start();
  const steps = async () => {
    await Promise.all(world.all.map((node) => node.up()));
    world.redId = await found(RED, north, [south, west, center]);
    world.blueId = await found(BLUE, south, world.eastIsBlue ? [north, center, east] : [north, center]);
    // By the seed there is one who may remove machines, or two.
    if (world.random.chance(0.5)) {
      await answer(north.call(({ admin }) => admin.promote(RED, labelOf(south.name))));
      world.redAdmins.push(south);
    }
  };
  await world.time.finish(steps(), SETUP_MS_MAX);
}

/** What happens to the members meanwhile. */
function startStory(world: World): Story {
  const story = {
    newcomer: new Newcomer(world),
    twins: world.random.chance(0.5) ? new Twins(world) : undefined,
  };
  const failed = (error: unknown) => world.ledger.problem('internal', `the story failed: ${String(error)}`);
  story.newcomer.run().catch(failed);
  story.twins?.run().catch(failed);
  return story;
}

async function reckon(world: World, story: Story): Promise<void> {
  await reckonMembers(world, story);
  await reckonRemoval(world);
  await reckonStores(world);
  world.ledger.finish(await readHistories(world));
}

async function learnAgentIds(world: World): Promise<void> {
  for (const node of world.all) {
    const agents = await answer(node.call(({ admin }) => admin.agents()));
    for (const { agent, id } of agents) world.agentIds.set(agent, id);
  }
}

async function found(namespace: string, admin: SimNode, joiners: readonly SimNode[]): Promise<string> {
  const { id } = await answer(admin.call((machine) => machine.admin.createNamespace(namespace)));
  for (const joiner of joiners) {
    const { ticket } = await answer(admin.call((machine) => machine.admin.invite(namespace)));
    await answer(joiner.call((machine) => machine.admin.join(ticket)));
  }
  return id;
}

async function answer<T>(outcome: Promise<Outcome<T>>): Promise<T> {
  const ended = await outcome;
  if (ended.kind === 'answer') return ended.value;
  throw ended.kind === 'error' ? ended.error : new Error('the machine is gone');
}

/** Ends the faults and lets everybody read until nothing is under way. */
async function drain(world: World, faults: Faults, story: Story): Promise<number> {
  const { time, wire, ledger, agents } = world;
  faults.stop();
  wire.faults = NO_WIRE_FAULTS;
  wire.healAll();
  for (const agent of agents) if (agent.mode === 'busy') agent.mode = 'drain';
  const startedMs = time.nowMs;
  let lookedMs = -1_000;
  const isDrained = () => {
    if (time.nowMs < lookedMs + 1_000) return false;
    lookedMs = time.nowMs;
    for (const agent of agents) if (agent.mode === 'busy') agent.mode = 'drain';
    return (
      story.newcomer.isDone &&
      story.twins?.isDone !== false &&
      world.all.every((node) => node.isUp && underway(node).length === 0) &&
      agents.every((agent) => agent.isQuiet)
    );
  };
  world.trace('the faults end');
  if (!(await time.run(DRAIN_MS_MAX, isDrained))) {
    for (const node of world.all) {
      if (!node.isUp) ledger.problem('stuck', `${node.name} is not up`);
      for (const key of underway(node)) ledger.problem('stuck', `${node.name} still has ${key}`);
    }
    if (!story.newcomer.isDone) ledger.problem('stuck', 'east is not removed');
    for (const agent of agents) if (!agent.isQuiet) ledger.problem('stuck', `${agent.address} is not done`);
  }
  return time.nowMs - startedMs;
}

/** What a machine still has to bring to somebody. */
function underway({ disk }: SimNode): string[] {
  return ['outbox/', 'held/', 'gap/', 'pending/'].flatMap((prefix) => disk.keys(prefix));
}

/** Afterwards nothing moves, and everybody sees everybody. */
async function rest(world: World, story: Story): Promise<void> {
  const { time, ledger, agents } = world;
  for (const agent of agents) agent.mode = 'rest';
  await time.run(CALM_MS);
  const reads = world.all.map(({ kv }) => kv?.outboxReads ?? 0);
  await time.run(REST_MS);
  for (const [index, { kv, name }] of world.all.entries()) {
    const more = (kv?.outboxReads ?? 0) - reads[index]!;
    if (more > 0) ledger.problem('stuck', `${name} still looks into its empty outbox (${more} times)`);
  }
  await time.finish(lookAround(world, story), REST_MS);
}

/** Everybody sees everybody of its namespace, and whoever has lost its name or its place is told so. */
async function lookAround({ agents, afterwards, ledger }: World, story: Story): Promise<void> {
  const gone = story.newcomer.agent;
  const views = await Promise.all(agents.map((agent) => agent.look()));
  for (const [index, agent] of agents.entries()) {
    if (!agent.hasOpened) continue;
    const inside = agents.filter((other) => other !== gone && sameNamespace(other, agent));
    const addresses = new Set(
      inside.map(({ address }) => address).filter((address) => address !== agent.address),
    );
    const online = agent === gone ? [] : [...addresses].sort();
    const late = agent === gone || agent.address.endsWith(BLUE) ? [] : [`${afterwards}@${RED}`];
    const seen = views[index]!;
    if (seen.online.join() !== online.join() || seen.all.join() !== [...online, ...late].sort().join())
      ledger.problem('presence', `${agent.pen} sees ${seen.online.join()} of ${seen.all.join()}`);
  }
  const shutOut = agents.filter((agent, index) => {
    const { warnings } = views[index]!;
    const hasLost = story.twins?.agents.includes(agent) === true && warnings.length > 0;
    return hasLost || (agent === gone && agent.hasOpened);
  });
  const told = (await Promise.all(shutOut.map((agent) => agent.refusal('ana-quill')))).sort();
  const openTwins = story.twins?.agents.filter(({ hasOpened }) => hasOpened).length ?? 0;
  const expected = [
    ...(gone.hasOpened ? ['not_member'] : []),
    ...(openTwins === 2 ? ['name_taken'] : []),
  ].sort();
  if (told.join() !== expected.join()) ledger.problem('membership', `refused with ${told.join()}`);
}

function sameNamespace(a: SimAgent, b: SimAgent): boolean {
  return a.address.split('@')[1] === b.address.split('@')[1];
}
