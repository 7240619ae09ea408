import { setTimeout as delay } from 'node:timers/promises';
import type { DaemonProcess } from '../processes/daemon-process.ts';
import type { Traffic } from '../processes/traffic.ts';
import type { SeededRandom } from '../sim/random.ts';
import { part, type Host, type Lan } from './net.ts';

/** A fault lasts this long, and then as long a peace at most. */
const FAULT_MS_MIN = 1_000;
const FAULT_MS_MAX = 15_000;
const PEACE_MS_MAX = 6_000;
const LOSSES = [1, 5, 20];
/** New addresses end in one of these. */
const LAST_MIN = 100;
const LAST_MAX = 250;

export interface Place {
  host: Host;
  machine: DaemonProcess;
}

/** Something that goes wrong, and what ends it. */
type Fault = (world: {
  places: readonly Place[];
  lans: readonly Lan[];
  traffic: Traffic;
  random: SeededRandom;
}) => Promise<() => Promise<void>> | (() => Promise<void>);

const FAULTS: Record<string, Fault> = {
  partition({ places, random }) {
    const [a, b] = two(places, random);
    part(a.host, b.host);
    return async () => [a, b].forEach(({ host }) => host.well());
  },
  'one-way partition'({ places, random }) {
    const [a, b] = two(places, random);
    a.host.deafTo(b.host);
    return async () => a.host.well();
  },
  'pulled cable'({ places, random }) {
    const { host } = random.pick(places);
    host.plugged(false);
    return async () => host.plugged(true);
  },
  loss({ places, random }) {
    const percent = random.pick(LOSSES);
    for (const { host } of places) host.loses(percent);
    return async () => places.forEach(({ host }) => host.well());
  },
  'stopped process'({ places, random }) {
    const child = random.pick(places).machine.process!;
    child.kill('SIGSTOP');
    return async () => void child.kill('SIGCONT');
  },
  async kill({ places, traffic, random }) {
    const { machine } = random.pick(places);
    await traffic.down(machine);
    return () => traffic.up(machine);
  },
  'new address'({ places, random }) {
    const { host } = random.pick(places);
    host.renumber(freeLast(places, random));
    return async () => {};
  },
  'another network'({ places, lans, random }) {
    const { host } = random.pick(places);
    host.moveTo(random.pick(lans), freeLast(places, random));
    return async () => {};
  },
};

/** One fault after another until `goOn` says no; every one has ended then. */
export async function faultsAtRandom(
  world: Parameters<Fault>[0],
  goOn: (faults: number) => boolean,
): Promise<void> {
  const { traffic, random } = world;
  for (let faults = 1; ; faults++) {
    const kind = random.pick(Object.keys(FAULTS));
    const lastsMs = random.between(FAULT_MS_MIN, FAULT_MS_MAX);
    console.log(`fault ${faults}: ${kind} for ${(lastsMs / 1_000).toFixed(1)} s`);
    const end = await FAULTS[kind]!(world);
    await traffic.until(delay(lastsMs));
    await end();
    await traffic.until(delay(random.between(0, PEACE_MS_MAX)));
    if (!goOn(faults)) return;
  }
}

/** How an address may end that nobody has. */
function freeLast(places: readonly Place[], random: SeededRandom): number {
  const taken = new Set(places.map(({ host }) => Number(host.address.split('.').at(-1))));
  const all = Array.from({ length: LAST_MAX - LAST_MIN + 1 }, (_, index) => LAST_MIN + index);
  return random.pick(all.filter((last) => !taken.has(last)));
}

function two(places: readonly Place[], random: SeededRandom): [Place, Place] {
  const a = random.pick(places);
  return [a, random.pick(places.filter((place) => place !== a))];
}
