import { describe, expect, test } from 'vitest';
import { extend } from '../../daemon/directory/directory.ts';
import { encode } from '../../protocol/codec.ts';
import { MEMBERS_MAX, STATEMENTS_MAX } from '../../protocol/limits.ts';
import {
  addStatement,
  admit,
  logDigest,
  openLog,
  orderedStatements,
  readStatement,
  signStatement,
  type Member,
  type NamespaceLog,
  type Role,
  type SignedStatement,
} from '../../protocol/membership.ts';
import { climb, RECEIPT_STATES, type ReceiptState } from '../../protocol/receipt.ts';
import {
  peerIdFromPublicKey,
  publicKeyFromPeerId,
  signerFromSeed,
  verifySignature,
  type Signer,
} from '../../protocol/signing.ts';
import { isJoinProof, joinProof } from '../../protocol/ticket.ts';

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const machine = (byte: number) => signerFromSeed(new Uint8Array(32).fill(byte));
const [alice, bob, carol, dave] = [machine(1), machine(2), machine(3), machine(4)] as const;

const genesisOf = (founder: Signer, name = 'myproject') =>
  signStatement(
    { v: 1, k: 'genesis', name, by: founder.peerId, label: 'desk', at: 1, nonce: new Uint8Array(16) },
    founder,
  );
const admission = (log: NamespaceLog, by: Signer, who: Signer, role: Role = 'member', label = 'm', at = 2) =>
  admit(log, { peerId: who.peerId, label, role }, at, by);
const rolesOf = (log: NamespaceLog) =>
  [...log.members.values()].map(({ peerId, role }) => `${peerId} ${role}`).sort();

describe('membership', () => {
  const genesis = genesisOf(alice);
  const log = openLog(genesis);

  test('the founder is the first admin', () => {
    const founder: Member = { peerId: alice.peerId, label: 'desk', role: 'admin', by: alice.peerId };
    expect([...log.members.values()]).toEqual([founder]);
    expect(log).toMatchObject({ id: genesis.hash, name: 'myproject' });
  });

  test('an admit is no beginning, a genesis no continuation', () => {
    expect(() => openLog(admission(log, alice, bob))).toThrow(refusal('statement_invalid'));
    expect(() => addStatement(log, genesisOf(alice, 'other'))).toThrow(refusal('statement_invalid'));
    expect(addStatement(log, genesis)).toBe(log);
  });

  test('an admin may admit', () => {
    const grown = addStatement(log, admission(log, alice, bob, 'admin'));
    const next = addStatement(grown, admission(grown, bob, carol));
    expect(next.members.get(carol.peerId)).toMatchObject({ role: 'member', by: bob.peerId });
  });

  test.for<Role>(['member', 'keeper'])('a %s may not admit', (role) => {
    const grown = addStatement(log, admission(log, alice, bob, role));
    expect(() => addStatement(grown, admission(grown, bob, carol))).toThrow(refusal('statement_invalid'));
  });

  test('a stranger admits nobody, itself neither', () => {
    expect(() => addStatement(log, admission(log, bob, carol))).toThrow(refusal('statement_invalid'));
    expect(() => addStatement(log, admission(log, bob, bob, 'admin'))).toThrow(refusal('statement_invalid'));
  });

  test('an admit of another namespace is refused, though its author is an admin here', () => {
    const other = openLog(genesisOf(alice, 'other'));
    expect(() => addStatement(log, admission(other, alice, bob))).toThrow(refusal('statement_invalid'));
  });

  test('a statement that is known changes nothing', () => {
    const signed = admission(log, alice, bob);
    const grown = addStatement(log, signed);
    expect(addStatement(grown, readStatement(signed.bytes))).toBe(grown);
    expect(log.members.size).toBe(1);
  });

  test('a full log takes no more', () => {
    const signed = admission(log, alice, bob);
    const filled = <T>(size: number, value: T) =>
      new Map(Array.from({ length: size }, (_none, index) => [String(index), value]));
    const manyStatements = { ...log, statements: filled(STATEMENTS_MAX, genesis) };
    const manyMembers = { ...log, members: filled(MEMBERS_MAX, log.members.get(alice.peerId)!) };
    expect(() => addStatement(manyStatements, signed)).toThrow(refusal('too_many'));
    expect(() => addStatement(manyMembers, signed)).toThrow(refusal('too_many'));
  });

  test('an admit names the newest statements that its author knew', () => {
    const first = admission(log, alice, bob, 'admin');
    const grown = addStatement(log, first);
    const [second, third] = [admission(grown, alice, carol), admission(grown, bob, dave)];
    expect(first.statement).toMatchObject({ prev: [genesis.hash] });
    expect(second.statement).toMatchObject({ prev: [first.hash] });
    const both = addStatement(addStatement(grown, second), third);
    expect(admission(both, alice, bob).statement).toMatchObject({ prev: [second.hash, third.hash].sort() });
  });

  test('digests are alike exactly when the statements are', () => {
    const [first, second] = [admission(log, alice, bob), admission(log, alice, carol)];
    const one = addStatement(addStatement(log, first), second);
    const other = addStatement(addStatement(log, second), first);
    expect(logDigest(one)).toEqual(logDigest(other));
    expect(logDigest(one)).not.toEqual(logDigest(addStatement(log, first)));
    expect(logDigest(log)).not.toEqual(logDigest(openLog(genesisOf(alice, 'other'))));
  });
});

