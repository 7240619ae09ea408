import { describe, expect, test } from 'vitest';
import { doingOf } from '../../protocol/activity.ts';
import { disturbs, endsWait, holdsBack, type Unseen, type Urgency } from '../../protocol/delivery/wakes.ts';
import { BUSY_MS } from '../../protocol/limits.ts';
import { plainLine } from '../../protocol/plain-line.ts';
import type { AgentState } from '../../protocol/roster.ts';
import { holds, type WatchedState } from '../../protocol/watch.ts';

describe('what waits', () => {
  test.each<[what: Partial<Unseen>, ends: boolean, endsInDnd: boolean, holdsBack: boolean]>([
    [{}, false, false, false],
    [{ info: 3 }, false, false, false],
    [{ normal: 1 }, true, false, true],
    [{ steer: 1 }, true, true, true],
    [{ info: 1, normal: 1 }, true, false, true],
    [{ info: 1, steer: 1 }, true, true, true],
  ])('%j', (what, ends, endsInDnd, isHeld) => {
    const unseen = { info: 0, normal: 0, steer: 0, ...what };
    expect(endsWait(unseen, false)).toBe(ends);
    expect(endsWait(unseen, true)).toBe(endsInDnd);
    expect(holdsBack(unseen)).toBe(isHeld);
  });

  test.each<[Urgency, boolean, boolean]>([
    ['info', false, false],
    ['normal', true, false],
    ['steer', true, true],
  ])('one marked %s', (urgency, disturbing, inDnd) => {
    expect([disturbs(urgency, false), disturbs(urgency, true)]).toEqual([disturbing, inDnd]);
  });
});

test.each([
  [true, 0, 'idle'],
  [false, 0, 'busy'],
  [false, BUSY_MS - 1, 'busy'],
  [false, BUSY_MS, 'idle'],
])('an agent that waits: %s, quiet for %i ms, is %s', (isWaiting, quietMs, doing) => {
  expect(doingOf({ isWaiting, quietMs })).toBe(doing);
});

test.each<[WatchedState, boolean, AgentState | undefined, boolean]>([
  ['online', true, 'busy', true],
  ['online', true, 'dnd', true],
  ['online', false, undefined, false],
  ['online', false, 'dnd', false],
  ['idle', true, 'idle', true],
  ['idle', true, 'busy', false],
  ['idle', true, 'dnd', false],
  ['idle', true, undefined, false],
  ['idle', false, 'idle', false],
])('%s of one that is online: %s, and %s: %s', (wanted, online, state, isSo) => {
  expect(holds(wanted, { online, state })).toBe(isSo);
});

test.each([
  ['  web\n shop\t', 'web shop'],
  ['\u001b[2Jx\u0007', '[2Jx'],
  ['a\u202eb', 'a b'],
  ['x'.repeat(20), 'x'.repeat(10)],
  ['123456789\u{1F600}', '123456789'],
  ['half \ud83d pair', 'half \ufffd pai'],
  ['\u0000', ''],
])('a plain line of %j is %j', (text, line) => {
  expect(plainLine(text, 10)).toBe(line);
});
