import { codecDamages } from './damages.ts';
import { alice, invalid, valid } from './material.ts';
import { item } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** What is said to relays and by them. */

type Fields = Record<string, unknown>;

const malformed = (name: string, value: Fields): Vector => invalid(name, item(value), 'frame_malformed');

export function relayRequestVectors(): Vector[] {
  const connect = { t: 'connect', to: alice.peerId };
  const guests = { t: 'guests', for_ms: 600_000 };
  const incoming = { t: 'incoming', from: alice.peerId };
  return [
    ...Object.entries({ connect, guests, incoming }).map(([name, value]) => valid(name, item(value), value)),
    valid('guests no more', item({ ...guests, for_ms: 0 }), { ...guests, for_ms: 0 }),
    ...codecDamages(connect).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    malformed('a request that is none', { t: 'reserve' }),
    malformed('connect to another kind of peer id', { ...connect, to: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' }),
    malformed('connect to nobody', { t: 'connect' }),
    malformed('connect with more', { ...connect, from: alice.peerId }),
    malformed('guests for longer than an invite holds', { ...guests, for_ms: 604_800_001 }),
    malformed('guests for less than no time', { ...guests, for_ms: -1 }),
    malformed('incoming from nobody', { t: 'incoming' }),
  ];
}

export function relayAnswerVectors(): Vector[] {
  const refused = { t: 'refused', why: 'busy' };
  const reasons = ['no_relay', 'not_member', 'not_linked', 'busy', 'malformed'];
  return [
    valid('ok', item({ t: 'ok' }), { t: 'ok' }),
    ...reasons.map((why) => valid(why, item({ ...refused, why }), { ...refused, why })),
    ...codecDamages(refused).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    malformed('an answer that is none', { t: 'maybe' }),
    malformed('ok with a reason', { t: 'ok', why: 'busy' }),
    malformed('refused without a reason', { t: 'refused' }),
    malformed('refused for another reason', { ...refused, why: 'disk_full' }),
  ];
}
