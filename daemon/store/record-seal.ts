import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import { decodeOwn, encode } from '../../protocol/codec.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { RandomBytes } from '../../protocol/ids.ts';

/**
 * Seals stored records with ChaCha20-Poly1305 (RFC 8439), the record's key as associated data: a record that was
 * altered, truncated or moved to another key does not open. LevelDB itself has no checksum to rely on.
 *
 * Layout: version 1, 12 bytes nonce, ciphertext, 16 bytes tag. Nonces are random; one store key is good for
 * 2^32 records at a collision chance below 2^-32 (NIST SP 800-38D section 8.3 counts the same way).
 */
const VERSION = 1;
const NONCE_SIZE_BYTES = 12;
const TAG_SIZE_BYTES = 16;

export interface RecordSeal {
  seal(key: string, value: unknown): Uint8Array;
  /** Throws `store_damaged`, naming the key. */
  open(key: string, bytes: Uint8Array): unknown;
}

export function createRecordSeal(storeKey: Uint8Array, randomBytes: RandomBytes): RecordSeal {
  // A key object: Node spends four times as long on a cipher that gets the raw bytes.
  const secret = createSecretKey(storeKey);
  return {
    seal(key, value) {
      const nonce = randomBytes(NONCE_SIZE_BYTES);
      const cipher = createCipheriv('chacha20-poly1305', secret, nonce, { authTagLength: TAG_SIZE_BYTES });
      cipher.setAAD(Buffer.from(key), { plaintextLength: 0 });
      const body = cipher.update(encode(value));
      return Buffer.concat([Buffer.of(VERSION), nonce, body, cipher.final(), cipher.getAuthTag()]);
    },
    open(key, bytes) {
      if (bytes.length < 1 + NONCE_SIZE_BYTES + TAG_SIZE_BYTES || bytes[0] !== VERSION) throw damaged(key);
      const nonce = bytes.subarray(1, 1 + NONCE_SIZE_BYTES);
      const decipher = createDecipheriv('chacha20-poly1305', secret, nonce, {
        authTagLength: TAG_SIZE_BYTES,
      });
      decipher.setAAD(Buffer.from(key), { plaintextLength: 0 });
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_SIZE_BYTES));
      const sealed = bytes.subarray(1 + NONCE_SIZE_BYTES, bytes.length - TAG_SIZE_BYTES);
      try {
        return decodeOwn(Buffer.concat([decipher.update(sealed), decipher.final()]));
      } catch (cause) {
        throw damaged(key, cause);
      }
    },
  };
}

function damaged(key: string, cause?: unknown): PatchcordError {
  return new PatchcordError(
    'store_damaged',
    `The stored record ${key} is damaged or was sealed with another store key.`,
    'Keep the home folder as it is and restore it, or its store.key, from a backup.',
    { cause },
  );
}
