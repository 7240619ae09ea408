import { describe, expect, test } from 'vitest';
import { encode } from '../../protocol/codec.ts';
import {
  foundNamespace,
  readStatement,
  recoveryKeyFromSeed,
  signStatement,
  type Chained,
} from '../../protocol/membership/statement.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import { agent } from './membership-fixture.ts';

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const recovery = recoveryKeyFromSeed(new Uint8Array(32).fill(9));
const alice = signerFromSeed(new Uint8Array(32).fill(1));
const bob = signerFromSeed(new Uint8Array(32).fill(2));
const founder = { machine: alice.peerId, label: 'desk' };
const genesis = foundNamespace({ name: 'myproject', founder, nonce: new Uint8Array(16) }, 1, recovery);
const common = { v: 1 as const, ns: genesis.hash, prev: [genesis.hash], by: alice.peerId, at: 2 };
const hash = (digit: string) => digit.repeat(64);

const KINDS: Chained[] = [
  { ...common, k: 'admit', machine: bob.peerId, label: 'laptop', role: 'keeper' },
  { ...common, k: 'remove', machine: bob.peerId },
  { ...common, k: 'remove', machine: bob.peerId, reason: 'lost on a train' },
  { ...common, k: 'promote', machine: bob.peerId },
  { ...common, k: 'rename', machine: bob.peerId, label: 'other' },
  { ...common, k: 'rename-namespace', name: 'other' },
  { ...common, k: 'claim', agent: agent(1), name: 'backend' },
  { ...common, k: 'release', agent: agent(1) },
  { ...common, k: 'rotate', epoch: 1, key_hash: new Uint8Array(32) },
  { ...common, k: 'checkpoint', digest: hash('a'), members: hash('b') },
];

describe('a statement', () => {
  test.for(KINDS)('of kind $k is read as it was signed', (statement) => {
    const signed = signStatement(statement, alice);
    expect(readStatement(signed.bytes)).toEqual(signed);
    expect(readStatement(signed.bytes, { verified: true })).toEqual(signed);
  });

  test('founds a namespace, whose id is its hash', () => {
    expect(readStatement(genesis.bytes)).toEqual(genesis);
    expect(genesis.statement).toMatchObject({ k: 'genesis', by: recovery.peerId, founder });
  });

  test('is not signed for another', () => {
    expect(() => signStatement(KINDS[0]!, bob)).toThrow(refusal('invalid_input'));
  });

  test('that was verified before is not verified again', () => {
    const forged = signedBy({ ...alice, sign: () => new Uint8Array(64) }, KINDS[0]!);
    expect(() => readStatement(forged)).toThrow(refusal('signature_invalid'));
    expect(readStatement(forged, { verified: true }).statement).toEqual(KINDS[0]);
  });
});

/** The bytes of what no author would sign. */
function signedBy(signer: Signer, body: unknown, context = 'patchcord namespace log v1'): Uint8Array {
  const bytes = encode(body);
  return encode({ body: bytes, sig: signer.sign(context, bytes) });
}

describe('not read is', () => {
  const admit = KINDS[0]!;
  const withNone = { ...admit, at: undefined };
  const good = signedBy(alice, admit);

  test.for<[what: string, code: string, bytes: Uint8Array]>([
    ['what is no CBOR', 'frame_malformed', new Uint8Array([0xff])],
    ['nothing', 'frame_malformed', new Uint8Array(0)],
    ['a part of one', 'frame_malformed', good.subarray(0, -1)],
    ['one with more behind it', 'frame_malformed', new Uint8Array([...good, 0])],
    [
      'what is far too long',
      'statement_invalid',
      encode({ body: new Uint8Array(9_000), sig: new Uint8Array(64) }),
    ],
    ['what is not signed', 'statement_invalid', encode(admit)],
    [
      'a body that is no CBOR',
      'frame_malformed',
      encode({ body: new Uint8Array([0xff]), sig: new Uint8Array(64) }),
    ],
    [
      'a flipped bit',
      'signature_invalid',
      good.map((byte, at) => (at === good.length - 100 ? byte ^ 1 : byte)),
    ],
    ['another’s signature', 'signature_invalid', signedBy(bob, admit)],
    [
      'a signature for another purpose',
      'signature_invalid',
      signedBy(alice, admit, 'patchcord namespace statement v1'),
    ],
    ['a kind that is none', 'statement_invalid', signedBy(alice, { ...admit, k: 'crown' })],
    ['another version', 'statement_invalid', signedBy(alice, { ...admit, v: 2 })],
    ['a field too many', 'statement_invalid', signedBy(alice, { ...admit, more: 1 })],
    ['a field too few', 'statement_invalid', signedBy(alice, withNone)],
    ['no predecessor', 'statement_invalid', signedBy(alice, { ...admit, prev: [] })],
    [
      'predecessors out of order',
      'statement_invalid',
      signedBy(alice, { ...admit, prev: [hash('b'), hash('a')] }),
    ],
    [
      'one predecessor twice',
      'statement_invalid',
      signedBy(alice, { ...admit, prev: [hash('a'), hash('a')] }),
    ],
    [
      'predecessors beyond the bound',
      'statement_invalid',
      signedBy(alice, {
        ...admit,
        prev: Array.from({ length: 33 }, (_none, at) => at.toString(16).padStart(64, '0')),
      }),
    ],
    ['a role that is none', 'statement_invalid', signedBy(alice, { ...admit, role: 'king' })],
    ['a machine that is none', 'statement_invalid', signedBy(alice, { ...admit, machine: 'bob' })],
    ['a name that is none', 'statement_invalid', signedBy(alice, { ...KINDS[6]!, name: 'A B' })],
    ['an agent that is none', 'statement_invalid', signedBy(alice, { ...KINDS[6]!, agent: 'x' })],
    ['an epoch before the first', 'statement_invalid', signedBy(alice, { ...KINDS[8]!, epoch: 0 })],
    [
      'a key hash that is too short',
      'statement_invalid',
      signedBy(alice, { ...KINDS[8]!, key_hash: new Uint8Array(31) }),
    ],
    [
      'a nonce that is too short',
      'statement_invalid',
      signedBy(recovery, { ...genesis.statement, nonce: new Uint8Array(15) }),
    ],
    [
      'a genesis by the founding machine’s own key',
      'statement_invalid',
      signedBy(alice, { ...genesis.statement, by: alice.peerId }),
    ],
  ])('%s: %s', ([, code, bytes]) => {
    expect(() => readStatement(bytes)).toThrow(refusal(code));
  });
});

test('a recovery seed gives one key, and none of another length does', () => {
  expect(recoveryKeyFromSeed(new Uint8Array(32).fill(9)).peerId).toBe(recovery.peerId);
  expect(() => recoveryKeyFromSeed(new Uint8Array(31))).toThrow(refusal('invalid_input'));
});
