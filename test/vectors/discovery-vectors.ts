import { hkdfSync } from 'node:crypto';
import { codecDamages, shapeDamages } from './damages.ts';
import { pad, padded, seal } from './envelope-by-hand.ts';
import type { HandSigner } from './keys-by-hand.ts';
import { AT, CONTEXT, NS, OTHER_NS, alice, carol, flipped, hexOf, invalid, seedOf, valid } from './material.ts';
import { hex, item, join } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Where a machine is, signed; and the datagram in which it calls that out. */

const HOME = '/ip4/192.0.2.7/tcp/4001';
const body = { v: 1, machine: alice.peerId, at: AT, addresses: [HOME] };
const signed = (bytes: Uint8Array, signer: HandSigner = alice, context = CONTEXT.whereabouts) => ({
  body: bytes,
  sig: new Uint8Array(signer.sign(context, bytes)),
});
const wordOf = (more: object = {}) => item(signed(item({ ...body, ...more })));

export const WORD = wordOf();

export function whereaboutsVectors(): Vector[] {
  const good = signed(item(body));
  const given = { with: { signer: 'alice' } };
  const opened = (name: string, addresses: readonly string[], at = AT) =>
    valid(name, wordOf({ addresses, at }), { machine: alice.peerId, at, addresses: addresses.map((address) => `${address}/p2p/${alice.peerId}`) }, given);
  const malformed = (name: string, more: object) => invalid(name, wordOf(more), 'frame_malformed');
  const forged = (name: string, what: object) => invalid(name, item(what), 'signature_invalid');
  const anyBox = { body: hex('00'), sig: seedOf(0) };
  return [
    opened('one address', [HOME]),
    opened('nowhere', []),
    opened('16 addresses', Array.from({ length: 16 }, (_none, index) => `/ip4/10.0.0.${index}/tcp/4001`)),
    opened('through a relay', [`/ip4/192.0.2.9/tcp/443/p2p/${carol.peerId}/p2p-circuit`]),
    opened('the first moment', [HOME], 0),
    ...codecDamages(anyBox).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...shapeDamages(signed(item(body))).map(([name, damaged]) => invalid(name, item(damaged), 'frame_malformed')),
    ...shapeDamages(body).map(([name, damaged]) => invalid(`body: ${name}`, item(signed(item(damaged))), 'frame_malformed')),
    malformed('17 addresses', { addresses: Array.from({ length: 17 }, () => HOME) }),
    malformed('an address that is none', { addresses: ['192.0.2.7:4001'] }),
    malformed('1,001 bytes or more', { addresses: [HOME, `/${'x'.repeat(500)}`, `/${'y'.repeat(400)}`] }),
    malformed('version 2', { v: 2 }),
    malformed('a time after the end of dates', { at: 8_640_000_000_000_001 }),
    forged('signed by another machine', signed(good.body, carol)),
    forged('said to be of the machine that did not sign', signed(item({ ...body, machine: carol.peerId }))),
    forged('signed in the prekey context', signed(good.body, alice, CONTEXT.prekey)),
    forged('signature of another time', { ...good, sig: signed(item({ ...body, at: AT + 1 })).sig }),
    forged('a bit of an address flipped', { ...good, body: flipped(good.body, good.body.indexOf(0x32, 60)) }),
    forged('first bit of the signature flipped', { ...good, sig: flipped(good.sig, 0) }),
    forged('last bit of the signature flipped', { ...good, sig: flipped(good.sig, 63, 0x80) }),
  ];
}

const KEY = seedOf(0x44);
const SALT = seedOf(0x45);
const EPOCH = 3;
const ALPHABET = 'bcdfghjkmnpqrstvwxyz23456789';
const LETTERS = 20;

function derived(salt: Uint8Array, context: string, ns = NS, epoch = EPOCH, key = KEY): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, salt, item([context, ns, epoch]), 32));
}

/** The tag: 15 of the alphabet, the first a letter. */
function tagOf(ns = NS, epoch = EPOCH, key = KEY): string {
  const bytes = derived(hex(''), CONTEXT.lanTag, ns, epoch, key);
  return [...bytes.subarray(0, 15)]
    .map((byte, at) => ALPHABET[byte % (at === 0 ? LETTERS : ALPHABET.length)])
    .join('');
}

