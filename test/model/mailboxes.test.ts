import { deepEqual, equal, ok } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseMailboxes, type Candidate } from '../../protocol/delivery/mailboxes.ts';
import { MAILBOX_UPTIME_LONG_MS } from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { holds } from './holds.ts';

const MACHINES = Array.from(
  { length: 14 },
  (_none, at) => signerFromSeed(new Uint8Array(32).fill(at + 1)).peerId,
);
const RECIPIENTS = Array.from(
  { length: 6 },
  (_none, at) => signerFromSeed(new Uint8Array(32).fill(at + 99)).peerId,
);

/** Some of the machines, on a few hosts or many; one may be the recipient itself. */
const candidates: fc.Arbitrary<Candidate[]> = fc
  .tuple(fc.subarray(MACHINES), fc.integer({ min: 1, max: 8 }))
  .chain(([machines, hosts]) =>
    fc.tuple(
      ...machines.map((machine) =>
        fc.record({
          machine: fc.constant(machine),
          role: fc.constantFrom('admin' as const, 'member' as const, 'keeper' as const),
          uptimeMs: fc.constantFrom(0, MAILBOX_UPTIME_LONG_MS - 1, MAILBOX_UPTIME_LONG_MS, 10 ** 12),
          host: fc.nat({ max: hosts - 1 }).map((host) => `host-${host}`),
          distance: fc.constant(1),
        }),
      ),
    ),
  );
const recipient = fc.constantFrom(...RECIPIENTS, MACHINES[0]!, MACHINES[1]!);
const count = fc.integer({ min: 1, max: 5 });
const rank = ({ role, uptimeMs }: Candidate) =>
  role === 'keeper' ? 0 : uptimeMs >= MAILBOX_UPTIME_LONG_MS ? 1 : 2;
const without = (all: readonly Candidate[], machine: string) => all.filter((one) => one.machine !== machine);

describe('the choice of mailboxes', () => {
  test('is of others, each once, as many as asked for, in whatever order they come', async () => {
    expect(
      await holds(
        fc.property(recipient, candidates, count, fc.nat(), (to, all, most, turn) => {
          const chosen = chooseMailboxes(to, all, most);
          const others = without(all, to);
          equal(chosen.length, Math.min(most, others.length));
          equal(new Set(chosen).size, chosen.length);
          for (const machine of chosen) ok(others.some((one) => one.machine === machine));
          const at = all.length === 0 ? 0 : turn % all.length;
          deepEqual(chooseMailboxes(to, [...all.slice(at), ...all.slice(0, at)], most), chosen);
          deepEqual(chooseMailboxes(to, all, most - 1), chosen.slice(0, most - 1));
        }),
      ),
    ).toBe(true);
  });

  test('prefers keepers, then what runs for long, and takes two of a host only when every host has one', async () => {
    expect(
      await holds(
        fc.property(recipient, candidates, count, (to, all, most) => {
          const others = without(all, to);
          const chosen = chooseMailboxes(to, all, most).map((machine) =>
            others.find((one) => one.machine === machine)!,
          );
          const hosts = new Set(others.map(({ host }) => host)).size;
          equal(new Set(chosen.map(({ host }) => host)).size, Math.min(chosen.length, hosts));
          const left = others.filter((one) => !chosen.includes(one));
          for (const one of chosen) {
            for (const other of left) if (one.host === other.host) ok(rank(one) <= rank(other));
          }
          // Hosts were taken by the best machine of each.
          const best = (host: string) => Math.min(...others.filter((one) => one.host === host).map(rank));
          const taken = new Set(chosen.map(({ host }) => host));
          for (const { host } of left) {
            if (!taken.has(host)) for (const mine of taken) ok(best(mine) <= best(host));
          }
        }),
      ),
    ).toBe(true);
  });

  test('prefers who is near the recipient in the mesh, and chooses among equally near ones as ever', async () => {
    const spread = candidates.chain((all) =>
      fc
        .array(fc.integer({ min: 1, max: 3 }), { minLength: all.length, maxLength: all.length })
        .map((distances) => all.map((one, at) => ({ ...one, distance: distances[at]! }))),
    );
    expect(
      await holds(
        fc.property(recipient, spread, count, (to, all, most) => {
          const byDistance = [1, 2, 3].flatMap((distance) =>
            chooseMailboxes(
              to,
              all.filter((one) => one.distance === distance),
              all.length,
            ),
          );
          deepEqual(chooseMailboxes(to, all, most), byDistance.slice(0, most));
        }),
      ),
    ).toBe(true);
  });

  test('does not change when one leaves that was not chosen, and keeps the others when a chosen one leaves', async () => {
    expect(
      await holds(
        fc.property(recipient, candidates, count, (to, all, most) => {
          const chosen = chooseMailboxes(to, all, most);
          for (const { machine } of all) {
            const after = chooseMailboxes(to, without(all, machine), most);
            if (!chosen.includes(machine)) deepEqual(after, chosen);
            else for (const other of chosen) if (other !== machine) ok(after.includes(other));
          }
        }),
      ),
    ).toBe(true);
  });

  test('is spread evenly over many recipients', () => {
    const recipients = 4_000;
    const all = MACHINES.slice(0, 10).map((machine, at): Candidate => ({
      machine,
      role: 'member',
      uptimeMs: 0,
      host: `host-${at}`,
      distance: 1,
    }));
    const times = new Map<string, number>();
    for (let number = 0; number < recipients; number++) {
      for (const machine of chooseMailboxes(`recipient ${number}`, all))
        times.set(machine, (times.get(machine) ?? 0) + 1);
    }
    // Binomial with p = 3/10: six standard deviations to either side.
    const mean = recipients * 0.3;
    const bound = 6 * Math.sqrt(recipients * 0.3 * 0.7);
    expect(times.size).toBe(10);
    for (const each of times.values()) ok(Math.abs(each - mean) < bound, `${each} of ${mean}`);
  });
});
