import { Level } from 'level';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Kv, KvOperation, KvRange } from './kv.ts';

const ENTRIES_PER_READ = 100;

/**
 * LevelDB as a {@link Kv}. After a failed write LevelDB refuses every further one until it is opened anew (seen
 * on a full disk), so the next use reopens it.
 *
 * Throws `home_in_use` when another process holds the folder's lock, `store_failed` when it cannot be opened.
 */
export async function openLevelKv(folder: string): Promise<LevelStore> {
  const kv = new LevelKv(folder);
  await kv.open();
  return kv;
}

export interface LevelStore extends Kv {
  /** Every entry as it is when this is called, in key order, whatever is written meanwhile. */
  entries(): AsyncIterable<[key: string, value: Uint8Array]>;
}

class LevelKv implements LevelStore {
  readonly #folder: string;
  #db: Level<string, Uint8Array> | undefined;
  #reopening: Promise<void> | undefined;
  #closed = false;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(): Promise<void> {
    const db = new Level<string, Uint8Array>(this.#folder, { keyEncoding: 'utf8', valueEncoding: 'view' });
    try {
      await db.open();
    } catch (error) {
      throw openError(error);
    }
    this.#db = db;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const db = await this.#ready();
    return db.get(key).catch((error: unknown) => {
      throw failure('The store could not be read', error);
    });
  }

  async range({ from, to, reverse = false, limit = -1 }: KvRange): Promise<[string, Uint8Array][]> {
    const db = await this.#ready();
    return db
      .iterator({ gte: from, lt: to, reverse, limit })
      .all()
      .catch((error: unknown) => {
        throw failure('The store could not be read', error);
      });
  }

  async *entries(): AsyncGenerator<[string, Uint8Array]> {
    // An iterator sees the database as it was when it was made.
    const iterator = (await this.#ready()).iterator();
    try {
      for (;;) {
        const page = await iterator.nextv(ENTRIES_PER_READ);
        if (page.length === 0) return;
        yield* page;
      }
    } catch (error) {
      throw failure('The store could not be read', error);
    } finally {
      await iterator.close();
    }
  }

  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    const db = await this.#ready();
    const batch = operations.map(({ key, value }) =>
      value === undefined ? { type: 'del' as const, key } : { type: 'put' as const, key, value },
    );
    try {
      await db.batch(batch, options);
    } catch (error) {
      this.#db = undefined;
      this.#reopening = this.#reopen(db);
      this.#reopening.catch(() => undefined);
      throw failure('The store could not be written', error);
    }
  }

  /** Runs on a thread of its own; reads and writes go on meanwhile. */
  async compact({ from, to }: { from: string; to: string }): Promise<void> {
    const db = await this.#ready();
    if (!canCompact(db)) return;
    await db.compactRange(from, to).catch((error: unknown) => {
      throw failure('The store could not be compacted', error);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#reopening?.catch(() => undefined);
    await this.#db?.close();
    this.#db = undefined;
  }

  async #ready(): Promise<Level<string, Uint8Array>> {
    if (this.#closed) throw new PatchcordError('store_failed', 'The store is closed.');
    if (this.#db) return this.#db;
    this.#reopening ??= this.open();
    try {
      await this.#reopening;
    } finally {
      this.#reopening = undefined;
    }
    if (!this.#db) throw new PatchcordError('store_failed', 'The store is closed.');
    return this.#db;
  }

  async #reopen(broken: Level<string, Uint8Array>): Promise<void> {
    await broken.close().catch(() => undefined);
    await this.open();
  }
}

/** The LevelDB of Node can; what `level` brings elsewhere cannot. */
function canCompact(db: object): db is { compactRange(start: string, end: string): Promise<void> } {
  return 'compactRange' in db;
}

function codes(error: unknown): string[] {
  const found: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string') found.push(at.code);
  }
  return found;
}

function openError(error: unknown): PatchcordError {
  if (codes(error).includes('LEVEL_LOCKED')) {
    return new PatchcordError(
      'home_in_use',
      'Another daemon runs in this home.',
      'Use it as it is, stop it with `patchcord down`, or choose another --home.',
      { cause: error },
    );
  }
  return failure('The store could not be opened', error);
}

function failure(what: string, error: unknown): PatchcordError {
  const texts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) texts.push(at.message);
  const text = texts.join(': ');
  if (/no space|ENOSPC|disk quota/i.test(text)) {
    return new PatchcordError(
      'disk_full',
      'The disk is full; nothing was accepted.',
      'Free some space and try again.',
      {
        cause: error,
      },
    );
  }
  return new PatchcordError('store_failed', `${what}: ${text}.`, 'Check the disk and the home folder.', {
    cause: error,
  });
}
