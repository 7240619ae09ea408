import { describe, expect, test } from 'vitest';
import { PRESENCE_CHOOSERS_MAX, PRESENCE_NEIGHBOURS, PRESENCE_TTL_MS } from '../../protocol/limits.ts';
import { packBeats, packKnown, type Beat } from '../../protocol/presence/beat.ts';
import { beatOf, isHere, knownOf } from '../../protocol/presence/state.ts';
import { Mesh, type SimMachine } from './mesh.ts';

/** What everybody sees of 50 machines, whatever happens to them: seeded, in virtual time. */

/** Silence on a link, when there was no word that it broke, ends it after this long. */
const LINK_SILENCE_MS = 8_000;
const TTL_MS = PRESENCE_TTL_MS + 1_000;

function fifty(seed = 1, machines = 50): Mesh {
  const mesh = new Mesh({ seed, machines });
  mesh.run(5_000);
  return mesh;
}

const entryOf = ({ state }: SimMachine, machine: SimMachine) => state.entries.get(machine.peerId)!;

/** What a machine says of itself, as another may keep it. */
function recorded(machine: SimMachine, nowMs: number) {
  const own = entryOf(machine, machine);
  const beat: Beat = { ...beatOf(own, nowMs + machine.skewMs), ageSeconds: 0 };
  return { statements: [own.statement.bytes], beats: packBeats([beat]) };
}

describe('fifty machines', () => {
  test.each([1, 2, 3])('see a change, a clean stop and a new start within a second (seed %i)', (seed) => {
    const mesh = fifty(seed);
    const [a, b] = [mesh.machines[0]!, mesh.machines[1]!];
    mesh.change(a, 'cursor 9');
    const said = entryOf(a, a).seq;
    expect(
      mesh.until(() => mesh.up.every((one) => entryOf(one, a).seq === said), 10_000),
    ).toBeLessThanOrEqual(1_000);
    mesh.leave(b);
    const others = mesh.machines.filter((one) => one !== b);
    expect(
      mesh.until(() => others.every(({ state }) => !isHere(state, b.peerId)), 10_000),
    ).toBeLessThanOrEqual(1_000);
    mesh.run(20_000);
    mesh.start(b);
    expect(mesh.until(() => mesh.agrees(), 10_000)).toBeLessThanOrEqual(1_000);
  });

  test.each([0, LINK_SILENCE_MS])(
    'see a crash in less than 10 s, with %i ms of silence on the links',
    (silentMs) => {
      const mesh = fifty();
      mesh.crash(mesh.machines[7]!, silentMs);
      expect(mesh.until(() => mesh.agrees(), 60_000)).toBeLessThan(10_000);
    },
  );

  test('agree again after many came, went and crashed', () => {
    const mesh = fifty(4);
    for (let round = 0; round < 30; round++) {
      const machine = mesh.random.pick(mesh.machines);
      if (!machine.isUp) mesh.start(machine);
      else if (mesh.random.chance(0.5)) mesh.leave(machine);
      else mesh.crash(machine);
      mesh.run(1_000);
    }
    expect(mesh.until(() => mesh.agrees(), 60_000)).toBeLessThan(10_000);
  });

  test('of two halves each shows itself alone, and both all when they meet again', () => {
    const mesh = fifty(5);
    const isLeft = (machine: SimMachine): boolean => machine.index < 25;
    const cut = mesh.machines.flatMap((a) =>
      [...a.links].filter((b) => isLeft(a) && !isLeft(b)).map((b) => [a, b] as const),
    );
    for (const [a, b] of cut) mesh.unlink(a, b);
    const left = mesh.machines.filter(isLeft);
    expect(mesh.until(() => mesh.agrees(left, isLeft), 60_000)).toBeLessThan(10_000);
    mesh.run(60_000);
    for (const [a, b] of cut) mesh.link(a, b);
    expect(mesh.until(() => mesh.agrees(), 60_000)).toBeLessThan(5_000);
  });

  test('whose words are lost on the way out is gone within the bound, and back', () => {
    const mesh = fifty(6);
    const mute = mesh.machines[3]!;
    mesh.loses = (from) => from === mute;
    const others = mesh.machines.filter((one) => one !== mute);
    const sees = (here: boolean) => () => others.every(({ state }) => isHere(state, mute.peerId) === here);
    expect(mesh.until(sees(false), 120_000)).toBeLessThanOrEqual(TTL_MS);
    expect(mesh.agrees(others, (one) => one !== mute)).toBe(true);
    mesh.loses = () => false;
    expect(mesh.until(sees(true), 60_000)).toBeLessThan(20_000);
  });

  test('nobody is lost when one word in five is', () => {
    const mesh = fifty(7);
    mesh.loses = () => mesh.random.chance(0.2);
    for (let second = 0; second < 60; second++) {
      mesh.run(1_000);
      expect(mesh.agrees()).toBe(true);
    }
  });

  test('links that break between living machines make nobody gone', () => {
    const mesh = fifty(8);
    for (let second = 0; second < 60; second++) {
      const a = mesh.random.pick(mesh.machines);
      const [b] = a.links;
      mesh.unlink(a, b!);
      mesh.after(5_000, () => mesh.link(a, b!));
      mesh.run(1_000);
      expect(mesh.agrees()).toBe(true);
    }
  });

  test('all gossip streams reset at once, and a change comes through when they are open again', () => {
    const mesh = fifty(9);
    for (const a of mesh.machines) for (const b of a.gossip) mesh.resetGossip(a, b);
    mesh.run(1_200);
    mesh.change(mesh.machines[0]!, 'after');
    const said = entryOf(mesh.machines[0]!, mesh.machines[0]!).seq;
    const all = () => mesh.up.every((one) => entryOf(one, mesh.machines[0]!).seq === said);
    expect(mesh.until(all, 10_000)).toBeLessThanOrEqual(1_000);
  });

  test('a change that gossip lost comes with the next beat', () => {
    const mesh = fifty(10);
    const a = mesh.machines[0]!;
    for (const b of a.gossip) mesh.resetGossip(a, b);
    mesh.change(a, 'unheard');
    const said = entryOf(a, a).seq;
    const all = () => mesh.up.every((one) => entryOf(one, a).seq === said);
    expect(mesh.until(all, 60_000)).toBeLessThan(30_000);
  });

  test('a machine whose clock was set back a day is seen again at once', () => {
    const mesh = fifty(11);
    const back = mesh.machines[5]!;
    mesh.crash(back);
    mesh.run(20_000);
    mesh.start(back, back.skewMs - 86_400_000);
    expect(mesh.until(() => mesh.agrees(), 60_000)).toBeLessThan(5_000);
  });
});

