import { pureJsCrypto } from '@chainsafe/libp2p-noise';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { noiseCrypto } from '../../daemon/network/noise-crypto.ts';

/** Against the package's implementation in JavaScript: each opens what the other sealed. */
const implementations = [
  ['here', noiseCrypto, pureJsCrypto],
  ['there', pureJsCrypto, noiseCrypto],
] as const;
const [nonce, key, ad] = [systemRandom.bytes(12), systemRandom.bytes(32), systemRandom.bytes(32)];

describe.for(implementations)('what is made %s', ([, one, other]) => {
  test.for([0, 1, 100, 1_500, 65_000])('%d bytes are opened by the other', (sizeBytes) => {
    const plain = systemRandom.bytes(sizeBytes);
    const sealed = one.chaCha20Poly1305Encrypt(plain, nonce, ad, key).subarray();
    expect(sealed).toHaveLength(sizeBytes + 16);
    expect(Buffer.from(other.chaCha20Poly1305Decrypt(sealed, nonce, ad, key).subarray())).toEqual(
      Buffer.from(plain),
    );
  });

  test('the secret of two is the same', () => {
    const [own, theirs] = [one.generateX25519KeyPair(), other.generateX25519KeyPair()];
    const [here, there] = [
      one.generateX25519SharedKey(own.privateKey, theirs.publicKey),
      other.generateX25519SharedKey(theirs.privateKey, own.publicKey),
    ];
    expect(Buffer.from(here)).toEqual(Buffer.from(there));
    const seed = systemRandom.bytes(32);
    const publicKeys = [one, other].map((each) => each.generateX25519KeyPairFromSeed(seed).publicKey);
    expect(Buffer.from(publicKeys[0]!.subarray())).toEqual(Buffer.from(publicKeys[1]!.subarray()));
  });

  test('the hash is the same', () => {
    expect(Buffer.from(one.hashSHA256(ad))).toEqual(Buffer.from(other.hashSHA256(ad)));
  });
});

const UNOPENED = /unable to authenticate/;

test('what was altered, cut short, or sealed with another key, nonce or other data does not open', () => {
  const sealed = noiseCrypto.chaCha20Poly1305Encrypt(systemRandom.bytes(50), nonce, ad, key).subarray();
  const altered = Uint8Array.from(sealed, (byte, at) => (at === 20 ? byte ^ 1 : byte));
  const open = (bytes: Uint8Array, by = { nonce, ad, key }) =>
    noiseCrypto.chaCha20Poly1305Decrypt(bytes, by.nonce, by.ad, by.key);
  expect(() => open(altered)).toThrow(UNOPENED);
  for (const length of [49, 16]) expect(() => open(sealed.subarray(0, length))).toThrow(UNOPENED);
  for (const length of [15, 0]) expect(() => open(sealed.subarray(0, length))).toThrow('');
  expect(() => open(sealed, { nonce: new Uint8Array(12), ad, key })).toThrow(UNOPENED);
  expect(() => open(sealed, { nonce, ad: new Uint8Array(0), key })).toThrow(UNOPENED);
  expect(() => open(sealed, { nonce, ad, key: new Uint8Array(32) })).toThrow(UNOPENED);
});

test('a secret with a point of low order is refused', () => {
  const own = noiseCrypto.generateX25519KeyPair();
  expect(() => noiseCrypto.generateX25519SharedKey(own.privateKey, new Uint8Array(32))).toThrow(/derivation/);
});
