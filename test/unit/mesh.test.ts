import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LABELS, LINKS, meshWorld, type MeshWorld } from './mesh-world.ts';
import { linksOf, pendingOf, rungOf } from './team.ts';
import type { TestMachine } from './wire.ts';

/** Twelve machines with four links each, of which none reaches another that is no neighbour. */
let world: MeshWorld;
/** What each agent was shown, in that order. */
let shown: Map<string, string[]>;
beforeEach(async () => {
  world = await meshWorld();
  shown = new Map(LABELS.map((label) => [label, []]));
}, 120_000);
afterEach(async () => {
  await world.team.stopAll();
});

const MINUTE_MS = 60_000;
const TEN = Array.from({ length: 10 }, (_none, at) => `part ${at}`);
const machine = (label: string): TestMachine => world.machines.get(label)!;
const pass = (minutes = 2) => world.team.clock.advance(minutes * MINUTE_MS);
const others = (...labels: string[]) => LABELS.filter((other) => !labels.includes(other));
/** Some others of each, near and far. */
const some = (label: string) => [1, 4, 7].map((step) => LABELS[(LABELS.indexOf(label) + step) % 12]!);
/** A machine that is farthest from the first. */
const farthest = () => LABELS.toSorted((a, b) => world.distance('m0', b) - world.distance('m0', a))[0]!;
const held = ({ kv }: TestMachine, to = '') => kv.keys(`mailbox-place/${to}`).length;
const queued = ({ kv }: TestMachine) => kv.keys('outbox/').length;

async function look(label: string): Promise<void> {
  shown.get(label)!.push(...(await pendingOf(world.agents.get(label)!)));
}

/** Agents read what they have before they write. */
async function say(from: string, to: string, content: string): Promise<void> {
  await look(from);
  expect(await world.team.say(world.agents.get(from)!, to, content)).toMatchObject({ status: 'sent' });
}

async function heldBy(from: string, content: string): Promise<string[]> {
  const { messages } = await world.agents.get(from)!.recall({ limit: 100, from_agent: '', thread_id: '' });
  return messages.find((one) => one.content === content)?.held_by ?? [];
}

// Twelve whole machines each: seconds on a machine that has nothing else to do.
describe('a mesh in which not all link with all', { timeout: 120_000 }, () => {
  test('keeps its links, no more', async () => {
    for (const label of LABELS) {
      const links = await linksOf(machine(label));
      expect(links).toEqual(world.neighbours(label));
      expect(links.length).toBeLessThanOrEqual(LINKS);
    }
    expect(world.distance('m0', farthest())).toBeGreaterThan(2);
  });

  test('brings mail from each to others, once, and the receipts back; nothing is left on the way', async () => {
    for (const from of LABELS) for (const to of some(from)) await say(from, to, `${from} to ${to}`);
    await pass();
    for (const to of LABELS) {
      await look(to);
      expect(shown.get(to)!.toSorted()).toEqual(
        LABELS.filter((from) => some(from).includes(to))
          .map((from) => `${from} to ${to}`)
          .toSorted(),
      );
    }
    for (const to of LABELS) await look(to);
    await pass(6);
    for (const from of LABELS) {
      const rungs = await Promise.all(
        some(from).map((to) => rungOf(world.agents.get(from)!, `${from} to ${to}`)),
      );
      expect(new Set(rungs)).toEqual(new Set(['read']));
    }
    for (const one of world.machines.values()) expect([held(one), queued(one)]).toEqual([0, 0]);
  });

  test('keeps order and loses nothing while every machine between is started anew', async () => {
    const to = farthest();
    for (const [at, content] of TEN.entries()) {
      await say('m0', to, content);
      await world.restart(others('m0', to)[at]!);
    }
    await pass(8);
    await look(to);
    expect(shown.get(to)).toEqual(TEN);
    expect(await rungOf(world.agents.get('m0')!, TEN[9]!)).toBe('delivered');
    for (const one of world.machines.values()) expect(held(one, machine(to).peerId)).toBe(0);
  });

  test('leaves mail for who is away with its neighbours, and says so truly', async () => {
    const to = farthest();
    await world.stop(to);
    await say('m0', to, 'wait for it');
    await pass();
    const holders = await heldBy('m0', 'wait for it');
    expect(holders.length).toBeGreaterThan(0);
    expect(world.neighbours(to)).toEqual(expect.arrayContaining(holders));
    for (const label of LABELS) {
      if (label === to) continue;
      expect(held(machine(label), machine(to).peerId)).toBe(holders.includes(label) ? 1 : 0);
    }
    // Its sender is gone when it comes.
    await world.stop('m0');
    await world.restart(to);
    await pass();
    await look(to);
    expect(shown.get(to)).toEqual(['wait for it']);
    await look(to);
    await world.restart('m0');
    await pass();
    expect(await rungOf(world.agents.get('m0')!, 'wait for it')).toBe('read');
  });

  test('passes it on link by link when no two links are there at a time', async () => {
    const to = farthest();
    const way = ['m0'];
    while (way.at(-1) !== to) {
      const here = way.at(-1)!;
      way.push(
        world.neighbours(here).find((one) => world.distance(one, to) === world.distance(here, to) - 1)!,
      );
    }
    expect(way.length).toBeGreaterThan(3);
    for (const a of LABELS) for (const b of LABELS) if (a < b) world.team.cut(machine(a), machine(b));
    await say('m0', to, 'by stages');
    expect(await rungOf(world.agents.get('m0')!, 'by stages')).toBe('queued');
    for (let at = 1; at < way.length; at++) {
      const [from, next] = [machine(way[at - 1]!), machine(way[at]!)];
      await world.team.mend(from, next);
      await pass();
      world.team.cut(from, next);
      const kept = at === way.length - 1 ? [] : [way[at]!];
      expect(LABELS.filter((label) => held(machine(label), machine(to).peerId) > 0)).toEqual(kept);
    }
    await look(to);
    expect(shown.get(to)).toEqual(['by stages']);
    expect(await rungOf(world.agents.get('m0')!, 'by stages')).toBe('held');
  });

  test('links for a time with whom there is mail for, where that is possible', async () => {
    const to = farthest();
    await world.team.mend(machine('m0'), machine(to));
    expect(await linksOf(machine('m0'))).not.toContain(to);
    await say('m0', to, 'direct');
    expect(await rungOf(world.agents.get('m0')!, 'direct')).toBe('delivered');
    for (const one of world.machines.values()) expect(held(one)).toBe(0);
    expect(await linksOf(machine('m0'))).toContain(to);
    await pass();
    expect(await linksOf(machine('m0'))).not.toContain(to);
    await look(to);
    expect(shown.get(to)).toEqual(['direct']);
  });
});