describe('the members follow from the set of statements, not from the order of their arrival:', () => {
  const log = openLog(genesisOf(alice));
  const byBob = (role: Role, at = 2) => admission(log, alice, bob, role, 'bob', at);
  /** An admit of the same machine whose hash is lower, or higher, than another's. */
  const rival = (than: SignedStatement, lower: boolean, role: Role): SignedStatement => {
    for (let at = 3; ; at++) {
      const found = byBob(role, at);
      if (found.hash < than.hash === lower) return found;
    }
  };
  const chain = (): [SignedStatement, SignedStatement, SignedStatement] => {
    const first = byBob('admin');
    const second = admission(addStatement(log, first), bob, carol, 'admin', 'carol');
    const third = admission(extend(log, [first, second]).log, carol, dave, 'member', 'dave');
    return [first, second, third];
  };
  const twice = (lower: boolean): SignedStatement[] => {
    const [first, second] = chain();
    return [first, rival(first, lower, 'member'), second];
  };

  test.for<[what: string, statements: SignedStatement[]]>([
    ['a chain of admins', chain()],
    [
      'two admits of one machine under two labels',
      [admission(log, alice, bob, 'member', 'one'), admission(log, alice, bob, 'member', 'two')],
    ],
    ['an admin admitted again as a member, by a higher hash', twice(false)],
    ['an admin admitted again as a member, by a lower hash', twice(true)],
    [
      'admins who admit each other',
      [byBob('admin'), admission(addStatement(log, byBob('admin')), bob, alice, 'member', 'alice')],
    ],
  ])('%s', ([, statements]) => {
    const logs = permutations(statements).map((order) => {
      // As synced one by one, from whoever has more.
      let current = log;
      for (let round = 0; round < order.length; round++)
        for (const one of order) current = extend(current, [one]).log;
      return current;
    });
    const all = extend(log, statements).log;
    for (const one of [...logs, all]) {
      expect([...one.statements.keys()].sort()).toEqual([...all.statements.keys()].sort());
      expect(rolesOf(one)).toEqual(rolesOf(all));
      expect([...one.members.values()].map(({ label }) => label).sort()).toEqual(
        [...all.members.values()].map(({ label }) => label).sort(),
      );
    }
    expect(all.statements.size).toBe(statements.length + 1);
  });

  test('in the order that is sent, each can be checked when it arrives', () => {
    const { log: grown } = extend(log, chain().reverse());
    let again = openLog(orderedStatements(grown)[0]!);
    for (const one of orderedStatements(grown).slice(1)) again = addStatement(again, one);
    expect(again.members).toEqual(grown.members);
  });

  test('what has no authority is refused, and the rest is taken', () => {
    const [first, second, third] = chain();
    const { added, refused } = extend(log, [third, first]);
    expect([added, refused]).toEqual([[first], [third]]);
    expect(extend(log, [third, second, first]).refused).toEqual([]);
  });
});

