import { describe, expect, test } from 'vitest';
import { addStatements, counts, heads, type NamespaceLog } from '../../protocol/membership/log.ts';
import type { SignedStatement } from '../../protocol/membership/statement.ts';
import {
  admit,
  alice,
  bob,
  carol,
  claim,
  dave,
  eve,
  factsOf,
  forge,
  machine,
  newLog,
  promote,
  recovery,
  remove,
  rival,
  say,
  take,
} from './membership-fixture.ts';

/** Alice, the founder, made Bob admin, then Carol; Dave is a member. */
const team = (): NamespaceLog =>
  say(say(say(newLog(), alice, admit(bob, 'admin')), alice, admit(carol, 'admin')), alice, admit(dave));
const base = team();
const known = heads(base);
const among = [alice, bob, carol, dave, eve];
const inIn = (log: NamespaceLog) =>
  among.map(({ peerId }, at) => (log.members.has(peerId) ? 'abcde'[at] : '-')).join('');

/** All orders of arrival must agree; the conflict is written down once. */
function settled(list: readonly SignedStatement[], log = base): NamespaceLog {
  const one = take(log, list);
  let other = log;
  let waiting: readonly SignedStatement[] = [];
  for (const signed of [...list].reverse()) {
    ({ log: other, waiting } = addStatements(other, [signed, ...waiting]));
  }
  expect(factsOf(other)).toEqual(factsOf(one));
  return one;
}

describe('at a fork', () => {
  test('a removal wins over what the removed machine said without knowing of it', () => {
    const log = settled([
      forge(alice, remove(bob), known),
      forge(bob, admit(eve, 'admin'), known),
      forge(bob, claim(1, 'x'), known),
    ]);
    expect([inIn(log), log.claims.size]).toEqual(['a-cd-', 0]);
  });

  test('and over an admission that did not know of it', () => {
    const log = settled([forge(alice, remove(dave), known), forge(carol, admit(dave, 'admin'), known)]);
    expect(inIn(log)).toBe('abc--');
  });

  test('but not over one that did', () => {
    const removal = forge(alice, remove(dave), known);
    const back = forge(carol, admit(dave), [removal.hash]);
    const says = forge(dave, claim(1, 'x'), [back.hash]);
    const unheard = forge(dave, claim(2, 'y'), known);
    const log = settled([removal, back, says, unheard]);
    expect([inIn(log), [...log.claims.keys()]]).toEqual(['abcd-', ['x']]);
  });

  test('what a removed machine had said before stands, and so does what rests on it', () => {
    const admitted = forge(bob, admit(eve), known);
    const removal = forge(alice, remove(bob), [admitted.hash]);
    expect(inIn(settled([admitted, removal]))).toBe('a-cde');
  });

  test('what rests on what was struck falls with it', () => {
    const admitted = forge(bob, admit(eve, 'admin'), known);
    const creature = forge(eve, remove(dave), [admitted.hash]);
    const log = settled([admitted, creature, forge(alice, remove(bob), known)]);
    expect([inIn(log), counts(log, creature.hash)]).toEqual(['a-cd-', false]);
  });

  test('what was struck in vain stands again when its striker is struck', () => {
    // Carol removes Bob, Bob had admitted Eve; then it turns out that Alice had removed Carol.
    const admitted = forge(bob, admit(eve), known);
    const list = [admitted, forge(carol, remove(bob), known), forge(alice, remove(carol), known)];
    expect(inIn(settled(list))).toBe('ab-de');
    expect(inIn(settled(list.slice(0, 2)))).toBe('a-cd-');
  });

  test('of two who claim a name, the lower hash holds it', () => {
    const one = forge(bob, claim(1, 'x'), known);
    const higher = rival((at) => forge(carol, claim(2, 'x'), known, { at }), one.hash, false);
    const lower = rival((at) => forge(carol, claim(2, 'x'), known, { at }), one.hash, true);
    expect(settled([one, higher])).toMatchObject({ lost: [{ machine: carol.peerId, heldBy: bob.peerId }] });
    expect(settled([one, lower])).toMatchObject({ lost: [{ machine: bob.peerId, heldBy: carol.peerId }] });
  });

  test('a removal comes before a claim, whatever the hashes, and frees the name for it', () => {
    const log = say(base, carol, claim(1, 'x'));
    const removal = forge(alice, remove(carol), heads(log));
    for (const lower of [true, false]) {
      const claimed = rival((at) => forge(bob, claim(2, 'x'), heads(log), { at }), removal.hash, lower);
      expect(settled([removal, claimed], log).claims.get('x')?.machine).toBe(bob.peerId);
    }
  });

  test('of two keys of one epoch, the lower hash holds; the next epoch follows either', () => {
    const rotate = (epoch: number, byte: number) =>
      ({ k: 'rotate', epoch, key_hash: new Uint8Array(32).fill(byte) }) as const;
    const one = forge(bob, rotate(1, 1), known);
    const two = rival((at) => forge(carol, rotate(1, 2), known, { at }), one.hash, false);
    const after = forge(carol, rotate(2, 3), [two.hash]);
    expect(settled([one, two]).key?.hash).toBe(one.hash);
    expect(settled([one, two, after]).key?.hash).toBe(after.hash);
  });

  test('a promotion counts for a machine that is in, not for one that is out', () => {
    const removal = forge(alice, remove(dave), known);
    const late = forge(bob, promote(dave), [removal.hash]);
    const blind = forge(bob, promote(dave), known);
    const log = settled([removal, late, blind]);
    expect([inIn(log), counts(log, late.hash)]).toEqual(['abc--', false]);
  });

  test('who leaves takes back nothing that others saw', () => {
    const named = forge(dave, claim(1, 'x'), known);
    const leaves = forge(dave, remove(dave), [named.hash]);
    const log = settled([named, leaves, forge(dave, claim(2, 'y'), [named.hash])]);
    expect([inIn(log), counts(log, named.hash), log.claims.size]).toEqual(['abc--', true, 0]);
  });
});

