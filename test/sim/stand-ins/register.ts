import { registerHooks } from 'node:module';
import type * as Aead from '../../../protocol/aead.ts';
import type * as Digest from '../../../protocol/digest.ts';
import type * as Envelope from '../../../protocol/envelope.ts';
import type * as Hkdf from '../../../protocol/hkdf.ts';
import type * as RecordSeal from '../../../daemon/store/record-seal.ts';
import type * as Signing from '../../../protocol/signing.ts';
import type * as Xwing from '../../../protocol/xwing.ts';
import type * as CheapAead from './aead.ts';
import type * as CheapDigest from './digest.ts';
import type * as CheapEnvelope from './envelope.ts';
import type * as CheapHkdf from './hkdf.ts';
import type * as CheapRecordSeal from './record-seal.ts';
import type * as CheapSigning from './signing.ts';
import type * as CheapXwing from './xwing.ts';

/**
 * Cheap stand-ins for the modules that seal and sign, so that many simulations fit into a minute. They
 * keep the contracts that the rest rests on: what was altered, is for another machine, or was signed by another
 * does not open; nothing can be read in passing; and, unlike the real ones, the same seed gives the same bytes.
 * One seed in so many runs with the real modules, see fleet.ts.
 */
interface StandIns {
  'protocol/aead.ts': [typeof Aead, typeof CheapAead];
  'protocol/digest.ts': [typeof Digest, typeof CheapDigest];
  'protocol/envelope.ts': [typeof Envelope, typeof CheapEnvelope];
  'protocol/hkdf.ts': [typeof Hkdf, typeof CheapHkdf];
  'protocol/signing.ts': [typeof Signing, typeof CheapSigning];
  'protocol/xwing.ts': [typeof Xwing, typeof CheapXwing];
  'daemon/store/record-seal.ts': [typeof RecordSeal, typeof CheapRecordSeal];
}

/** A stand-in that lacks what the real module exports, or types it otherwise, is none. */
type Fitting = {
  [Path in keyof StandIns]: StandIns[Path][1] extends StandIns[Path][0] ? Path : never;
}[keyof StandIns];

const FITTING: Record<keyof StandIns, Fitting> = {
  'protocol/aead.ts': 'protocol/aead.ts',
  'protocol/digest.ts': 'protocol/digest.ts',
  'protocol/envelope.ts': 'protocol/envelope.ts',
  'protocol/hkdf.ts': 'protocol/hkdf.ts',
  'protocol/signing.ts': 'protocol/signing.ts',
  'protocol/xwing.ts': 'protocol/xwing.ts',
  'daemon/store/record-seal.ts': 'daemon/store/record-seal.ts',
};

/** Has effect on what is loaded afterwards: to be called before anything of the product is. */
export function useStandIns(): void {
  const root = new URL('../../../', import.meta.url);
  const replaced = new Map(
    Object.values(FITTING).map((path) => {
      const file = path.split('/').at(-1)!;
      return [new URL(path, root).href, new URL(file, import.meta.url).href];
    }),
  );
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      const url = replaced.get(resolved.url);
      return url === undefined ? resolved : { ...resolved, url };
    },
  });
}
