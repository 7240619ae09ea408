import { codecDamages, shapeDamages } from './damages.ts';
import { build, padded, PREKEY_SEED, SEQ, type Parts, type Plan } from './envelope-by-hand.ts';
import { LETTERS, fullMessage, message, voidLetter } from './letter-vectors.ts';
import {
  CONTEXT,
  NS,
  OTHER_NS,
  alice,
  bob,
  carol,
  flipped,
  hexOf,
  id,
  invalid,
  seedOf,
  valid,
} from './material.ts';
import { entries, hex, item, join, map } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Envelopes, sealed by alice to bob unless a name says otherwise. Bob keeps one prekey under two sequences. */
const KEPT = { self: 'bob', seed: hexOf(PREKEY_SEED), kept: `${SEQ} ${SEQ + 1}` };
const GIVEN = { with: { ...KEPT, signer: 'alice' } };

type Fields = Record<string, unknown>;

/** The two parts of a letter, as protocol/envelope.ts splits it. */
function split(letter: Fields): { shared: Uint8Array; own: Uint8Array } {
  if (letter['group'] === undefined) return { shared: item(letter), own: item({}) };
  const { id: letterId, seq, to, ...shared } = letter;
  return { shared: item(shared), own: item({ id: letterId, seq, to }) };
}

const of = (letter: Fields, more: Partial<Plan> = {}) => build({ ...split(letter), ...more });
const good = of(fullMessage);
const other = of({ ...fullMessage, content: 'another', seq: 9 }, { key: seedOf(0x51) });
const toCarol = of(fullMessage, { to: carol.peerId, seed: seedOf(0x61) });
/** What a copy has that another one of its message has not. */
const secondCopy = { ...fullMessage, id: id(0x12), seq: 3, to: { id: id(0xa2), name: 'tester' } };
const { own } = split(fullMessage);

