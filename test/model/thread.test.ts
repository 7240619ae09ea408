import { deepEqual, equal } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Journal } from '../../daemon/store/journal.ts';
import { createKvMailStore } from '../../daemon/store/kv-mail-store.ts';
import type { MailStore, OutboxEntry } from '../../daemon/store/mail-store.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { resolvedAtMs, rootOf } from '../../protocol/delivery/thread.ts';
import { newId } from '../../protocol/ids.ts';
import { isAddressed, type Message, type Party } from '../../protocol/letter.ts';
import { GAP_HOLD_MS } from '../../protocol/limits.ts';
import { verifyReceipt } from '../../protocol/receipt.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { MemoryKv } from '../sim/memory-kv.ts';
import { SeededRandom } from '../sim/random.ts';
import { holds } from './holds.ts';

const NS = 'a'.repeat(64);
/** Each opens two stores, and takes 20 ms. */
const RUNS = 300;
const START_MS = 1_790_000_000_000;
const SLUGS = ['plan', 'deploy'] as const;

const side = fc.boolean();
const which = fc.nat({ max: 20 });
const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      k: fc.constant('say' as const),
      side,
      slug: fc.constantFrom(...SLUGS, SLUGS[0]),
      resolve: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ k: fc.constant('carry' as const), side, which, answerLost: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ k: fc.constant('takeBack' as const), side, which }) },
  { weight: 1, arbitrary: fc.record({ k: fc.constant('show' as const), side }) },
  { weight: 1, arbitrary: fc.record({ k: fc.constant('giveUpGaps' as const), side }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

interface Said {
  message: Message;
  isGone: boolean;
}

/** One agent and its machine. */
class End {
  readonly store: MailStore;
  readonly peerId: string;
  readonly party: Party;
  readonly said: Said[] = [];
  /** Outbox numbers that the other machine has seen. */
  readonly left = new Set<number>();
  readonly boot: string;

  constructor(index: number, random: SeededRandom, time: { nowMs: number }) {
    const signer = signerFromSeed(new Uint8Array(32).fill(index));
    this.peerId = signer.peerId;
    this.boot = newId(START_MS + index, random.bytes);
    this.party = { id: newId(START_MS, random.bytes), name: `agent-${index}` };
    const journal = new Journal(new MemoryKv(), createRecordSeal(new Uint8Array(32), random.bytes));
    this.store = createKvMailStore(journal, signer, () => ({
      id: newId(time.nowMs, random.bytes),
      nowMs: time.nowMs,
    }));
  }

  outbox(to: End): Promise<OutboxEntry[]> {
    return this.store.outboxPage(to.peerId, 0, 1_000, 1_000_000);
  }
}

/** Two agents of two machines, and everything between them. */
class Correspondence {
  readonly random = new SeededRandom('thread');
  readonly time = { nowMs: START_MS };
  readonly ends = [new End(1, this.random, this.time), new End(2, this.random, this.time)] as const;

  async run(one: Command): Promise<void> {
    this.time.nowMs += 1;
    const { nowMs } = this.time;
    const [here, there] = one.side ? this.ends : ([this.ends[1], this.ends[0]] as const);
    const { store, party, boot } = here;
    if (one.k === 'say') {
      const id = newId(nowMs, this.random.bytes);
      const copies = [{ id, to: there.party, machine: there.peerId }];
      const more = { ns: NS, from: party, thread: one.slug, resolve: one.resolve, boot, nowMs };
      await store.accept({ ...more, copies, content: 'x' });
      here.said.push({ message: (await store.find(party.id, id))!.message, isGone: false });
    } else if (one.k === 'carry') {
      const entry = pick(await here.outbox(there), one.which);
      if (entry) await this.#carry(here, there, entry, one.answerLost);
    } else if (one.k === 'takeBack') {
      const said = pick(here.said, one.which);
      if (!said) return;
      const neverLeft = (_machine: string, { number }: OutboxEntry) => !here.left.has(number);
      const messageId = said.message.id;
      const { status } = await store.takeBack({ agent: party.id, messageId, neverLeft, boot });
      if (status === 'unsent') said.isGone = true;
    } else if (one.k === 'show') {
      await store.show(party.id, 2, new Set(), nowMs);
    } else {
      await store.giveUpGaps(nowMs + GAP_HOLD_MS);
    }
  }

  async #carry(
    here: End,
    there: End,
    { number, ns, letter }: OutboxEntry,
    answerLost: boolean,
  ): Promise<void> {
    const { nowMs } = this.time;
    here.left.add(number);
    if (!isAddressed(letter)) throw new Error('nobody reads here');
    const arrival = { ns, machine: here.peerId, nowMs };
    const answer =
      letter.k === 'unsend'
        ? await there.store.receiveUnsend({ ...arrival, letter })
        : await there.store.receive({ ...arrival, letter });
    if (!('receipt' in answer)) throw new Error(answer.code);
    const receipt = verifyReceipt(answer.receipt);
    if (receipt.state === 'unsent') here.said.find(({ message }) => message.id === letter.id)!.isGone = true;
    if (!answerLost) await here.store.settle(there.peerId, number, receipt);
  }

  /** Every letter arrives and is answered. */
  async heal(): Promise<void> {
    const [a, b] = this.ends;
    for (const [here, there] of [
      [a, b],
      [b, a],
    ] as const)
      for (const entry of await here.outbox(there)) await this.#carry(here, there, entry, false);
    for (const { store } of this.ends) await store.giveUpGaps(this.time.nowMs + GAP_HOLD_MS);
  }

  async view(end: End, slug: string) {
    const [a, b] = this.ends;
    const thread = await end.store.thread(end.party.id, (end === a ? b : a).party.id, slug);
    return {
      root: thread && rootOf(thread),
      isResolved: thread !== undefined && resolvedAtMs(thread) !== undefined,
    };
  }

  /** What both should think, from everything that was said and not taken back. */
  expected(slug: string) {
    const alive = ({ said }: End) =>
      said
        .filter(({ message, isGone }) => message.thread!.slug === slug && !isGone)
        .map(({ message }) => message);
    const [a, b] = [alive(this.ends[0]), alive(this.ends[1])];
    const holding = (own: Message[], other: Message[]) =>
      own.some(
        ({ resolve, seq, seen }) =>
          resolve &&
          own.every((later) => later.resolve || later.seq < seq) &&
          other.every((crossing) => crossing.resolve || crossing.seq <= seen!.seq),
      );
    const roots = [...a, ...b].map(({ thread }) => thread!.root).sort();
    return { root: roots[0], isResolved: holding(a, b) || holding(b, a) };
  }
}

describe('a thread of two agents', () => {
  test('is the same on both sides once everything has arrived, whatever crossed and was taken back', async () => {
    const seen = { resolved: 0, open: 0 };
    expect(
      await holds(
        fc.asyncProperty(fc.array(command, { maxLength: 30, size: 'max' }), async (commands) => {
          const both = new Correspondence();
          for (const one of commands) await both.run(one);
          await both.heal();
          for (const slug of SLUGS) {
            const [mine, theirs] = [await both.view(both.ends[0], slug), await both.view(both.ends[1], slug)];
            deepEqual(mine, theirs);
            equal(mine.isResolved, both.expected(slug).isResolved);
            equal(mine.root, both.expected(slug).root);
            if (mine.root !== undefined) seen[mine.isResolved ? 'resolved' : 'open'] += 1;
          }
        }),
        RUNS,
      ),
    ).toBe(true);
    // Both outcomes were met.
    expect(Math.min(seen.resolved, seen.open)).toBeGreaterThan(RUNS / 10);
  });
});

function pick<T>(list: readonly T[], index: number): T | undefined {
  return list.length === 0 ? undefined : list[index % list.length];
}
