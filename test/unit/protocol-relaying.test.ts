import { describe, expect, test } from 'vitest';
import {
  RELAYED_GUESTS_MAX,
  RELAYED_GUESTS_PER_INVITER_MAX,
  RELAYED_MAX,
  RELAYED_PER_MACHINE_MAX,
  RELAYED_PER_PAIR_MAX,
} from '../../protocol/limits.ts';
import { chooseRelays, decidePassage, type Passage, type RelayFacts } from '../../protocol/relaying.ts';

const facts: RelayFacts = { relays: true, shared: true, linked: true, invites: false, passages: [] };
const decided = (more: Partial<RelayFacts>) => decidePassage('a', 'b', { ...facts, ...more });
const many = (count: number, one: (index: number) => Partial<Passage>): Passage[] =>
  Array.from({ length: count }, (_, index) => ({
    from: `x${index}`,
    to: `y${index}`,
    guest: false,
    ...one(index),
  }));

describe('decidePassage', () => {
  test.each<[string, Partial<RelayFacts>, string | boolean]>([
    ['members of one namespace', {}, false],
    ['where nobody relays', { relays: false }, 'no_relay'],
    ['to a member that is not linked', { linked: false }, 'not_linked'],
    ['a stranger', { shared: false }, 'not_member'],
    [
      'a stranger, of whether the machine is linked nothing is told',
      { shared: false, linked: false },
      'not_member',
    ],
    [
      'a stranger with invites at a machine that is gone',
      { shared: false, linked: false, invites: true },
      'not_member',
    ],
    ['a stranger to an inviter', { shared: false, invites: true }, true],
    ['a member to an inviter is no guest', { invites: true }, false],
    ['with all taken', { passages: many(RELAYED_MAX, () => ({})) }, 'busy'],
    ['with all but one taken', { passages: many(RELAYED_MAX - 1, () => ({})) }, false],
    ['with too many from it', { passages: many(RELAYED_PER_MACHINE_MAX, () => ({ from: 'a' })) }, 'busy'],
    [
      'with too many from it the other way',
      { passages: many(RELAYED_PER_MACHINE_MAX, () => ({ to: 'a' })) },
      'busy',
    ],
    ['with too many to the other', { passages: many(RELAYED_PER_MACHINE_MAX, () => ({ to: 'b' })) }, 'busy'],
    [
      'with too many between them',
      { passages: many(RELAYED_PER_PAIR_MAX, () => ({ from: 'b', to: 'a' })) },
      'busy',
    ],
  ])('%s', (_, more, expected) => {
    const decision = decided(more);
    expect('refused' in decision ? decision.refused : decision.passage.guest).toBe(expected);
  });

  test.each<[string, Passage[], boolean]>([
    ['guests are few', many(RELAYED_GUESTS_MAX, () => ({ guest: true })), true],
    ['of one inviter fewer', many(RELAYED_GUESTS_PER_INVITER_MAX, () => ({ guest: true, to: 'b' })), true],
    ['members take no place of theirs', many(RELAYED_GUESTS_MAX, () => ({ to: 'b' })), false],
  ])('%s', (_, passages, busy) => {
    expect('refused' in decided({ shared: false, invites: true, passages })).toBe(busy);
  });

  test('nobody is passed on to itself', () => {
    expect(decidePassage('a', 'a', facts)).toEqual({ refused: 'not_member' });
  });
});

describe('chooseRelays', () => {
  const relays = Array.from({ length: 10 }, (_, index) => `relay ${index}`);

  test('takes two, whatever their order, and keeps them when others go', () => {
    const chosen = chooseRelays('me', relays);
    expect(chosen).toHaveLength(2);
    expect(chooseRelays('me', relays.toReversed())).toEqual(chosen);
    expect(chooseRelays('me', chosen)).toEqual(chosen);
    expect(chooseRelays('me', relays.slice(0, 1))).toEqual(['relay 0']);
    expect(chooseRelays('me', [])).toEqual([]);
  });

  test('spreads machines over the relays', () => {
    const counts = new Map<string, number>();
    for (let n = 0; n < 1_000; n++)
      for (const relay of chooseRelays(`machine ${n}`, relays))
        counts.set(relay, (counts.get(relay) ?? 0) + 1);
    expect(counts.size).toBe(10);
    for (const count of counts.values()) expect(Math.abs(count - 200)).toBeLessThan(80);
  });
});
