import type { Signer } from '../../protocol/signing.ts';
import { codecDamages, shapeDamages } from './damages.ts';
import { AT, CONTEXT, NS, OTHER_NS, alice, bob, carol, flipped, id, invalid, valid } from './material.ts';
import { entries, hex, item, join, map } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Letters, and the envelopes that carry them. */

export const frontend = { id: id(0xa0), name: 'frontend' };
export const backend = { id: id(0xa1), name: 'backend' };
export const message = {
  k: 'message',
  id: id(0x10),
  seq: 1,
  from: frontend,
  to: backend,
  content: 'Zahlen, слова, 言葉 \u{1F44B}',
  sent_at: AT,
};
const fullMessage = {
  ...message,
  seq: 4_294_967_296,
  thread: { slug: 'auth-migration', root: id(0x0f) },
  reply_to: id(0x0e),
  resolve: true,
  group: id(0x0d),
};
const voidLetter = { k: 'void', id: id(0x11), seq: 2, from: frontend, to: backend };
const unsend = { k: 'unsend', id: id(0x10), from: frontend, to: backend };
const LETTERS: [string, Record<string, unknown>, string[]?][] = [
  ['message', message],
  ['message with everything', fullMessage, ['thread', 'reply_to', 'resolve', 'group']],
  ['message without content', { ...message, content: '', resolve: true }, ['resolve']],
  ['void', voidLetter],
  ['unsend', unsend],
  ['receipts', { k: 'receipts', receipts: [hex('0102'), hex('')] }],
];
const BAD_LETTERS: [string, Record<string, unknown>][] = [
  ['a kind nobody knows', { ...voidLetter, k: 'order' }],
  ['sequence number 0', { ...message, seq: 0 }],
  ['an id in upper case', { ...message, id: id(0x10).toUpperCase() }],
  ['an id of version 4', { ...message, id: '019a5b00-1234-4abc-8def-000000000010' }],
  ['an id without dashes', { ...message, id: id(0x10).replaceAll('-', '') }],
  ['a sender with an unknown key', { ...message, from: { ...frontend, admin: true } }],
  ['a sender without a name', { ...message, from: { id: frontend.id, name: '' } }],
  [
    'a sender with a name of 121 characters',
    { ...message, from: { id: frontend.id, name: 'a'.repeat(121) } },
  ],
  ['a sender with a line break in its name', { ...message, from: { id: frontend.id, name: 'a\n' } }],
  ['a thread without a slug', { ...fullMessage, thread: { slug: '', root: id(1) } }],
  ['a thread slug of 121 characters', { ...fullMessage, thread: { slug: 'a'.repeat(121), root: id(1) } }],
  ['a thread without a root', { ...fullMessage, thread: { slug: 'a' } }],
  ['resolve false', { ...fullMessage, resolve: false }],
  ['a time after the end of dates', { ...message, sent_at: 8_640_000_000_000_001 }],
  ['no receipts', { k: 'receipts', receipts: [] }],
  ['101 receipts', { k: 'receipts', receipts: Array.from({ length: 101 }, () => hex('00')) }],
  ['a void with content', { ...voidLetter, content: 'x' }],
  ['an unsend with a sequence number', { ...unsend, seq: 1 }],
];

export function letterVectors(): Vector[] {
  return [
    ...LETTERS.map(([name, letter]) => valid(name, item(letter), letter)),
    ...codecDamages(voidLetter).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...LETTERS.slice(1).flatMap(([name, letter, optional]) =>
      shapeDamages(letter, optional).map(([what, damaged]) =>
        invalid(`${name}: ${what}`, item(damaged), 'frame_malformed'),
      ),
    ),
    ...BAD_LETTERS.map(([name, letter]) => invalid(name, item(letter), 'frame_malformed')),
  ];
}

const header = (more: object = {}) => ({ v: 1, ns: NS, from: alice.peerId, to: bob.peerId, ...more });
const sealed = (
  head: Uint8Array,
  letter: Uint8Array,
  signer: Signer,
  context: string = CONTEXT.envelope,
) => ({
  header: head,
  letter,
  sig: new Uint8Array(signer.sign(context, item([head, letter]))),
});

export function envelopeVectors(): Vector[] {
  const head = item(header());
  const good = sealed(head, item(message), alice);
  const bad = (name: string, envelope: object, error: string) => invalid(name, item(envelope), error);
  const signedHeader = (more: object) => sealed(item(header(more)), item(message), alice);
  return [
    ...LETTERS.map(([name, letter]) =>
      valid(
        name,
        item(sealed(head, item(letter), alice)),
        { header: header(), letter },
        { with: { signer: 'alice' } },
      ),
    ),
    ...codecDamages(good).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...shapeDamages(good).map(([name, damaged]) => bad(name, damaged, 'frame_malformed')),
    ...shapeDamages(header()).map(([name, damaged]) =>
      bad(`header: ${name}`, sealed(item(damaged), item(message), alice), 'frame_malformed'),
    ),
    bad('header of version 2', signedHeader({ v: 2 }), 'frame_malformed'),
    bad(
      'header with a byte too many',
      sealed(join(head, hex('00')), item(message), alice),
      'frame_malformed',
    ),
    bad(
      'header with keys in the wrong order',
      sealed(map([...entries(header())].reverse()), item(message), alice),
      'frame_malformed',
    ),
    bad(
      'letter with a byte too many',
      sealed(head, join(item(message), hex('00')), alice),
      'frame_malformed',
    ),
    bad('letter that is none, well signed', sealed(head, item({ k: 'order' }), alice), 'frame_malformed'),
    bad('signed by another machine', sealed(head, item(message), carol), 'signature_invalid'),
    bad(
      'said to be from the machine that did not sign',
      signedHeader({ from: carol.peerId }),
      'signature_invalid',
    ),
    bad(
      'signed in the receipt context',
      sealed(head, item(message), alice, CONTEXT.receipt),
      'signature_invalid',
    ),
    bad(
      'signed without a context',
      { ...good, sig: new Uint8Array(alice.sign('', item([head, item(message)]))) },
      'signature_invalid',
    ),
    bad(
      'header swapped for one to another machine',
      { ...good, header: item(header({ to: carol.peerId })) },
      'signature_invalid',
    ),
    bad(
      'header swapped for one of another namespace',
      { ...good, header: item(header({ ns: OTHER_NS })) },
      'signature_invalid',
    ),
    bad('letter swapped for another', { ...good, letter: item(voidLetter) }, 'signature_invalid'),
    bad(
      'signature of another envelope',
      { ...good, sig: sealed(head, item(voidLetter), alice).sig },
      'signature_invalid',
    ),
    bad('first bit of the signature flipped', { ...good, sig: flipped(good.sig, 0) }, 'signature_invalid'),
    bad(
      'last bit of the signature flipped',
      { ...good, sig: flipped(good.sig, 63, 0x80) },
      'signature_invalid',
    ),
    bad('signature one byte short', { ...good, sig: good.sig.subarray(1) }, 'signature_invalid'),
    bad('signature one byte long', { ...good, sig: join(good.sig, hex('00')) }, 'signature_invalid'),
    bad('no signature', { ...good, sig: hex('') }, 'signature_invalid'),
    bad('signature of zeros', { ...good, sig: new Uint8Array(64) }, 'signature_invalid'),
  ];
}