const ascii = (text: string) => new TextEncoder().encode(text);
const label = (text: string) => join(Uint8Array.of(text.length), ascii(text));
const nameOf = (tag: string) => join(label(`_${tag}`), label('_udp'), label('local'), hex('00'));
const TXT = hex('00100001');

const question = (tag: string) => join(hex('000000000001000000000000'), nameOf(tag), TXT);

interface Plan {
  head: Uint8Array;
  type: Uint8Array;
  ttl: Uint8Array;
  /** The record's strings. */
  strings: (box: Uint8Array) => Uint8Array;
  size: (data: Uint8Array) => number;
}

function strings(box: Uint8Array, size = 255): Uint8Array {
  const list: Uint8Array[] = [];
  for (let at = 0; at < box.length; at += size) {
    const part = box.subarray(at, at + size);
    list.push(Uint8Array.of(part.length), part);
  }
  return join(...list);
}

function answer(tag: string, box: Uint8Array, more: Partial<Plan> = {}): Uint8Array {
  const plan: Plan = {
    head: hex('000084000000000100000000'),
    type: TXT,
    ttl: hex('00000078'),
    strings: (all) => strings(all),
    size: (data) => data.length,
    ...more,
  };
  const data = plan.strings(box);
  const size = plan.size(data);
  return join(plan.head, nameOf(tag), plan.type, plan.ttl, Uint8Array.of(size >>> 8, size & 0xff), data);
}

const boxOf = (content: Uint8Array, key = derived(SALT, CONTEXT.lanBox), padding = (bytes: Uint8Array) => pad(bytes, 512)) =>
  join(SALT, seal(key, SALT, padding(content)));

export function datagramVectors(): Vector[] {
  const given = { with: { ns: NS, epoch: String(EPOCH), key: hexOf(KEY) } };
  const tag = tagOf();
  const box = boxOf(WORD);
  const good = answer(tag, box);
  const refused = (name: string, bytes: Uint8Array) => invalid(name, bytes, 'frame_malformed', given);
  const wrong = (name: string, more: Partial<Plan>) => refused(name, answer(tag, box, more));
  const asked = question(tag);
  return [
    valid('a question', asked, { k: 'question' }, given),
    valid('an answer', good, { k: 'answer', content: WORD }, given),
    refused('an answer under the tag of another namespace', answer(tagOf(OTHER_NS), box)),
    refused('an answer under the tag of the epoch before', answer(tagOf(NS, EPOCH - 1), box)),
    refused('an answer under the tag of another key', answer(tagOf(NS, EPOCH, seedOf(0x46)), box)),
    refused('a question under the tag of another namespace', question(tagOf(OTHER_NS))),
    refused('an answer sealed for another namespace', answer(tag, boxOf(WORD, derived(SALT, CONTEXT.lanBox, OTHER_NS)))),
    refused('an answer sealed in the epoch before', answer(tag, boxOf(WORD, derived(SALT, CONTEXT.lanBox, NS, EPOCH - 1)))),
    refused('an answer sealed with another key', answer(tag, boxOf(WORD, derived(SALT, CONTEXT.lanBox, NS, EPOCH, seedOf(0x46))))),
    refused('an answer sealed for another purpose', answer(tag, boxOf(WORD, derived(SALT, CONTEXT.shared)))),
    refused('content that says it is longer than it is', answer(tag, boxOf(WORD, undefined, (all) => padded(0xff_ff_ff_ff, all, 100)))),
    ...[0, 31, 32, 300].map((at) => refused(`a bit of byte ${at} of the box flipped`, answer(tag, flipped(box, at)))),
    refused('nothing', hex('')),
    refused('a head alone', good.subarray(0, 12)),
    refused('one byte short', good.subarray(0, -1)),
    refused('one byte long', join(good, hex('00'))),
    refused('a question one byte long', join(asked, hex('00'))),
    refused('a question one byte short', asked.subarray(0, -1)),
    refused('a question for any type', join(asked.subarray(0, -4), hex('00ff0001'))),
    refused('a question that wants its answer by unicast', join(asked.subarray(0, -4), hex('00108001'))),
    refused('a question for another service', join(hex('000000000001000000000000'), label('_googlecast'), label('_tcp'), label('local'), hex('000c0001'))),
    refused('a name that points to itself', join(hex('000084000000000100000000'), hex('c00c'), TXT, good.subarray(12 + 29 + 4))),
    wrong('a head with an id', { head: hex('000184000000000100000000') }),
    wrong('a response that says it was cut', { head: hex('000086000000000100000000') }),
    wrong('a head with two answers', { head: hex('000084000000000200000000') }),
    wrong('a head with 65,535 answers', { head: hex('00008400ffffffffffffffff') }),
    wrong('another type', { type: hex('000c0001') }),
    wrong('a record that flushes others', { type: hex('00108001') }),
    wrong('a goodbye', { ttl: hex('00000000') }),
    wrong('a size above what is there', { size: (data) => data.length + 1 }),
    wrong('a size below what is there', { size: (data) => data.length - 1 }),
    wrong('a size of 65,535', { size: () => 0xff_ff }),
    wrong('no strings', { strings: () => hex('') }),
    wrong('an empty string', { strings: () => hex('00') }),
    wrong('an empty string at the end', { strings: (all) => join(strings(all), hex('00')) }),
    wrong('strings that are not full', { strings: (all) => strings(all, 100) }),
    wrong('a last string that ends after the record', { strings: (all) => join(strings(all).subarray(0, -1)) }),
    refused('1,233 bytes', answer(tag, join(box, seedOf(1), new Uint8Array(1_233 - good.length - 32 - 2)))),
  ];
}