describe('two admins who remove each other:', () => {
  const mutual = (a: typeof bob, b: typeof carol) => [forge(a, remove(b), known), forge(b, remove(a), known)];

  test.for<[who: string, list: SignedStatement[], left: string]>([
    ['the founder stays', mutual(alice, carol), 'ab-d-'],
    ['who was made admin earlier stays', mutual(bob, carol), 'ab-d-'],
    [
      'in a circle of three, the earliest stays, and whom it did not remove',
      [
        forge(alice, remove(bob), known),
        forge(bob, remove(carol), known),
        forge(carol, remove(alice), known),
      ],
      'a-cd-',
    ],
    [
      'of two of the genesis key and an admin, the genesis key’s stands',
      [forge(recovery, remove(alice), known), forge(alice, remove(bob), known)],
      '-bcd-',
    ],
    [
      'what the loser says of others falls',
      [...mutual(bob, carol), forge(carol, remove(dave), known)],
      'ab-d-',
    ],
    [
      'what the winner says of others stands',
      [...mutual(bob, carol), forge(bob, remove(dave), known)],
      'ab---',
    ],
    [
      'it is settled before what else they say, of whomever',
      [forge(alice, remove(dave), known), ...mutual(bob, carol), forge(bob, remove(alice), known)],
      '-b-d-',
    ],
    ['a fight that a third ends is none', [...mutual(bob, carol), forge(alice, remove(bob), known)], 'a-cd-'],
  ])('%s', ([, list, left]) => {
    expect(inIn(settled(list))).toBe(left);
  });

  test('neither hash nor place decides: a removed admin cannot come back by backdating', () => {
    const removal = forge(bob, remove(carol), known);
    const log = take(base, [removal]);
    const admission = base.inner.history.entries[2]!.signed.hash;
    for (const prev of [known, [admission]]) {
      for (const lower of [true, false]) {
        const revenge = rival((at) => forge(carol, remove(bob), prev, { at }), removal.hash, lower);
        expect(inIn(settled([revenge], log))).toBe('ab-d-');
      }
    }
  });

  test('a younger admin cannot remove an older one that strikes back at who made it admin', () => {
    const made = forge(bob, admit(eve, 'admin'), known);
    const log = take(base, [made, forge(eve, remove(carol), [made.hash])]);
    expect(inIn(log)).toBe('ab-de');
    expect(inIn(settled([forge(carol, remove(bob), known)], log))).toBe('a-cd-');
    expect(inIn(settled([forge(carol, remove(bob), known), forge(alice, remove(carol), known)], log))).toBe(
      'ab-de',
    );
  });

  test('the genesis key has the last word', () => {
    const [first, second] = mutual(alice, bob);
    const log = settled([first!, second!, forge(recovery, remove(alice), known)]);
    expect(inIn(log)).toBe('-bcd-');
    const back = forge(recovery, admit(machine(9), 'admin'), heads(log));
    expect(take(log, [back]).members.has(machine(9).peerId)).toBe(true);
  });

  test('a later statement that knows of the fight changes nothing about it', () => {
    const log = take(base, mutual(bob, carol));
    const late = forge(alice, remove(alice), heads(log));
    expect(inIn(settled([late], log))).toBe('-b-d-');
  });
});
