import { createHmac } from 'node:crypto';
import { codecDamages, shapeDamages } from './damages.ts';
import { ADDRESS, AT, CONTEXT, NS, alice, bob, invalid, seedOf, sha256, typed, valid } from './material.ts';
import { entries, hex, item, join, map } from './raw-cbor.ts';
import { type Vector, toJson } from './vector.ts';

/** Tickets, and what a join says. */

const ticket = {
  ns: NS,
  peer: alice.peerId,
  addresses: [ADDRESS],
  secret: hex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff'),
  expires_at: AT,
};
const confirmed = { ...ticket, confirm: true };
const ticketText = (body: Uint8Array, prefix = 'pc1:') =>
  prefix + Buffer.from(join(body, hex(sha256(body)).subarray(0, 4))).toString('base64url');

export function ticketVectors(): Vector[] {
  const text = ticketText(item(ticket));
  const longest = {
    ...ticket,
    addresses: Array.from({ length: 16 }, (_none, index) => `${ADDRESS}/${index}`),
  };
  const at = text.length >> 1;
  const other = text[at] === 'A' ? 'B' : 'A';
  return [
    { name: 'one address', text, value: toJson(ticket) },
    { name: 'with a check by people', text: ticketText(item(confirmed)), value: toJson(confirmed) },
    { name: 'sixteen addresses', text: ticketText(item(longest)), value: toJson(longest) },
    typed('nothing', '', 'ticket_damaged'),
    typed('the prefix alone', 'pc1:', 'ticket_damaged'),
    typed('no prefix', text.slice(4), 'ticket_damaged'),
    typed('prefix in upper case', `PC1:${text.slice(4)}`, 'ticket_damaged'),
    typed('version 2', `pc2:${text.slice(4)}`, 'ticket_version'),
    typed('version 10', ticketText(item(ticket), 'pc10:'), 'ticket_version'),
    typed('one character flipped', text.slice(0, at) + other + text.slice(at + 1), 'ticket_damaged'),
    typed('one character missing', text.slice(0, at) + text.slice(at + 1), 'ticket_damaged'),
    typed('two characters exchanged', exchanged(text), 'ticket_damaged'),
    typed('cut short', text.slice(0, -8), 'ticket_damaged'),
    typed('the same twice', text + text.slice(4), 'ticket_damaged'),
    typed('an invite link around it', `https://example.com/${text}`, 'ticket_damaged'),
    typed('only a checksum', ticketText(new Uint8Array(0)), 'ticket_damaged'),
    typed('over-long', `pc1:${'A'.repeat(12_285)}`, 'ticket_damaged'),
    typed(
      'over-long, with a right checksum',
      ticketText(
        item({ ...ticket, addresses: Array.from({ length: 16 }, () => `/dns4/${'x'.repeat(1_000)}`) }),
      ),
      'ticket_damaged',
    ),
    ...shapeDamages(ticket).map(([name, damaged]) =>
      typed(`${name}, with a right checksum`, ticketText(item(damaged)), 'ticket_damaged'),
    ),
    ...[false, 1, null].map((confirm) =>
      typed(
        `confirm ${JSON.stringify(confirm)}, with a right checksum`,
        ticketText(item({ ...ticket, confirm })),
        'ticket_damaged',
      ),
    ),
    typed(
      'no addresses, with a right checksum',
      ticketText(item({ ...ticket, addresses: [] })),
      'ticket_damaged',
    ),
    typed(
      '17 addresses, with a right checksum',
      ticketText(item({ ...ticket, addresses: Array.from({ length: 17 }, () => '/a') })),
      'ticket_damaged',
    ),
    typed(
      'a secret of 15 bytes, with a right checksum',
      ticketText(item({ ...ticket, secret: new Uint8Array(15) })),
      'ticket_damaged',
    ),
    typed(
      'a byte too many, with a right checksum',
      ticketText(join(item(ticket), hex('00'))),
      'ticket_damaged',
    ),
    typed(
      'keys in the wrong order, with a right checksum',
      ticketText(map([...entries(ticket)].reverse())),
      'ticket_damaged',
    ),
  ];
}

/** The text with the first two neighbours exchanged that differ, past its prefix. */
function exchanged(text: string): string {
  for (let at = 20; ; at++) {
    if (text[at] !== text[at + 1]) return text.slice(0, at) + text[at + 1]! + text[at]! + text.slice(at + 2);
  }
}

type Fields = Record<string, unknown>;

const shapesOf = (name: string, value: Fields, optional?: string[]): Vector[] =>
  shapeDamages(value, optional).map(([what, damaged]) => invalid(`${name}: ${what}`, item(damaged), 'frame_malformed'));
const malformed = (name: string, value: Fields) => invalid(name, item(value), 'frame_malformed');
const hashes = (count: number) => Array.from({ length: count }, (_none, index) => sha256(Uint8Array.of(index)));

/** HMAC-SHA256 under the ticket's secret, of both machines. */
function proofOf(ns: string, inviter: string, joiner: string): Uint8Array {
  const message = item([CONTEXT.join, ns, inviter, joiner]);
  return new Uint8Array(createHmac('sha256', ticket.secret).update(message).digest());
}

const proof = proofOf(NS, alice.peerId, bob.peerId);

