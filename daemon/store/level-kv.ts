import { readdir } from 'node:fs/promises';
import { Level } from 'level';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Kv, KvOperation, KvRange } from './kv.ts';

const ENTRIES_PER_READ = 100;

/**
 * LevelDB as a {@link Kv}. After a failed write LevelDB refuses every further one until it is opened anew (seen
 * on a full disk), so the next use reopens it.
 *
 * Throws `home_in_use` when another process holds the folder's lock, `store_damaged` when what is there cannot be
 * opened, `store_failed` for any other reason. Reads throw `store_damaged` for a table that cannot be read.
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
    await assertCurrent(this.#folder);
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
    try {
      // At once: a thread would cost more than the look into what LevelDB and the system have in memory.
      return db.getSync(key);
    } catch (error) {
      throw failure('The store could not be read', error);
    }
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
    // At once, if it can be: its caller goes on with something else meanwhile.
    const db = this.#db && !this.#closed ? this.#db : await this.#ready();
    try {
      // Chained, as what is handed over one by one takes a third of the time of a list of objects.
      const batch = db.batch();
      for (const { key, value } of operations) {
        if (value === undefined) batch.del(key);
        else batch.put(key, value);
      }
      await batch.write(options);
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

/**
 * LevelDB takes a folder without CURRENT for a new one, and removes the tables in it. Throws `store_damaged` when
 * there are any.
 */
async function assertCurrent(folder: string): Promise<void> {
  const names: string[] = await readdir(folder).catch(() => []);
  if (names.includes('CURRENT') || !names.some((name) => /^MANIFEST|\.(ldb|sst|log)$/.test(name))) return;
  throw unreadable('its file CURRENT is missing');
}

/** Bytes of records that LevelDB itself cannot make sense of. */
function unreadable(why: string, cause?: unknown): PatchcordError {
  return new PatchcordError(
    'store_damaged',
    `The store is damaged and cannot be read: ${why}.`,
    'Stop the daemon (`patchcord down`) and run `patchcord doctor --repair`: it keeps a copy and saves what can be saved.',
    { cause },
  );
}

function codes(error: unknown): string[] {
  const found: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string') found.push(at.code);
  }
  return found;
}

/** Salvages what LevelDB can find in a folder that it cannot open; what it cannot use it moves to `lost` there. */
export async function repairLevel(folder: string): Promise<void> {
  try {
    // It is classic-level's, which `level` is in Node, and is missing in its types.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    await (Level as unknown as { repair(folder: string): Promise<void> }).repair(folder);
  } catch (error) {
    throw openError(error);
  }
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
  // CURRENT names a file that is not there.
  const missing = /[^ ]*: no such file/i.exec(textOf(error));
  if (missing) return unreadable(missing[0], error);
  return failure('The store could not be opened', error);
}

function textOf(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) texts.push(at.message);
  return texts.join(': ');
}

function failure(what: string, error: unknown): PatchcordError {
  const text = textOf(error);
  if (codes(error).includes('LEVEL_CORRUPTION') || /corruption:|\.ldb: invalid argument/i.test(text))
    return unreadable(text, error);
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
