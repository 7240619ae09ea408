import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom } from '../../daemon/clock.ts';
import { Journal } from '../../daemon/store/journal.ts';
import type { Kv } from '../../daemon/store/kv.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import { key, readTally } from '../../daemon/store/mail-records.ts';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { INBOX_MAX, OUTBOX_MAX } from '../../protocol/limits.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { HERE, type MailStoreWorld } from './mail-store-fixture.ts';
import { mailStoreSuite } from './mail-store-suite.ts';

/** A mail store over whatever `open` opens; a second time, what it opened before. */
async function worldOver(open: () => Promise<Kv>, clear: () => Promise<void>): Promise<MailStoreWorld> {
  const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
  let journal: Journal;
  const openStore = async (): Promise<MailStore> => {
    journal = new Journal(await open(), seal);
    return createKvMailStore(journal, HERE);
  };
  const world: MailStoreWorld = {
    store: await openStore(),
    async reopen() {
      await journal.close();
      world.store = await openStore();
      return world.store;
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
