import { describe, expect, test } from 'vitest';
import { MEMBERS_MAX, STATEMENTS_MAX } from '../../protocol/limits.ts';
import { STATEMENTS_PER_MACHINE_MAX, STATEMENTS_RESERVED } from '../../protocol/membership/acceptance.ts';
import { admins } from '../../protocol/membership/author.ts';
import {
  addStatements,
  counts,
  findStatement,
  heads,
  openLog,
  statements,
  type NamespaceLog,
} from '../../protocol/membership/log.ts';
import { foundNamespace, type SignedStatement } from '../../protocol/membership/statement.ts';
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
  stateOf,
  take,
  type Body,
} from './membership-fixture.ts';

/** Alice is the founder, Bob an admin, Carol a member, Dave a keeper. */
const team = (): NamespaceLog =>
  say(say(say(newLog(), alice, admit(bob, 'admin')), bob, admit(carol)), bob, admit(dave, 'keeper'));
const rolesOf = (log: NamespaceLog) =>
  [alice, bob, carol, dave, eve].map(({ peerId }) => log.members.get(peerId)?.role);
const next = (log: NamespaceLog, by: Signer, body: Body) => forge(by, body, heads(log));

describe('what is said', () => {
  test('founds a namespace with one admin, which is not the genesis key', () => {
    const log = newLog();
    expect(log).toMatchObject({ id: genesis.hash, name: 'myproject', genesisKey: recovery.peerId, size: 1 });
    expect([...log.members.values()]).toEqual([
      { peerId: alice.peerId, label: 'desk', role: 'admin', by: recovery.peerId },
    ]);
    expect([admins(log), heads(log), log.key, log.rekeyDue]).toEqual([
      [alice.peerId],
      [genesis.hash],
      undefined,
      false,
    ]);
  });

  test('admits machines in their roles', () => {
    expect(rolesOf(team())).toEqual(['admin', 'admin', 'member', 'keeper', undefined]);
    expect(team().members.get(carol.peerId)?.by).toBe(bob.peerId);
  });

  test('makes admins, of keepers too', () => {
    expect(rolesOf(say(team(), bob, promote(dave)))).toEqual([
      'admin',
      'admin',
      'member',
      'admin',
      undefined,
    ]);
  });

  test('removes, with who, when and why, until it admits again', () => {
    const removed = say(team(), alice, { ...remove(carol), reason: 'gone' }, 7);
    expect(rolesOf(removed)[2]).toBeUndefined();
    expect(removed.removed.get(carol.peerId)).toEqual({
      hash: heads(removed)[0],
      label: 'm',
      by: alice.peerId,
      at: 7,
      reason: 'gone',
    });
    const again = say(removed, bob, admit(carol, 'keeper'));
    expect([rolesOf(again)[2], again.removed.size]).toEqual(['keeper', 0]);
  });

  test.for<[what: string, who: Signer]>([
    ['an admin', bob],
    ['a member', carol],
    ['a keeper', dave],
  ])('%s removes itself', ([, who]) => {
    const log = take(team(), [next(team(), who, remove(who))]);
    expect(log.members.has(who.peerId)).toBe(false);
  });

  test('gives machines labels, by themselves or by an admin, and the namespace a name', () => {
    const renamed = say(team(), dave, { k: 'rename', machine: dave.peerId, label: 'nas' });
    const again = say(renamed, bob, { k: 'rename', machine: alice.peerId, label: 'tower' });
    expect([again.members.get(dave.peerId)!.label, again.members.get(alice.peerId)!.label]).toEqual([
      'nas',
      'tower',
    ]);
    expect(say(again, bob, { k: 'rename-namespace', name: 'other' })).toMatchObject({
      name: 'other',
      id: genesis.hash,
    });
  });

  test('admits twice: the first label stands, the higher role too', () => {
    const log = take(team(), [next(team(), alice, admit(carol, 'keeper', 'new'))]);
    expect(log.members.get(carol.peerId)).toMatchObject({ label: 'm', role: 'member' });
    const raised = take(log, [next(log, alice, admit(carol, 'admin', 'new'))]);
    expect(raised.members.get(carol.peerId)).toMatchObject({ label: 'm', role: 'admin' });
  });

  test('rotates the key; a removal asks for the next', () => {
    const key = (byte: number) => ({ k: 'rotate', key_hash: new Uint8Array(32).fill(byte) }) as const;
    const first = say(team(), alice, key(1));
    expect([first.key?.epoch, first.rekeyDue]).toEqual([1, false]);
    const removed = say(first, bob, remove(carol));
    expect([removed.key?.epoch, removed.rekeyDue]).toEqual([1, true]);
    const second = say(removed, bob, key(2));
    expect(second.key).toMatchObject({ epoch: 2, keyHash: new Uint8Array(32).fill(2), by: bob.peerId });
    expect(second.rekeyDue).toBe(false);
  });

  test('a key that was made in ignorance of a removal is still to be followed by another', () => {
    const log = team();
    const removed = take(log, [next(log, bob, remove(carol))]);
    const merged = take(removed, [next(log, alice, { k: 'rotate', epoch: 1, key_hash: new Uint8Array(32) })]);
    expect([merged.key?.epoch, merged.rekeyDue]).toEqual([1, true]);
  });

  test('by the genesis key, makes another machine admin when the last one is lost', () => {
    const log = say(newLog(), alice, admit(carol));
    const saved = say(say(log, recovery, promote(carol)), recovery, remove(alice));
    expect(rolesOf(saved)).toEqual([undefined, undefined, 'admin', undefined, undefined]);
    expect(rolesOf(say(newLog(), recovery, admit(eve, 'admin')))[4]).toBe('admin');
  });
});

