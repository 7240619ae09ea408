import { codecDamages, shapeDamages } from './damages.ts';
import type { HandSigner } from './keys-by-hand.ts';
import { backend, frontend } from './letter-vectors.ts';
import {
  AT,
  CONTEXT,
  NS,
  admit,
  alice,
  carol,
  flipped,
  id,
  invalid,
  valid,
} from './material.ts';
import { entries, hex, item, join, map } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** What is signed, a body and its signature; and receipts. */

export const signed = (body: Uint8Array, signer: HandSigner, context: string) => ({
  body,
  sig: new Uint8Array(signer.sign(context, body)),
});

export function signedVectors(options: {
  values: [name: string, value: Record<string, unknown>, decoded: unknown][];
  context: string;
  otherContext: string;
  codes: { wrapper: string; shape: string };
  /** A text in the body whose first character may become its neighbour. */
  flip: string;
  bad: [string, Record<string, unknown>][];
  /** What is longer is refused by its length, with the code of a wrong wrapper. */
  sizeBytesMax?: number;
}): Vector[] {
  const { values, context, otherContext, codes, flip, bad, sizeBytesMax = Infinity } = options;
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
      const tooLong = !(bytes instanceof Uint8Array) && sizeOf(bytes) > sizeBytesMax;
      return invalid(name, bytes, wellFormed || tooLong ? codes.wrapper : 'frame_malformed');
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

function sizeOf(bytes: readonly [hex: string, times: number][]): number {
  return bytes.reduce((sum, [part, times]) => sum + (part.length / 2) * times, 0);
}

export const receipt = {
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

type Signed = [name: string, value: Record<string, unknown>, decoded: unknown];

export function receiptVectors(): Vector[] {
  const presented = item(signed(item(admit), alice, CONTEXT.statement));
  return [
    ...signedVectors({
      values: [
        ...STATES.map((state): Signed => [state, { ...receipt, state }, { ...receipt, state }]),
        ['delivered in an epoch', { ...receipt, epoch: 7 }, { ...receipt, epoch: 7 }],
      ],
      context: CONTEXT.receipt,
      otherContext: CONTEXT.statement,
      codes: { wrapper: 'frame_malformed', shape: 'frame_malformed' },
      flip: receipt.id,
      bad: [
        ['epoch 0', { ...receipt, epoch: 0 }],
        ['a state that is none', { ...receipt, state: 'lost' }],
        ['the state of an inbox', { ...receipt, state: 'pending' }],
        ['a namespace by its name', { ...receipt, ns: 'myproject' }],
        ['a negative time', { ...receipt, at: '-1' }],
      ],
    }),
    invalid('a statement presented as a receipt', presented, 'frame_malformed'),
  ];
}
