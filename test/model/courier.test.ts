import { equal, notEqual, ok } from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  newCourier,
  stepCourier,
  type CourierEvent,
  type Entry,
  type NextEntry,
} from '../../protocol/delivery/courier.ts';
import { RETRY_MAX_MS } from '../../protocol/limits.ts';
import { holds } from './holds.ts';

/** What may happen around a courier; the numbers choose among what is there. */
const happening = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      k: fc.constantFrom('append' as const, 'appendLate' as const),
      sizeBytes: fc.integer({ min: 1, max: 40 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ k: fc.constantFrom('read' as const, 'load' as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      k: fc.constantFrom('take' as const, 'take' as const, 'lose' as const, 'postpone' as const),
      which: fc.nat({ max: 10 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ k: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 9_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ k: fc.constantFrom('withdraw' as const), which: fc.nat({ max: 10 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      k: fc.constant('link' as const),
      frames: fc.integer({ min: 1, max: 4 }),
      sizeBytes: fc.integer({ min: 10, max: 80 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ k: fc.constant('break' as const) }) },
);
type Happening = {
  k:
    | 'append'
    | 'appendLate'
    | 'read'
    | 'load'
    | 'take'
    | 'lose'
    | 'postpone'
    | 'pass'
    | 'withdraw'
    | 'link'
    | 'break';
  sizeBytes?: number;
  which?: number;
  ms?: number;
  frames?: number;
};

const PAGE = 3;

/** An outbox, a wire and a peer around one courier; checks its invariants after every event. */
class Surroundings {
  readonly courier = newCourier();
  readonly outbox = new Map<number, Entry>();
  nowMs = 0;
  wakeAtMs: number | undefined;
  wire: number[] = [];
  /** The load under way: asked, then read from the store, then told. */
  load: { after: number; epoch: number; page?: Entry[] } | undefined;
  #number = 0;
  /** In the outbox, and the courier does not know. */
  readonly #untold: NextEntry[] = [];
  /** What was sent on this link, in the order of the first time. */
  #first: number[] = [];

  happen(what: Happening): void {
    const { k } = what;
    if (k === 'append') this.append(what.sizeBytes!);
    else if (k === 'appendLate') this.append(what.sizeBytes!, false);
    else if (k === 'read') this.read();
    else if (k === 'load') this.tell();
    else if (k === 'take') this.take(this.#any(this.wire, what.which!));
    else if (k === 'lose') this.#off(this.#any(this.wire, what.which!));
    else if (k === 'postpone') this.postpone(this.#any(this.wire, what.which!));
    else if (k === 'pass') this.pass(what.ms!);
    else if (k === 'withdraw') this.settle(this.#any([...this.outbox.keys()], what.which!));
    else if (k === 'link') this.link(what.frames!, what.sizeBytes!);
    else this.event({ type: 'link-down' });
  }

  /** Something else got the numbers between; what is new may be told of after what is newer, or gone by then. */
  append(sizeBytes: number, tells = true): void {
    const previous = this.#number === 0 ? undefined : this.#number;
    this.#number += 3;
    const entry = { number: this.#number, sizeBytes };
    this.outbox.set(entry.number, entry);
    this.#untold.unshift({ ...entry, previous });
    if (tells) this.tellAppended();
  }

  tellAppended(): void {
    for (const next of this.#untold.splice(0)) this.event({ type: 'appended', next });
  }

  link(frames: number, sizeBytes: number): void {
    this.#first = [];
    this.wire = [];
    this.event({ type: 'link-up', window: { frames, sizeBytes } });
  }

  /** The store looks into the outbox; what it saw may be over by the time it is told. */
  read(): void {
    if (!this.load || this.load.page) return;
    const { after } = this.load;
    this.load.page = [...this.outbox.values()].filter(({ number }) => number > after).slice(0, PAGE);
  }

  tell(): void {
    if (!this.load?.page) return;
    const { epoch, page } = this.load;
    this.load = undefined;
    this.event({ type: 'loaded', epoch, entries: page, more: page.length > 0 });
  }

  take(number: number | undefined): void {
    this.#off(number);
    this.settle(number);
  }

  settle(number: number | undefined): void {
    if (number === undefined) return;
    this.outbox.delete(number);
    this.event({ type: 'settled', number });
  }

  postpone(number: number | undefined): void {
    this.#off(number);
    if (number !== undefined) this.event({ type: 'postponed', number });
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.wakeAtMs !== undefined && this.wakeAtMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.wakeAtMs);
      this.event({ type: 'tick' });
    }
    this.nowMs = endMs;
  }

  event(event: CourierEvent): void {
    const { courier } = this;
    const linked = event.type === 'link-up' || (courier.window !== undefined && event.type !== 'link-down');
    for (const effect of stepCourier(courier, event, this.nowMs)) {
      if (effect.type === 'wake') this.wakeAtMs = effect.atMs;
      else if (effect.type === 'load') this.#asked(effect);
      else if (effect.type === 'transmit') this.#sent(effect.number, linked);
    }
    this.check();
  }

  check(): void {
    const { courier, nowMs, wakeAtMs } = this;
    const { window, inflight, inflightSizeBytes, paused } = courier;
    const sizes = [...inflight.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    equal(inflightSizeBytes, sizes);
    if (inflight.size > 1) {
      ok(inflight.size <= window!.frames);
      ok(sizes <= window!.sizeBytes);
    }
    if (window === undefined) {
      equal(inflight.size + paused.size + courier.ready.length, 0);
      equal(wakeAtMs, undefined);
    }
    // A wish to be woken now is a circle without end.
    if (wakeAtMs !== undefined) ok(wakeAtMs > nowMs);
    if (inflight.size > 0) ok(wakeAtMs !== undefined);
  }

  #asked({ after, epoch }: { after: number; epoch: number }): void {
    // Not twice at a time on one link; the answer to an earlier link's load is still taken for that one's.
    notEqual(this.load?.epoch, epoch);
    this.load = { after, epoch };
  }

  #sent(number: number, linked: boolean): void {
    equal(linked, true);
    if (!this.outbox.has(number)) {
      // It was withdrawn between the look into the outbox and now: whoever finds no body says so.
      this.#gone.push(number);
      return;
    }
    this.wire.push(number);
    if (this.#first.includes(number)) return;
    ok(number > (this.#first.at(-1) ?? 0));
    this.#first.push(number);
  }

  readonly #gone: number[] = [];

  /** Tells the courier of what it wanted to send and is no more. */
  tellGone(): void {
    for (const number of this.#gone.splice(0)) this.event({ type: 'settled', number });
  }

  #any(numbers: readonly number[], which: number): number | undefined {
    return numbers.length === 0 ? undefined : numbers[which % numbers.length];
  }

  #off(number: number | undefined): void {
    const at = number === undefined ? -1 : this.wire.indexOf(number);
    if (at >= 0) this.wire.splice(at, 1);
  }
}

describe('a courier', () => {
  test('keeps its window, and brings everything across once links and peers behave', async () => {
    expect(
      await holds(
        fc.property(fc.array(happening, { maxLength: 80, size: 'max' }), (happenings) => {
          const around = new Surroundings();
          around.link(2, 50);
          for (const one of happenings) {
            around.happen(one);
            around.tellGone();
          }
          around.tellAppended();
          around.link(2, 50);
          for (let rounds = 0; around.outbox.size > 0 || around.load; rounds++) {
            expect(rounds).toBeLessThan(1_000);
            around.read();
            around.tell();
            around.tellGone();
            while (around.wire.length > 0) around.take(around.wire[0]);
            around.pass(RETRY_MAX_MS);
          }
          expect(
            around.courier.inflight.size + around.courier.paused.size + around.courier.ready.length,
          ).toBe(0);
          expect(around.wakeAtMs).toBeUndefined();
        }),
      ),
    ).toBe(true);
  });
});
