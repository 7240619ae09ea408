import { z } from 'zod';
import { decode } from '../../protocol/codec.ts';
import { signPrekey, type Prekey } from '../../protocol/prekey.ts';
import { bytesOf, zBytes } from '../../protocol/shapes.ts';
import type { Signer } from '../../protocol/signing.ts';
import { xwingKey } from '../../protocol/xwing.ts';

const zFile = z.object({ ring: zBytes });
const zRing = z.object({ keys: z.array(z.object({ seq: z.int(), seed: bytesOf(32), made_at: z.int() })) });

/** The newest prekey in a machine's file, as that machine tells it. */
export function newestPrekey(file: Uint8Array, signer: Signer): Prekey {
  const { keys } = zRing.parse(decode(zFile.parse(decode(file)).ring));
  const { seq, seed, made_at } = keys.at(-1)!;
  return signPrekey({ seq, key: xwingKey(seed).publicKey, made_at, valid_until: made_at }, signer);
}
