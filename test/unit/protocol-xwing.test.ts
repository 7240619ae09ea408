import { createHash } from 'node:crypto';
import { ml_kem768_x25519 as oracle } from '@noble/post-quantum/hybrid.js';
import { describe, expect, test } from 'vitest';
import {
  encapsulateTo,
  XWING_CIPHERTEXT_SIZE_BYTES,
  XWING_PUBLIC_KEY_SIZE_BYTES,
  xwingKey,
} from '../../protocol/xwing.ts';

const ofHex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const refusal = expect.objectContaining({ name: 'PatchcordError', code: 'envelope_invalid' });
/** Bytes that look random and are the same in every run. */
const drawn = (name: string, length: number) =>
  new Uint8Array(createHash('shake256', { outputLength: length }).update(name).digest());
const seeds = Array.from({ length: 40 }, (_none, index) => drawn(`seed ${index}`, 32));

/**
 * Appendix C of draft-connolly-cfrg-xwing-kem: seed, the randomness of the encapsulation, the ends of public key
 * and ciphertext, the shared secret. What lies between the ends is bound by the secret: one wrong bit in key or
 * ciphertext gives another one.
 */
const PUBLISHED = [
  {
    seed: '7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26',
    coins:
      '3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2' +
      '35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2',
    key: ['e2236b35a8c24b39b10aa1323a96a919', 'd4ba32d9abac8cd049040ef6534'],
    ciphertext: ['b83aa828d4d62b9a83ceffe1d3d3bb1e', '354274a079d3e6fb2e15'],
    secret: 'd2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384',
  },
  {
    seed: 'badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea',
    coins:
      '17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef' +
      'aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d',
    key: ['0333285fa253661508c9fb444852caa4', '53926d96ea8a160b8843f1c89c62'],
    ciphertext: ['c93beb22326705699bbc3d1d0aa6339b', 'ae66312f4ae3ea155b67'],
    secret: 'f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150',
  },
  {
    seed: 'ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9',
    coins:
      '22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619' +
      'f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b',
    key: ['36244278824f77c621c660892c1c3886', '4f6f16ffdf66952461'],
    ciphertext: ['0d2e38cbf17a2e2e4e0c87a94ca1e770', '203523f527161137334'],
    secret: '953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f',
  },
] as const;

test.for(PUBLISHED)('the published vector of seed $seed', ({ seed, coins, key, ciphertext, secret }) => {
  const own = xwingKey(ofHex(seed));
  expect(hex(own.publicKey).startsWith(key[0])).toBe(true);
  expect(hex(own.publicKey).endsWith(key[1])).toBe(true);
  const { cipherText } = oracle.encapsulate(own.publicKey, ofHex(coins));
  expect(hex(cipherText).startsWith(ciphertext[0])).toBe(true);
  expect(hex(cipherText).endsWith(ciphertext[1])).toBe(true);
  expect(hex(own.decapsulate(cipherText))).toBe(secret);
  // The X25519 half of the randomness is the caller's here too; it is the end of the ciphertext.
  const again = encapsulateTo(own.publicKey, ofHex(coins).subarray(32));
  expect(hex(again.ciphertext.subarray(1_088))).toBe(hex(cipherText.subarray(1_088)));
});

describe('against another implementation, for 40 seeds', () => {
  test('the public key is the same', () => {
    for (const seed of seeds) expect(hex(xwingKey(seed).publicKey)).toBe(hex(oracle.keygen(seed).publicKey));
  });

  test('what it encapsulates is opened here', () => {
    for (const [index, seed] of seeds.entries()) {
      const { publicKey } = oracle.keygen(seed);
      const { cipherText, sharedSecret } = oracle.encapsulate(publicKey, drawn(`coins ${index}`, 64));
      expect(hex(xwingKey(seed).decapsulate(cipherText))).toBe(hex(sharedSecret));
    }
  });

  test('what is encapsulated here it opens', () => {
    for (const [index, seed] of seeds.entries()) {
      const { publicKey, secretKey } = oracle.keygen(seed);
      const { ciphertext, secret } = encapsulateTo(publicKey, drawn(`ephemeral ${index}`, 32));
      expect(hex(oracle.decapsulate(ciphertext, secretKey))).toBe(hex(secret));
    }
  });

  test('both give the same other secret for an altered ciphertext', () => {
    for (const [index, seed] of seeds.entries()) {
      const { publicKey, secretKey } = oracle.keygen(seed);
      const { ciphertext, secret } = encapsulateTo(publicKey, drawn(`ephemeral ${index}`, 32));
      const altered = new Uint8Array(ciphertext);
      altered[(index * 29) % XWING_CIPHERTEXT_SIZE_BYTES]! ^= 1;
      const here = xwingKey(seed).decapsulate(altered);
      expect(hex(here)).toBe(hex(oracle.decapsulate(altered, secretKey)));
      expect(hex(here)).not.toBe(hex(secret));
    }
  });
});

test('the same key and the same ephemeral bytes give another secret each time', () => {
  const { publicKey } = xwingKey(seeds[0]!);
  const all = Array.from({ length: 20 }, () => hex(encapsulateTo(publicKey, seeds[1]!).secret));
  expect(new Set(all).size).toBe(20);
});

/** https://cr.yp.to/ecdh.html#validate, and those with the highest bit set, which X25519 does not read. */
const LOW_ORDER = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
  `${'00'.repeat(31)}80`,
  `ed${'ff'.repeat(31)}`,
];

test.for(LOW_ORDER)('the point %s of low order is refused, in a ciphertext and in a key', (point) => {
  const own = xwingKey(seeds[0]!);
  const { ciphertext } = encapsulateTo(own.publicKey, seeds[1]!);
  const bad = Buffer.concat([ciphertext.subarray(0, 1_088), ofHex(point)]);
  expect(() => own.decapsulate(bad)).toThrow(refusal);
  const badKey = Buffer.concat([own.publicKey.subarray(0, 1_184), ofHex(point)]);
  expect(() => encapsulateTo(badKey, seeds[1]!)).toThrow(refusal);
});

test.for([0, 1, XWING_CIPHERTEXT_SIZE_BYTES - 1, XWING_CIPHERTEXT_SIZE_BYTES + 1, 1_088])(
  'a ciphertext of %i bytes is refused',
  (length) => {
    expect(() => xwingKey(seeds[0]!).decapsulate(new Uint8Array(length).fill(9))).toThrow(refusal);
  },
);

test.for([0, 1, XWING_PUBLIC_KEY_SIZE_BYTES - 1, XWING_PUBLIC_KEY_SIZE_BYTES + 1, 1_184])(
  'a public key of %i bytes is refused',
  (length) => {
    expect(() => encapsulateTo(new Uint8Array(length).fill(9), seeds[0]!)).toThrow(refusal);
  },
);

test('an ML-KEM key with coefficients past the modulus (FIPS 203, section 7.2) is refused', () => {
  const key = new Uint8Array(xwingKey(seeds[0]!).publicKey);
  key.fill(0xff, 0, 3);
  expect(() => encapsulateTo(key, seeds[1]!)).toThrow(refusal);
});
