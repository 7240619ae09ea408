import { deepEqual, equal, ok } from 'node:assert/strict';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Clock } from '../../daemon/clock.ts';
import { silentLog } from '../../daemon/log.ts';
import { BatchMarks } from '../../daemon/store/batch-marks.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import { key, type EpochWork } from '../../daemon/store/mail-records.ts';
import type { MailRecord, MailStore, OutboxEntry } from '../../daemon/store/mail-store.ts';
import { Milestones } from '../../daemon/store/milestones.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { newId } from '../../protocol/ids.ts';
import { isAddressed, type Party } from '../../protocol/letter.ts';
import { DOUBT_MS, GAP_HOLD_MS } from '../../protocol/limits.ts';
import { verifyReceipt } from '../../protocol/receipt.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import { copyOf, MemoryKv } from '../sim/memory-kv.ts';
import { SeededRandom } from '../sim/random.ts';
import { holds } from './holds.ts';

/**
 * Two machines that write to each other over a link that loses, repeats and reorders, are backed up, restored to what
 * they were, and set back to it behind their backs. What clients saw decides.
 */

const NS = 'a'.repeat(64);
const START_MS = 1_790_000_000_000;
const idOf = (number: number) => `019a5b00-1234-7abc-8def-${number.toString(16).padStart(12, '0')}`;
const seal = createRecordSeal(new Uint8Array(32), new SeededRandom('epochs').bytes);

const side = fc.nat({ max: 1 });
const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ k: fc.constant('send' as const), side }) },
  {
    weight: 6,
    arbitrary: fc.record({
      k: fc.constant('carry' as const),
      side,
      which: fc.nat({ max: 5 }),
      count: fc.integer({ min: 1, max: 4 }),
      losesAnswer: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ k: fc.constant('read' as const), side, count: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ k: fc.constantFrom('backup' as const, 'restore' as const), side }) },
  { weight: 1, arbitrary: fc.record({ k: fc.constantFrom('set back' as const, 'kill' as const), side }) },
  { weight: 1, arbitrary: fc.record({ k: fc.constantFrom('repair' as const, 'gaps' as const), side }) },
);
type Command = {
  k: 'send' | 'carry' | 'read' | 'backup' | 'restore' | 'set back' | 'kill' | 'repair' | 'gaps';
  side: number;
  which?: number;
  count?: number;
  losesAnswer?: boolean;
};

const NO_TIMERS: Clock = { now: () => START_MS, elapsed: () => 0, after: () => ({ cancel() {} }) };

class Side {
  readonly signer: Signer;
  readonly agent: Party;
  disk = new MemoryKv();
  store!: MailStore;
  milestones!: Milestones;
  boot = 0;
  /** Entries that have been on the wire in this life. */
  left = new Set<number>();
  saved: MemoryKv | undefined;
  restores = 0;
  /** What its agent was shown, in order. */
  readonly shown: { id: string; again: boolean; late: boolean; missing: number }[] = [];
  readonly #random = new SeededRandom('notices');
  readonly #world: World;

  constructor(world: World, number: number) {
    this.#world = world;
    this.signer = signerFromSeed(new Uint8Array(32).fill(number + 1));
    this.agent = { id: idOf(0xa0 + number), name: `agent-${number}` };
  }

  readonly neverLeft = (entry: OutboxEntry) => entry.boot === this.bootId && !this.left.has(entry.number);

  get bootId(): string {
    return idOf(0xb0_0000 + this.boot);
  }

