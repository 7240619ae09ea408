import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Journal } from '../../daemon/store/journal.ts';
import type { Kv, KvOperation } from '../../daemon/store/kv.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import type { MailRecord, MailStore } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { newId } from '../../protocol/ids.ts';
import type { Party } from '../../protocol/letter.ts';
import { GAP_HOLD_MS } from '../../protocol/limits.ts';
import {
  RECEIPT_STATES,
  signReceipt,
  verifyReceipt,
  type Receipt,
  type ReceiptState,
} from '../../protocol/receipt.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { SeededRandom } from '../sim/random.ts';
import { holds } from './holds.ts';
import { isNotice, MailReference, type Incoming, type Notice, type Sent } from './mail-reference.ts';

const INCOMING = 6;
const HERE = signerFromSeed(new Uint8Array(32).fill(1));
const THERE = signerFromSeed(new Uint8Array(32).fill(2)).peerId;
const MAILBOXES = [3, 4].map((seed) => signerFromSeed(new Uint8Array(32).fill(seed)).peerId);
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
  {
    weight: 6,
    arbitrary: fc.record({
      k: fc.constant('message' as const),
      which: arrived,
      relayed: fc.boolean(),
      waits: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      k: fc.constantFrom('void' as const, 'unsend' as const),
      which: arrived,
      relayed: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ k: fc.constantFrom('tell' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ k: fc.constant('markHeld' as const), which: at, mailbox: fc.nat({ max: 1 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      k: fc.constant('expire' as const),
      ms: fc.oneof(fc.constant(-1), fc.nat({ max: GAP_HOLD_MS })),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ k: fc.constant('show' as const), which: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ k: fc.constant('confirm' as const), which: at }) },
  { weight: 2, arbitrary: fc.record({ k: fc.constant('tellRead' as const) }) },
  { weight: 3, arbitrary: fc.record({ k: fc.constantFrom('defer' as const, 'reply' as const), which: at }) },
  {
    weight: 4,
    arbitrary: fc.record({
      k: fc.constantFrom('settle' as const, 'settle' as const, 'refuse' as const, 'postpone' as const),
      which: at,
      state: fc.constantFrom<ReceiptState>('delivered', 'read', 'deferred', 'replied', 'unsent', 'refused'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      k: fc.constant('receipt' as const),
      which: at,
      state: fc.constantFrom(...RECEIPT_STATES),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      k: fc.constant('takeBack' as const),
      which: at,
      neverLeft: fc.boolean(),
      asked: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ k: fc.constant('pass' as const), ms: fc.nat({ max: GAP_HOLD_MS + 10 }) }),
  },
  { weight: 1, arbitrary: fc.record({ k: fc.constantFrom('crash' as const, 'fill' as const) }) },
);
type Command = {
  k: (typeof command extends fc.Arbitrary<infer T extends { k: string }> ? T : never)['k'];
  which?: number;
  ns?: string;
  state?: ReceiptState;
  neverLeft?: boolean;
  /** Its sender was told `requested`. */
  asked?: boolean;
  /** A mailbox passed it on. */
  relayed?: boolean;
  /** A session waits for the next message. */
  waits?: boolean;
  mailbox?: number;
  ms?: number;
};
const SENDS: ReadonlySet<Command['k']> = new Set([
  ...(['accept', 'takeBack', 'receipt', 'tell'] as const),
  ...(['settle', 'refuse', 'refuseAll', 'expire', 'markHeld', 'postpone'] as const),
]);

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
  reference = new MailReference(INCOMING, START_MS, NS);
  store: MailStore = this.#open();
  readonly boot = idOf(0xb007);
  #ids = 0x1000;
  /** What was ever shown, and what was ever said to be taken back. */
  readonly shown = new Set<string>();
  readonly unsent = new Set<string>();

  #open(): MailStore {
    return createKvMailStore(
      new Journal(this.disk, createRecordSeal(new Uint8Array(32), this.random.bytes)),
      HERE,
      () => ({ id: newId(this.reference.nowMs, this.random.bytes), nowMs: this.reference.nowMs }),
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
      if (fresh >= 0)
        await rejects(this.store.receive(this.#letter(fresh, 'message', true)), /the disk is full/);
      this.disk.isFull = false;
    } else if (command.k === 'pass') {
      this.reference.pass(command.ms!);
      await this.store.giveUpGaps(this.reference.nowMs);
    } else if (SENDS.has(command.k)) await this.#send(command);
    else await this.#receive(command);
    await this.compare();
  }

  async #send(command: Command): Promise<void> {
    const { k, ns = NS, ms = 0 } = command;
    const { reference, store } = this;
    if (k === 'accept') {
      this.#ids += 1;
      await store.accept(this.#outgoing(idOf(this.#ids), ns));
      reference.accept(idOf(this.#ids), ns);
    } else if (k === 'refuseAll') {
      const { numbers, settled } = await store.refuseAll(THERE, ns, 'unknown_recipient', 0, () => true);
      deepEqual(numbers, reference.refuseAll(ns));
      equal(settled.length, numbers.length);
    } else if (k === 'expire') {
      const { settled } = await store.expire(THERE, reference.nowMs - ms, 0, () => true);
      deepEqual(
        settled.map(({ entry }) => entry.number),
        reference.expire(reference.nowMs - ms),
      );
    } else if (k === 'tell') {
      const about = { ns: NS, id: idOf(1), sender: bob.id, recipient: ada.id, at: reference.nowMs };
      await store.tell(THERE, NS, signReceipt({ ...about, state: 'refused' }, HERE), this.boot);
      reference.tell(0, 'refused');
    } else if (k === 'settle' || k === 'refuse' || k === 'markHeld' || k === 'postpone')
      await this.#settle(command);
    else await this.#change(command);
  }

  /** Something is said of an entry of the outbox. */
  async #settle({ k, which = 0, state = 'delivered', mailbox = 0 }: Command): Promise<void> {
    const { reference, store } = this;
    const number = pick([...reference.outbox.keys()], which);
    if (number === undefined) return;
    const { sent } = reference.outbox.get(number)!;
    if (k === 'markHeld') {
      await store.markHeld(THERE, number, MAILBOXES[mailbox]!);
      reference.markHeld(number, MAILBOXES[mailbox]!);
      return;
    }
    if (k === 'postpone') {
      await store.postponed(THERE, number, 'mailbox_full');
      reference.postpone(number);
      return;
    }
    const before = reference.notices.length;
    let settled;
    if (k === 'refuse') {
      settled = await store.refuse(THERE, number, 'unknown_recipient');
      reference.end(number, 'refused');
    } else {
      settled = await store.settle(THERE, number, sent && this.#receipt(sent, state));
      reference.settle(number, state);
    }
    equal(settled.released?.length ?? 0, reference.notices.length - before);
  }

  /** Something is said of a sent message. */
  async #change({ k, which = 0, state = 'delivered', neverLeft = false, asked }: Command): Promise<void> {
    const { reference, store } = this;
    const sent = pick(reference.sent, which);
    if (!sent) return;
    if (k === 'receipt') {
      const [taken] = await store.receiveReceipts(sent.ns, [this.#receipt(sent, state)]);
      const before = reference.notices.length;
      equal(taken?.settled?.number, reference.receipt(sent, state));
      equal(taken?.released.length ?? 0, reference.notices.length - before);
      return;
    }
    const request = { agent: ada.id, messageId: sent.id, neverLeft: () => neverLeft, boot: this.boot };
    const { status } = await store.takeBack(request);
    equal(status, reference.takeBack(sent, neverLeft));
    if (status !== 'asked' || !asked) return;
    await store.unsendAsked(ada.id, sent.id);
    reference.unsendAsked(sent);
  }

  async #receive({ k, which = 0, relayed = false, waits = false }: Command): Promise<void> {
    const { reference, store } = this;
    if (k === 'message' || k === 'void') {
      const isFree = reference.pending.length === 0;
      const received = await store.receive({ ...this.#letter(which, k, relayed), handOff: () => waits });
      if (!received.taken) throw new Error(received.code);
      const state = reference.arrive(which, k);
      const [first] = reference.pending;
      const handed = isFree && waits && first === reference.incoming[which] ? first : undefined;
      equal(received.released.find((one) => one.handed)?.messageId, handed && this.#nameOf(handed));
      if (handed) {
        handed.isShown = true;
        this.shown.add(this.#nameOf(handed));
      }
      this.#told(which, received.receipt, state);
      if (relayed) reference.tell(which, state);
    } else if (k === 'unsend') {
      const letter = { k: 'unsend' as const, id: idOf(which + 1), from: bob, to: ada };
      const { receipt } = await store.receiveUnsend({
        ns: NS,
        machine: THERE,
        letter,
        nowMs: reference.nowMs,
        relayedIn: relayed ? this.boot : undefined,
      });
      const state = reference.withdraw(which);
      this.#told(which, receipt, state);
      if (relayed) reference.tell(which, state);
    } else if (k === 'show') {
      const records = await store.show(ada.id, which, new Set(), reference.nowMs);
      const expected = reference.pending.slice(0, which);
      deepEqual(
        records.map((record) => [nameOf(record), record.shownAtMs !== undefined]),
        expected.map((one) => [this.#nameOf(one), one.isShown]),
      );
      for (const one of expected) one.isShown = true;
      for (const { message } of records) this.shown.add(message.id);
    } else if (k === 'confirm') {
      const shown = reference.visible(({ isShown }) => isShown).slice(0, 1 + which);
      const numbers = shown.map(({ number }) => number);
      await store.confirm(ada.id, numbers, reference.nowMs);
      reference.confirm(shown);
    } else if (k === 'tellRead') {
      await store.tellRead(this.boot, reference.nowMs);
      reference.tellRead();
    } else {
      const status = k === 'defer' ? 'deferred' : 'replied';
      const one = pick(
        reference.visible(({ state }) => state !== 'unsent'),
        which,
      );
      if (!one) return;
      const record = (await store.history(ada.id, 1, one.number + 1))[0]!;
      const messageId = record.message.id;
      await store.mark(ada.id, { messageId, status }, this.boot, reference.nowMs);
      reference.mark(one, status);
      this.shown.add(messageId);
    }
  }

  async compare(): Promise<void> {
    const { store, reference } = this;
    deepEqual(
      (await store.pending(ada.id, 100)).map(nameOf),
      reference.pending.map((one) => this.#nameOf(one)),
    );
    deepEqual(
      (await store.deferred(ada.id, 100)).map(nameOf),
      reference.deferred.map((one) => this.#nameOf(one)),
    );
    deepEqual(await store.tally(ada.id), {
      pending: reference.pending.length,
      deferred: reference.deferred.length,
    });
    const page = await store.outboxPage(THERE, 0, 1_000, 1_000_000);
    deepEqual(
      page.map(({ number, letter, atMs, held = [] }) => [number, letter.k, atMs, held]),
      [...reference.outbox]
        .sort(([a], [b]) => a - b)
        .map(([number, { k, atMs, held }]) => [number, k, atMs, held]),
    );
    equal(await store.outboxCount(THERE), reference.outbox.size);
    await this.#compareHistory();
    for (const id of this.unsent) ok(!this.shown.has(id));
  }

  async #compareHistory(): Promise<void> {
    const { store, reference } = this;
    const history = (await store.history(ada.id, 1_000)).toReversed();
    deepEqual(
      history.map((record) => {
        const { number, status, late = false, missingBefore = 0, held = [], waiting } = record;
        const isWaiting = waiting !== undefined;
        return { number, name: nameOf(record), status, late, missingBefore, held, isWaiting };
      }),
      [
        ...reference.sent.map((sent) => {
          const { number, id: name, status, held } = sent;
          const isWaiting = reference.isWaiting(sent);
          return { number, name, status, late: false, missingBefore: 0, held, isWaiting };
        }),
        ...reference.visible().map((one) => {
          const { number, state } = one;
          const { late, missingBefore } = isNotice(one) ? { late: false, missingBefore: 0 } : one;
          const name = this.#nameOf(one);
          return { number, name, status: state, late, missingBefore, held: [], isWaiting: false };
        }),
      ].sort((a, b) => a.number - b.number),
    );
  }

  #told(index: number, receipt: Uint8Array, expected: ReceiptState): void {
    const { id, state, by } = verifyReceipt(receipt);
    deepEqual({ id, state, by }, { id: idOf(index + 1), state: expected, by: HERE.peerId });
    if (state === 'unsent') this.unsent.add(id);
  }

  #nameOf(one: Incoming | Notice): string {
    if (isNotice(one)) return `${one.kind} ${one.about}`;
    return idOf(this.reference.incoming.indexOf(one) + 1);
  }

  #outgoing(id: string, ns: string) {
    const copies = [{ id, to: bob, machine: THERE }];
    return { ns, from: ada, copies, content: 'hello', boot: this.boot, nowMs: this.reference.nowMs };
  }

  #letter(index: number, k: 'message' | 'void', relayed: boolean) {
    const place = { id: idOf(index + 1), seq: index + 1, from: bob, to: ada };
    const letter =
      k === 'void' ? { k, ...place } : { k, ...place, content: `content ${index}`, sent_at: START_MS };
    const relayedIn = relayed ? this.boot : undefined;
    return { ns: NS, machine: THERE, letter, nowMs: this.reference.nowMs, relayedIn };
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
});

function pick<T>(list: readonly T[], which: number): T | undefined {
  return list.length === 0 ? undefined : list[which % list.length];
}

/** Notices have ids that nobody chose. */
function nameOf({ message, notice }: MailRecord): string {
  return notice ? `${notice.kind} ${notice.about}` : message.id;
}

function idOf(number: number): string {
  return `019a5b00-1234-7abc-8def-${number.toString(16).padStart(12, '0')}`;
}
