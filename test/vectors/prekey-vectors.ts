import { ml_kem768_x25519 } from '@noble/post-quantum/hybrid.js';
import type { HandSigner } from './keys-by-hand.ts';
import { codecDamages, shapeDamages } from './damages.ts';
import { AT, CONTEXT, alice, carol, flipped, hexOf, invalid, seedOf, valid } from './material.ts';
import { entries, hex, item, join, map } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Prekeys: a body and its signature. `held` is the prekey of the same machine that is known already. */

const keyOf = (seed: number): Uint8Array => new Uint8Array(ml_kem768_x25519.keygen(seedOf(seed)).publicKey);
const body = {
  v: 1,
  machine: alice.peerId,
  seq: 7,
  key: keyOf(0x60),
  made_at: AT,
  valid_until: AT + 72 * 3_600_000,
};
type Body = Omit<typeof body, 'v'> & { v: unknown };
const signed = (bytes: Uint8Array, signer: HandSigner = alice, context = CONTEXT.prekey) => ({
  body: bytes,
  sig: new Uint8Array(signer.sign(context, bytes)),
});
const bytesOf = (more: Partial<Body> = {}, signer: HandSigner = alice) => item(signed(item({ ...body, ...more }), signer));
const held = (more: Partial<Body> = {}) => ({ with: { signer: 'alice', held: hexOf(bytesOf(more)) } });
/** A key of the right length, the shapes around it being what is checked. */
const short = { ...body, key: hex('00') };

export function prekeyVectors(): Vector[] {
  const good = signed(item(body));
  const opened = (name: string, more: Partial<Body>, given: Partial<Vector> = { with: { signer: 'alice' } }) =>
    valid(name, bytesOf(more), { ...body, ...more }, given);
  const malformed = (name: string, more: Partial<Body>) => invalid(name, bytesOf(more), 'frame_malformed');
  const forged = (name: string, what: object) => invalid(name, item(what), 'signature_invalid');
  return [
    opened('prekey', {}),
    opened('the first prekey', { seq: 1 }),
    opened('the last prekey', { seq: 2 ** 31 }),
    opened('a newer one than is held', {}, held({ seq: 6 })),
    opened('a much newer one than is held', { seq: 2 ** 31 }, held({ seq: 1 })),
    opened('the one that is held', {}, held()),
    invalid('a lower sequence than is held', bytesOf({ seq: 6 }), 'prekey_refused', held()),
    invalid('a lower sequence, made later', bytesOf({ seq: 6, made_at: AT + 9 }), 'prekey_refused', held()),
    invalid('the sequence that is held, another key', bytesOf({ key: keyOf(0x61) }), 'prekey_refused', held()),
    opened('the key that is held, said to be valid for longer', { valid_until: AT + 2 ** 40 }, held()),
    ...codecDamages({ body: hex('00'), sig: hex('00') }).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...shapeDamages({ body: hex('00'), sig: hex('00') }).map(([name, damaged]) => invalid(name, item(damaged), 'frame_malformed')),
    ...shapeDamages(short).map(([name, damaged]) => invalid(`body: ${name}`, item(signed(item(damaged))), 'frame_malformed')),
    invalid('an unknown key beside a good body', item({ ...good, zz: 1 }), 'frame_malformed'),
    invalid('a good body with an unknown key', item(signed(item({ ...body, zz: 1 }))), 'frame_malformed'),
    malformed('sequence 0', { seq: 0 }),
    malformed('a sequence past the last', { seq: 2 ** 31 + 1 }),
    malformed('version 2', { v: 2 }),
    malformed('a key one byte short', { key: body.key.subarray(1) }),
    malformed('a key one byte long', { key: join(body.key, hex('00')) }),
    malformed('the ML-KEM key alone', { key: body.key.subarray(0, 1_184) }),
    malformed('no key', { key: hex('') }),
    malformed('a time after the end of dates', { valid_until: 8_640_000_000_000_001 }),
    malformed('a machine by another kind of peer id', { machine: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' }),
    invalid('body with a byte too many', item(signed(join(good.body, hex('00')))), 'frame_malformed'),
    invalid('body with keys in the wrong order', item(signed(map([...entries(body)].reverse()))), 'frame_malformed'),
    forged('signed by another machine', signed(good.body, carol)),
    forged('said to be of the machine that did not sign', signed(item({ ...body, machine: carol.peerId }))),
    forged('signed in the envelope context', signed(good.body, alice, CONTEXT.envelope)),
    forged('signed in the statement context', signed(good.body, alice, CONTEXT.statement)),
    forged('signature of another prekey', { ...good, sig: signed(item({ ...body, seq: 8 })).sig }),
    forged('one bit of the key flipped', { ...good, body: flipped(good.body, 100) }),
    forged('first bit of the signature flipped', { ...good, sig: flipped(good.sig, 0) }),
    forged('last bit of the signature flipped', { ...good, sig: flipped(good.sig, 63, 0x80) }),
    forged('signature one byte short', { ...good, sig: good.sig.subarray(1) }),
    forged('no signature', { ...good, sig: hex('') }),
    forged('by a peer id whose key is none', signed(item({ ...body, machine: `12D3KooW${'1'.repeat(44)}` }))),
  ];
}
