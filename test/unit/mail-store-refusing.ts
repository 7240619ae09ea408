import { describe, expect, test } from 'vitest';
import type { OutboxEntry } from '../../daemon/store/mail-store.ts';
import type { ErrorCode } from '../../protocol/errors.ts';
import {
  ada,
  type At,
  bob,
  BOOT,
  cyd,
  ELSEWHERE,
  id,
  incoming,
  noticesOf,
  NS,
  numbersTo,
  OTHER_NS,
  outboxOf,
  outgoing,
  receipt,
  releasedOf,
  statusOf,
  THERE,
  NOW,
} from './mail-store-fixture.ts';

/** The part of the mail store suite that is about what a removed machine will never take. */
export function refuseAllTests({ store, world }: At): void {
  const CODE: ErrorCode = 'unknown_recipient';

  /** Calls until it ends; gives back what all calls said, and how many it took. */
  const refuseAll = async (ns = NS, machine = THERE) => {
    const numbers: number[] = [];
    const settled: unknown[] = [];
    let calls = 0;
    for (let after: number | undefined = 0; after !== undefined;) {
      const before: number = after;
      const refused = await store().refuseAll(machine, ns, CODE, before, () => true);
      expect(refused.next ?? Infinity).toBeGreaterThan(before);
      expect(refused.numbers.length).toBeLessThanOrEqual(500);
      numbers.push(...refused.numbers);
      settled.push(...refused.settled);
      after = refused.next;
      calls += 1;
    }
    return { numbers, settled, calls };
  };

  describe('refusing all', () => {
    test('says nothing of an empty outbox', async () => {
      expect(await store().refuseAll(THERE, NS, CODE, 0, () => true)).toEqual({
        numbers: [],
        settled: [],
        next: undefined,
      });
    });

    test('ends each message as a refusal does', async () => {
      for (const message of [1, 2]) await store().accept(outgoing(message));
      const { numbers, settled } = await refuseAll();
      expect(numbers).toEqual([1, 2]);
      expect(settled).toEqual(
        await Promise.all(
          [1, 2].map(async (message) => ({
            about: { agent: ada.id, messageId: id(message), kind: 'message', state: 'refused' },
            released: await releasedOf(store(), message),
          })),
        ),
      );
      expect(await noticesOf(store())).toEqual(
        [1, 2].map((message) => ({ kind: 'refused', about: id(message), status: 'pending' })),
      );
      for (const message of [1, 2]) {
        const record = await store().find(ada.id, id(message));
        expect(record).toMatchObject({ status: 'refused', refusal: CODE });
        expect(record!.outbox).toBeUndefined();
      }
      expect(await store().outboxMachines()).toEqual([]);
      expect((await refuseAll()).numbers).toEqual([]);
    });

    test('keeps what other namespaces have there, and what waits for other machines', async () => {
      await store().accept(outgoing(1, { ns: OTHER_NS }));
      await store().accept(outgoing(2));
      await store().accept(outgoing(3, { copies: [{ id: id(3), to: cyd, machine: ELSEWHERE }] }));
      await store().accept(outgoing(4, { ns: OTHER_NS }));
      expect((await refuseAll()).numbers).toEqual([2]);
      expect((await outboxOf(store())).map(({ number }) => number)).toEqual([1, 4]);
      expect(await store().outboxCount(THERE)).toBe(2);
      expect(await store().outboxCount(ELSEWHERE)).toBe(1);
      expect([await statusOf(store(), 1), await statusOf(store(), 3)]).toEqual(['queued', 'queued']);
    });

    test('ends receipts and requests to take back, and leaves their messages as they were', async () => {
      const takeBack = (message: number, neverLeft: boolean) =>
        store().takeBack({ agent: ada.id, messageId: id(message), neverLeft: () => neverLeft, boot: BOOT });
      await store().receive(incoming(11, 1));
      await store().mark(ada.id, { messageId: id(11), status: 'deferred' }, BOOT, NOW);
      for (const message of [1, 2, 3]) await store().accept(outgoing(message));
      await store().settle(THERE, 2, receipt(1, 'delivered'));
      await takeBack(1, false);
      await takeBack(2, true);
      await takeBack(3, false);
      expect((await outboxOf(store())).map(({ letter }) => letter.k)).toEqual([
        'receipts',
        'void',
        'unsend',
        'void',
      ]);
      const { settled } = await refuseAll();
      expect(settled).toEqual([
        {},
        { about: { agent: ada.id, messageId: id(2), kind: 'void', state: 'refused' } },
        { about: { agent: ada.id, messageId: id(1), kind: 'unsend', state: 'refused' } },
        {
          about: { agent: ada.id, messageId: id(3), kind: 'void', state: 'refused' },
          released: await releasedOf(store(), 3),
        },
      ]);
      expect((await noticesOf(store())).map(({ about }) => about)).toEqual([id(3)]);
      expect(await Promise.all([1, 2, 3, 11].map((message) => statusOf(store(), message)))).toEqual([
        'delivered',
        'unsent',
        'refused',
        'deferred',
      ]);
      expect(await store().outboxCount(THERE)).toBe(0);
    });

    test('of what may have left it is not known whether it arrived: taking it back is not said to have worked', async () => {
      await store().accept(outgoing(1));
      await store().accept(outgoing(2));
      const neverLeft = ({ number }: OutboxEntry) => number === 2;
      await store().refuseAll(THERE, NS, CODE, 0, neverLeft);
      const takeBack = (message: number) =>
        store().takeBack({ agent: ada.id, messageId: id(message), neverLeft: () => false, boot: BOOT });
      expect([await takeBack(1), await takeBack(2)]).toEqual([{ status: 'unknown' }, { status: 'unsent' }]);
    });

    test('does not undo what is known to be answered', async () => {
      await store().accept(outgoing(1));
      await store().receive(incoming(2, 1, { reply_to: id(1) }));
      expect((await refuseAll()).numbers).toEqual([1]);
      const record = await store().find(ada.id, id(1));
      expect([record!.status, record!.refusal]).toEqual(['replied', undefined]);
      expect(await noticesOf(store())).toEqual([]);
    });

    test('takes many in several calls, whatever lies between them', async () => {
      const isOther = (message: number) => message <= 600 || message % 3 === 0;
      await Promise.all(
        numbersTo(1_300).map((message) =>
          store().accept(outgoing(message, { ns: isOther(message) ? OTHER_NS : NS })),
        ),
      );
      const { numbers, calls } = await refuseAll();
      expect(numbers).toEqual(numbersTo(1_300).filter((number) => !isOther(number)));
      expect([3, 4]).toContain(calls);
      expect(await store().outboxCount(THERE)).toBe(1_300 - numbers.length);
      expect((await outboxOf(store())).every(({ ns }) => ns === OTHER_NS)).toBe(true);
    });

    test('looks at few at once when they are long', async () => {
      const content = '\u5165'.repeat(50_000);
      await Promise.all(numbersTo(80).map((message) => store().accept(outgoing(message, { content }))));
      const { numbers, calls } = await refuseAll();
      expect(numbers).toEqual(numbersTo(80));
      expect(calls).toBeGreaterThan(2);
    });

    test('is told once when two ask at the same time', async () => {
      for (const message of [1, 2, 3]) await store().accept(outgoing(message));
      const both = await Promise.all([refuseAll(), refuseAll()]);
      expect(both.flatMap(({ numbers }) => numbers)).toEqual([1, 2, 3]);
    });

    test('survives a restart', async () => {
      await store().accept(outgoing(1));
      await store().refuseAll(THERE, NS, CODE, 0, () => true);
      const again = await world().reopen();
      expect(await again.outboxCount(THERE)).toBe(0);
      expect(await again.find(ada.id, id(1))).toMatchObject({ status: 'refused', refusal: CODE });
      const { copies } = await again.accept(outgoing(2));
      expect(copies).toEqual([{ id: id(2), number: 2 }]);
      expect((await again.outboxEntry(THERE, 2))!.letter).toMatchObject({ seq: 2, to: bob });
    });
  });
}
