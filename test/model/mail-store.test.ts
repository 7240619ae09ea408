import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Journal } from '../../daemon/store/journal.ts';
import type { Kv, KvOperation } from '../../daemon/store/kv.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import type { MailStore } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import type { Party } from '../../protocol/letter.ts';
import { GAP_HOLD_MS } from '../../protocol/limits.ts';
import { verifyReceipt, type Receipt, type ReceiptState } from '../../protocol/receipt.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { SeededRandom } from '../sim/random.ts';
import { holds } from './holds.ts';
import { MailReference, type Incoming, type Sent } from './mail-reference.ts';

const INCOMING = 6;
const HERE = signerFromSeed(new Uint8Array(32).fill(1));
const THERE = signerFromSeed(new Uint8Array(32).fill(2)).peerId;
const NS = 'a'.repeat(64);
const OTHER_NS = 'b'.repeat(64);
const START_MS = 1_790_000_000_000;
const ada: Party = { id: idOf(0xa0), name: 'ada' };
const bob: Party = { id: idOf(0xb0), name: 'bob' };

const at = fc.nat({ max: 20 });
const arrived = fc.nat({ max: INCOMING - 1 });
const command = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ k: fc.constant('accept' as const), ns: fc.constantFrom(NS, NS, OTHER_NS) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ k: fc.constant('refuseAll' as const), ns: fc.constantFrom(NS, OTHER_NS) }),
  },
  { weight: 6, arbitrary: fc.record({ k: fc.constant('message' as const), which: arrived }) },
  {
    weight: 2,
    arbitrary: fc.record({ k: fc.constantFrom('void' as const, 'unsend' as const), which: arrived }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ k: fc.constant('show' as const), which: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ k: fc.constant('confirm' as const), which: at }) },
  { weight: 3, arbitrary: fc.record({ k: fc.constantFrom('defer' as const, 'reply' as const), which: at }) },
  {
    weight: 4,
    arbitrary: fc.record({
      k: fc.constantFrom('settle' as const, 'settle' as const, 'refuse' as const, 'receipt' as const),
      which: at,
      state: fc.constantFrom<ReceiptState>('delivered', 'read', 'deferred', 'replied', 'unsent'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ k: fc.constant('takeBack' as const), which: at, neverLeft: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ k: fc.constant('pass' as const), ms: fc.nat({ max: GAP_HOLD_MS + 10 }) }),
  },
  { weight: 1, arbitrary: fc.record({ k: fc.constantFrom('crash' as const, 'fill' as const) }) },
);
type Command = {
  k:
    | 'accept'
    | 'message'
    | 'void'
    | 'unsend'
    | 'show'
    | 'confirm'
    | 'defer'
    | 'reply'
    | 'settle'
    | 'refuse'
    | 'refuseAll'
    | 'receipt'
    | 'takeBack'
    | 'pass'
    | 'crash'
    | 'fill';
  which?: number;
  ns?: string;
  state?: ReceiptState;
  neverLeft?: boolean;
  ms?: number;
};

/** A disk that can be full. */
class Disk implements Kv {
  readonly memory = new MemoryKv();
  isFull = false;
  get = (key: string) => this.memory.get(key);
  range: Kv['range'] = (range) => this.memory.range(range);
  async write(operations: readonly KvOperation[], options: { sync: boolean }): Promise<void> {
    if (this.isFull) throw new Error('the disk is full');
    await this.memory.write(operations, options);
  }
  async close(): Promise<void> {}
}

/** The store and the reference side by side. */
class Pair {
  readonly disk = new Disk();
  readonly random = new SeededRandom('mail');
  store: MailStore = this.#open();
  reference = new MailReference(INCOMING, START_MS, NS);
  readonly boot = idOf(0xb007);
  #ids = 0x1000;
  /** What was ever shown, and what was ever said to be taken back. */
  readonly shown = new Set<string>();
  readonly unsent = new Set<string>();

