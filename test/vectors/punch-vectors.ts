import { codecDamages } from './damages.ts';
import { alice, invalid, valid } from './material.ts';
import { item } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** What is said about holes in NATs: to relays, by them, and between the two machines. */

type Fields = Record<string, unknown>;

const malformed = (name: string, value: Fields): Vector => invalid(name, item(value), 'frame_malformed');
const well = (name: string, value: Fields): Vector => valid(name, item(value), value);

const you = { ip: '203.0.113.11', port: 40_000 };
const other = { ip: '2001:db8::12', port: 65_535 };

export function meetRequestVectors(): Vector[] {
  const meet = { t: 'meet', with: alice.peerId };
  return [
    well('with a machine', meet),
    well('alone', { t: 'meet' }),
    ...codecDamages(meet).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    malformed('with nobody', { t: 'meet', with: '' }),
    malformed('with an address of its own', { ...meet, you }),
    malformed('another request', { t: 'seen' }),
  ];
}

export function meetAnswerVectors(): Vector[] {
  const seen = { t: 'seen', you, other };
  const refusals = ['no_relay', 'not_member', 'not_linked', 'not_seen', 'busy'];
  return [
    well('both', seen),
    well('the asker alone', { t: 'seen', you }),
    ...refusals.map((why) => well(why, { t: 'refused', why })),
    ...codecDamages(seen).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    malformed('nobody', { t: 'seen' }),
    malformed('a name', { t: 'seen', you: { ...you, ip: 'localhost' } }),
    malformed('a short form of an address', { t: 'seen', you: { ...you, ip: '127.1' } }),
    malformed('a zone', { t: 'seen', you: { ...you, ip: 'fe80::1%eth0' } }),
    malformed('port 0', { t: 'seen', you: { ...you, port: 0 } }),
    malformed('port 65536', { t: 'seen', you: { ...you, port: 65_536 } }),
    malformed('an address with more', { t: 'seen', you: { ...you, peer: alice.peerId } }),
    malformed('refused for another reason', { t: 'refused', why: 'too_soon' }),
  ];
}

export function punchRequestVectors(): Vector[] {
  // One key is in any order.
  const damages = codecDamages({ t: 'punch' }).filter(([name]) => name !== 'keys in the wrong order');
  return [
    well('punch', { t: 'punch' }),
    well('go', { t: 'go' }),
    ...damages.map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    malformed('an address', { t: 'punch', ...you }),
    malformed('a time', { t: 'go', after_ms: 1 }),
    malformed('an answer', { t: 'ready' }),
  ];
}

export function punchAnswerVectors(): Vector[] {
  const refusals = ['not_relayed', 'busy', 'too_soon', 'not_seen'];
  return [
    well('ready', { t: 'ready' }),
    well('going', { t: 'going' }),
    ...refusals.map((why) => well(why, { t: 'refused', why })),
    ...codecDamages({ t: 'refused', why: 'busy' }).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    malformed('an address', { t: 'ready', you }),
    malformed('refused without a reason', { t: 'refused' }),
    malformed('refused for another reason', { t: 'refused', why: 'no_relay' }),
  ];
}
