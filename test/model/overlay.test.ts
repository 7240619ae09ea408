import { equal, ok } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LINKS_MAX, MEMBERS_MAX } from '../../protocol/limits.ts';
import { overlayOf, type Overlay } from '../../protocol/mesh/overlay.ts';
import { holds } from './holds.ts';

const name = (number: number) => `m${number}`;
const upTo = (count: number) => Array.from({ length: count }, (_none, at) => name(at));

/** Some members in their places, some of them keepers, and how many links each may have. */
interface Mesh {
  places: string[];
  keepers: Set<string>;
  linksMax: number;
}
const meshOf = ({ places, keepers, linksMax }: Mesh) => overlayOf(places, keepers, linksMax);

const small: fc.Arbitrary<Mesh> = fc
  .record({
    count: fc.integer({ min: 1, max: 90 }),
    linksMax: fc.integer({ min: 4, max: 24 }),
    seed: fc.nat(),
  })
  .map(({ count, linksMax, seed }) => ({
    places: upTo(count),
    keepers: new Set(upTo(count).filter((_one, at) => (at * 7 + seed) % 9 === 0)),
    linksMax,
  }));
/** As it is configured. */
const large: fc.Arbitrary<Mesh> = fc
  .record({
    count: fc.integer({ min: LINKS_MAX + 2, max: MEMBERS_MAX }),
    keepers: fc.uniqueArray(fc.nat({ max: LINKS_MAX }), { maxLength: 20 }),
  })
  .map(({ count, keepers }) => ({
    places: upTo(count),
    keepers: new Set(keepers.map(name)),
    linksMax: LINKS_MAX,
  }));

const without = <T>(list: readonly T[], one: T) => list.filter((other) => other !== one);
const bound = ({ places, linksMax }: Mesh) => Math.max(linksMax, Math.ceil(Math.log2(places.length)));

/** The places after a member left: the last one takes its place. */
function left(places: readonly string[], at: number): string[] {
  const after = [...places];
  const last = after.pop()!;
  if (at < after.length) after[at] = last;
  return after;
}

/** Links of one mesh that another lacks, as sorted pairs. */
function lost(before: Mesh, after: Mesh): [string, string][] {
  const [old, now] = [meshOf(before), meshOf(after)];
  return before.places.flatMap((machine) => {
    const kept = new Set(now.neighbours(machine));
    return old
      .neighbours(machine)
      .filter((other) => machine < other && !kept.has(other))
      .map((other): [string, string] => [machine, other]);
  });
}

function expectSound(mesh: Mesh, overlay: Overlay): void {
  const links = new Map(mesh.places.map((machine) => [machine, overlay.neighbours(machine)]));
  for (const [machine, others] of links) {
    equal(new Set(others).size, others.length);
    ok(!others.includes(machine));
    if (!overlay.hubs.has(machine)) ok(others.length <= bound(mesh), `${others.length} links`);
    for (const other of others) {
      ok(links.get(other)!.includes(machine), `${machine} names ${other} alone`);
      equal(overlay.distance(machine, other), 1);
    }
  }
}

/** From each to each there is a step that leads nearer. */
function expectWays(mesh: Mesh, overlay: Overlay): void {
  for (const from of mesh.places) {
    const next = overlay.neighbours(from);
    for (const to of mesh.places) {
      const distance = overlay.distance(from, to);
      equal(overlay.distance(to, from), distance);
      if (from === to) equal(distance, 0);
      else if (distance === 1) ok(next.includes(to));
      else
        ok(
          next.some((one) => overlay.distance(one, to) < distance),
          `${from} to ${to}: ${distance}`,
        );
    }
  }
}

