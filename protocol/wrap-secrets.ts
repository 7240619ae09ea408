import type { RandomBytes } from './ids.ts';
import { encapsulateTo } from './xwing.ts';

/** How many envelopes one secret serves. */
const ENVELOPES_MAX = 16;

/** A secret that only the owner of a prekey can learn, and what tells it to the owner. */
export interface WrapSecret {
  readonly secret: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/**
 * Secrets shared with the machines that envelopes go to over a link, each for a few envelopes: to agree on one costs as
 * much as the rest of sealing. Whoever sees two envelopes with one ciphertext knows that they have one sender, so
 * envelopes that others carry get a secret each.
 *
 * The key of a wrap follows from the secret and the head. It seals one plaintext only, so a head that comes again, as
 * with the copies of a group, gets another secret.
 */
export class WrapSecrets {
  /** By the bytes of the public key; gone with them. */
  readonly #current = new WeakMap<Uint8Array, WrapSecret & { heads: Set<string> }>();

  /** The secret for an envelope to the owner of `publicKey` whose head commits to a content key with `commit`. */
  take(publicKey: Uint8Array, commit: Uint8Array, randomBytes: RandomBytes): WrapSecret {
    const head = Buffer.from(commit).toString('latin1');
    let current = this.#current.get(publicKey);
    if (!current || current.heads.size >= ENVELOPES_MAX || current.heads.has(head)) {
      current = { ...encapsulateTo(publicKey, randomBytes(32)), heads: new Set() };
      this.#current.set(publicKey, current);
    }
    current.heads.add(head);
    return current;
  }
}
