import { hkdfSync } from 'node:crypto';
import { pad, padded, seal } from './envelope-by-hand.ts';
import { shapeDamages } from './damages.ts';
import { ADDRESS, AT, CONTEXT, NS, OTHER_NS, alice, bob, flipped, hexOf, id, invalid, seedOf, valid } from './material.ts';
import { WORD } from './discovery-vectors.ts';
import { entries, hex, item, join, map } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Boxes under the namespace key: salt, sealed content. `with` names the place to which a box is bound. */

type Fields = Record<string, unknown>;

const KEY = seedOf(0x44);
const SALT = seedOf(0x45);
const PLACE = { ns: NS, epoch: 3, from: alice.peerId };

const card = { id: id(0xa1), online: true, last_seen: AT, client: 'claude-code 2.1.330' };
const fullCard = {
  ...card,
  state: 'dnd',
  status: 'bis 15 Uhr \u{1F4BB}',
  project: 'web-shop',
  branch: 'feature/cart',
};
const roster = { k: 'roster', revision: 256, roster: { platform: 'linux x64', agents: [card] } };
const rosterOf = (agents: readonly Fields[]): Fields => ({ ...roster, roster: { ...roster.roster, agents } });
const addresses = { k: 'addresses', machines: [WORD] };
const many = (count: number) =>
  Array.from({ length: count }, (_none, index) => ({ ...card, id: id(index), last_seen: 0, client: '' }));

const VALID: [name: string, shared: Fields][] = [
  ['roster', roster],
  ['roster of nobody', { ...roster, revision: 0, roster: { platform: '', agents: [] } }],
  ['roster of 100 agents', rosterOf(many(100))],
  ['roster of one that was never seen', rosterOf([{ ...card, online: false, last_seen: 0, client: '' }])],
  ['roster of one that tells everything of itself', rosterOf([fullCard])],
  ['roster of one that is busy', rosterOf([{ ...card, state: 'busy' }])],
  ['addresses', addresses],
  ['addresses of nobody', { ...addresses, machines: [] }],
  ['prekeys', { k: 'prekeys', known: [{ machine: alice.peerId, seq: 20_000 }] }],
  ['prekeys of nobody', { k: 'prekeys', known: [] }],
  ['an address that nobody has looked at yet', { ...addresses, machines: [hex('00')] }],
];
const BAD: [name: string, shared: Fields][] = [
  ['a prekey with a sequence below none', { k: 'prekeys', known: [{ machine: alice.peerId, seq: -1 }] }],
  ['a kind that is none', { ...roster, k: 'presence' }],
  ['a roster of 101 agents', rosterOf(many(101))],
  ['a card with a name', rosterOf([{ ...card, name: 'backend' }])],
  ['a card without its client', rosterOf([{ id: card.id, online: true, last_seen: 0 }])],
  ['a card with an id of version 4', rosterOf([{ ...card, id: '019a5b00-1234-4abc-8def-0000000000a1' }])],
  ['a client of 121 characters', rosterOf([{ ...card, client: 'x'.repeat(121) }])],
  ['a card with a state that is none', rosterOf([{ ...card, state: 'away' }])],
  ['a status of 141 characters', rosterOf([{ ...fullCard, status: 'x'.repeat(141) }])],
  ['an empty status', rosterOf([{ ...fullCard, status: '' }])],
  ['a status of two lines', rosterOf([{ ...fullCard, status: 'a\nb' }])],
  ['a project with a terminal escape', rosterOf([{ ...fullCard, project: '\u001b[2J' }])],
  ['a project of 121 characters', rosterOf([{ ...fullCard, project: 'x'.repeat(121) }])],
  ['a branch of 121 characters', rosterOf([{ ...fullCard, branch: 'x'.repeat(121) }])],
  ['a platform of 61 characters', { ...roster, roster: { platform: 'x'.repeat(61), agents: [] } }],
  ['a roster with a label', { ...roster, roster: { ...roster.roster, label: 'desk' } }],
  ['an address in the open', { ...addresses, machines: [{ peer: alice.peerId, addresses: [ADDRESS] }] }],
  ['an address of 1,001 bytes', { ...addresses, machines: [new Uint8Array(1_001)] }],
  ['1,001 addresses', { ...addresses, machines: Array.from({ length: 1_001 }, () => hex('00')) }],
];

