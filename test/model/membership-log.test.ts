import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decide } from '../../protocol/membership/decide.ts';
import {
  addStatements,
  counts,
  heads,
  statements,
  type NamespaceLog,
} from '../../protocol/membership/log.ts';
import { agreedOrder } from '../../protocol/membership/order.ts';
import type { SignedStatement } from '../../protocol/membership/statement.ts';
import { landmarks, missing } from '../../protocol/membership/sync.ts';
import { viewOf } from '../../protocol/membership/view.ts';
import type { Signer } from '../../protocol/signing.ts';
import { holds } from './holds.ts';
import {
  agent,
  factsOf,
  forge,
  machine,
  newLog,
  recovery,
  stateOf,
  type Body,
} from '../unit/membership-fixture.ts';

/** The founder, others that are admitted here and there, and one that nobody honest admits. */
const MACHINES = Array.from({ length: 7 }, (_none, index) => machine(index + 1));
const FOUNDER = MACHINES[0]!;

/** One thing that somebody writes, with no regard to whether it may, after anything that was written before. */
interface Step {
  by: number;
  kind: Body['k'];
  target: number;
  role: 'admin' | 'member' | 'keeper';
  name: number;
  /** Undefined: after all that is known. Otherwise after some of it: a fork, or backdated. */
  after: number[] | undefined;
}

interface Choice {
  authors: readonly number[];
  targets: readonly number[];
  kinds: readonly Body['k'][];
  after: fc.Arbitrary<number[] | undefined>;
}

const step = ({ authors, targets, kinds, after }: Choice): fc.Arbitrary<Step> =>
  fc.record({
    by: fc.constantFrom(...authors),
    kind: fc.constantFrom(...kinds),
    target: fc.constantFrom(...targets),
    role: fc.constantFrom('admin', 'admin', 'member', 'keeper'),
    name: fc.nat(2),
    after,
  });

const anywhere = fc.option(fc.array(fc.nat(1_000), { minLength: 1, maxLength: 3 }), {
  nil: undefined,
  freq: 3,
});

/** One number for each statement of a world. */
const noise = fc.array(fc.nat(1_000), { minLength: 40, maxLength: 40 });

/** Everything that there is; what decides who belongs comes more often than what does not. */
const ANYTHING: Choice = {
  authors: [-1, 0, 0, ...MACHINES.keys()],
  targets: [...MACHINES.keys()],
  kinds: [
    ...(['admit', 'admit', 'admit', 'remove', 'remove', 'remove', 'promote', 'claim', 'claim'] as const),
    ...(['release', 'rename', 'rename-namespace', 'rotate', 'checkpoint'] as const),
  ],
  after: anywhere,
};
/** Admins who remove each other, most of them without knowing of the others. */
const FIGHT: Choice = {
  authors: [0, 1, 2, 3, 4],
  targets: [0, 1, 2, 3, 4],
  kinds: ['remove', 'remove', 'remove', 'admit', 'promote', 'claim'],
  after: fc.array(fc.integer({ min: 3, max: 12 }), { minLength: 1, maxLength: 2 }),
};
const world = (most = 24) =>
  fc.tuple(fc.constantFrom(ANYTHING, FIGHT), fc.boolean()).chain(([choice, mixed]) =>
    fc.array(mixed ? fc.oneof(step(ANYTHING), step(FIGHT)) : step(choice), {
      maxLength: most,
      size: 'max',
    }),
  );
/** Machines 1 to 3 are admins from the start, so that there is something to fight about. */
const OPENING: Step[] = [1, 2, 3].map((target) => ({
  by: 0,
  kind: 'admit',
  target,
  role: 'admin',
  name: 0,
  after: undefined,
}));
/** A removed machine, 0, and its creature, 6, which it alone can admit. */
const attacks = fc.array(step({ ...ANYTHING, authors: [0, 0, 6] }), {
  minLength: 1,
  maxLength: 10,
  size: 'max',
});

/**
 * All that was written, whether or not any log takes it. What none takes is followed by nothing, as nothing that
 * follows it is taken either; the unit tests have that case.
 */
function written(steps: readonly Step[], log = newLog()): SignedStatement[] {
  const list: SignedStatement[] = [];
  for (const [at, one] of steps.entries()) {
    const known = statements(log);
    const prev = one.after?.map((index) => known[index % known.length]!.hash) ?? heads(log).slice(-32);
    const { entries, positions } = log.inner.history;
    const epoch = Math.max(...prev.map((hash) => entries[positions.get(hash)!]!.epoch));
    const signer = one.by < 0 ? recovery : MACHINES[one.by]!;
    const signed = forge(signer, bodyOf(one, epoch + 1), prev, { at: 10 + at + log.size });
    list.push(signed);
    log = addStatements(log, [signed]).log;
  }
  return list;
}