export function joinVectors(): Vector[] {
  const request = { v: 1, k: 'join', ns: NS, label: 'laptop', proof };
  const committed = { ...request, commit: seedOf(0x21) };
  const reveal = { v: 1, k: 'reveal', ns: NS, nonce: seedOf(0x22) };
  const standing = { v: 1, k: 'standing', ns: NS, known: [NS] };
  const offered = { ...standing, offer: [hex('01'), hex('02')] };
  const all = {
    join: request,
    'join with a commitment': committed,
    reveal,
    standing,
    'standing with an offer': offered,
  };
  return [
    ...Object.entries(all).map(([name, value]) => valid(name, item(value), value)),
    valid('standing with 64 landmarks', item({ ...standing, known: hashes(64) }), { ...standing, known: hashes(64) }),
    ...codecDamages(request).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...Object.entries(all).flatMap(([name, value]) => shapesOf(name, value, ['commit', 'offer'])),
    ...Object.entries(all).map(([name, value]) => malformed(`${name}: version 2`, { ...value, v: 2 })),
    malformed('a kind that is none', { ...request, k: 'invite' }),
    malformed('a request of the form without kinds', { v: 1, ns: NS, label: 'laptop', proof }),
    malformed('a proof of 31 bytes', { ...request, proof: proof.subarray(1) }),
    malformed('a proof of 33 bytes', { ...request, proof: join(proof, hex('00')) }),
    malformed('no label', { ...request, label: '' }),
    malformed('a label of 121 characters', { ...request, label: 'x'.repeat(121) }),
    malformed('a commitment of 31 bytes', { ...request, commit: seedOf(1).subarray(1) }),
    malformed('a namespace by its name', { ...request, ns: 'myproject' }),
    malformed('a nonce of 16 bytes', { ...reveal, nonce: new Uint8Array(16) }),
    malformed('a reveal with a label', { ...reveal, label: 'laptop' }),
    malformed('standing with an offer of 1,001 statements', { ...offered, offer: Array.from({ length: 1_001 }, () => hex('')) }),
    malformed('standing with an offer in text', { ...offered, offer: ['01'] }),
    malformed('standing with no landmark', { ...standing, known: [] }),
    malformed('standing with 65 landmarks', { ...standing, known: hashes(65) }),
    malformed('standing with a landmark that is no hash', { ...standing, known: ['genesis'] }),
  ];
}

export function joinAnswerVectors(): Vector[] {
  const admitted = {
    k: 'admitted',
    statements: [hex('01')],
    key: seedOf(0x44),
    machines: [{ peer: alice.peerId, addresses: [ADDRESS] }],
  };
  const { key: _key, ...keyless } = admitted;
  const check = { k: 'check', nonce: seedOf(0x23) };
  const pending = { k: 'pending' };
  const standing = { k: 'standing', statements: [hex('01'), hex('02')], known: [NS] };
  const refused = { k: 'refused', code: 'ticket_used' };
  const codes = ['ticket_expired', 'ticket_used', 'ticket_refused', 'join_rejected', 'not_member'];
  const all = { admitted, check, pending, standing, refused };
  const machine = (more: object): Fields => ({ ...admitted, machines: [{ ...admitted.machines[0], ...more }] });
  return [
    ...Object.entries({ admitted, check, pending, standing }).map(([name, value]) => valid(name, item(value), value)),
    valid('admitted, no key made yet', item(keyless), keyless),
    valid('admitted, with nothing in it', item({ ...keyless, statements: [], machines: [] }), {
      ...keyless,
      statements: [],
      machines: [],
    }),
    valid('standing, and nothing is lacking', item({ ...standing, statements: [] }), { ...standing, statements: [] }),
    ...codes.map((code) => valid(code, item({ ...refused, code }), { ...refused, code })),
    ...codecDamages(admitted).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...Object.entries(all).flatMap(([name, value]) => shapesOf(name, value, ['key'])),
    malformed('a kind that is none', { ...pending, k: 'maybe' }),
    malformed('refused with a code of something else', { ...refused, code: 'disk_full' }),
    malformed('admitted with a key of 31 bytes', { ...admitted, key: seedOf(1).subarray(1) }),
    malformed('admitted with 1,001 statements', { ...admitted, statements: Array.from({ length: 1_001 }, () => hex('')) }),
    malformed('admitted with statements that are text', { ...admitted, statements: ['01'] }),
    malformed('a machine with 17 addresses', machine({ addresses: Array.from({ length: 17 }, () => ADDRESS) })),
    malformed('a machine with an address that is none', machine({ addresses: ['192.0.2.7:4001'] })),
    malformed('a machine by another kind of peer id', machine({ peer: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' })),
    malformed('a machine with an unknown key', machine({ label: 'desk' })),
    malformed('a check with a nonce of 31 bytes', { ...check, nonce: seedOf(1).subarray(1) }),
    malformed('pending with a nonce', { ...pending, nonce: seedOf(1) }),
    malformed('standing with no landmark', { ...standing, known: [] }),
    malformed('standing with 65 landmarks', { ...standing, known: hashes(65) }),
    malformed('standing with 1,001 statements', { ...standing, statements: Array.from({ length: 1_001 }, () => hex('')) }),
  ];
}