  #open(): MailStore {
    return createKvMailStore(
      new Journal(this.disk, createRecordSeal(new Uint8Array(32), this.random.bytes)),
      HERE,
    );
  }

  async run(command: Command): Promise<void> {
    if (command.k === 'crash') {
      this.disk.memory.crash();
      this.store = this.#open();
    } else if (command.k === 'fill') {
      this.disk.isFull = true;
      await rejects(this.store.accept(this.#outgoing(idOf(1), NS)), /the disk is full/);
      const fresh = this.reference.incoming.findIndex(({ state }) => state === 'away');
      if (fresh >= 0) await rejects(this.store.receive(this.#letter(fresh, 'message')), /the disk is full/);
      this.disk.isFull = false;
    } else if (command.k === 'pass') {
      this.reference.pass(command.ms!);
      await this.store.giveUpGaps(this.reference.nowMs);
    } else if (['accept', 'takeBack', 'settle', 'refuse', 'refuseAll', 'receipt'].includes(command.k))
      await this.#send(command);
    else await this.#receive(command);
    await this.compare();
  }

  async #send({ k, which = 0, ns = NS, state = 'delivered', neverLeft = false }: Command): Promise<void> {
    const { reference, store } = this;
    if (k === 'accept') {
      this.#ids += 1;
      await store.accept(this.#outgoing(idOf(this.#ids), ns));
      reference.accept(idOf(this.#ids), ns);
    } else if (k === 'refuseAll') {
      const { numbers, settled } = await store.refuseAll(THERE, ns, 'unknown_recipient', 0, () => true);
      deepEqual(numbers, reference.refuseAll(ns));
      equal(settled.length, numbers.length);
    } else if (k === 'settle' || k === 'refuse') {
      const number = pick([...reference.outbox.keys()], which);
      if (number === undefined) return;
      const { k: kind, sent } = reference.outbox.get(number)!;
      if (k === 'refuse') {
        await store.refuse(THERE, number, 'unknown_recipient');
        reference.settle(number, kind === 'unsend' ? undefined : 'refused');
      } else {
        await store.settle(THERE, number, sent && this.#receipt(sent, state));
        reference.settle(number, state);
      }
    } else {
      const sent = pick(reference.sent, which);
      if (!sent) return;
      if (k === 'receipt') {
        await store.receiveReceipts(sent.ns, [this.#receipt(sent, state)]);
        reference.receipt(sent, state);
      } else {
        const request = { agent: ada.id, messageId: sent.id, neverLeft: () => neverLeft, boot: this.boot };
        const outcome = await store.takeBack(request);
        equal(outcome.status, reference.takeBack(sent, neverLeft));
      }
    }
  }

  async #receive({ k, which = 0 }: Command): Promise<void> {
    const { reference, store } = this;
    if (k === 'message' || k === 'void') {
      const received = await store.receive(this.#letter(which, k));
      if (!received.taken) throw new Error(received.code);
      this.#told(which, received.receipt, reference.arrive(which, k));
    } else if (k === 'unsend') {
      const letter = { k: 'unsend' as const, id: idOf(which + 1), from: bob, to: ada };
      const { receipt } = await store.receiveUnsend({
        ns: NS,
        machine: THERE,
        letter,
        nowMs: reference.nowMs,
      });
      this.#told(which, receipt, reference.withdraw(which));
    } else if (k === 'show') {
      const records = await store.show(ada.id, which, new Set(), reference.nowMs);
      const expected = reference.pending.slice(0, which);
      deepEqual(
        records.map(({ message, shownAtMs }) => [message.id, shownAtMs !== undefined]),
        expected.map((one) => [this.#idOf(one), one.isShown]),
      );
      for (const one of expected) one.isShown = true;
      for (const { message } of records) this.shown.add(message.id);
    } else if (k === 'confirm') {
      const shown = reference.incoming.filter(({ isShown }) => isShown).slice(0, 1 + which);
      const numbers = shown.map(({ number }) => number);
      await store.confirm(ada.id, numbers, this.boot, reference.nowMs);
      reference.confirm(shown);
    } else {
      const status = k === 'defer' ? 'deferred' : 'replied';
      const visible = reference.incoming.filter(({ number, state }) => number > 0 && state !== 'unsent');
      const one = pick(visible, which);
      if (!one) return;
      await store.mark(ada.id, { messageId: this.#idOf(one), status }, this.boot, reference.nowMs);
      reference.mark(one, status);
      this.shown.add(this.#idOf(one));
    }
  }

  async compare(): Promise<void> {
    const { store, reference } = this;
    const ids = (list: readonly { message: { id: string } }[]) => list.map(({ message }) => message.id);
    deepEqual(
      ids(await store.pending(ada.id, 100)),
      reference.pending.map((one) => this.#idOf(one)),
    );
    deepEqual(
      ids(await store.deferred(ada.id, 100)),
      reference.deferred.map((one) => this.#idOf(one)),
    );
    deepEqual(await store.tally(ada.id), {
      pending: reference.pending.length,
      deferred: reference.deferred.length,
    });
    const page = await store.outboxPage(THERE, 0, 1_000, 1_000_000);
    deepEqual(
      page.map(({ number, letter }) => [number, letter.k]),
      [...reference.outbox].map(([number, { k }]) => [number, k]).sort(([a], [b]) => Number(a) - Number(b)),
    );
    equal(await store.outboxCount(THERE), reference.outbox.size);
    const history = (await store.history(ada.id, 1_000)).toReversed();
    deepEqual(
      history.map(({ message: { id }, status, late = false, missingBefore = 0 }) => ({
        id,
        status,
        late,
        missingBefore,
      })),
      [
        ...reference.sent.map(({ id, status, number }) => ({
          number,
          id,
          status,
          late: false,
          missingBefore: 0,
        })),
        ...reference.incoming
          .filter(({ number }) => number > 0)
          .map((one) => ({
            number: one.number,
            id: this.#idOf(one),
            status: one.state,
            late: one.late,
            missingBefore: one.missingBefore,
          })),
      ]
        .sort((a, b) => a.number - b.number)
        .map(({ number: _number, ...rest }) => rest),
    );
    for (const id of this.unsent) ok(!this.shown.has(id));
  }

  #told(index: number, receipt: Uint8Array, expected: ReceiptState): void {
    const { id, state, by } = verifyReceipt(receipt);
    deepEqual({ id, state, by }, { id: idOf(index + 1), state: expected, by: HERE.peerId });
    if (state === 'unsent') this.unsent.add(id);
  }

  #idOf(one: Incoming): string {
    return idOf(this.reference.incoming.indexOf(one) + 1);
  }

  #outgoing(id: string, ns: string) {
    const copies = [{ id, to: bob, machine: THERE }];
    return { ns, from: ada, copies, content: 'hello', boot: this.boot, nowMs: this.reference.nowMs };
  }

  #letter(index: number, k: 'message' | 'void') {
    const place = { id: idOf(index + 1), seq: index + 1, from: bob, to: ada };
    const letter =
      k === 'void' ? { k, ...place } : { k, ...place, content: `content ${index}`, sent_at: START_MS };
    return { ns: NS, machine: THERE, letter, nowMs: this.reference.nowMs };
  }

  #receipt({ id, ns }: Sent, state: ReceiptState): Receipt {
    const at = this.reference.nowMs;
    return { v: 1, ns, id, sender: ada.id, recipient: bob.id, state, at, by: THERE };
  }
}

describe('the mail store', () => {
  test('does what a plain object would, through crashes and full disks', async () => {
    expect(
      await holds(
        fc.asyncProperty(fc.array(command, { maxLength: 40, size: 'max' }), async (commands) => {
          const pair = new Pair();
          for (const one of commands) await pair.run(one);
        }),
      ),
    ).toBe(true);
  });

  test('gives a thread one root, whatever the order in which its messages arrive', async () => {
    expect(
      await holds(
        fc.asyncProperty(threadArrivals(), async (roots) => {
          const { store } = new Pair();
          for (const [index, { sender, root }] of roots.entries()) {
            const from = { id: idOf(0xc0 + sender), name: `agent-${sender}` };
            const seq = roots.slice(0, index).filter((earlier) => earlier.sender === sender).length + 1;
            const thread = { slug: 'plan', root: idOf(root) };
            const letter = {
              k: 'message' as const,
              id: idOf(0x2000 + index),
              seq,
              from,
              to: ada,
              content: 'x',
              sent_at: 0,
              thread,
            };
            await store.receive({ ns: NS, machine: THERE, letter, nowMs: START_MS });
          }
          const lowest = Math.min(...roots.map(({ root }) => root));
          expect((await store.thread(ada.id, 'plan'))?.root).toBe(idOf(lowest));
        }),
        300,
      ),
    ).toBe(true);
  });
});

function threadArrivals() {
  const arrival = fc.record({ sender: fc.nat({ max: 3 }), root: fc.integer({ min: 1, max: 50 }) });
  return fc.array(arrival, { minLength: 1, maxLength: 8 });
}

function pick<T>(list: readonly T[], which: number): T | undefined {
  return list.length === 0 ? undefined : list[which % list.length];
}

function idOf(number: number): string {
  return `019a5b00-1234-7abc-8def-${number.toString(16).padStart(12, '0')}`;
}
