import { createCipheriv } from 'node:crypto';
import { message } from './letter-vectors.ts';
import { flipped, hexOf, invalid, seedOf, valid } from './material.ts';
import { hex, item, join } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Stored records: ChaCha20-Poly1305 (RFC 8439), the record's key as associated data. */

export function sealVectors(): Vector[] {
  const storeKey = seedOf(0x42);
  const nonce = hex('0102030405060708090a0b0c');
  const seal = (place: string, plain: Uint8Array, sealKey: Uint8Array = storeKey, version = 1) => {
    const cipher = createCipheriv('chacha20-poly1305', sealKey, nonce, { authTagLength: 16 });
    cipher.setAAD(Buffer.from(place), { plaintextLength: plain.length });
    const body = Buffer.concat([cipher.update(plain), cipher.final()]);
    return join(Uint8Array.of(version), nonce, body, cipher.getAuthTag());
  };
  const place = 'history/019a/000000000001';
  const given = (at = place) => ({ with: { storeKey: hexOf(storeKey), key: at } });
  const record = { number: 1, direction: 'sent', message, bytes: hex('00ff') };
  const good = seal(place, item(record));
  const bad = (name: string, bytes: Uint8Array, at = place) =>
    invalid(name, bytes, 'store_damaged', given(at));
  return [
    valid('a record', good, record, given()),
    valid('a counter', seal('outbox-number', item(7)), 7, given('outbox-number')),
    valid('a mark', seal('pending/a/1', item(true)), true, given('pending/a/1')),
    bad('moved to another key', good, 'history/019a/000000000002'),
    bad('moved to the empty key', good, ''),
    bad('sealed with another store key', seal(place, item(record), seedOf(0x43))),
    bad('of version 0', seal(place, item(record), storeKey, 0)),
    bad('of version 2', seal(place, item(record), storeKey, 2)),
    bad('nothing', new Uint8Array(0)),
    bad('only its head and tag', new Uint8Array(29).fill(1)),
    bad('shorter than its head and tag', new Uint8Array(28).fill(1)),
    bad('one byte short', good.subarray(0, -1)),
    bad('one byte long', join(good, hex('00'))),
    bad('without its first byte', good.subarray(1)),
    bad('a bit of the nonce flipped', flipped(good, 1)),
    bad('a bit of the text flipped', flipped(good, 13)),
    bad('a bit of the tag flipped', flipped(good, good.length - 1)),
    bad('well sealed, but not in deterministic form', seal(place, hex('1801'))),
    bad('well sealed, but nothing', seal(place, hex(''))),
    bad('all zeros', new Uint8Array(good.length)),
  ];
}
