import { beforeEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import type { Kv, KvOperation, KvRange } from '../../daemon/store/kv.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { MemoryKv } from '../sim/memory-kv.ts';

const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
const DISK = new Error('no space left');

/** A store whose writes wait until the test lets them end, well or not. */
class GatedKv implements Kv {
  readonly inner = new MemoryKv();
  readonly writes: { keys: string[]; sync: boolean }[] = [];
  closed = false;
  #held: { end: (error?: Error) => void }[] = [];
  #arrived: (() => void)[] = [];
  /** Writes end at once. */
  open = false;

  get(key: string) {
    return this.inner.get(key);
  }

  range(range: KvRange) {
    return this.inner.range(range);
  }

  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    this.writes.push({ keys: operations.map(({ key }) => key), sync: options.sync });
    if (!this.open) {
      await new Promise<void>((resolve, reject) => {
        this.#held.push({ end: (error) => (error ? reject(error) : resolve()) });
        for (const wake of this.#arrived.splice(0)) wake();
      });
    }
    await this.inner.write(operations, options);
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  /** Resolves when a write waits. */
  async held(): Promise<void> {
    while (this.#held.length === 0) await new Promise<void>((resolve) => this.#arrived.push(resolve));
  }

  async end(error?: Error): Promise<void> {
    await this.held();
    this.#held.shift()!.end(error);
  }
}

let kv: GatedKv;
let journal: Journal;
beforeEach(() => {
  kv = new GatedKv();
  journal = new Journal(kv, seal);
});

const put = (key: string, value: unknown = key) => journal.transact(async (tx) => tx.put(key, value));
const add = (key: string) =>
  journal.transact(async (tx) => {
    const next = ((await tx.get<number>(key)) ?? 0) + 1;
    tx.put(key, next);
    return next;
  });
/** Resolves when all transactions so far have decided: one that throws waits for no write. */
const decided = () => journal.transact(async () => Promise.reject(new Error('last'))).catch(() => undefined);
const keysOf = async (from = '', to = '~') => (await journal.range({ from, to })).map(([key]) => key);

describe('the journal', () => {
  test('resolves only when the write has ended', async () => {
    let done = false;
    const written = put('a').then(() => (done = true));
    await kv.held();
    expect(done).toBe(false);
    await kv.end();
    await written;
    expect(kv.writes).toEqual([{ keys: ['a'], sync: true }]);
  });

  test('writes once for all that arrive while a write runs', async () => {
    const first = put('first');
    await kv.held();
    const rest = Array.from({ length: 49 }, (_none, index) => put(`rest/${index}`));
    await decided();
    await kv.end();
    await first;
    await kv.end();
    await Promise.all(rest);
    expect(kv.writes.map(({ keys, sync }) => [keys.length, sync])).toEqual([
      [1, true],
      [49, true],
    ]);
    expect(await keysOf()).toHaveLength(50);
  });

  test('lets transactions decide one after another, on what the earlier ones decided', async () => {
    kv.open = true;
    const counted = await Promise.all(Array.from({ length: 25 }, () => add('count')));
    expect(counted).toEqual(Array.from({ length: 25 }, (_none, index) => index + 1));
    expect(await journal.get('count')).toBe(25);
  });

  test('shows outside of transactions only what is committed', async () => {
    const written = put('a');
    await kv.held();
    expect(await journal.get('a')).toBeUndefined();
    expect(await keysOf()).toEqual([]);
    const seen = journal.transact(async (tx) => [
      await tx.get('a'),
      (await tx.range({ from: '', to: '~' })).length,
    ]);
    kv.open = true;
    await kv.end();
    await written;
    expect(await seen).toEqual(['a', 1]);
    expect(await journal.get('a')).toBe('a');
  });

  test('a transaction that only read waits for what it read', async () => {
    const written = put('a');
    await kv.held();
    const read = journal.transact((tx) => tx.get('a'));
    await kv.end(DISK);
    await expect(written).rejects.toBe(DISK);
    await expect(read).rejects.toBe(DISK);
    expect(kv.writes).toHaveLength(1);
  });

  test('reads within a transaction what it wrote itself, in order, with limits', async () => {
    kv.open = true;
    for (const key of ['a/1', 'a/2', 'a/3', 'b/1']) await put(key);
    const seen = await journal.transact(async (tx) => {
      tx.delete('a/2');
      tx.put('a/0', 'new');
      tx.put('a/3', 'changed');
      tx.put('c/1', 'outside');
      const keys = async (more: { reverse?: boolean; limit?: number }) =>
        (await tx.range<string>({ from: 'a/', to: 'a0', ...more })).map(([key, value]) => `${key}=${value}`);
      return [
        await keys({}),
        await keys({ limit: 2 }),
        await keys({ reverse: true, limit: 1 }),
        await keys({ limit: 0 }),
        await tx.get('a/2'),
      ];
    });
    expect(seen).toEqual([
      ['a/0=new', 'a/1=a/1', 'a/3=changed'],
      ['a/0=new', 'a/1=a/1'],
      ['a/3=changed'],
      [],
      undefined,
    ]);
    expect(await keysOf()).toEqual(['a/0', 'a/1', 'a/3', 'b/1', 'c/1']);
  });

  test('a range passes over as many deleted ones as there are', async () => {
    kv.open = true;
    for (let index = 0; index < 9; index++) await put(`a/${index}`);
    const seen = await journal.transact(async (tx) => {
      for (let index = 0; index < 8; index++) tx.delete(`a/${index}`);
      return (await tx.range({ from: 'a/', to: 'a0', limit: 1 })).map(([key]) => key);
    });
    expect(seen).toEqual(['a/8']);
  });

  test('the last operation on a key counts', async () => {
    kv.open = true;
    await journal.transact(async (tx) => {
      tx.put('a', 1);
      tx.delete('a');
      tx.delete('b');
      tx.put('b', 2);
    });
    expect(await keysOf()).toEqual(['b']);
    await Promise.all([
      put('c', 1),
      journal.transact(async (tx) => tx.delete('c')),
      put('d', 1),
      put('d', 2),
    ]);
    expect([await journal.get('c'), await journal.get('d')]).toEqual([undefined, 2]);
    expect(await journal.transact(async (tx) => [await tx.get('c'), await tx.get('d')])).toEqual([
      undefined,
      2,
    ]);
  });

  test('a transaction that throws writes nothing, and others are not kept from it', async () => {
    kv.open = true;
    const fault = new Error('changed my mind');
    const [thrown, kept] = await Promise.allSettled([
      journal.transact(async (tx) => {
        tx.put('a', 1);
        tx.put('b', 1);
        throw fault;
      }),
      put('b', 2),
    ]);
    expect(thrown).toEqual({ status: 'rejected', reason: fault });
    expect(kept.status).toBe('fulfilled');
    expect([await journal.get('a'), await journal.get('b')]).toEqual([undefined, 2]);
  });

  test('a value that cannot be encoded fails its own transaction only', async () => {
    kv.open = true;
    const [bad, good] = await Promise.allSettled([put('a', Symbol('none')), put('b')]);
    expect([bad.status, good.status]).toEqual(['rejected', 'fulfilled']);
    expect(await keysOf()).toEqual(['b']);
  });

  describe('when a write fails', () => {
    test('everything staged is rejected, and nothing of it can be read', async () => {
      const first = [put('a'), put('b')];
      await kv.held();
      const second = [put('c'), add('count'), journal.transact((tx) => tx.get('a'))];
      const settled = Promise.allSettled([...first, ...second]);
      await decided();
      await kv.end(DISK);
      for (const one of await settled) expect(one).toEqual({ status: 'rejected', reason: DISK });
      expect(await keysOf()).toEqual([]);
      kv.open = true;
      expect(
        await journal.transact(async (tx) => [await tx.get('a'), await tx.get('c'), await tx.get('count')]),
      ).toEqual([undefined, undefined, undefined]);
      expect(kv.writes).toHaveLength(1);
    });

    test('later transactions work again', async () => {
      const failed = add('count');
      await kv.end(DISK);
      await expect(failed).rejects.toBe(DISK);
      kv.open = true;
      expect(await add('count')).toBe(1);
      expect(await journal.get('count')).toBe(1);
    });

    test('a transaction that was deciding meanwhile fails too', async () => {
      const first = put('a', 1);
      await kv.held();
      let goOn: () => void = () => undefined;
      let read: () => void = () => undefined;
      const hasRead = new Promise<void>((resolve) => (read = resolve));
      const deciding = journal.transact(async (tx) => {
        const seen = await tx.get('a');
        read();
        await new Promise<void>((resolve) => (goOn = resolve));
        tx.put('copy', seen);
      });
      await hasRead;
      const failures = Promise.allSettled([first, deciding]);
      await kv.end(DISK);
      await expect(first).rejects.toBe(DISK);
      goOn();
      expect((await failures).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      kv.open = true;
      expect(await keysOf()).toEqual([]);
    });

    test('what was committed before stays', async () => {
      kv.open = true;
      await put('a', 1);
      kv.open = false;
      const failed = put('a', 2);
      await kv.end(DISK);
      await expect(failed).rejects.toBe(DISK);
      expect(await journal.get('a')).toBe(1);
      kv.open = true;
      expect(await journal.transact((tx) => tx.get('a'))).toBe(1);
    });

    test('a write that landed although it failed is seen by what follows', async () => {
      kv.open = true;
      await put('count', 5);
      kv.open = false;
      const failed = add('count');
      await kv.held();
      // As when the batch is in the log, its fsync fails, and the store finds it when it opens again.
      await kv.inner.write([{ key: 'count', value: seal.seal('count', 6) }], { sync: true });
      await kv.end(DISK);
      await expect(failed).rejects.toBe(DISK);
      kv.open = true;
      expect(await add('count')).toBe(7);
    });
  });

  describe('what is got ready meanwhile', () => {
    test('runs with the value while the batch is written, before anybody hears that it is', async () => {
      const seen: string[] = [];
      const done = journal
        .transact(
          async (tx) => (tx.put('a', 1), 'value'),
          (value) => void seen.push(`${value} with ${kv.writes.length} write`),
        )
        .then(() => seen.push('committed'));
      await kv.held();
      await decided();
      expect(seen).toEqual(['value with 1 write']);
      await kv.end();
      await done;
      expect(seen).toEqual(['value with 1 write', 'committed']);
    });

    test('is for 16 of a batch, and for none that threw', async () => {
      const first = put('a');
      await kv.held();
      let runs = 0;
      const meanwhile = () => void (runs += 1);
      const thrown = journal.transact(() => Promise.reject(DISK), meanwhile).catch(() => undefined);
      const many = Array.from({ length: 20 }, (_none, at) =>
        journal.transact(async (tx) => tx.put(`b${at}`, at), meanwhile),
      );
      await decided();
      expect(runs).toBe(0);
      await kv.end();
      await kv.end();
      await Promise.all([first, thrown, ...many]);
      expect(runs).toBe(16);
    });
  });

  describe('what was read is read no second time', () => {
    test('until it is written anew, or a write of it failed', async () => {
      kv.open = true;
      expect(await journal.get('a')).toBeUndefined();
      await put('a', 1);
      expect(await journal.get('a')).toBe(1);
      const again = new Journal(kv, seal);
      expect([await again.get('a'), await again.get('a')]).toEqual([1, 1]);
      await again.transact(async (tx) => tx.put('a', 2));
      expect(await again.get('a')).toBe(2);
      await again.transact(async (tx) => tx.delete('a'));
      expect(await again.get('a')).toBeUndefined();
    });

    test('though a batch came between the read and its answer', async () => {
      kv.open = true;
      await put('a', 1);
      const slow = new Journal(kv, seal);
      const { promise, resolve } = Promise.withResolvers<void>();
      const get = kv.get.bind(kv);
      kv.get = async (key) => {
        const found = await get(key);
        await promise;
        return found;
      };
      const reading = slow.get('a');
      await slow.transact(async (tx) => tx.put('a', 2));
      for (let at = 0; at < 300; at++) await slow.transact(async (tx) => tx.put(`other${at}`, at));
      resolve();
      expect(await reading).toBe(1);
      expect(await slow.get('a')).toBe(2);
    });
  });

  test('close waits for what is being written', async () => {
    const written = put('a');
    await kv.held();
    const closing = journal.close();
    expect(kv.closed).toBe(false);
    await kv.end();
    await Promise.all([written, closing]);
    expect(kv.closed).toBe(true);
  });

  test('a crash takes back nothing that was resolved', async () => {
    kv.open = true;
    const memory = kv.inner;
    await Promise.all([put('a'), add('count'), add('count')]);
    memory.crash();
    const after = new Journal(memory, seal);
    expect([await after.get('a'), await after.get('count')]).toEqual(['a', 2]);
  });

  test('a damaged record is refused by whoever reads it, and by nobody else', async () => {
    kv.open = true;
    await put('a', { text: 'x' });
    await put('b', 1);
    const bytes = (await kv.inner.get('a'))!;
    await kv.inner.write([{ key: 'a', value: bytes.map((byte, at) => (at === 20 ? byte ^ 4 : byte)) }], {
      sync: true,
    });
    const reader = new Journal(kv, seal);
    const damaged = expect.objectContaining({
      code: 'store_damaged',
      message: expect.stringContaining('record a '),
    });
    await expect(reader.get('a')).rejects.toEqual(damaged);
    await expect(reader.range({ from: 'a', to: 'c' })).rejects.toEqual(damaged);
    await expect(reader.transact((tx) => tx.get('a'))).rejects.toEqual(damaged);
    expect(await reader.get('b')).toBe(1);
  });
});
