import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { HeldStore, Removed } from '../../daemon/store/held-store.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createKvHeldStore, type HeldBounds } from '../../daemon/store/kv-held-store.ts';
import type { Kv, KvOperation } from '../../daemon/store/kv.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { withdrawalHash } from '../../protocol/delivery/withdrawal.ts';
import { envelopeHash } from '../../protocol/held-receipt.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { VirtualTime } from '../sim/clock.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { SeededRandom } from '../sim/random.ts';
import { SimKv } from '../sim/sim-kv.ts';
import { auditHeld } from '../unit/held-audit.ts';
import { HeldReference, type HeldEntry } from './held-reference.ts';
import { holds } from './holds.ts';

const machine = (number: number) => signerFromSeed(new Uint8Array(32).fill(number)).peerId;
const NAMESPACES = ['a'.repeat(64), 'b'.repeat(64)];
const MACHINES = [machine(1), machine(2)];
const DEPOSITORS = [machine(3), machine(4)];
const START_MS = 1_790_000_000_000;
const DAY_MS = 24 * 3_600_000;
/** So small that every bound is met, none always first. */
const BOUNDS: HeldBounds = {
  recipient: { count: 4, sizeBytes: 900 },
  namespaceSizeBytes: 1_400,
  whole: { count: 8, sizeBytes: 1_800 },
  depositor: { count: 9, sizeBytes: 2_200 },
};

/** Envelope `which` belongs to one machine in one namespace, as real ones do. */
const ENVELOPES = Array.from({ length: 16 }, (_none, which) => ({
  ns: NAMESPACES[which % 2]!,
  to: MACHINES[(which >> 1) % 2]!,
  bytes: new Uint8Array(40 + 37 * which).fill(which + 1),
}));
const hashOf = (which: number) => envelopeHash(ENVELOPES[which]!.bytes);
const preimage = (number: number) => new Uint8Array(32).fill(0x80 + number);

