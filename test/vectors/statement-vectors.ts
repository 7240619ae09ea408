import { codecDamages, shapeDamages } from './damages.ts';
import {
  AT,
  CONTEXT,
  NS,
  admit,
  alice,
  bob,
  genesis,
  id,
  invalid,
  recovery,
  seedOf,
  sha256,
  valid,
} from './material.ts';
import { hex, item, join } from './raw-cbor.ts';
import { receipt, signed, signedVectors } from './signed-vectors.ts';
import type { Vector } from './vector.ts';

/** Statements of a namespace log: each kind, and each of its fields damaged. */

type Body = Record<string, unknown>;

const SIZE_BYTES_MAX = 8 * 1024;
const common = { v: 1, ns: NS, prev: [sha256(item(admit))], by: alice.peerId, at: AT + 2 };
const remove = { ...common, k: 'remove', machine: bob.peerId, reason: 'lost on a train' };
const promote = { ...common, k: 'promote', machine: bob.peerId };
const rename = { ...common, k: 'rename', machine: bob.peerId, label: 'tower' };
const renameNamespace = { ...common, k: 'rename-namespace', name: 'our.project' };
const claim = { ...common, k: 'claim', agent: id(0xa1), name: 'backend' };
const release = { ...common, k: 'release', agent: id(0xa1) };
const rotate = { ...common, k: 'rotate', epoch: 1, key_hash: seedOf(0x33) };
const checkpoint = { ...common, k: 'checkpoint', digest: sha256(hex('00')), members: sha256(hex('01')) };
/** Signed by alice; the genesis is not. */
const CHAINED: [name: string, body: Body, optional?: string[]][] = [
  ['remove', remove, ['reason']],
  ['promote', promote],
  ['rename', rename],
  ['rename-namespace', renameNamespace],
  ['claim', claim],
  ['release', release],
  ['rotate', rotate],
  ['checkpoint', checkpoint],
];
const { reason: _reason, ...removeWithout } = remove;
const hashes = (count: number) =>
  Array.from({ length: count }, (_none, index) => sha256(Uint8Array.of(index))).sort();
const two = hashes(2);

const VARIANTS: [name: string, body: Body][] = [
  ['admit of an admin', { ...admit, role: 'admin' }],
  ['admit of a keeper', { ...admit, role: 'keeper', label: '\u{1F4BB}' }],
  ['admit after 32 others', { ...admit, prev: hashes(32) }],
  ['admit under a label of 120 characters', { ...admit, label: 'x'.repeat(120) }],
  ['remove without a reason', removeWithout],
  ['remove of itself', { ...removeWithout, machine: alice.peerId }],
  ['rotate to a late epoch', { ...rotate, epoch: 2 ** 32 }],
];

