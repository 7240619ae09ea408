import { afterEach, beforeEach, describe } from 'vitest';
import { newEpochTests, resyncTests } from './mail-store-epochs.ts';
import { expireTests } from './mail-store-expiring.ts';
import type { At, MailStoreWorld } from './mail-store-fixture.ts';
import { knowsTests } from './mail-store-knowing.ts';
import { moveTests } from './mail-store-moving.ts';
import { noticeTests, unsendAskedTests } from './mail-store-notices.ts';
import { owingTests } from './mail-store-owing.ts';
import { historyTests, limitTests, readingTests, reopenTests } from './mail-store-reading.ts';
import { gapTests, receiptTests, receiveTests, voidTests } from './mail-store-receiving.ts';
import { refuseAllTests } from './mail-store-refusing.ts';
import { heldTests, relayedTests, settlingReceiptTests } from './mail-store-relaying.ts';
import { acceptTests, outboxTests, settleTests, takeBackTests } from './mail-store-sending.ts';
import { hopTests, threadTests } from './mail-store-threads.ts';
import { urgencyTests } from './mail-store-urgency.ts';
import { waitingTests } from './mail-store-waiting.ts';

/** What every MailStore must do: the contract of daemon/store/mail-store.ts, told as tests. */
export function mailStoreSuite(name: string, setup: () => Promise<MailStoreWorld>): void {
  describe(`the mail store ${name}`, () => {
    let world: MailStoreWorld;
    beforeEach(async () => {
      world = await setup();
    });
    afterEach(async () => {
      await world.teardown();
    });
    const at: At = { world: () => world, store: () => world.store };
    acceptTests(at);
    outboxTests(at);
    settleTests(at);
    refuseAllTests(at);
    receiveTests(at);
    gapTests(at);
    voidTests(at);
    moveTests(at);
    receiptTests(at);
    settlingReceiptTests(at);
    heldTests(at);
    relayedTests(at);
    waitingTests(at);
    knowsTests(at);
    noticeTests(at);
    unsendAskedTests(at);
    expireTests(at);
    readingTests(at);
    takeBackTests(at);
    threadTests(at);
    hopTests(at);
    owingTests(at);
    urgencyTests(at);
    historyTests(at);
    limitTests(at);
    reopenTests(at);
    newEpochTests(at);
    resyncTests(at);
  });
}
