import { afterEach, beforeEach, describe } from 'vitest';
import type { HeldBounds } from '../../daemon/store/kv-held-store.ts';
import { boundTests, depositorTests } from './held-store-bounds.ts';
import { carryTests } from './held-store-carrying.ts';
import type { At, HeldStoreWorld } from './held-store-fixture.ts';
import { argumentTests, holdTests, offerTests, secrecyTests } from './held-store-holding.ts';
import { dropNamespaceTests, dropTests, sweepTests, withdrawTests } from './held-store-removing.ts';

/** What every HeldStore must do: the contract of daemon/store/held-store.ts, told as tests. */
export function heldStoreSuite(
  name: string,
  setup: (bounds?: Partial<HeldBounds>) => Promise<HeldStoreWorld>,
): void {
  describe(`the mailbox ${name}`, () => {
    let worlds: HeldStoreWorld[] = [];
    const open = async (bounds?: Partial<HeldBounds>) => {
      const world = await setup(bounds);
      worlds.push(world);
      return world;
    };
    beforeEach(async () => {
      await open();
    });
    afterEach(async () => {
      for (const world of worlds) await world.audit();
      for (const world of worlds) await world.teardown();
      worlds = [];
    });
    const at: At = { world: () => worlds[0]!, store: () => worlds[0]!.store, bounded: open };
    holdTests(at);
    offerTests(at);
    secrecyTests(at);
    carryTests(at);
    argumentTests(at);
    boundTests(at);
    depositorTests(at);
    dropTests(at);
    withdrawTests(at);
    dropNamespaceTests(at);
    sweepTests(at);
  });
}