const which = fc.nat({ max: ENVELOPES.length - 1 });
const index = fc.nat({ max: 1 });
const command = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      k: fc.constant('hold' as const),
      which,
      who: index,
      withdraw: fc.nat({ max: 7 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ k: fc.constant('fail' as const), which, who: index }) },
  {
    weight: 3,
    arbitrary: fc.record({
      k: fc.constant('drop' as const),
      to: index,
      several: fc.array(which, { maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ k: fc.constant('withdraw' as const), withdraw: fc.nat({ max: 9 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ k: fc.constant('dropAll' as const), ns: index, to: fc.nat({ max: 2 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ k: fc.constant('sweep' as const), limit: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      k: fc.constant('pass' as const),
      ms: fc.oneof(fc.nat({ max: 3_700_000 }), fc.nat({ max: 5 * DAY_MS })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ k: fc.constant('restart' as const) }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** A disk that can be full. */
class Disk implements Kv {
  readonly memory = new MemoryKv();
  isFull = false;
  get = (key: string) => this.memory.get(key);
  range: Kv['range'] = (range) => this.memory.range(range);
  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    if (this.isFull) throw new Error('the disk is full');
    await this.memory.write(operations, options);
  }
  async close(): Promise<void> {}
}

const sealOf = (seed: string) => createRecordSeal(new Uint8Array(32), new SeededRandom(seed).bytes);

/** The store and the reference side by side. */
class Pair {
  readonly disk = new Disk();
  readonly seal = sealOf('held');
  journal = new Journal(this.disk, this.seal);
  store: HeldStore = createKvHeldStore(this.journal, { bounds: BOUNDS });
  readonly reference = new HeldReference(BOUNDS, START_MS);

  async run(command: Command): Promise<void> {
    const { store, reference } = this;
    if (command.k === 'hold') {
      const answer = await store.hold(this.#deposit(command));
      const { ns, to, bytes } = ENVELOPES[command.which]!;
      const { which, withdraw } = command;
      const depositor = DEPOSITORS[command.who]!;
      const isHeld = reference.hold({ ns, to, which, withdraw, depositor, sizeBytes: bytes.length });
      const full = { held: false, code: 'mailbox_full', retry: true };
      deepEqual(answer, isHeld ? { held: true, hash: hashOf(which) } : full);
    } else if (command.k === 'fail') await this.#fail(command);
    else if (command.k === 'restart') {
      this.disk.memory.crash();
      this.journal = new Journal(this.disk, this.seal);
      this.store = createKvHeldStore(this.journal, { bounds: BOUNDS });
      reference.restart();
    } else if (command.k === 'pass') reference.nowMs += command.ms;
    else await this.#remove(command);
    await this.compare();
  }

  /** What cannot be written is not charged: only what would be new is tried. */
  async #fail({ which, who }: { which: number; who: number }): Promise<void> {
    const { ns, to } = ENVELOPES[which]!;
    if (this.reference.entries.some((entry) => entry.which === which && entry.to === to)) return;
    this.disk.isFull = true;
    const holding = this.store.hold(this.#deposit({ which, who, withdraw: 0 }));
    const outcome = await holding.catch((error: unknown) => error);
    this.disk.isFull = false;
    if (outcome instanceof Error) equal(outcome.message, 'the disk is full');
    else ok(!(await holding).held, `${ns} is not full`);
    const [entry] = this.reference.entries;
    if (!entry) return;
    this.disk.isFull = true;
    await rejects(this.store.drop(entry.to, [hashOf(entry.which)]), /the disk is full/);
    this.disk.isFull = false;
  }

  async #remove(command: Command): Promise<void> {
    const { store, reference } = this;
    if (command.k === 'drop') {
      const to = MACHINES[command.to]!;
      const count = await store.drop(to, command.several.map(hashOf));
      equal(
        count,
        reference.remove((entry) => entry.to === to && command.several.includes(entry.which)),
      );
    } else if (command.k === 'withdraw') {
      const removed = await store.withdraw(preimage(command.withdraw));
      equal(removed, reference.remove(({ withdraw }) => withdraw === command.withdraw) > 0);
    } else if (command.k === 'dropAll') {
      const [ns, to] = [NAMESPACES[command.ns]!, MACHINES[command.to]];
      const count = await toTheEnd((after) => store.dropNamespace(ns, to, after));
      equal(
        count,
        reference.remove((entry) => entry.ns === ns && (to === undefined || entry.to === to)),
      );
    } else if (command.k === 'sweep') {
      const count = await toTheEnd(async (after) => {
        const removed = await store.sweep(reference.nowMs, command.limit, after);
        ok(removed.count <= command.limit);
        return removed;
      });
      equal(
        count,
        reference.remove((entry) => reference.isDue(entry)),
      );
    }
  }

  #deposit({ which, who, withdraw }: { which: number; who: number; withdraw: number }) {
    const { ns, to, bytes } = ENVELOPES[which]!;
    const { nowMs } = this.reference;
    const depositor = DEPOSITORS[who]!;
    return { ns, to, envelope: bytes, withdraw: withdrawalHash(preimage(withdraw)), nowMs, depositor };
  }

  async compare(): Promise<void> {
    const { store, reference } = this;
    const sum = (list: readonly HeldEntry[]) => ({
      count: list.length,
      sizeBytes: list.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    });
    deepEqual(await store.tally(), sum(reference.entries));
    const recipients = new Map((await store.recipients()).map(({ ns, to, ...tally }) => [ns + to, tally]));
    for (const ns of NAMESPACES) {
      for (const to of MACHINES) {
        const own = reference.entries.filter((entry) => entry.ns === ns && entry.to === to);
        const offers = await store.offers(to, ns, 0, 100);
        deepEqual(
          offers.map(({ hash, sizeBytes }) => ({ hash, sizeBytes })),
          own.map(({ which, sizeBytes }) => ({ hash: hashOf(which), sizeBytes })),
        );
        for (const { which } of own)
          deepEqual(await store.envelope(to, hashOf(which)), ENVELOPES[which]!.bytes);
        deepEqual(recipients.get(ns + to), own.length > 0 ? sum(own) : undefined);
      }
    }
    await auditHeld(this.journal);
  }
}

async function toTheEnd(call: (after: string | undefined) => Promise<Removed>): Promise<number> {
  let sum = 0;
  let after: string | undefined;
  do {
    const { count, next } = await call(after);
    sum += count;
    after = next;
  } while (after !== undefined);
  return sum;
}

describe('a mailbox', () => {
  test('does what a plain list would, through restarts and full disks', async () => {
    expect(
      await holds(
        fc.asyncProperty(fc.array(command, { maxLength: 40, size: 'max' }), async (commands) => {
          const pair = new Pair();
          for (const one of commands) await pair.run(one);
        }),
        500,
      ),
    ).toBe(true);
  });

  test('has after a crash what it acknowledged, whole, and nothing by halves', async () => {
    expect(
      await holds(
        fc.asyncProperty(fc.nat(), async (seed) => {
          await crash(`held ${seed}`);
        }),
        300,
      ),
    ).toBe(true);
  });
});

/** Deposits and removals run at once on a disk that takes its time; the power is cut among them. */
async function crash(seed: string): Promise<void> {
  const random = new SeededRandom(seed);
  const time = new VirtualTime();
  const disk = new MemoryKv();
  const parts = { trace: () => undefined, onWrite: () => undefined, onStored: () => undefined };
  const kv = new SimKv({ disk, time, random: random.fork('disk'), ...parts });
  const seal = sealOf(seed);
  const store = createKvHeldStore(new Journal(kv, seal));
  const held = new Set<number>();
  const asked = new Set<number>();
  const gone = new Set<number>();
  const note = (set: Set<number>, which: number) => () => void set.add(which);
  for (const which of ENVELOPES.keys()) {
    time.after(random.between(0, 30), () => {
      const { ns, to, bytes } = ENVELOPES[which]!;
      const withdraw = withdrawalHash(preimage(which));
      const deposit = { ns, to, envelope: bytes, withdraw, nowMs: START_MS, depositor: DEPOSITORS[0]! };
      void store.hold(deposit).then(note(held, which));
    });
    if (random.chance(0.5)) continue;
    time.after(random.between(15, 60), () => {
      // What was not there yet is not gone for good.
      if (!held.has(which)) return;
      asked.add(which);
      const { to } = ENVELOPES[which]!;
      const removing = random.chance(0.5) ? store.drop(to, [hashOf(which)]) : store.withdraw(preimage(which));
      void removing.then(note(gone, which));
    });
  }
  await time.run(random.between(1, 70));
  kv.crash();

  const journal = new Journal(disk, seal);
  await auditHeld(journal);
  const after = createKvHeldStore(journal);
  for (const [which, { to, bytes }] of ENVELOPES.entries()) {
    const found = await after.envelope(to, hashOf(which));
    if (found) deepEqual(found, bytes);
    if (held.has(which) && !asked.has(which)) ok(found, `${which} was acknowledged and is lost`);
    if (gone.has(which)) equal(found, undefined, `${which} was removed and is back`);
  }
}