function bodyOf({ kind, target, role, name }: Step, epoch: number): Body {
  const who = MACHINES[target]!.peerId;
  const bodies: { [K in Body['k']]: Extract<Body, { k: K }> } = {
    admit: { k: 'admit', machine: who, label: `m${target}`, role },
    remove: { k: 'remove', machine: who },
    promote: { k: 'promote', machine: who },
    rename: { k: 'rename', machine: who, label: `label${name}` },
    'rename-namespace': { k: 'rename-namespace', name: `project${name}` },
    claim: { k: 'claim', agent: agent(target), name: `agent${name}` },
    release: { k: 'release', agent: agent(target) },
    rotate: { k: 'rotate', epoch, key_hash: new Uint8Array(32).fill(name) },
    checkpoint: { k: 'checkpoint', digest: '0'.repeat(64), members: '0'.repeat(64) },
  };
  return bodies[kind];
}

/** Delivers in batches; what has to wait comes again with the next batch, as a peer would send it again. */
function delivered(batches: readonly (readonly SignedStatement[])[], log = newLog()): NamespaceLog {
  let waiting: readonly SignedStatement[] = [];
  for (const batch of batches) ({ log, waiting } = addStatements(log, [...batch, ...waiting]));
  return log;
}

const all = (steps: readonly Step[]) => written([...OPENING, ...steps]);

const shuffled = fc.record({ steps: world(), mix: noise, cuts: fc.array(fc.nat(26), { maxLength: 6 }) });
test('any order and any batching of any statements gives one state', async () => {
  const property = fc.property(shuffled, ({ steps, mix, cuts }) => {
    const list = all(steps);
    const mixed = [...list.keys()].sort((a, b) => mix[a]! - mix[b]!).map((index) => list[index]!);
    const edges = [0, ...cuts.toSorted((a, b) => a - b), mixed.length];
    const batches = edges.slice(1).map((edge, at) => mixed.slice(edges[at], edge));
    const expected = stateOf(delivered([list]));
    expect(stateOf(delivered(batches))).toEqual(expected);
    expect(stateOf(delivered(list.map((one) => [one])))).toEqual(expected);
    expect(stateOf(delivered([...mixed.map((one) => [one]), []]))).toEqual(expected);
  });
  expect(await holds(property)).toBe(true);
});

// Mostly straight, so that many statements in a row are added without an evaluation.
const straight = world(30).map((steps) =>
  steps.map((one, at) => (at % 10 === 0 ? one : { ...one, after: undefined })),
);
test('adding to the tip gives what a full evaluation gives', async () => {
  const property = fc.property(straight, (steps) => {
    let log = newLog();
    for (const one of all(steps)) {
      log = addStatements(log, [one]).log;
      expect(log.inner).toEqual({ history: log.inner.history, ...evaluated(log) });
    }
  });
  expect(await holds(property)).toBe(true);
});

test('what counts is what its authority and the removals that count leave', async () => {
  const property = fc.property(world(), (steps) => expectGrounded(delivered([all(steps)])));
  expect(await holds(property)).toBe(true);
});

test('what a machine says after the genesis key removed it, or backdates, changes nothing', async () => {
  const property = fc.property(world(16), fc.nat(5), attacks, (before, victim, says) => {
    expectNoEffect(before, recovery, victim, says);
  });
  expect(await holds(property)).toBe(true);
});

test('nor does it after the admin who is one for longest removed it', async () => {
  const property = fc.property(world(16), fc.integer({ min: 1, max: 5 }), attacks, (before, victim, says) => {
    // The founder stays one to the end.
    const peaceful = before.filter((one) => one.kind !== 'remove' || one.target !== 0);
    expectNoEffect(peaceful, FOUNDER, victim, says);
  });
  expect(await holds(property)).toBe(true);
});

test('two machines that exchange what the other lacks hold the same', async () => {
  const property = fc.property(world(), noise, noise, (steps, left, right) => {
    const list = all(steps);
    const part = (some: readonly number[]) => list.filter((_one, index) => some[index]! > 200);
    const [a, b] = [delivered([part(left)]), delivered([part(right)])];
    const [fromA, fromB] = [missing(a, landmarks(b)), missing(b, landmarks(a))];
    const [nextA, nextB] = [addStatements(a, fromB.send), addStatements(b, fromA.send)];
    expect(stateOf(nextA.log)).toEqual(stateOf(nextB.log));
    for (const side of [nextA, nextB]) expect([side.waiting, side.refused]).toEqual([[], []]);
    expect(fromB.send.length > 0 || fromA.ask.length === 0).toBe(true);
    const full = delivered([list]);
    expect(stateOf(addStatements(full, statements(nextA.log)).log)).toEqual(stateOf(full));
  });
  expect(await holds(property)).toBe(true);
});