const BAD: [name: string, body: Body][] = [
  ['a kind that is none', { ...admit, k: 'expel' }],
  ['a kind in upper case', { ...admit, k: 'Admit' }],
  ['a role that is none', { ...admit, role: 'owner' }],
  ['no predecessor', { ...admit, prev: [] }],
  ['33 predecessors', { ...admit, prev: hashes(33) }],
  ['predecessors in descending order', { ...admit, prev: [...two].reverse() }],
  ['a predecessor twice', { ...admit, prev: [two[0], two[0]] }],
  ['a predecessor that is no hash', { ...admit, prev: ['genesis'] }],
  ['a predecessor in upper case', { ...admit, prev: [two[0]!.toUpperCase()] }],
  ['a predecessor as bytes', { ...admit, prev: [hex(two[0]!)] }],
  ['no label', { ...admit, label: '' }],
  ['a label of 121 characters', { ...admit, label: 'x'.repeat(121) }],
  ['a machine by another kind of peer id', { ...admit, machine: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' }],
  ['a time after the end of dates', { ...admit, at: 8_640_000_000_000_001 }],
  ['a reason that is empty', { ...remove, reason: '' }],
  ['a reason of 121 characters', { ...remove, reason: 'x'.repeat(121) }],
  ['a promotion with a role', { ...promote, role: 'admin' }],
  ['a namespace name in upper case', { ...renameNamespace, name: 'MyProject' }],
  ['a claim of a name in upper case', { ...claim, name: 'Backend' }],
  ['a claim of a name of 121 characters', { ...claim, name: 'x'.repeat(121) }],
  ['a claim by an agent id of version 4', { ...claim, agent: '019a5b00-1234-4abc-8def-0000000000a1' }],
  ['a release of a name', { ...release, name: 'backend' }],
  ['key epoch 0', { ...rotate, epoch: 0 }],
  ['a key hash of 31 bytes', { ...rotate, key_hash: seedOf(1).subarray(1) }],
  ['a key hash as text', { ...rotate, key_hash: sha256(hex('')) }],
  ['a checkpoint digest as bytes', { ...checkpoint, digest: seedOf(1) }],
];
const BAD_GENESIS: [name: string, body: Body][] = [
  ['a genesis whose key is its founder\u2019s', { ...genesis, founder: { machine: recovery.peerId, label: 'desk' } }],
  ['a genesis with a short nonce', { ...genesis, nonce: hex('00') }],
  ['a genesis with a name in upper case', { ...genesis, name: 'MyProject' }],
  ['a genesis that names a namespace', { ...genesis, ns: NS }],
  ['a genesis that names a predecessor', { ...genesis, prev: [NS] }],
  ['a founder with an unknown key', { ...genesis, founder: { ...genesis.founder, role: 'admin' } }],
  ['a founder without a label', { ...genesis, founder: { machine: alice.peerId } }],
  [
    'a genesis of the first form',
    { v: 1, k: 'genesis', name: 'myproject', by: recovery.peerId, label: 'desk', at: AT, nonce: genesis.nonce },
  ],
];

const by = (signer: typeof alice, body: Uint8Array, context = CONTEXT.statement) =>
  item(signed(body, signer, context));
const decoded = (statement: Body) => ({ hash: sha256(item(statement)), statement });

export function statementVectors(): Vector[] {
  return [
    ...signedVectors({
      values: [['admit', admit] as const, ...CHAINED, ...VARIANTS].map(([name, body]) => [name, body, decoded(body)]),
      context: CONTEXT.statement,
      otherContext: CONTEXT.receipt,
      codes: { wrapper: 'statement_invalid', shape: 'statement_invalid' },
      flip: admit.label,
      bad: BAD,
      sizeBytesMax: SIZE_BYTES_MAX,
    }),
    valid('genesis', by(recovery, item(genesis)), decoded(genesis), { with: { signer: 'recovery' } }),
    ...CHAINED.flatMap(([name, body, optional]) => damagedBodies(name, body, alice, optional)),
    ...damagedBodies('genesis', genesis, recovery),
    ...BAD_GENESIS.map(([name, body]) => invalid(name, by(recovery, item(body)), 'statement_invalid')),
    ...codecDamages(rotate).flatMap(([name, body]) => misencoded(name, body)),
    ...foreign(),
    ...overlong(),
  ];
}

function damagedBodies(name: string, body: Body, signer: typeof alice, optional?: string[]): Vector[] {
  return shapeDamages(body, optional).map(([what, damaged]) =>
    invalid(`${name}: ${what}`, by(signer, item(damaged)), 'statement_invalid'),
  );
}

/** Well signed, and not in the one deterministic form. */
function misencoded(name: string, body: Uint8Array | [string, number][]): Vector[] {
  if (!(body instanceof Uint8Array)) return [];
  const wellFormed = ['a key called __proto__', 'an array', 'a number', 'a text', 'null'].includes(name);
  return [invalid(`body: ${name}`, by(alice, body), wellFormed ? 'statement_invalid' : 'frame_malformed')];
}

/** Good statements, signed by others or for something else. */
function foreign(): Vector[] {
  const forged = (name: string, bytes: Uint8Array) => invalid(name, bytes, 'signature_invalid');
  return [
    ...CHAINED.map(([name, body]) => forged(`${name}, signed by another machine`, by(bob, item(body)))),
    forged('genesis, signed by its founder', by(alice, item(genesis))),
    forged('admit, signed in the context of the first form', by(alice, item(admit), CONTEXT.firstStatement)),
    forged('admit, signed without a context', by(alice, item(admit), '')),
    forged('admit, its signature that of a promotion', item({ body: item(admit), sig: signed(item(promote), alice, CONTEXT.statement).sig })),
    invalid('a receipt presented as a statement', by(alice, item(receipt), CONTEXT.receipt), 'statement_invalid'),
  ];
}

/** The longest that is looked into, and one byte more. */
function overlong(): Vector[] {
  const body = item(admit);
  const { sig } = signed(body, alice, CONTEXT.statement);
  const around = item({ body, sig: new Uint8Array(8_000) }).length - 8_000;
  const wrapped = (sizeBytes: number) => item({ body, sig: join(sig, new Uint8Array(sizeBytes - around - sig.length)) });
  return [
    invalid('8,192 bytes, its signature far too long', wrapped(SIZE_BYTES_MAX), 'signature_invalid'),
    invalid('8,193 bytes', wrapped(SIZE_BYTES_MAX + 1), 'statement_invalid'),
  ];
}