/** The points of low order on Curve25519, as its page lists them (https://cr.yp.to/ecdh.html#validate). */
const LOW_ORDER = [
  ['0', '00'.repeat(32)],
  ['1', `01${'00'.repeat(31)}`],
  ['of order 8', 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'],
  ['of order 8, the other', '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157'],
  ['p - 1', `ec${'ff'.repeat(30)}7f`],
  ['p', `ed${'ff'.repeat(30)}7f`],
  ['p + 1', `ee${'ff'.repeat(30)}7f`],
] as const;

/** The wrap's fields, to be put together again. */
function wrapOf(more: Fields, parts: Parts = good): Uint8Array {
  const sealedSize = 1_024 + 16;
  const fields = { to: bob.peerId, prekey: SEQ, kem: kemOf(parts), key: keyOf(parts, sealedSize) };
  return item({ ...fields, ...more });
}

function kemOf({ wrap }: Parts): Uint8Array {
  const at = Buffer.from(wrap).indexOf(join(item('kem'), hex('590460')));
  return wrap.slice(at + 7, at + 7 + 1_120);
}

function keyOf({ wrap }: Parts, sizeBytes: number): Uint8Array {
  const at = Buffer.from(wrap).indexOf(join(item('key'), hex('590410')));
  return wrap.slice(at + 7, at + 7 + sizeBytes);
}

const bad = (name: string, parts: object, error: string, more: object = {}): Vector =>
  invalid(name, item(parts), error, { with: { ...KEPT, ...more } });
const refused = (name: string, parts: object) => bad(name, parts, 'envelope_invalid');

export function envelopeVectors(): Vector[] {
  return [
    ...LETTERS.map(([name, letter]) => opened(name, of(letter), letter)),
    opened('another copy of the message with everything', of(secondCopy), secondCopy),
    opened('message sealed to the next prekey', of(message, { seq: SEQ + 1 }), message, SEQ + 1),
    ...cut(),
    ...exchanged(),
    ...rewrapped(),
    ...misSigned(),
    ...misshapen(),
    ...malicious(),
  ];
}

const opened = (name: string, parts: Parts, letter: Fields, prekey = SEQ) =>
  valid(name, item(parts), { ns: NS, from: alice.peerId, letter, prekey }, GIVEN);

/** Every part, too short. */
function cut(): Vector[] {
  const byteShort = (bytes: Uint8Array) => bytes.subarray(0, -1);
  const names = new Set([
    'nothing at all',
    'one byte too few',
    'half of it',
    'one byte too many',
    'keys in the wrong order',
    'a key twice',
    'a count longer than it need be',
    'a map of indefinite length',
  ]);
  return [
    ...codecDamages({ ...good })
      .filter(([name]) => names.has(name))
      .map(([name, bytes]) => invalid(name, bytes, 'envelope_invalid', { with: KEPT })),
    refused('head one byte short', { ...good, head: byteShort(good.head) }),
    refused('no head', { ...good, head: hex('') }),
    refused('wrap one byte short', { ...good, wrap: byteShort(good.wrap) }),
    refused('no wrap', { ...good, wrap: hex('') }),
    refused('body one byte short', { ...good, body: byteShort(good.body) }),
    refused('body without its tag', { ...good, body: good.body.subarray(0, -16) }),
    refused('body shorter than a tag', { ...good, body: good.body.subarray(0, 15) }),
    refused('no body', { ...good, body: hex('') }),
    refused('KEM ciphertext one byte short', { ...good, wrap: wrapOf({ kem: byteShort(kemOf(good)) }) }),
    refused('KEM ciphertext one byte long', { ...good, wrap: wrapOf({ kem: join(kemOf(good), hex('00')) }) }),
    refused('no KEM ciphertext', { ...good, wrap: wrapOf({ kem: hex('') }) }),
    refused('wrapped key one byte short', { ...good, wrap: wrapOf({ key: byteShort(keyOf(good, 1_040)) }) }),
    refused('wrapped key shorter than a tag', { ...good, wrap: wrapOf({ key: keyOf(good, 15) }) }),
    refused('no wrapped key', { ...good, wrap: wrapOf({ key: hex('') }) }),
    refused('commitment one byte short', of(fullMessage, { headMore: { commit: seedOf(1).subarray(1) } })),
    refused('signature one byte short', of(fullMessage, { secretMore: { sig: seedOf(1) } })),
    refused('content key one byte short', of(fullMessage, { secretMore: { key: seedOf(1).subarray(1) } })),
  ];
}

/** Good parts, beside others than their own; and single bits. */
function exchanged(): Vector[] {
  return [
    refused('wrap of another message', { ...good, wrap: other.wrap }),
    refused('body of another message', { ...good, body: other.body }),
    refused('head of another message', { ...good, head: other.head }),
    refused('head and body of another message', { ...other, wrap: good.wrap }),
    refused('wrap of the copy to another machine', { ...good, wrap: toCarol.wrap }),
    refused('head that names another namespace', {
      ...good,
      head: of(fullMessage, { headMore: { ns: OTHER_NS } }).head,
    }),
    refused('first bit of the body flipped', { ...good, body: flipped(good.body, 0) }),
    refused('last bit of the body flipped', { ...good, body: flipped(good.body, good.body.length - 1, 0x80) }),
    refused('a bit of the wrapped key flipped', {
      ...good,
      wrap: wrapOf({ key: flipped(keyOf(good, 1_040), 5) }),
    }),
    refused('a bit of the ML-KEM ciphertext flipped', {
      ...good,
      wrap: wrapOf({ kem: flipped(kemOf(good), 5) }),
    }),
    refused('a bit of the X25519 point flipped', {
      ...good,
      wrap: wrapOf({ kem: flipped(kemOf(good), 1_090) }),
    }),
    ...LOW_ORDER.map(([name, point]) =>
      refused(`X25519 point of low order: ${name}`, of(message, { point: hex(point) })),
    ),
  ];
}

/** Other recipients and other prekeys than the sender meant. */
function rewrapped(): Vector[] {
  const sameKey = of(fullMessage, { to: carol.peerId });
  const carols = { self: 'carol', seed: hexOf(seedOf(0x61)) };
  return [
    bad('for another machine', good, 'envelope_invalid', carols),
    refused('copy to another machine, its address changed', { ...toCarol, wrap: wrapOf({}, toCarol) }),
    refused('addressed to another machine, though sealed to a prekey of this one', sameKey),
    refused('address changed, though the prekey is the same', { ...sameKey, wrap: wrapOf({}, sameKey) }),
    refused('prekey sequence changed to another that is kept', { ...good, wrap: wrapOf({ prekey: SEQ + 1 }) }),
    bad('sealed to a prekey that is not kept', of(message, { seq: SEQ + 2 }), 'prekey_unknown'),
    bad('prekey sequence changed to one that is not kept', { ...good, wrap: wrapOf({ prekey: 1 }) }, 'prekey_unknown'),
    bad(
      'wrapped anew by its recipient to a third machine',
      of(fullMessage, { to: carol.peerId, seed: seedOf(0x61), signedTo: bob.peerId }),
      'signature_invalid',
      carols,
    ),
    bad(
      'wrapped anew by its recipient to a third machine, as from the recipient',
      of(fullMessage, { to: carol.peerId, seed: seedOf(0x61), signedTo: bob.peerId, from: bob.peerId }),
      'signature_invalid',
      carols,
    ),
    bad(
      'wrapped anew to another prekey of the same machine',
      of(fullMessage, { seq: SEQ + 1, signedSeq: SEQ }),
      'signature_invalid',
    ),
    bad(
      'wrapped anew into another namespace',
      of(fullMessage, { ns: OTHER_NS, signedHead: good.head }),
      'signature_invalid',
    ),
    refused('commits to another key', of(fullMessage, { committed: seedOf(0x52) })),
    refused('commits to nothing', of(fullMessage, { headMore: { commit: new Uint8Array(32) } })),
  ];
}

/** Well sealed; only the signature is not by whom it says, or not over what is there. */
function misSigned(): Vector[] {
  const wrong = (name: string, more: Partial<Plan>) => bad(name, of(fullMessage, more), 'signature_invalid');
  return [
    wrong('signed by another machine', { signer: carol }),
    wrong('said to be from the machine that did not sign', { from: carol.peerId }),
    wrong('signed over another head', { signedHead: other.head }),
    wrong('signed over another content', { signedShared: item({ ...message, content: 'another' }) }),
    wrong('signed over the own part of another copy', { signedOwn: split(secondCopy).own }),
    wrong('signed for another machine', { signedTo: carol.peerId }),
    wrong('signed for another prekey', { signedSeq: SEQ + 1 }),
    wrong('signed in the receipt context', { context: CONTEXT.receipt }),
    wrong('signed in the context of the first version', { context: 'patchcord envelope v1' }),
    wrong('signed without a context', { context: '' }),
    wrong('signature of zeros', { secretMore: { sig: new Uint8Array(64) } }),
    wrong('from a peer id whose key is none', { from: `12D3KooW${'1'.repeat(44)}` }),
  ];
}

/** Maps of other shapes. A key too many is sealed and bound as it should be, so that nothing else is wrong. */
function misshapen(): Vector[] {
  const head = { v: 2, ns: NS, commit: seedOf(0) };
  const wrap = { to: bob.peerId, prekey: SEQ, kem: new Uint8Array(1_120), key: hex('00') };
  const missing = (value: Fields) => shapeDamages(value).filter(([what]) => what !== 'an unknown key');
  const reversed = (bytes: Fields) => map([...entries(bytes)].reverse());
  const { group, id: letterId, seq, to, ...shared } = fullMessage;
  const ownReversed = reversed({ id: letterId, seq, to });
  return [
    ...missing({ head: hex('00'), wrap: hex('00'), body: hex('00') }).map(([what, damaged]) => refused(what, damaged)),
    ...missing(head).map(([what, damaged]) => refused(`head: ${what}`, { head: item(damaged), wrap: hex('00'), body: hex('00') })),
    ...missing(wrap).map(([what, damaged]) =>
      refused(`wrap: ${what}`, { head: good.head, wrap: item(damaged), body: hex('00') }),
    ),
    refused('an unknown key', { ...good, zz: 1 }),
    refused('head with an unknown key', of(fullMessage, { headMore: { zz: 1 } })),
    refused('head of version 1', of(fullMessage, { headMore: { v: 1 } })),
    refused('head of version 3', of(fullMessage, { headMore: { v: 3 } })),
    refused('head with a byte too many', of(fullMessage, { head: join(good.head, hex('00')) })),
    refused('wrap with an unknown key', of(fullMessage, { wrapMore: { zz: 1 } })),
    refused('wrap with a byte too many', { ...good, wrap: join(good.wrap, hex('00')) }),
    refused('wrap to prekey 0', { ...good, wrap: wrapOf({ prekey: 0 }) }),
    refused('wrap to a prekey past the last', { ...good, wrap: wrapOf({ prekey: 2 ** 31 + 1 }) }),
    refused('wrap to a peer id of another kind', {
      ...good,
      wrap: wrapOf({ to: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' }),
    }),
    refused('secret with an unknown key', of(fullMessage, { secretMore: { zz: 1 } })),
    refused('secret without its sender', of(fullMessage, { secretMore: { from: undefined } })),
    refused('shared fields with keys in the wrong order', build({ shared: reversed({ ...shared, group }), own })),
    refused('own fields with keys in the wrong order', of(fullMessage, { own: ownReversed })),
    refused('shared fields that are a list', build({ shared: item([1]), own })),
    refused('own fields that are a list', of(fullMessage, { own: item([1]) })),
  ];
}

/** Well sealed and well signed, by a member that means harm. */
function malicious(): Vector[] {
  const twice = (name: string, ownFields: Fields) =>
    refused(name, of(message, { own: item(ownFields) }));
  const huge = 0xff_ff_ff_ff;
  return [
    twice('a shared field given again', { content: 'another' }),
    twice('a shared field given again, the same', { id: message.id }),
    twice('a shared field given again, beside own ones', { group: id(0x0d), sent_at: 0 }),
    twice('an own field called like an object method', { toString: 1 }),
    bad('an own field that no letter has', of(message, { own: item({ admin: true }) }), 'frame_malformed'),
    bad('a shared field that no letter has', of({ ...message, admin: true }), 'frame_malformed'),
    bad('a letter that is none', of({ k: 'order' }), 'frame_malformed'),
    bad('an empty letter', build({}), 'frame_malformed'),
    bad('a copy without its own fields', of(fullMessage, { own: item({}) }), 'frame_malformed'),
    bad('a void with content', of({ ...voidLetter, content: 'x' }), 'frame_malformed'),
    refused('body that says it is a byte longer than it is', of(message, { padBody: (all) => padded(all.length + 1, all, 0) })),
    refused('body that says it is 4 GiB', of(message, { padBody: (all) => padded(huge, all, 600) })),
    refused('body shorter than its length field', of(message, { padBody: () => hex('000000') })),
    bad('body that says it is a byte shorter', of(message, { padBody: (all) => padded(all.length - 1, all, 9) }), 'signature_invalid'),
    refused('body that is empty', of(message, { padBody: () => hex('') })),
    refused('secret that says it is a byte longer than it is', of(message, { padSecret: (all) => padded(all.length + 1, all, 0) })),
    refused('secret that says it is 4 GiB', of(message, { padSecret: (all) => padded(huge, all, 900) })),
    refused('secret shorter than its length field', of(message, { padSecret: () => hex('000000') })),
  ];
}