/** The state as if all had come at once. */
function evaluated(log: NamespaceLog) {
  const { history } = log.inner;
  const order = agreedOrder(history);
  const places = new Uint32Array(order.length);
  order.forEach((position, place) => (places[position] = place));
  const { levels, strikes } = decide(history, places);
  return { levels, strikes, view: viewOf(history, order, levels) };
}

/**
 * One machine is removed by somebody who knows all that was said; then it says things, wherever in the log it likes,
 * and so does the last machine, its creature, whom it alone can admit.
 */
function expectNoEffect(before: readonly Step[], by: Signer, victim: number, says: readonly Step[]): void {
  const creature = MACHINES.length - 1;
  const honest = before.filter((one) => one.by !== creature && one.target !== creature);
  const opening: Step[] = victim === 0 ? OPENING : [...OPENING, { ...OPENING[0]!, target: victim }];
  const list = written([...opening, ...honest]);
  const log = delivered([list]);
  if (!log.members.has(MACHINES[victim]!.peerId)) return;
  const removal = forge(by, { k: 'remove', machine: MACHINES[victim]!.peerId }, heads(log).slice(-32), {
    at: 5,
  });
  const { log: then, added } = addStatements(log, [removal]);
  if (added.length === 0 || !counts(then, removal.hash)) return;
  const lies = written(
    says.map((one) => ({ ...one, by: one.by === 0 ? victim : creature })),
    then,
  );
  expect(factsOf(delivered([lies], then))).toEqual(factsOf(then));
}

/** The rules once more, plainly, over what the log says counts. */
function expectGrounded(log: NamespaceLog): void {
  const list = statements(log);
  const past = new Map<string, Set<string>>();
  for (const { hash, statement } of list) {
    const known = 'prev' in statement ? statement.prev : [];
    past.set(hash, new Set(known.flatMap((prev) => [prev, ...past.get(prev)!])));
  }
  const counting = list.filter(({ hash }) => counts(log, hash));
  const strikes = counting.filter(({ statement }) => statement.k === 'remove');
  const targetOf = ({ statement }: SignedStatement) =>
    statement.k === 'genesis' ? statement.founder.machine : 'machine' in statement ? statement.machine : '';
  const roleOf = ({ statement }: SignedStatement) =>
    statement.k === 'admit'
      ? statement.role
      : statement.k === 'genesis' || statement.k === 'promote'
        ? 'admin'
        : '';
  const grantsIn = (signed: SignedStatement, who: string, against: readonly SignedStatement[]) =>
    counting.filter(
      (grant) =>
        roleOf(grant) !== '' &&
        targetOf(grant) === who &&
        past.get(signed.hash)!.has(grant.hash) &&
        against.every((removal) => past.get(grant.hash)!.has(removal.hash)),
    );
  const may = (signed: SignedStatement): boolean => {
    const { statement, hash } = signed;
    if (statement.k === 'genesis') return true;
    const inPast = past.get(hash)!;
    if (statement.k === 'promote') {
      const removals = strikes.filter((one) => targetOf(one) === statement.machine && inPast.has(one.hash));
      if (grantsIn(signed, statement.machine, removals).length === 0) return false;
    }
    if (statement.by === recovery.peerId) return true;
    const against = strikes.filter(
      (one) => targetOf(one) === statement.by && one !== signed && !past.get(one.hash)!.has(hash),
    );
    const roles = grantsIn(signed, statement.by, against).map(roleOf);
    if (statement.k === 'claim' || statement.k === 'release')
      return roles.includes('member') || roles.includes('admin');
    if (
      (statement.k === 'rename' || statement.k === 'remove') &&
      statement.machine === statement.by &&
      roles.length > 0
    )
      return true;
    return roles.includes('admin');
  };
  // A removal that lost a tie might have counted by itself.
  const judged = list.filter(({ hash, statement }) => counts(log, hash) || statement.k !== 'remove');
  expect(judged.filter((signed) => may(signed) !== counts(log, signed.hash))).toEqual([]);
  const enduring = counting.filter(
    (grant) =>
      roleOf(grant) !== '' &&
      strikes.every((one) => targetOf(one) !== targetOf(grant) || past.get(grant.hash)!.has(one.hash)),
  );
  expect([...log.members.keys()].sort()).toEqual([...new Set(enduring.map(targetOf))].sort());
}
