import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';

/**
 * ChaCha20-Poly1305 (RFC 8439) under a key that seals one plaintext only, so that the nonce need not vary.
 * Whoever calls derives such a key for each.
 */
const NONCE = new Uint8Array(12);
const TAG_SIZE_BYTES = 16;

export function sealOnce(key: Uint8Array, aad: Uint8Array, plain: Uint8Array): Uint8Array {
  // A key object, here and below: Node spends far longer on raw bytes, which it tries as a key object first.
  const secret = createSecretKey(key);
  const cipher = createCipheriv('chacha20-poly1305', secret, NONCE, { authTagLength: TAG_SIZE_BYTES });
  cipher.setAAD(aad, { plaintextLength: plain.length });
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined for what was cut short, altered, or sealed with another key or other associated data. */
export function openOnce(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < TAG_SIZE_BYTES) return undefined;
  const decipher = createDecipheriv('chacha20-poly1305', createSecretKey(key), NONCE, {
    authTagLength: TAG_SIZE_BYTES,
  });
  decipher.setAAD(aad, { plaintextLength: sealed.length - TAG_SIZE_BYTES });
  decipher.setAuthTag(sealed.subarray(-TAG_SIZE_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_SIZE_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
}