describe('agent names:', () => {
  const named = () => say(team(), carol, claim(1, 'backend'));
  const holderOf = (log: NamespaceLog, name: string) => log.claims.get(name)?.machine;

  test('the first who claims one holds it; who comes later is told who does', () => {
    const log = take(named(), [next(named(), bob, claim(2, 'backend'))]);
    expect(holderOf(log, 'backend')).toBe(carol.peerId);
    expect(log.lost).toEqual([
      {
        name: 'backend',
        agent: agent(2),
        machine: bob.peerId,
        heldBy: carol.peerId,
        at: 2,
        hash: heads(log)[0],
      },
    ]);
  });

  test.for<[what: string, by: Signer, free: Body]>([
    ['a release by its machine', carol, { k: 'release', agent: agent(1) }],
    ['a release by an admin', bob, { k: 'release', agent: agent(1) }],
    ['the removal of its machine', bob, remove(carol)],
    ['its machine leaving', carol, remove(carol)],
  ])('%s frees one', ([, by, free]) => {
    const lost = take(named(), [next(named(), bob, claim(2, 'backend'))]);
    const freed = take(lost, [next(lost, by, free)]);
    expect([freed.claims.size, freed.lost.length]).toEqual([0, 1]);
    const taken = say(freed, bob, claim(2, 'backend'));
    expect([holderOf(taken, 'backend'), taken.lost]).toEqual([bob.peerId, []]);
  });

  test('who lets go of its agent is no longer told', () => {
    const lost = take(named(), [next(named(), bob, claim(2, 'backend'))]);
    expect(say(lost, bob, { k: 'release', agent: agent(2) }).lost).toEqual([]);
    expect(say(lost, alice, remove(bob)).lost).toEqual([]);
  });

  test('a release by whose agent it is not frees nothing', () => {
    const log = say(team(), bob, claim(1, 'backend'));
    expect(holderOf(take(log, [next(log, carol, { k: 'release', agent: agent(1) })]), 'backend')).toBe(
      bob.peerId,
    );
  });

  test('an agent may hold several, on one machine only', () => {
    const two = say(named(), carol, claim(1, 'api'));
    expect([...two.claims.keys()]).toEqual(['backend', 'api']);
    const elsewhere = take(two, [next(two, bob, claim(1, 'other'))]);
    expect([elsewhere.claims.size, elsewhere.lost[0]?.heldBy]).toEqual([2, carol.peerId]);
    const moved = say(say(elsewhere, carol, { k: 'release', agent: agent(1) }), bob, claim(1, 'api'));
    expect([...moved.claims]).toMatchObject([['api', { machine: bob.peerId }]]);
  });

  test('the same claim again changes nothing', () => {
    const log = take(named(), [next(named(), carol, claim(1, 'backend'))]);
    expect([log.claims, log.lost]).toEqual([named().claims, []]);
  });
});