/** What the members of a large namespace keep for each other: under alice's key, with the protocol that it belongs to. */
export function recordVectors(): Vector[] {
  const key = keyTextOf();
  const given = { with: { ns: NS, epoch: String(EPOCH), key: hexOf(KEY), place: key, member: alice.peerId, signer: 'alice' } };
  const sealed = (content: Uint8Array, context: string = CONTEXT.whereBox, ns = NS, epoch = EPOCH, secret = KEY) =>
    boxOf(content, derived(SALT, context, ns, epoch, secret));
  const said = (addresses: readonly string[], at = AT) => ({
    protocol: `/patchcord/where/1/${hexOf(derived(hex(''), CONTEXT.whereProtocol)).slice(0, 32)}`,
    machine: alice.peerId,
    at,
    addresses: addresses.map((address) => `${address}/p2p/${alice.peerId}`),
  });
  const good = sealed(WORD);
  const refused = (name: string, bytes: Uint8Array, code = 'frame_malformed', place = key) =>
    invalid(name, bytes, code, { with: { ...given.with, place } });
  const carols = item(signed(item({ ...body, machine: carol.peerId }), carol));
  return [
    valid('one address', good, said([HOME]), given),
    valid('nowhere, at the first moment', sealed(wordOf({ addresses: [], at: 0 })), said([], 0), given),
    refused('under the key of another machine', good, 'frame_malformed', keyTextOf(carol.peerId)),
    refused('under the key of the epoch before', good, 'frame_malformed', keyTextOf(alice.peerId, EPOCH - 1)),
    refused('under the key that is shorter by a digit', good, 'frame_malformed', key.slice(0, -1)),
    refused('the word of a machine that is no member', sealed(carols), 'forbidden', keyTextOf(carol.peerId)),
    refused('signed by another machine', sealed(item(signed(item(body), carol))), 'signature_invalid'),
    refused('sealed for another namespace', sealed(WORD, CONTEXT.whereBox, OTHER_NS)),
    refused('sealed in the epoch before', sealed(WORD, CONTEXT.whereBox, NS, EPOCH - 1)),
    refused('sealed with another key', sealed(WORD, CONTEXT.whereBox, NS, EPOCH, seedOf(0x46))),
    refused('sealed as what is called out on a LAN', sealed(WORD, CONTEXT.lanBox)),
    refused('no word', sealed(hex('00'))),
    refused('no seal', WORD),
    refused('nothing', hex('')),
    refused('one byte short', good.subarray(0, -1)),
    refused('one byte long', join(good, hex('00'))),
    refused('1,073 bytes', join(good, new Uint8Array(1_073 - good.length))),
    ...[0, 31, 32, 300].map((at) => refused(`a bit of byte ${at} flipped`, flipped(good, at))),
  ];
}

function keyTextOf(machine = alice.peerId, epoch = EPOCH): string {
  const info = item([CONTEXT.whereKey, NS, epoch, machine]);
  return `/where/${hexOf(new Uint8Array(hkdfSync('sha256', KEY, hex(''), info, 32)))}`;
}
