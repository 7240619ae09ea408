import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import type { Kv, KvOperation } from '../../daemon/store/kv.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import { key, readTally } from '../../daemon/store/mail-records.ts';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { INBOX_MAX, OUTBOX_MAX } from '../../protocol/limits.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { HERE, type MailStoreWorld } from './mail-store-fixture.ts';
import { mailStoreSuite } from './mail-store-suite.ts';
import { newNotice } from './new-notice.ts';

/** A disk that breaks when it is told to, after so many writes. */
class Breaking implements Kv {
  allowed = Infinity;
  readonly #kv: Kv;

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  get = (name: string) => this.#kv.get(name);
  range: Kv['range'] = (range) => this.#kv.range(range);

  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    if (this.allowed <= 0) throw new Error('the disk is broken');
    this.allowed -= 1;
    await this.#kv.write(operations, options);
  }

  close(): Promise<void> {
    return this.#kv.close();
  }
}

/** A mail store over whatever `open` opens; a second time, what it opened before. */
async function worldOver(open: () => Promise<Kv>, clear: () => Promise<void>): Promise<MailStoreWorld> {
  const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
  let journal: Journal;
  let disk: Breaking;
  const openStore = async (): Promise<MailStore> => {
    disk = new Breaking(await open());
    journal = new Journal(disk, seal);
    return createKvMailStore(journal, HERE, newNotice);
  };
  const world: MailStoreWorld = {
    store: await openStore(),
    async reopen() {
      await journal.close();
      world.store = await openStore();
      return world.store;
    },
    allowWrites(count) {
      disk.allowed = count;
    },
    async clear() {
      disk.allowed = Infinity;
      const all = await disk.range({ from: '', to: '\uffff' });
      await disk.write(
        all.map(([name]) => ({ key: name, value: undefined })),
        { sync: true },
      );
      await world.reopen();
    },
    async pretendFull(what) {
      await journal.transact(async (tx) => {
        if ('outbox' in what) tx.put(key.outboxCount(what.outbox), OUTBOX_MAX);
        else tx.put(key.tally(what.inbox), { ...(await readTally(tx, what.inbox)), pending: INBOX_MAX });
      });
    },
    async teardown() {
      await journal.close();
      await clear();
    },
  };
  return world;
}

mailStoreSuite('in memory', async () => {
  const kv = new MemoryKv();
  return worldOver(
    async () => kv,
    async () => undefined,
  );
});

mailStoreSuite('in LevelDB', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'patchcord-store-'));
  return worldOver(
    () => openLevelKv(folder),
    () => rm(folder, { recursive: true, force: true }),
  );
});