describe('a member that lies', () => {
  test('and suspects everybody all the time makes nobody gone, and little noise', () => {
    const mesh = fifty(12);
    const liar = mesh.machines[0]!;
    for (const machine of mesh.machines) Object.assign(machine, { bytesIn: 0, bytesOut: 0 });
    for (let second = 0; second < 30; second++) {
      const all = mesh.machines.slice(1).map((one) => knownOf(entryOf(liar, one)));
      mesh.publish(liar, { suspects: packKnown(all) });
      mesh.run(1_000);
      expect(mesh.agrees()).toBe(true);
    }
    const most = Math.max(...mesh.machines.slice(1).map(({ bytesIn, bytesOut }) => bytesIn + bytesOut));
    expect(most / 30).toBeLessThan(100_000);
  });

  test('and repeats what a dead machine said brings it back for nobody', () => {
    const mesh = fifty(13);
    const [liar, dead] = [mesh.machines[0]!, mesh.machines[1]!];
    const old = recorded(dead, mesh.nowMs);
    mesh.run(30_000);
    const last = recorded(dead, mesh.nowMs);
    mesh.crash(dead);
    mesh.run(10_000);
    for (let second = 0; second < 20; second++) {
      for (const message of [old, last]) {
        mesh.publish(liar, message);
        for (const to of liar.links) mesh.inject(liar, to, message);
      }
      mesh.run(1_000);
      expect(mesh.agrees()).toBe(true);
    }
  });

  test('and repeats it to one that has just started shows it a ghost for no longer than the bound', () => {
    const mesh = fifty(14);
    const [liar, dead, fresh] = [mesh.machines[0]!, mesh.machines[1]!, mesh.machines[2]!];
    const last = recorded(dead, mesh.nowMs);
    mesh.crash(dead);
    mesh.crash(fresh);
    mesh.run(20_000);
    mesh.start(fresh);
    const repeat = (): void => {
      mesh.inject(liar, fresh, last);
      mesh.after(1_000, repeat);
    };
    repeat();
    mesh.run(TTL_MS);
    expect(mesh.agrees()).toBe(true);
  });

  test('and passes nothing on hides nobody', () => {
    const mesh = fifty(15);
    const liar = mesh.machines[0]!;
    mesh.loses = (from) => from === liar;
    const others = mesh.machines.filter((one) => one !== liar);
    mesh.run(TTL_MS + 20_000);
    expect(mesh.agrees(others, (one) => one !== liar)).toBe(true);
  });
});

test('machines that are linked with few of the others are seen by all', () => {
  const mesh = new Mesh({ seed: 16, machines: 60, links: 8 });
  mesh.run(90_000);
  expect(mesh.agrees()).toBe(true);
  mesh.crash(mesh.machines[9]!);
  expect(mesh.until(() => mesh.agrees(), 60_000)).toBeLessThan(10_000);
});

test('nobody passes beats to more than a few, and whoever finds them full is not left out', () => {
  const mesh = new Mesh({ seed: 18, machines: 150, links: 40 });
  const passedTo = new Map<string, Set<string>>();
  let [refusals, questions] = [0, 0];
  mesh.onMessage = (to, from, { beats, statements, full, probes }) => {
    refusals += Number(full ?? false);
    questions += Number(probes !== undefined);
    if (!beats || statements || mesh.nowMs < 60_000) return;
    const receivers = passedTo.get(from.peerId) ?? new Set();
    passedTo.set(from.peerId, receivers.add(to.peerId));
  };
  mesh.run(120_000);
  expect(refusals).toBeGreaterThan(0);
  expect(Math.max(...[...passedTo.values()].map(({ size }) => size))).toBeLessThanOrEqual(
    PRESENCE_NEIGHBOURS + PRESENCE_CHOOSERS_MAX,
  );
  // Everybody hears of everybody, so that nobody is asked.
  expect(questions).toBe(0);
});

test('one seed, one run', () => {
  const ends = [1, 2].map(() => {
    const mesh = new Mesh({ seed: 17, machines: 12 });
    mesh.loses = () => mesh.random.chance(0.1);
    mesh.run(60_000);
    return mesh.machines.map(({ bytesIn, bytesOut }) => `${bytesIn}/${bytesOut}`).join(' ');
  });
  expect(ends[0]).toBe(ends[1]);
});
