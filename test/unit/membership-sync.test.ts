import { describe, expect, test } from 'vitest';
import { addStatements, heads, statements, type NamespaceLog } from '../../protocol/membership/log.ts';
import { landmarks, LANDMARKS_MAX, missing } from '../../protocol/membership/sync.ts';
import { admit, alice, bob, claim, forge, genesis, newLog, say, take } from './membership-fixture.ts';

const grow = (log: NamespaceLog, by: typeof bob, from: number, many: number) => {
  for (let at = from; at < from + many; at++) log = say(log, by, claim(at, `n${at}`));
  return log;
};
const team = grow(say(newLog(), alice, admit(bob)), alice, 0, 50);

describe('what a peer lacks', () => {
  test('is nothing when its heads are the same', () => {
    expect(missing(team, heads(team))).toEqual({ send: [], ask: [] });
  });

  test('is all behind its heads', () => {
    const ahead = grow(team, bob, 100, 3);
    expect(missing(ahead, heads(team))).toEqual({ send: statements(ahead).slice(-3), ask: [] });
    expect(missing(team, heads(ahead))).toEqual({ send: statements(team), ask: heads(ahead) });
  });

  test('is everything when it knows nothing', () => {
    expect(missing(team, []).send).toEqual(statements(team));
  });

  test('is found near to where two logs parted, by landmarks', () => {
    const [one, other] = [grow(team, alice, 100, 5), grow(team, bob, 200, 5)];
    const toOther = missing(one, landmarks(other));
    expect(toOther.ask).toContain(heads(other)[0]);
    expect(toOther.send.length).toBeLessThan(12);
    const merged = addStatements(other, toOther.send);
    expect([merged.added.length, merged.waiting, merged.refused]).toEqual([5, [], []]);
  });

  test('is told in few words, however many heads there are', () => {
    const aside = Array.from({ length: 500 }, (_none, at) =>
      forge(alice, claim(at, `n${at}`), [genesis.hash], { at }),
    );
    const crowded = take(newLog(), aside);
    expect(landmarks(crowded).length).toBeLessThanOrEqual(LANDMARKS_MAX);
    expect(landmarks(newLog())).toEqual([genesis.hash]);
    const behind = take(newLog(), aside.slice(0, 100));
    const { log } = addStatements(behind, missing(crowded, landmarks(behind)).send);
    expect(heads(log)).toEqual(heads(crowded));
  });
});