describe('the mesh of a namespace', () => {
  test('names both sides of a link, keeps within the bound, and leads everywhere', async () => {
    expect(
      await holds(
        fc.property(small, (mesh) => {
          const overlay = meshOf(mesh);
          equal(overlay.isFull, mesh.places.length <= mesh.linksMax + 1);
          expectSound(mesh, overlay);
          expectWays(mesh, overlay);
        }),
        150,
      ),
    ).toBe(true);
  });

  test('is full up to 65 members, and beyond keeps any two within two links, over two others or more', async () => {
    expect(
      meshOf({ places: upTo(65), keepers: new Set(), linksMax: LINKS_MAX }).neighbours(name(3)),
    ).toHaveLength(64);
    expect(
      await holds(
        fc.property(large, fc.nat(), (mesh, seed) => {
          const overlay = meshOf(mesh);
          const { places } = mesh;
          const from = places[seed % places.length]!;
          const mine = new Set(overlay.neighbours(from));
          ok(overlay.hubs.has(from) || mine.size <= LINKS_MAX, `${mine.size} links`);
          const last = places.length - (places.length % 33 || 33);
          for (const [at, to] of places.entries()) {
            if (to === from || mine.has(to)) continue;
            equal(overlay.distance(from, to), 2);
            const shared = overlay.neighbours(to).filter((one) => mine.has(one)).length;
            const isLastRow = at >= last || seed % places.length >= last;
            ok(shared >= Math.max(isLastRow ? 1 : 2, overlay.hubs.size), `${from} and ${to} share ${shared}`);
          }
        }),
        12,
      ),
    ).toBe(true);
  });

  test('of one who joins moves nobody, of one who leaves nobody but the last', async () => {
    expect(
      await holds(
        fc.property(large, fc.nat(), (mesh, seed) => {
          const { places } = mesh;
          const at = seed % places.length;
          const base = { ...mesh, keepers: new Set<string>() };
          // Two digits of the base 33: links of a row and of a column are never lost.
          const essential = ([a, b]: [string, string]) => {
            const [one, other] = [places.indexOf(a), places.indexOf(b)];
            return Math.floor(one / 33) === Math.floor(other / 33) || one % 33 === other % 33;
          };
          const joined = { ...base, places: [...places, 'new'] };
          if (joined.places.length <= MEMBERS_MAX) equal(lost(base, joined).filter(essential).length, 0);
          const [gone, last] = [places[at]!, places.at(-1)!];
          const after = { ...base, places: left(places, at) };
          // Seen from where the others are: the two that are concerned left out.
          const concerned = (pair: [string, string]) => pair.includes(gone) || pair.includes(last);
          if (after.places.length > LINKS_MAX + 1) {
            equal(lost(base, after).filter((pair) => !concerned(pair) && essential(pair)).length, 0);
          }
        }),
        8,
      ),
    ).toBe(true);
  });

  test('knows no way to a stranger', () => {
    const overlay = meshOf({ places: upTo(80), keepers: new Set(), linksMax: 8 });
    expect(overlay.neighbours('stranger')).toEqual([]);
    expect(overlay.distance(name(1), 'stranger')).toBe(Infinity);
    expect(overlay.distance('stranger', name(1))).toBe(Infinity);
  });

  test('is a matter of milliseconds at 1,000 members', () => {
    const mesh = { places: upTo(MEMBERS_MAX), keepers: new Set(upTo(20)), linksMax: LINKS_MAX };
    const beforeMs = process.cpuUsage().user / 1_000;
    for (let round = 0; round < 100; round++) meshOf(mesh).neighbours(name(round));
    const eachMs = (process.cpuUsage().user / 1_000 - beforeMs) / 100;
    expect(eachMs).toBeLessThan(10);
    console.log(`overlay of ${MEMBERS_MAX}: ${eachMs.toFixed(2)} ms of CPU`);
  });

  test.each([66, 100, 200, 400, 700, 1_000])('of %i members', (count) => {
    const overlay = meshOf({ places: upTo(count), keepers: new Set(), linksMax: LINKS_MAX });
    const degrees = upTo(count).map((machine) => overlay.neighbours(machine).length);
    const mean = degrees.reduce((sum, one) => sum + one, 0) / count;
    const mine = new Set(overlay.neighbours(name(0)));
    const far = without(upTo(count), name(0)).filter((one) => !mine.has(one));
    const shared = far.map((one) => overlay.neighbours(one).filter((other) => mine.has(other)).length);
    console.log(
      `${count} members: ${mean.toFixed(1)} links (at most ${Math.max(...degrees)}), ` +
        `${far.length} of one's others are no neighbours and share ${Math.min(...shared)} to ${Math.max(...shared)} with it`,
    );
    expect(Math.max(...degrees)).toBeLessThanOrEqual(LINKS_MAX);
    expect(Math.min(...shared)).toBeGreaterThanOrEqual(1);
  });
});
