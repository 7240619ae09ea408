import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { extend } from '../../daemon/directory/directory.ts';
import {
  logDigest,
  openLog,
  orderedStatements,
  readStatement,
  signStatement,
  type Member,
  type Role,
  type SignedStatement,
} from '../../protocol/membership.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { holds } from './holds.ts';

const MACHINES = 6;
const ROLES: Role[] = ['admin', 'member', 'keeper'];
const signers = Array.from({ length: MACHINES }, (_none, index) =>
  signerFromSeed(new Uint8Array(32).fill(index + 1)),
);
const genesis = signStatement(
  {
    v: 1,
    k: 'genesis',
    name: 'team',
    by: signers[0]!.peerId,
    label: 'm0',
    at: 0,
    nonce: new Uint8Array(16),
  },
  signers[0]!,
);

/** Somebody admits somebody, with or without the right to, perhaps not for the first time. */
const claim = fc.record({
  by: fc.nat({ max: MACHINES - 1 }),
  machine: fc.nat({ max: MACHINES - 1 }),
  role: fc.constantFrom(...ROLES),
  label: fc.constantFrom('desk', 'laptop', 'server'),
  at: fc.nat({ max: 3 }),
});
type Claim = { by: number; machine: number; role: Role; label: string; at: number };

function signed({ by, machine, role, label, at }: Claim): SignedStatement {
  return signStatement(
    {
      v: 1,
      k: 'admit',
      ns: genesis.hash,
      prev: [genesis.hash],
      by: signers[by]!.peerId,
      machine: signers[machine]!.peerId,
      label,
      role,
      at,
    },
    signers[by]!,
  );
}

/** The claims in one order, and the same in another, cut into frames. */
const twoOrders = fc.array(claim, { maxLength: 14, size: 'max' }).chain((claims) =>
  fc.record({
    claims: fc.constant(claims),
    order: fc.shuffledSubarray(
      claims.map((_claim, index) => index),
      { minLength: claims.length },
    ),
    cuts: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: claims.length }),
  }),
);

describe('membership', () => {
  test('follows from the statements, not from the order in which they come', async () => {
    expect(
      await holds(
        fc.property(twoOrders, ({ claims, order }) => {
          const statements = claims.map(signed);
          const shuffled = order.map((index) => statements[index]!);
          const one = extend(openLog(genesis), statements);
          const other = extend(openLog(genesis), shuffled);
          expect(facts(other.log.members)).toEqual(facts(one.log.members));
          expect(logDigest(other.log)).toEqual(logDigest(one.log));
          const stored = orderedStatements(one.log).map(({ bytes }) => readStatement(bytes));
          const loaded = extend(openLog(stored[0]!), stored);
          expect(loaded.refused).toEqual([]);
          expect(facts(loaded.log.members)).toEqual(facts(one.log.members));
        }),
      ),
    ).toBe(true);
  });

  test('is the same on two machines once both have told each other everything', async () => {
    expect(
      await holds(
        fc.property(twoOrders, ({ claims, order, cuts }) => {
          const statements = claims.map(signed);
          let one = openLog(genesis);
          let other = openLog(genesis);
          let at = 0;
          for (const [turn, size] of cuts.entries()) {
            const part = order.slice(at, at + size).map((index) => statements[index]!);
            at += size;
            if (turn % 2 === 0) one = extend(one, part).log;
            else other = extend(other, part).log;
          }
          // What could not be taken yet is told again, as the digest would have it.
          for (let round = 0; round < MACHINES; round++) {
            one = extend(one, [...orderedStatements(other), ...statements]).log;
            other = extend(other, [...orderedStatements(one), ...statements]).log;
          }
          expect(facts(one.members)).toEqual(facts(other.members));
        }),
      ),
    ).toBe(true);
  });

  test('comes from admins only', async () => {
    expect(
      await holds(
        fc.property(twoOrders, ({ claims }) => {
          const { log } = extend(openLog(genesis), claims.map(signed));
          const admins = new Set([signers[0]!.peerId]);
          for (let before = 0; before !== admins.size;) {
            before = admins.size;
            for (const { by, machine, role } of claims) {
              if (role === 'admin' && admins.has(signers[by]!.peerId)) admins.add(signers[machine]!.peerId);
            }
          }
          const admitted = claims.filter(({ by }) => admins.has(signers[by]!.peerId));
          const expected = new Set([
            signers[0]!.peerId,
            ...admitted.map(({ machine }) => signers[machine]!.peerId),
          ]);
          expect([...log.members.keys()].sort()).toEqual([...expected].sort());
          for (const { peerId, role } of log.members.values())
            expect(role === 'admin').toBe(admins.has(peerId));
        }),
      ),
    ).toBe(true);
  });
});

function facts(members: ReadonlyMap<string, Member>): Member[] {
  return [...members.values()].sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
}