describe('refused, named, and not stored is', () => {
  const log = team();
  const other = foundNamespace(
    {
      name: 'myproject',
      founder: { machine: alice.peerId, label: 'desk' },
      nonce: new Uint8Array(16).fill(1),
    },
    1,
    recovery,
  );

  test.for<[what: string, code: string, signed: SignedStatement]>([
    ['another genesis', 'statement_invalid', other],
    [
      'one of another namespace',
      'statement_invalid',
      forge(alice, admit(eve), heads(log), { ns: other.hash }),
    ],
    ['an admit by a member', 'not_admin', next(log, carol, admit(eve))],
    ['an admit by a keeper', 'not_admin', next(log, dave, admit(eve))],
    ['an admit by a stranger', 'not_admin', next(log, eve, admit(eve, 'admin'))],
    ['an admit of the genesis key', 'statement_invalid', next(log, alice, admit(recovery))],
    ['an admit by who became admin elsewhere', 'not_admin', forge(bob, admit(eve), [genesis.hash])],
    ['a removal of another by a member', 'not_admin', next(log, carol, remove(alice))],
    ['a removal of who never was in', 'statement_invalid', next(log, alice, remove(eve))],
    ['a removal of the genesis key', 'statement_invalid', next(log, alice, remove(recovery))],
    ['a stranger’s leave', 'not_member', next(log, eve, remove(eve))],
    ['a promotion by a member', 'not_admin', next(log, carol, promote(carol))],
    ['a promotion of who never was in', 'statement_invalid', next(log, alice, promote(eve))],
    [
      'a name for another by a member',
      'not_admin',
      next(log, carol, { k: 'rename', machine: bob.peerId, label: 'x' }),
    ],
    [
      'a name for the namespace by a member',
      'not_admin',
      next(log, carol, { k: 'rename-namespace', name: 'x' }),
    ],
    ['a claim by a keeper', 'not_member', next(log, dave, claim(1, 'x'))],
    ['a claim by a stranger', 'not_member', next(log, eve, claim(1, 'x'))],
    ['a claim by the genesis key', 'statement_invalid', next(log, recovery, claim(1, 'x'))],
    ['a release by a keeper', 'not_member', next(log, dave, { k: 'release', agent: agent(1) })],
    [
      'a key by a member',
      'not_admin',
      next(log, carol, { k: 'rotate', epoch: 1, key_hash: new Uint8Array(32) }),
    ],
    [
      'a leap of epochs',
      'statement_invalid',
      next(log, alice, { k: 'rotate', epoch: 2, key_hash: new Uint8Array(32) }),
    ],
    [
      'a checkpoint by a member',
      'not_admin',
      next(log, carol, { k: 'checkpoint', digest: 'a'.repeat(64), members: 'a'.repeat(64) }),
    ],
  ])('%s: %s', ([, code, signed]) => {
    const { refused, added, waiting, log: after } = addStatements(log, [signed]);
    expect(refused).toMatchObject([{ hash: signed.hash, code }]);
    expect(refused[0]!.why).not.toBe('');
    expect([added, waiting, after]).toEqual([[], [], log]);
  });

  test('what follows what is refused, as long as both come together', () => {
    const bad = next(log, carol, admit(eve));
    const after = forge(alice, admit(eve), [bad.hash]);
    const last = forge(alice, remove(eve), [after.hash]);
    const { refused, waiting } = addStatements(log, [last, after, bad]);
    expect(refused.map(({ hash }) => hash)).toEqual([bad.hash, after.hash, last.hash]);
    expect([waiting, addStatements(log, [last]).waiting]).toEqual([[], [last]]);
  });
});

