import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { BatchMarks } from '../../daemon/store/batch-marks.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { isAhead, Milestones, STARTS_MAX, type Milestone } from '../../daemon/store/milestones.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { silentLog } from '../../daemon/log.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { handClock } from './api-fixture.ts';

const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
const bootOf = (number: number) => `019a5b00-1234-7abc-8def-${number.toString(16).padStart(12, '0')}`;
const ANOTHER = bootOf(0xfff);

describe('a milestone', () => {
  // Starts 3 to 5 are known; the last batches before them were 10, 20 and 30, and now there are 40.
  const starts = [3, 4, 5].map((number) => ({ number, boot: bootOf(number), batch: number * 10 - 20 }));
  const milestone = (start: number, batch: number, boot = bootOf(start), epoch = 7): Milestone => ({
    epoch,
    start,
    boot,
    batch,
  });
  test.for<[what: string, milestone: Milestone, ahead: boolean]>([
    ['of now', milestone(5, 40), false],
    ['of this start', milestone(5, 35), false],
    ['of more than there is', milestone(5, 41), true],
    ['of an earlier start', milestone(4, 29), false],
    ['of the last batch of an earlier start', milestone(4, 30), false],
    ['of more than an earlier start got to, though there are more now', milestone(4, 31), true],
    ['of another start of that number', milestone(4, 25, ANOTHER), true],
    ['of another start of the number of this one', milestone(5, 31, ANOTHER), true],
    ['of a start that is still to come', milestone(6, 35, ANOTHER), true],
    ['of a start from before those that are known', milestone(2, 5), false],
    ['of an earlier epoch, however far', milestone(9, 99, ANOTHER, 6), false],
    ['of a later epoch, however early', milestone(1, 1, bootOf(1), 8), true],
  ])('%s', ([, one, ahead]) => {
    expect(isAhead(one, { epoch: 7, batch: 40, starts })).toBe(ahead);
  });

  test('says nothing before the start is noted', () => {
    expect(isAhead(milestone(1, 1), { epoch: 7, batch: 40, starts: [] })).toBe(false);
  });
});

async function startOn(kv: MemoryKv, start: number, key = seal) {
  const marks = new BatchMarks({ seal: key, file: undefined, clock: handClock(), log: silentLog });
  await marks.open(kv);
  const journal = new Journal(kv, key, { marks });
  const milestones = new Milestones({ journal, seal: key, boot: bootOf(start) });
  await milestones.start();
  const batch = () => journal.transact(async (tx) => tx.put('x', 1));
  return { journal, milestones, batch };
}

async function copyOf(kv: MemoryKv): Promise<MemoryKv> {
  const copy = new MemoryKv();
  const all = await kv.range({ from: '', to: '\x7f' });
  await copy.write(
    all.map(([key, value]) => ({ key, value })),
    { sync: true },
  );
  return copy;
}

describe('milestones', () => {
  test('are not ahead of the store that made them, whenever it was killed', async () => {
    const kv = new MemoryKv();
    const told: Uint8Array[] = [];
    for (let start = 1; start <= 5; start += 1) {
      // The one before was not closed.
      const { milestones, batch } = await startOn(kv, start);
      for (const bytes of told) expect(milestones.ahead(bytes, 0)).toBeUndefined();
      told.push(milestones.own(0)!);
      await batch();
      told.push(milestones.own(0)!);
      for (const bytes of told) expect(milestones.ahead(bytes, 0)).toBeUndefined();
    }
  });

  test('are ahead of a store that was set back to before them, also after more starts and batches', async () => {
    const kv = new MemoryKv();
    const first = await startOn(kv, 1);
    const early = first.milestones.own(0)!;
    const copy = await copyOf(kv);
    await first.batch();
    const late = first.milestones.own(0)!;
    await first.journal.close();
    const later = (await startOn(kv, 2)).milestones.own(0)!;
    for (let start = 3; start <= 5; start += 1) {
      const { milestones, batch } = await startOn(copy, start);
      await batch();
      await batch();
      expect(milestones.ahead(early, 0)).toBeUndefined();
      expect(milestones.ahead(late, 0)).toMatchObject({ start: 1 });
      expect(milestones.ahead(later, 0)).toMatchObject({ start: 2 });
      expect(milestones.ahead(later, 1)).toBeUndefined();
    }
  });

  test('of a start long ago say nothing, and what is noted of starts does not grow', async () => {
    const kv = new MemoryKv();
    const first = await startOn(kv, 1);
    const copy = await copyOf(kv);
    await first.batch();
    const late = first.milestones.own(0)!;
    for (let start = 2; start <= STARTS_MAX; start += 1) await startOn(copy, start);
    const last = await startOn(copy, STARTS_MAX + 1);
    const [[, starts] = ['', []]] = await last.journal.range<unknown[]>({ from: 'starts', to: 'startt' });
    expect(starts).toHaveLength(STARTS_MAX);
    expect(last.milestones.ahead(late, 0)).toBeUndefined();
  });

  test('say nothing when they were altered, are of another machine, or of something else', async () => {
    const { milestones, batch } = await startOn(new MemoryKv(), 1);
    const other = createRecordSeal(new Uint8Array(32).fill(8), systemRandom.bytes);
    const stranger = await startOn(new MemoryKv(), 2, other);
    await batch();
    const ahead: Milestone = { epoch: 9, start: 9, boot: bootOf(9), batch: 99 };
    const real = seal.seal('milestone', ahead);
    expect(milestones.ahead(real, 0)).toEqual(ahead);
    for (let at = 0; at < real.length; at += 1) {
      const bytes = Uint8Array.from(real);
      bytes[at]! ^= 1;
      expect(milestones.ahead(bytes, 0)).toBeUndefined();
    }
    for (const bytes of [
      real.subarray(1),
      new Uint8Array(0),
      stranger.milestones.own(9)!,
      seal.seal('history/x', ahead),
      seal.seal('milestone', { ...ahead, batch: -1 }),
    ])
      expect(milestones.ahead(bytes, 0)).toBeUndefined();
  });

  test('are the same bytes until the store goes on', async () => {
    const { milestones, batch } = await startOn(new MemoryKv(), 1);
    const bytes = milestones.own(0);
    expect(milestones.own(0)).toBe(bytes);
    await batch();
    const after = milestones.own(0);
    expect(after).not.toBe(bytes);
    expect(milestones.own(1)).not.toBe(after);
  });

  test('of others are kept with what is written next, or at the end, and cost no batch', async () => {
    const kv = new MemoryKv();
    const keptAfter = async (start: number) =>
      (await startOn(await copyOf(kv), start)).milestones.kept('bob');
    const first = await startOn(kv, 1);
    const { batches } = first.journal;
    first.milestones.keep('bob', Uint8Array.of(1));
    first.milestones.keep('bob', Uint8Array.of(2));
    expect(first.milestones.kept('bob')).toEqual(Uint8Array.of(2));
    expect(first.journal.batches).toBe(batches);
    expect(await keptAfter(2)).toBeUndefined();
    await first.batch();
    expect(first.journal.batches).toBe(batches + 1);
    expect(await keptAfter(2)).toEqual(Uint8Array.of(2));
    first.milestones.keep('bob', Uint8Array.of(3));
    expect(await keptAfter(2)).toEqual(Uint8Array.of(2));
    await first.journal.close();
    expect(await keptAfter(2)).toEqual(Uint8Array.of(3));
  });
});
