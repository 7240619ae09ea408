import { codecDamages, shapeDamages } from './damages.ts';
import { joinProof } from '../../protocol/ticket.ts';
import { ADDRESS, AT, NS, alice, bob, invalid, sha256, typed, valid } from './material.ts';
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

export function joinVectors(): Vector[] {
  const proof = joinProof(ticket.secret, { ns: NS, inviter: alice.peerId, joiner: bob.peerId });
  const request = { v: 1, ns: NS, label: 'laptop', proof };
  return [
    valid('request', item(request), request),
    ...codecDamages(request).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...shapeDamages(request).map(([name, damaged]) => invalid(name, item(damaged), 'frame_malformed')),
    invalid('version 2', item({ ...request, v: 2 }), 'frame_malformed'),
    invalid('a proof of 31 bytes', item({ ...request, proof: proof.subarray(1) }), 'frame_malformed'),
    invalid('no label', item({ ...request, label: '' }), 'frame_malformed'),
  ];
}

export function joinAnswerVectors(): Vector[] {
  const admitted = {
    k: 'admitted',
    statements: [hex('01')],
    machines: [{ peer: alice.peerId, addresses: [ADDRESS] }],
  };
  const refusals = ['ticket_expired', 'ticket_used', 'ticket_refused'].map((code) => ({
    k: 'refused',
    code,
  }));
  return [
    valid('admitted', item(admitted), admitted),
    ...refusals.map((refused) => valid(refused.code, item(refused), refused)),
    ...codecDamages(admitted).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...shapeDamages(admitted).map(([name, damaged]) => invalid(name, item(damaged), 'frame_malformed')),
    invalid(
      'refused with a code of something else',
      item({ k: 'refused', code: 'disk_full' }),
      'frame_malformed',
    ),
    invalid('admitted without statements', item({ ...admitted, statements: [] }), 'frame_malformed'),
  ];
}
