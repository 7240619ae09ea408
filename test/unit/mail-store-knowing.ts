import { describe, expect, test } from 'vitest';
import { ada, bob, id, incoming, NOW, outgoing, unsending, voided, type At } from './mail-store-fixture.ts';

/** The part of the mail store suite that is about which messages were heard of at all. */
export function knowsTests({ store, world }: At): void {
  describe('what was heard of', () => {
    test('is what was sent, received, held behind a gap, voided, or asked back before it came', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1));
      await store().receive(incoming(3, 5));
      await store().receive(voided(4, 2));
      await store().receiveUnsend(unsending(5));
      const reopened = await world().reopen();
      for (const message of [1, 2, 3, 4, 5]) {
        expect(await reopened.knows(ada.id, id(message))).toBe(true);
      }
      expect(await reopened.knows(ada.id, id(6))).toBe(false);
      expect(await reopened.knows(bob.id, id(2))).toBe(false);
    });

    test('is not what was not taken', async () => {
      await world().pretendFull({ inbox: ada.id });
      expect(await store().receive(incoming(1, 1, {}, { nowMs: NOW }))).toMatchObject({ taken: false });
      expect(await store().knows(ada.id, id(1))).toBe(false);
    });
  });
}
