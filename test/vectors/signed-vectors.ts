import { codecDamages, shapeDamages } from './damages.ts';
import type { Signer } from '../../protocol/signing.ts';
import { backend, frontend } from './letter-vectors.ts';
import {
  AT,
  CONTEXT,
  NS,
  alice,
  bob,
  carol,
  flipped,
  genesis,
  id,
  invalid,
  sha256,
  valid,
} from './material.ts';
import { entries, hex, item, join, map } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Receipts and statements: a body and its signature. */

const signed = (body: Uint8Array, signer: Signer, context: string) => ({
  body,
  sig: new Uint8Array(signer.sign(context, body)),
});

function signedVectors(options: {
  values: [name: string, value: Record<string, unknown>, decoded: unknown][];
  context: string;
  otherContext: string;
  codes: { wrapper: string; shape: string };
  /** A text in the body whose first character may become its neighbour. */
  flip: string;
  bad: [string, Record<string, unknown>][];
}): Vector[] {
  const { values, context, otherContext, codes, flip, bad } = options;
  const [, value] = values[0]!;
  const body = item(value);
  const good = signed(body, alice, context);
  const reject = (name: string, what: object, error: string) => invalid(name, item(what), error);
  return [
    ...values.map(([name, one, decoded]) =>
      valid(name, item(signed(item(one), alice, context)), decoded, { with: { signer: 'alice' } }),
    ),
    ...codecDamages(good).map(([name, bytes]) => {
      // Deterministic CBOR, only not of the right shape.
      const wellFormed = ['a key called __proto__', 'an array', 'a number', 'a text', 'null'].includes(name);
      return invalid(name, bytes, wellFormed ? codes.wrapper : 'frame_malformed');
    }),
    ...shapeDamages(good).map(([name, damaged]) => reject(name, damaged, codes.wrapper)),
    ...shapeDamages(value).map(([name, damaged]) =>
      reject(`body: ${name}`, signed(item(damaged), alice, context), codes.shape),
    ),
    ...bad.map(([name, one]) => reject(name, signed(item(one), alice, context), codes.shape)),
    reject('body of version 2', signed(item({ ...value, v: 2 }), alice, context), codes.shape),
    reject('body with a byte too many', signed(join(body, hex('00')), alice, context), 'frame_malformed'),
    reject(
      'body with keys in the wrong order',
      signed(map([...entries(value)].reverse()), alice, context),
      'frame_malformed',
    ),
    reject('signed by another machine', signed(body, carol, context), 'signature_invalid'),
    reject(
      'said to be by the machine that did not sign',
      signed(item({ ...value, by: carol.peerId }), alice, context),
      'signature_invalid',
    ),
    reject('signed in another context', signed(body, alice, otherContext), 'signature_invalid'),
    reject(
      'signed in a context that this one starts with',
      signed(body, alice, context.slice(0, -1)),
      'signature_invalid',
    ),
    reject(
      'one bit of the body flipped',
      { ...good, body: flipped(good.body, Buffer.from(body).indexOf(flip)) },
      'signature_invalid',
    ),
    reject('first bit of the signature flipped', { ...good, sig: flipped(good.sig, 0) }, 'signature_invalid'),
    reject(
      'last bit of the signature flipped',
      { ...good, sig: flipped(good.sig, 63, 0x80) },
      'signature_invalid',
    ),
    reject('signature one byte short', { ...good, sig: good.sig.subarray(1) }, 'signature_invalid'),
    reject('no signature', { ...good, sig: hex('') }, 'signature_invalid'),
    reject(
      'by a peer id whose key is none',
      signed(item({ ...value, by: `12D3KooW${'1'.repeat(44)}` }), alice, context),
      'signature_invalid',
    ),
  ];
}

const receipt = {
  v: 1,
  ns: NS,
  id: id(0x10),
  sender: frontend.id,
  recipient: backend.id,
  state: 'delivered',
  at: AT,
  by: alice.peerId,
};
const STATES = [
  'delivered',
  'queued',
  'held',
  'read',
  'deferred',
  'replied',
  'unsent',
  'expired',
  'refused',
];

const admit = {
  v: 1,
  k: 'admit',
  ns: NS,
  prev: [NS],
  by: alice.peerId,
  machine: bob.peerId,
  label: 'laptop',
  role: 'member',
  at: AT + 1,
};

export function receiptVectors(): Vector[] {
  const presented = item(signed(item(admit), alice, CONTEXT.statement));
  return [
    ...signedVectors({
      values: STATES.map((state) => [state, { ...receipt, state }, { ...receipt, state }]),
      context: CONTEXT.receipt,
      otherContext: CONTEXT.statement,
      codes: { wrapper: 'frame_malformed', shape: 'frame_malformed' },
      flip: receipt.id,
      bad: [
        ['a state that is none', { ...receipt, state: 'lost' }],
        ['the state of an inbox', { ...receipt, state: 'pending' }],
        ['a namespace by its name', { ...receipt, ns: 'myproject' }],
        ['a negative time', { ...receipt, at: '-1' }],
      ],
    }),
    invalid('a statement presented as a receipt', presented, 'frame_malformed'),
  ];
}

export function statementVectors(): Vector[] {
  const decoded = (statement: Record<string, unknown>) => ({ hash: sha256(item(statement)), statement });
  const values: [string, Record<string, unknown>][] = [
    ['admit', admit],
    ['genesis', genesis],
    ['admit of an admin', { ...admit, role: 'admin' }],
    ['admit of a keeper', { ...admit, role: 'keeper', label: '\u{1F4BB}' }],
    [
      'admit after 32 others',
      { ...admit, prev: Array.from({ length: 32 }, (_none, index) => sha256(Uint8Array.of(index))) },
    ],
  ];
  return [
    ...signedVectors({
      values: values.map(([name, statement]) => [name, statement, decoded(statement)]),
      context: CONTEXT.statement,
      otherContext: CONTEXT.receipt,
      codes: { wrapper: 'statement_invalid', shape: 'statement_invalid' },
      flip: admit.label,
      bad: [
        ['a kind that is none', { ...admit, k: 'expel' }],
        ['a role that is none', { ...admit, role: 'owner' }],
        ['no predecessor', { ...admit, prev: [] }],
        ['33 predecessors', { ...admit, prev: Array.from({ length: 33 }, () => NS) }],
        ['a predecessor that is no hash', { ...admit, prev: ['genesis'] }],
        ['no label', { ...admit, label: '' }],
        ['a label of 121 characters', { ...admit, label: 'x'.repeat(121) }],
        ['a genesis with a short nonce', { ...genesis, nonce: hex('00') }],
        ['a genesis with a name in upper case', { ...genesis, name: 'MyProject' }],
        ['a genesis that names a namespace', { ...genesis, ns: NS }],
      ],
    }),
    invalid(
      'a receipt presented as a statement',
      item(signed(item(receipt), alice, CONTEXT.receipt)),
      'statement_invalid',
    ),
  ];
}
