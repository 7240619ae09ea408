import { describe, expect, test } from 'vitest';
import { AGENTS_PER_MACHINE_MAX, MEMBERS_MAX } from '../../protocol/limits.ts';
import { author, checkAuthorable, type Draft } from '../../protocol/membership/author.ts';
import { checkpointHolds } from '../../protocol/membership/checkpoint.ts';
import { addStatements, counts, digest, heads, type NamespaceLog } from '../../protocol/membership/log.ts';
import { PREV_MAX } from '../../protocol/membership/statement.ts';
import type { Signer } from '../../protocol/signing.ts';
import {
  admit,
  agent,
  alice,
  bob,
  carol,
  claim,
  dave,
  eve,
  forge,
  genesis,
  machine,
  newLog,
  promote,
  recovery,
  remove,
  say,
  take,
} from './membership-fixture.ts';

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
/** Alice is the founder, Bob an admin, Carol a member whose agent is backend, Dave a keeper. */
const team = [admit(bob, 'admin'), admit(carol), admit(dave, 'keeper')].reduce(
  (log, draft) => say(log, alice, draft),
  newLog(),
);
const base = say(team, carol, claim(1, 'backend'));
const alone = newLog();
const key = { k: 'rotate', key_hash: new Uint8Array(32) } as const;

describe('an author', () => {
  test.for<[by: Signer, draft: Draft]>([
    [alice, admit(eve)],
    [bob, remove(alice)],
    [alice, remove(alice)],
    [carol, remove(carol)],
    [bob, promote(dave)],
    [dave, { k: 'rename', machine: dave.peerId, label: 'nas' }],
    [bob, { k: 'rename-namespace', name: 'other' }],
    [bob, claim(2, 'frontend')],
    [carol, { k: 'release', agent: agent(1) }],
    [alice, { k: 'release', agent: agent(1) }],
    [bob, key],
    [bob, { k: 'checkpoint' }],
    [recovery, admit(eve, 'admin')],
    [recovery, remove(alice)],
    [recovery, key],
  ])('may say what has an effect: %#', ([by, draft]) => {
    const signed = author(base, draft, 5, by);
    expect(signed.statement).toMatchObject({
      ...draft,
      at: 5,
      by: by.peerId,
      prev: heads(base),
      ns: base.id,
    });
    const grown = take(base, [signed]);
    expect(counts(grown, signed.hash)).toBe(true);
  });

  test.for<[what: string, code: string, log: NamespaceLog, by: Signer, draft: Draft]>([
    ['a stranger says anything', 'not_member', base, eve, claim(2, 'x')],
    ['a removed machine says anything', 'not_member', say(base, alice, remove(bob)), bob, admit(eve)],
    ['a member admits', 'not_admin', base, carol, admit(eve)],
    ['a member removes another', 'not_admin', base, carol, remove(dave)],
    ['a keeper makes itself admin', 'not_admin', base, dave, promote(dave)],
    ['a member names another', 'not_admin', base, carol, { k: 'rename', machine: bob.peerId, label: 'x' }],
    ['a member names the namespace', 'not_admin', base, carol, { k: 'rename-namespace', name: 'x' }],
    ['a member rotates', 'not_admin', base, carol, key],
    ['a member makes a checkpoint', 'not_admin', base, carol, { k: 'checkpoint' }],
    [
      'a member releases another’s agent',
      'not_admin',
      say(base, bob, claim(2, 'x')),
      carol,
      { k: 'release', agent: agent(2) },
    ],
    ['a keeper claims', 'not_member', base, dave, claim(2, 'x')],
    ['the genesis key claims', 'not_member', base, recovery, claim(2, 'x')],
    ['a name that another holds is claimed', 'name_taken', base, bob, claim(2, 'backend')],
    ['a name is claimed again', 'name_taken', base, carol, claim(1, 'backend')],
    ['another’s agent is claimed', 'invalid_input', base, bob, claim(1, 'x')],
    ['a name is none', 'invalid_input', base, bob, claim(2, 'Not a name')],
    ['who is in is admitted', 'invalid_input', base, alice, admit(carol, 'admin')],
    ['the genesis key is admitted', 'invalid_input', base, alice, admit(recovery)],
    ['who is not in is removed', 'invalid_input', base, alice, remove(eve)],
    ['who is not in is made admin', 'invalid_input', base, alice, promote(eve)],
    ['who is admin is made admin', 'invalid_input', base, alice, promote(bob)],
    [
      'who is not in is named',
      'invalid_input',
      base,
      alice,
      { k: 'rename', machine: eve.peerId, label: 'x' },
    ],
    ['an agent without a name is released', 'invalid_input', base, alice, { k: 'release', agent: agent(9) }],
    ['the last admin leaves', 'invalid_input', alone, alice, remove(alice)],
    ['the genesis key removes the last admin', 'invalid_input', alone, recovery, remove(alice)],
    [
      'the key hash is too short',
      'invalid_input',
      base,
      alice,
      { k: 'rotate', key_hash: new Uint8Array(31) },
    ],
  ])('is told when %s: %s', ([, code, log, by, draft]) => {
    expect(() => author(log, draft, 5, by)).toThrow(refusal(code));
  });

  test('is told when the namespace is full', () => {
    const many = Array.from({ length: MEMBERS_MAX }, (_none, index) => machine(index + 2));
    const full = take(
      alone,
      many.slice(1).map((one) => forge(alice, admit(one), [genesis.hash])),
    );
    expect(() => checkAuthorable(full, admit(bob), alice.peerId)).toThrow(refusal('too_many'));
  });

  test('is told when its machine holds all the names it may', () => {
    const many = Array.from({ length: AGENTS_PER_MACHINE_MAX }, (_none, index) => claim(index, `n${index}`));
    const full = many.reduce((log, draft) => say(log, alice, draft), alone);
    expect(() => author(full, claim(999, 'more'), 5, alice)).toThrow(refusal('too_many'));
  });

  test('names its own admission first when there are more heads than a statement can name', () => {
    const aside = Array.from({ length: 3 * PREV_MAX }, (_none, at) =>
      forge(alice, claim(at, `n${at}`), [genesis.hash], { at }),
    );
    const crowded = take(base, aside);
    expect(heads(crowded)).toHaveLength(3 * PREV_MAX + 1);
    const signed = author(crowded, claim(500, 'mine'), 5, carol);
    expect(signed.statement.prev).toHaveLength(PREV_MAX);
    expect(counts(take(crowded, [signed]), signed.hash)).toBe(true);
  });
});