describe('a log', () => {
  test('starts with a genesis', () => {
    expect(() => openLog(statements(team())[1]!)).toThrow(
      expect.objectContaining({ code: 'statement_invalid' }),
    );
  });

  test('is a value: what is added is in the next one only', () => {
    const log = team();
    const before = stateOf(log);
    say(say(log, alice, remove(carol)), bob, claim(1, 'x'));
    expect(stateOf(log)).toEqual(before);
  });

  test('stays the same when it holds all of a list', () => {
    const log = team();
    expect(addStatements(log, statements(log))).toEqual({ log, added: [], waiting: [], refused: [] });
    expect(addStatements(log, statements(log)).log).toBe(log);
  });

  test('keeps what has to wait out, and takes it with what it follows', () => {
    const log = team();
    const [, first, second, third] = statements(log);
    const early = addStatements(newLog(), [third!, first!]);
    expect([early.added, early.waiting]).toEqual([[first], [third]]);
    expect(addStatements(early.log, [third!, second!]).added).toEqual([second, third]);
  });

  test('gives statements in an order in which each can be added', () => {
    let again = newLog();
    for (const one of statements(team()).slice(1)) again = take(again, [one]);
    expect(stateOf(again)).toEqual(stateOf(team()));
    expect(findStatement(again, genesis.hash)).toBe(genesis);
    expect([findStatement(again, 'none'), counts(again, 'none')]).toEqual([undefined, false]);
  });
});

describe('the bounds:', () => {
  /** One machine says as much as it may, beside what all others know. */
  const flood = (by: Signer, log: NamespaceLog, many: number) => {
    const prev = heads(log);
    return Array.from({ length: many }, (_none, at) => forge(by, claim(at, `n${at}`), prev, { at }));
  };
  const codes = ({ refused }: { refused: { code: string }[] }) => refused.map(({ code }) => code);

  test('one machine writes so much and no more, but can still remove', () => {
    const log = team();
    const many = flood(carol, log, STATEMENTS_PER_MACHINE_MAX + 1);
    const added = addStatements(log, many);
    expect([codes(added), added.added.length]).toEqual([['too_many'], STATEMENTS_PER_MACHINE_MAX]);
    expect(take(added.log, [forge(carol, remove(carol), heads(log))]).members.has(carol.peerId)).toBe(false);
  });

  test('a full log takes removals and the genesis key’s word only, and those to an end', () => {
    let log = newLog();
    const machines = [2, 3, 4, 5, 6].map(machine);
    for (const one of machines) log = say(log, alice, admit(one));
    const many = machines.flatMap((one) => flood(one, log, STATEMENTS_PER_MACHINE_MAX));
    const full = addStatements(log, many).log;
    expect(full.size).toBe(STATEMENTS_MAX);
    const [known] = heads(full);
    expect(codes(addStatements(full, [forge(alice, admit(eve), [known!])]))).toEqual(['too_many']);
    const urgent = Array.from({ length: STATEMENTS_RESERVED + 1 }, (_none, at) =>
      forge(alice, remove(machines[at % 5]!), [known!], { at }),
    );
    const brim = addStatements(full, urgent);
    expect([codes(brim), brim.log.members.size]).toEqual([['too_many'], 1]);
    expect(codes(addStatements(full, [forge(recovery, admit(machine(7)), [known!])]))).toEqual([]);
  });

  test('machines beyond the bound are no members', () => {
    const log = newLog();
    const many = Array.from({ length: MEMBERS_MAX + 1 }, (_none, index) =>
      forge(alice, admit(machine(index + 2)), [genesis.hash]),
    );
    const full = take(log, many);
    expect(full.members.size).toBe(MEMBERS_MAX);
    const beyond = many.find(
      ({ statement }) => statement.k === 'admit' && !full.members.has(statement.machine),
    )!;
    const who = machine(2 + many.indexOf(beyond));
    const claimed = take(full, [forge(who, claim(1, 'x'), [beyond.hash])]);
    expect(claimed.claims.size).toBe(0);
  });
});