describe('the join proof', () => {
  const secret = new Uint8Array(16).fill(9);
  const bound = { ns: 'a'.repeat(64), inviter: alice.peerId, joiner: bob.peerId };
  const proof = joinProof(secret, bound);

  test('holds for the machines and the namespace that it was made for', () => {
    expect(isJoinProof(proof, secret, bound)).toBe(true);
  });

  test.for<[what: string, proof: Uint8Array, secret: Uint8Array, bound: typeof bound]>([
    ['another joiner', proof, secret, { ...bound, joiner: carol.peerId }],
    ['another inviter', proof, secret, { ...bound, inviter: carol.peerId }],
    ['the two exchanged', proof, secret, { ...bound, inviter: bound.joiner, joiner: bound.inviter }],
    ['another namespace', proof, secret, { ...bound, ns: 'b'.repeat(64) }],
    ['another secret', proof, new Uint8Array(16), bound],
    ['a flipped bit', proof.map((byte, at) => (at === 31 ? byte ^ 1 : byte)), secret, bound],
    ['a part of it', proof.subarray(0, 16), secret, bound],
    ['more than it', new Uint8Array([...proof, 0]), secret, bound],
    ['nothing', new Uint8Array(0), secret, bound],
    ['the secret itself', secret, secret, bound],
  ])('does not hold for %s', ([, given, key, to]) => {
    expect(isJoinProof(given, key, to)).toBe(false);
  });
});

describe('signing', () => {
  const bytes = encode({ a: 1 });

  test('a peer id is its key', () => {
    // Seed and public key of RFC 8032, section 7.1, test 1.
    const seed = new Uint8Array(
      Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex'),
    );
    const publicKey = new Uint8Array(
      Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex'),
    );
    expect(signerFromSeed(seed).peerId).toBe(peerIdFromPublicKey(publicKey));
    expect([...publicKeyFromPeerId(signerFromSeed(seed).peerId)]).toEqual([...publicKey]);
  });

  test.for<[what: string, peerId: string, context: string, signed: Uint8Array]>([
    ['another machine', bob.peerId, 'context', bytes],
    ['another context', alice.peerId, 'other', bytes],
    ['other bytes', alice.peerId, 'context', encode({ a: 2 })],
    ['a byte moved from the context', alice.peerId, 'contex', new Uint8Array([0x74, 0, ...bytes])],
    ['a peer id that is none', 'nobody', 'context', bytes],
    ['a peer id of a RSA key', 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N', 'context', bytes],
    ['no peer id', '', 'context', bytes],
  ])('a signature does not hold for %s', ([, peerId, context, signed]) => {
    const signature = alice.sign('context', bytes);
    verifySignature(alice.peerId, 'context', bytes, signature);
    expect(() => verifySignature(peerId, context, signed, signature)).toThrow(refusal('signature_invalid'));
  });

  test('a peer id whose bytes are no point of the curve is refused like a wrong signature', () => {
    const none = peerIdFromPublicKey(new Uint8Array(32).fill(0xff));
    expect(() => verifySignature(none, 'context', bytes, new Uint8Array(64))).toThrow(
      refusal('signature_invalid'),
    );
  });
});

describe('the receipt ladder', () => {
  /** What each state may become, and nothing else. */
  const CLIMBS: Record<ReceiptState, ReceiptState[]> = {
    queued: ['held', 'delivered', 'read', 'deferred', 'replied', 'unsent', 'expired', 'refused'],
    held: ['delivered', 'read', 'deferred', 'replied', 'unsent', 'expired', 'refused'],
    delivered: ['read', 'deferred', 'replied', 'unsent', 'expired', 'refused'],
    read: ['deferred', 'replied'],
    deferred: ['replied'],
    replied: [],
    unsent: [],
    expired: [],
    refused: [],
  };
  const pairs = RECEIPT_STATES.flatMap((from) =>
    RECEIPT_STATES.map((to): [ReceiptState, ReceiptState] => [from, to]),
  );

  test.for(pairs)('from %s, told %s', ([from, to]) => {
    expect(climb(from, to)).toBe(CLIMBS[from].includes(to) ? to : from);
  });
});

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, at) => permutations(items.toSpliced(at, 1)).map((rest) => [item, ...rest]));
}