  async start(disk: MemoryKv, work?: EpochWork): Promise<void> {
    this.disk = disk;
    this.boot += 1;
    this.left = new Set();
    const marks = new BatchMarks({ seal, file: undefined, clock: NO_TIMERS, log: silentLog });
    await marks.open(disk);
    const journal = new Journal(disk, seal, { marks });
    this.store = createKvMailStore(journal, this.signer, () => ({
      id: newId(this.#world.nowMs, this.#random.bytes),
      nowMs: this.#world.nowMs,
    }));
    if (work) await journal.transact(async (tx) => tx.put(key.epochWork, work));
    await this.store.settleEpoch(this.bootId, this.#world.nowMs);
    this.milestones = new Milestones({ journal, seal, boot: this.bootId });
    await this.milestones.start();
  }
}

class World {
  nowMs = START_MS;
  readonly sides: [Side, Side] = [new Side(this, 0), new Side(this, 1)];
  #ids = 0x1000;

  /** One command, after which both are told how far the other has got, as they are every 15 s. */
  async run(one: Command): Promise<void> {
    await this.#run(one);
    await this.#tell();
  }

  async #run(one: Command): Promise<void> {
    this.nowMs += 10;
    const self = this.sides[one.side]!;
    const { store } = self;
    if (one.k === 'send') await this.#send(self);
    else if (one.k === 'carry') await this.#carry(self, one);
    else if (one.k === 'read') await this.#read(self, one.count!);
    else if (one.k === 'gaps') {
      this.nowMs += GAP_HOLD_MS;
      await store.giveUpGaps(this.nowMs);
    } else if (one.k === 'backup') self.saved = await copyOf(self.disk);
    else if (one.k === 'restore' && self.saved) {
      self.restores += 1;
      await self.start(await copyOf(self.saved), { inDoubt: true });
      await this.link();
    } else if (one.k === 'set back' && self.saved) {
      self.restores += 1;
      await self.start(await copyOf(self.saved));
      await this.link();
    } else if (one.k === 'kill') {
      const epoch = await store.epoch();
      await self.start(await copyOf(self.disk));
      await this.link();
      equal(await self.store.epoch(), epoch);
    } else if (one.k === 'repair') {
      await self.start(self.disk, { inDoubt: false });
      await this.link();
    }
  }

  other(self: Side): Side {
    return this.sides[self === this.sides[0] ? 1 : 0];
  }

  async #send(self: Side): Promise<void> {
    this.#ids += 1;
    const copies = [
      { id: idOf(this.#ids), to: this.other(self).agent, machine: this.other(self).signer.peerId },
    ];
    const { agent: from, bootId: boot } = self;
    await self.store.accept({ ns: NS, from, copies, content: 'x', boot, nowMs: this.nowMs });
  }

  async #tell(): Promise<void> {
    for (const self of this.sides)
      this.other(self).milestones.keep(self.signer.peerId, self.milestones.own(await self.store.epoch())!);
  }

  /**
   * Both say hello. Who hears of what it never got to begins an epoch; what one may have lost the other sends again,
   * before anything else.
   */
  async link(): Promise<void> {
    for (const self of this.sides) {
      const kept = this.other(self).milestones.kept(self.signer.peerId);
      const ahead = kept && self.milestones.ahead(kept, await self.store.epoch());
      const begin = { inDoubt: true, boot: self.bootId, nowMs: this.nowMs };
      if (ahead) await self.store.newEpoch({ ...begin, above: ahead.epoch });
    }
    for (const self of this.sides) {
      const { peerId } = this.other(self).signer;
      const epoch = await this.other(self).store.epoch();
      if (epoch <= (await self.store.resyncedEpoch(peerId))) continue;
      const run = {
        machine: peerId,
        epoch,
        boot: self.bootId,
        nowMs: this.nowMs,
        neverLeft: self.neverLeft,
        shares: () => true,
      };
      while ((await self.store.resync(run)).state === 'more');
    }
  }

  async #carry(
    self: Side,
    { which = 0, count = 1, losesAnswer = false }: Omit<Command, 'k' | 'side'>,
  ): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      const page = await self.store.outboxPage(this.other(self).signer.peerId, 0, 10, 1e9);
      const entry = page[which % Math.max(1, page.length)];
      if (entry) await this.bring(self, entry, losesAnswer);
    }
  }

  async bring(self: Side, entry: OutboxEntry, losesAnswer = false): Promise<void> {
    const [from, to] = [self.signer.peerId, this.other(self)];
    const { letter, number } = entry;
    const arrival = { ns: NS, machine: from, nowMs: this.nowMs };
    self.left.add(number);
    let receipt: Uint8Array | undefined;
    if (letter.k === 'receipts') await to.store.receiveReceipts(NS, letter.receipts.map(verifyReceipt));
    else if (!isAddressed(letter)) await to.store.receiveAsked({ ...arrival, letter, boot: to.bootId });
    else if (letter.k === 'unsend') throw new Error('nobody takes anything back here');
    else {
      const received = await to.store.receive({ ...arrival, letter });
      if (!received.taken) throw new Error(received.code);
      ({ receipt } = received);
    }
    if (!losesAnswer) await self.store.settle(to.signer.peerId, number, receipt && verifyReceipt(receipt));
  }

  async #read(self: Side, count: number): Promise<void> {
    const records = await self.store.show(self.agent.id, count, new Set(), this.nowMs);
    for (const record of records) this.#note(self, record);
    const numbers = records.map(({ number }) => number);
    await self.store.confirm(self.agent.id, numbers, this.nowMs);
    await self.store.tellRead(self.bootId, this.nowMs);
  }

  #note(self: Side, { message, shownAtMs, late = false, missingBefore: missing = 0 }: MailRecord): void {
    const known = self.shown.some(({ id }) => id === message.id);
    const again = shownAtMs !== undefined;
    // Whoever saw it before is told so, unless both machines have forgotten that it was ever delivered.
    ok(!known || again || this.other(self).restores > 0, `${message.id} was shown twice`);
    self.shown.push({ id: message.id, again, late, missing });
  }

  /** Faults stop: everything arrives, in the order of each outbox. */
  async drain(): Promise<void> {
    await this.link();
    for (let round = 0; round < 10; round += 1) {
      for (const self of this.sides) {
        const { peerId } = this.other(self).signer;
        for (const entry of await self.store.outboxPage(peerId, 0, 1_000, 1e9)) await this.bring(self, entry);
      }
      this.nowMs += GAP_HOLD_MS;
      for (const self of this.sides) {
        await self.store.giveUpGaps(this.nowMs);
        await this.#read(self, 1_000);
      }
    }
    for (const self of this.sides) {
      const { peerId } = this.other(self).signer;
      deepEqual(await self.store.outboxPage(peerId, 0, 10, 1e9), []);
      // Everybody was there to tell.
      const { doubt = 0, pending } = await self.store.tally(self.agent.id);
      deepEqual({ doubt, pending }, { doubt: 0, pending: 0 });
      deepEqual((await self.store.giveUpDoubts(this.nowMs + DOUBT_MS)).released, []);
    }
  }

  /** What was not seen before nor late came in the order in which it was sent, while nobody was set back. */
  #checkOrder(self: Side, other: Side): void {
    if (self.restores + other.restores > 0) return;
    // What was named as missing may come after all, in a line that began again.
    if (other.shown.some(({ missing }) => missing > 0)) return;
    const inTime = other.shown.filter(({ again, late }) => !again && !late).map(({ id }) => id);
    deepEqual(inTime, inTime.toSorted());
  }

  /** What each machine remembers to have sent was shown at the other, and is known to be read. */
  async check(): Promise<void> {
    for (const self of this.sides) {
      const sent = (await self.store.history(self.agent.id, 1_000))
        .toReversed()
        .filter(({ direction }) => direction === 'sent');
      const other = this.other(self);
      const seen = new Set(other.shown.map(({ id }) => id));
      deepEqual(
        sent.filter(({ message }) => !seen.has(message.id)).map(({ message }) => message.id),
        [],
      );
      // Who was restored may have forgotten that it was told so.
      const told = new Set(self.restores > 0 ? ['read', 'delivered'] : ['read']);
      ok(sent.every(({ status }) => told.has(status)));
      this.#checkOrder(self, other);
    }
  }
}

