import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import { PatchcordError } from '../../protocol/errors.ts';
import { recoveryKeyFromSeed } from '../../protocol/membership/statement.ts';
import type { Signer } from '../../protocol/signing.ts';

/** 24 English words (BIP39) that spell 32 bytes, such as the seed of a genesis key. */
export function recoveryWords(seed: Uint8Array): string {
  return entropyToMnemonic(seed, wordlist);
}

/** The genesis key of the words. Throws `invalid_input` for a misspelt, missing or swapped one. */
export function keyOfRecoveryWords(phrase: string): Signer {
  return recoveryKeyFromSeed(secretOfWords(phrase, 'patchcord namespace create'));
}

/** The 32 bytes that words spell which `command` has printed. Throws `invalid_input`. */
export function secretOfWords(phrase: string, command: string): Uint8Array {
  const words = phrase.trim().toLowerCase().split(/\s+/).join(' ');
  try {
    return mnemonicToEntropy(words, wordlist);
  } catch {
    // Without its cause, which may quote a word.
    throw new PatchcordError(
      'invalid_input',
      'These are not the 24 words of a recovery phrase.',
      `Check their spelling and order; they were printed by \`${command}\`.`,
    );
  }
}