describe('a checkpoint', () => {
  test('holds for what its author knew, whatever came aside of it', () => {
    const signed = author(base, { k: 'checkpoint' }, 5, bob);
    expect(signed.statement).toMatchObject({ digest: digest(base) });
    const grown = take(base, [signed, forge(alice, remove(carol), heads(base))]);
    expect([checkpointHolds(grown, signed.hash), grown.checkpoint]).toEqual([
      true,
      { hash: signed.hash, by: bob.peerId, at: 5 },
    ]);
  });

  test.for<[what: string, wrong: { digest?: string; members?: string }]>([
    ['other statements', { digest: 'a'.repeat(64) }],
    ['other members', { members: 'a'.repeat(64) }],
  ])('does not hold for %s', ([, wrong]) => {
    const { statement } = author(base, { k: 'checkpoint' }, 5, bob);
    if (statement.k !== 'checkpoint') throw new Error(statement.k);
    const { digest, members } = statement;
    const signed = forge(bob, { k: 'checkpoint', digest, members, ...wrong }, heads(base));
    expect(checkpointHolds(take(base, [signed]), signed.hash)).toBe(false);
  });

  test('is one', () => {
    expect(checkpointHolds(base, heads(base)[0]!)).toBe(false);
    expect(checkpointHolds(base, 'none')).toBe(false);
    expect(addStatements(base, []).log).toBe(base);
  });
});
