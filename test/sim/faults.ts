import { meddle } from './hostile.ts';
import type { SimNode } from './node.ts';
import type { SeededRandom } from './random.ts';
import { Watches } from './watches.ts';
import type { World } from './world.ts';

/** How often each thing happens, on average, in virtual milliseconds. */
interface Weather {
  crashMs: number;
  stopMs: number;
  breakMs: number;
  silenceMs: number;
  killMs: number;
  fullDiskMs: number;
  hostileMs: number;
  clockMs: number;
}

export interface Faults {
  stop(): void;
}

/** Share of the seeds in which two machines are never there together. */
const WATCHES_SHARE = 0.4;

/** Wrong clocks: right, off by seconds, off by hours. */
const NEVER_MS = 1_000_000_000;
const SKEWS_MS = [0, 0, 2_500, -4_000, 3_600_000, -5 * 3_600_000];

/** Each seed has its own kind of bad weather, from a mere breeze to all at once. */
export function startFaults(world: World): Faults {
  const random = world.random.fork('faults');
  const { wire, time, all } = world;
  wire.faults = {
    lossShare: random.pick([0, 0, 0.02, 0.1, 0.25]),
    duplicateShare: random.pick([0, 0.02, 0.15]),
    reorderShare: random.pick([0, 0, 0.05, 0.4]),
    delayMsMax: random.pick([5, 50, 400, 3_000]),
  };
  wire.window = random.pick([
    { frames: 512, sizeBytes: 2 * 1024 * 1024 },
    { frames: 3, sizeBytes: 64 * 1024 },
  ]);
  for (const agent of world.agents) {
    agent.thinkMs = random.pick([200, 1_500, 5_000]);
    agent.deathShare = random.pick([0, 0, 0.03, 0.1]);
  }
  const crashShare = random.pick([0, 0, 0.005, 0.02]);
  for (const node of all) {
    // The worst moment for a power cut is the midst of a write.
    node.onWrite = () => {
      if (random.chance(crashShare)) time.after(random.between(0, 6), () => crash(world, node, random));
    };
  }
  const often = () => random.pick([1_500, 5_000, 20_000, NEVER_MS]);
  const weather: Weather = {
    crashMs: often(),
    stopMs: 3 * often(),
    breakMs: often(),
    silenceMs: often(),
    killMs: often(),
    fullDiskMs: 3 * often(),
    hostileMs: 8_000,
    clockMs: 3 * often(),
  };
  world.trace(`weather ${JSON.stringify(weather)} ${JSON.stringify(wire.faults)}`);
  let isOn = true;
  const repeat = (meanMs: number, happen: () => void) => {
    const again = () =>
      time.after(random.interval(meanMs), () => {
        if (!isOn) return;
        happen();
        again();
      });
    again();
  };
  repeat(weather.crashMs, () => crash(world, random.pick(all), random));
  repeat(weather.stopMs, () => stop(world, random.pick(all), random));
  repeat(weather.breakMs, () => {
    const pairs = wire.pairs();
    if (pairs.length > 0) wire.breakLink(...random.pick(pairs), 'broken');
  });
  repeat(weather.silenceMs, () => silence(world, random));
  repeat(weather.killMs, () => random.pick(world.agents).kill());
  repeat(weather.fullDiskMs, () => fill(world, random.pick(all), random));
  repeat(weather.clockMs, () => random.pick(all).setClock(random.pick(SKEWS_MS)));
  const hostile = world.random.fork('hostile');
  repeat(weather.hostileMs, () => {
    const failed = (error: unknown) => world.ledger.problem('internal', `west failed: ${String(error)}`);
    meddle(world, hostile).catch(failed);
  });
  const watches = random.chance(WATCHES_SHARE) ? new Watches(world) : undefined;
  watches?.run().catch((error: unknown) => world.ledger.problem('internal', `watches: ${String(error)}`));
  return {
    stop() {
      isOn = false;
      watches?.end();
      for (const agent of world.agents) agent.deathShare = 0;
      for (const node of all) node.onWrite = undefined;
    },
  };
}

function crash(world: World, node: SimNode, random: SeededRandom): void {
  if (!node.isRunning) return;
  node.crash();
  restart(world, node, random);
}

function stop(world: World, node: SimNode, random: SeededRandom): void {
  void node.stop().then(() => restart(world, node, random));
}

function restart({ time }: World, node: SimNode, random: SeededRandom): void {
  time.after(random.between(50, random.pick([500, 12_000])), () => node.start());
}

/** Cuts one machine from another, or from all others, in one direction or in both. */
function silence({ wire, time, all }: World, random: SeededRandom): void {
  const from = random.pick(all);
  const others = all.filter((node) => node !== from);
  const cut = random.chance(0.5) ? others : [random.pick(others)];
  const isOneWay = random.chance(0.5);
  const lastsMs = random.between(1_000, random.pick([5_000, 60_000]));
  for (const other of cut) {
    const [a, b] = random.chance(0.5) ? [from, other] : [other, from];
    const directions = isOneWay
      ? [[a, b]]
      : [
          [a, b],
          [b, a],
        ];
    for (const [source, target] of directions) {
      const [sourceId, targetId] = [source!.signer.peerId, target!.signer.peerId];
      wire.silence(sourceId, targetId);
      time.after(lastsMs, () => wire.heal(sourceId, targetId));
    }
  }
}

/** A disk has no space for a while. */
function fill(world: World, node: SimNode, random: SeededRandom): void {
  const { kv } = node;
  if (!kv) return;
  world.trace(`the disk of ${node.name} is full`);
  kv.isFull = true;
  world.time.after(random.between(100, 3_000), () => (kv.isFull = false));
}