async function play(commands: readonly Command[]): Promise<void> {
  const world = new World();
  for (const self of world.sides) await self.start(self.disk);
  for (const one of commands) await world.run(one);
  await world.drain();
  await world.check();
}

test('nothing is lost and nothing shown twice unmarked, whatever is restored, set back and repaired', async () => {
  const property = fc.asyncProperty(fc.array(command, { maxLength: 40, size: 'max' }), play);
  expect(await holds(property, 200)).toBe(true);
});

test('what waits when a machine is restored takes its new place, though its recipient had told that it was read', async () => {
  const world = new World();
  const [sender, recipient] = world.sides;
  for (const self of world.sides) await self.start(self.disk);
  const all: Command = { k: 'carry', side: 0, count: 3 };
  const play = async (...commands: Command[]) => {
    for (const one of commands) await world.run(one);
  };
  await play({ k: 'send', side: 0 }, { k: 'backup', side: 0 }, all);
  await play({ k: 'read', side: 1, count: 3 }, { k: 'restore', side: 0 });
  // Its receipt first, then what waits, and what is new.
  await play({ k: 'carry', side: 1, count: 3 }, { k: 'send', side: 0 }, all);
  await play({ k: 'read', side: 1, count: 3 });
  expect(recipient.shown).toMatchObject([{ missing: 0 }, { missing: 0, late: false }]);
  expect(await sender.store.outboxPage(recipient.signer.peerId, 0, 10, 1e9)).toEqual([]);
});

test.each<[string, Command[]]>([
  [
    'who was asked what was read, and was restored before its answer left, is asked again',
    [
      { k: 'send', side: 1 },
      { k: 'carry', side: 1, count: 1 },
      { k: 'backup', side: 0 },
      { k: 'restore', side: 0 },
      { k: 'backup', side: 1 },
      { k: 'carry', side: 0, count: 1 },
      { k: 'restore', side: 1 },
    ],
  ],
  [
    'who was told what was read, and was restored to before that, asks again',
    [
      { k: 'send', side: 1 },
      { k: 'carry', side: 1, count: 1 },
      { k: 'backup', side: 0 },
      { k: 'restore', side: 0 },
      { k: 'carry', side: 0, count: 1 },
      { k: 'backup', side: 0 },
      { k: 'carry', side: 1, which: 1, count: 1 },
      { k: 'restore', side: 0 },
    ],
  ],
])('%s', async (_name, commands) => {
  await expect(play(commands)).resolves.toBeUndefined();
});
