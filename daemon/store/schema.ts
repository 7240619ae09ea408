import { PatchcordError } from '../../protocol/errors.ts';
import type { Journal, Tx } from './journal.ts';

/** How records are laid out. A store without the record is of version 1. */
export const SCHEMA_VERSION = 1;
const KEY = 'schema';

interface Schema {
  version: number;
  /** Where the migration to the next version goes on. */
  after?: string;
}

/** One step from a version to the next. */
export interface Migration {
  from: number;
  /**
   * Changes one slice of records, those behind the key `after` ('' at first), and returns the last key it looked at;
   * undefined when it is done. Doing a slice twice must be the same as doing it once.
   */
  migrate(tx: Tx, after: string): Promise<string | undefined>;
}

/** Every migration there is, in order. */
export const MIGRATIONS: readonly Migration[] = [];

/** Throws `store_newer` for a store that a later patchcord has written. Changes nothing. */
export async function assertSchema(journal: Journal, newest: number): Promise<void> {
  const schema = await journal.get<Schema>(KEY);
  if (schema && schema.version > newest) {
    throw new PatchcordError(
      'store_newer',
      `The store is of version ${schema.version}; this patchcord knows ${newest}.`,
      'Update patchcord. Nothing was changed.',
    );
  }
}

/** Brings a store to the newest version, a slice a batch; what a crash cuts short goes on at the next start. */
export async function migrateStore(
  journal: Journal,
  migrations: readonly Migration[],
  newest: number,
): Promise<void> {
  await assertSchema(journal, newest);
  for (;;) {
    const done = await journal.transact(async (tx) => {
      const stored = await tx.get<Schema>(KEY);
      const isEmpty = !stored && (await tx.scan({ from: '', to: '\x7f', limit: 1 })).length === 0;
      const { version, after = '' } = stored ?? { version: isEmpty ? newest : 1 };
      if (version === newest) {
        if (!stored) tx.put(KEY, { version } satisfies Schema);
        return true;
      }
      const migration = migrations.find(({ from }) => from === version);
      if (!migration) throw new Error(`no migration leads on from version ${version}`);
      const next = await migration.migrate(tx, after);
      tx.put(KEY, next === undefined ? { version: version + 1 } : { version, after: next });
      return false;
    });
    if (done) return;
  }
}
