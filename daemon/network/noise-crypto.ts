import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { pureJsCrypto, type ICryptoInterface } from '@chainsafe/libp2p-noise';
import { sha256 } from '../../protocol/digest.ts';
import { rawX25519Public, x25519Private, x25519Public, x25519Secret } from '../../protocol/x25519.ts';
import { systemRandom } from '../clock.ts';

type Bytes = Parameters<ICryptoInterface['hashSHA256']>[0];

const TAG_SIZE_BYTES = 16;
const ALGORITHM = 'chacha20-poly1305';

/**
 * What Noise needs of cryptography, by Node. The package's own gives Node the raw key with every message, which Node then
 * tries as a key object first: that takes ten times as long as to encrypt.
 */
export const noiseCrypto: ICryptoInterface = {
  ...pureJsCrypto,
  hashSHA256: (data) => sha256(whole(data)),
  generateX25519KeyPair: () => noiseCrypto.generateX25519KeyPairFromSeed(systemRandom.bytes(32)),
  generateX25519KeyPairFromSeed: (seed) => ({
    publicKey: rawX25519Public(x25519Private(seed)),
    privateKey: seed,
  }),
  generateX25519SharedKey: (own, theirs) =>
    x25519Secret(x25519Private(whole(own)), x25519Public(whole(theirs))),
  chaCha20Poly1305Encrypt(plaintext, nonce, ad, key) {
    const cipher = createCipheriv(ALGORITHM, keyObject(key), nonce, { authTagLength: TAG_SIZE_BYTES });
    cipher.setAAD(ad, { plaintextLength: plaintext.byteLength });
    const parts = [...pieces(plaintext)].map((piece) => cipher.update(piece));
    return Buffer.concat([...parts, cipher.final(), cipher.getAuthTag()]);
  },
  chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key) {
    const sizeBytes = ciphertext.byteLength - TAG_SIZE_BYTES;
    const decipher = createDecipheriv(ALGORITHM, keyObject(key), nonce, { authTagLength: TAG_SIZE_BYTES });
    decipher.setAAD(ad, { plaintextLength: sizeBytes });
    decipher.setAuthTag(ciphertext.subarray(sizeBytes));
    const sealed =
      ciphertext instanceof Uint8Array ? ciphertext.subarray(0, sizeBytes) : ciphertext.sublist(0, sizeBytes);
    const parts = [...pieces(sealed)].map((piece) => decipher.update(piece));
    return Buffer.concat([...parts, decipher.final()]);
  },
};

/** The keys of the connections that are open. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>();

function keyObject(key: Uint8Array): KeyObject {
  let object = keyObjects.get(key);
  if (object === undefined) {
    object = createSecretKey(key);
    keyObjects.set(key, object);
  }
  return object;
}

function whole(data: Bytes): Uint8Array {
  return data instanceof Uint8Array ? data : data.subarray();
}

function pieces(data: Bytes): Iterable<Uint8Array> {
  return data instanceof Uint8Array ? [data] : data;
}