interface Plan {
  ns: string;
  epoch: number;
  from: string;
  key: Uint8Array;
  context: string;
  /** What the key is derived with, and what is the associated data, when not the salt that is sent. */
  derivedSalt: Uint8Array;
  aad: Uint8Array;
  padding: (bytes: Uint8Array) => Uint8Array;
}

/** A box; any step can be done wrong. */
function box(plain: Uint8Array, more: Partial<Plan> = {}): Uint8Array {
  const plan: Plan = {
    ...PLACE,
    key: KEY,
    context: CONTEXT.shared,
    derivedSalt: SALT,
    aad: SALT,
    padding: (bytes) => pad(bytes, 512),
    ...more,
  };
  const info = item([plan.context, plan.ns, plan.epoch, plan.from]);
  const key = new Uint8Array(hkdfSync('sha256', plan.key, plan.derivedSalt, info, 32));
  return join(SALT, seal(key, plan.aad, plan.padding(plain)));
}

export function sharedVectors(): Vector[] {
  const given = { with: { ns: NS, epoch: String(PLACE.epoch), from: alice.peerId, key: hexOf(KEY) } };
  const refused = (name: string, bytes: Uint8Array) => invalid(name, bytes, 'frame_malformed', given);
  const plain = item(roster);
  const good = box(plain);
  const wrong = (name: string, more: Partial<Plan>) => refused(name, box(plain, more));
  const inside = (name: string, bytes: Uint8Array) => refused(name, box(bytes));
  const text = (count: number, zeros: number) => (all: Uint8Array) => padded(all.length + count, all, zeros);
  return [
    ...VALID.map(([name, shared]) => valid(name, box(item(shared)), shared, given)),
    wrong('sealed in another epoch', { epoch: PLACE.epoch + 1 }),
    wrong('sealed in the epoch before', { epoch: PLACE.epoch - 1 }),
    wrong('sealed for another namespace', { ns: OTHER_NS }),
    wrong('said by another machine', { from: bob.peerId }),
    wrong('sealed with another key', { key: seedOf(0x46) }),
    wrong('sealed for another purpose', { context: CONTEXT.envelope }),
    wrong('key derived without the salt', { derivedSalt: hex('') }),
    wrong('the salt not bound', { aad: hex('') }),
    ...[0, 31].map((at) => refused(`a bit of byte ${at} of the salt flipped`, flipped(good, at))),
    ...[32, 32 + 300].map((at) => refused(`a bit of byte ${at - 32} of the body flipped`, flipped(good, at))),
    refused('first bit of the tag flipped', flipped(good, good.length - 16)),
    refused('last bit of the tag flipped', flipped(good, good.length - 1, 0x80)),
    refused('another salt', join(seedOf(0x47), good.subarray(32))),
    refused('nothing', hex('')),
    refused('half a salt', good.subarray(0, 16)),
    refused('the salt alone', good.subarray(0, 32)),
    refused('the salt and a byte less than a tag', good.subarray(0, 47)),
    refused('one byte short', good.subarray(0, -1)),
    refused('one byte long', join(good, hex('00'))),
    refused('without its first byte', good.subarray(1)),
    wrong('content that says it is a byte longer than it is', { padding: text(1, 0) }),
    wrong('content that says it is a byte shorter than it is', { padding: text(-1, 400) }),
    wrong('content that says it is 4 GiB', { padding: (all) => padded(0xff_ff_ff_ff, all, 400) }),
    wrong('content that takes its padding along', { padding: text(7, 400) }),
    wrong('content shorter than its length field', { padding: () => hex('000000') }),
    wrong('no content at all', { padding: () => hex('') }),
    inside('keys in the wrong order', map([...entries(roster)].reverse())),
    inside('a byte too many inside', join(plain, hex('00'))),
    inside('nothing inside', hex('')),
    ...[...shapeDamages(roster), ...shapeDamages(addresses).slice(1)].map(([what, damaged], at) =>
      inside(`inside ${at}: ${what}`, item(damaged)),
    ),
    ...BAD.map(([name, shared]) => inside(name, item(shared))),
  ];
}
