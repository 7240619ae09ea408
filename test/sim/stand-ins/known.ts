import type { Letter } from '../../../protocol/letter.ts';

/** What was sealed, for whoever can open it. */
export interface Sealed {
  ns: string;
  to: string;
  prekey: number;
  /** What only the two sides have. */
  secret: Uint8Array;
  from: string;
  sig: Uint8Array;
  letter: Letter;
}

/** Whoever has signed in this process, by peer id; a signature can only be checked by who knows the seed. */
export const signingSeeds = new Map<string, Uint8Array>();
/** Seeds by public key in hex: what is sealed to a key opens with its seed only. */
export const prekeySeeds = new Map<string, Uint8Array>();
/** By the number that an envelope bears; it is drawn at random, so nobody names one that he was not given. */
export const envelopes = new Map<number, Sealed>();

/** When a run is over nothing of it is opened any more. */
export function forgetKnown(): void {
  signingSeeds.clear();
  prekeySeeds.clear();
  envelopes.clear();
}
