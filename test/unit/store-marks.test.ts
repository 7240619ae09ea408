import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { BatchMarks, MARKS, reckon, type TallyFile } from '../../daemon/store/batch-marks.ts';
import { Journal } from '../../daemon/store/journal.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import type { Log } from '../../daemon/log.ts';
import { handClock } from './api-fixture.ts';

const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);

/** A file in memory. */
function memoryFile(): TallyFile & { bytes: Uint8Array | undefined; writes: number } {
  return {
    bytes: undefined,
    writes: 0,
    async read() {
      return this.bytes;
    },
    async write(bytes) {
      this.bytes = bytes;
      this.writes += 1;
    },
  };
}

function world() {
  const kv = new MemoryKv();
  const file = memoryFile();
  const clock = handClock();
  const start = async () => {
    const marks = new BatchMarks({ seal, file, clock, log: silentLog });
    const found = await marks.open(kv);
    const journal = new Journal(kv, seal, { marks });
    const batch = (key: string) => journal.transact(async (tx) => tx.put(key, key));
    return { found, journal, batch };
  };
  const remove = (key: string) => kv.write([{ key, value: undefined }], { sync: true });
  const markOf = (seq: number) => `batch/${String(seq % MARKS).padStart(12, '0')}`;
  return { kv, file, clock, start, remove, markOf };
}

describe('batch marks', () => {
  test.for<
    [
      what: string,
      marks: [number, number | undefined][],
      filed: number | undefined,
      lost: number,
      damaged: number,
    ]
  >([
    ['nothing yet', [], undefined, 0, 0],
    [
      'all there',
      [
        [1, 1],
        [2, 2],
      ],
      2,
      0,
      0,
    ],
    [
      'a file that is behind',
      [
        [1, 1],
        [2, 2],
      ],
      1,
      0,
      0,
    ],
    [
      'one in the middle',
      [
        [1, 1],
        [3, 3],
      ],
      3,
      1,
      0,
    ],
    ['the last two', [[1, 1]], 3, 2, 0],
    ['all', [], 3, 3, 0],
    [
      'a damaged mark',
      [
        [1, 1],
        [2, undefined],
        [3, 3],
      ],
      3,
      0,
      1,
    ],
    ['more than are marked', [[1, 1]], MARKS + 100, MARKS + 99, 0],
  ])('%s', ([, marks, filed, lost, damaged]) => {
    const found = reckon(new Map(marks), filed, 'read');
    expect(found).toMatchObject({ lostBatches: lost, damagedMarks: damaged });
  });

  test('an older mark in a slot is a lost batch', () => {
    const marks = new Map<number, number>();
    for (let seq = 1; seq <= MARKS + 10; seq++) marks.set(seq % MARKS, seq);
    expect(reckon(marks, undefined, 'none').lostBatches).toBe(0);
    marks.set(5, 5);
    expect(reckon(marks, undefined, 'none')).toMatchObject({ lostBatches: 1, slots: [5] });
  });

  test('each batch is marked, and the file follows at most once a second and on close', async () => {
    const { kv, file, clock, start } = world();
    const { batch, journal } = await start();
    expect(file.writes).toBe(1);
    for (let at = 0; at < 20; at++) await batch(`a/${at}`);
    expect(await kv.range({ from: 'batch/', to: 'batch0' })).toHaveLength(20);
    expect(file.writes).toBe(1);
    clock.advance(1_000);
    expect(file.writes).toBe(2);
    await batch('b');
    await journal.close();
    expect(file.writes).toBe(3);
    expect((await start()).found).toMatchObject({ seq: 21, lostBatches: 0, file: 'read' });
  });

  test('a batch that failed takes no number', async () => {
    const { kv, start } = world();
    const { batch, journal } = await start();
    await batch('a');
    const write = kv.write.bind(kv);
    kv.write = async () => Promise.reject(new Error('no space left'));
    await expect(batch('b')).rejects.toThrow('no space left');
    kv.write = write;
    await batch('c');
    await journal.close();
    expect((await start()).found).toMatchObject({ seq: 2, lostBatches: 0 });
  });

  test('a lost batch is missed, in the middle and at the end, and told until it is marked again', async () => {
    const { file, remove, markOf, start } = world();
    const first = await start();
    for (let at = 1; at <= 10; at++) await first.batch(`a/${at}`);
    await first.journal.close();
    await remove(markOf(4));
    await remove(markOf(10));
    const second = await start();
    expect(second.found).toMatchObject({ seq: 10, lostBatches: 2, slots: [4, 10] });
    // Numbers go on behind the lost ones.
    await second.batch('b');
    await second.journal.close();
    expect((await start()).found).toMatchObject({ seq: 11, lostBatches: 2 });
    file.bytes = undefined;
    expect((await start()).found.file).toBe('missing');
    file.bytes = new Uint8Array(35);
    expect((await start()).found.file).toBe('damaged');
  });
});
