import { systemRandom } from '../../daemon/clock.ts';
import { homePaths } from '../../daemon/home.ts';
import { openKeys } from '../../daemon/keys/keys.ts';
import type { Log } from '../../daemon/log.ts';
import { openLevelKv } from '../../daemon/store/level-kv.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';

const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Every record in the store of a home whose daemon is not running, opened with the keys that lie beside it. */
export async function recordsIn(home: string): Promise<{ key: string; text: string }[]> {
  const paths = homePaths(home);
  const keys = await openKeys(paths, { storeEmpty: false, random: systemRandom, log: silent });
  const seal = createRecordSeal(keys.storeKey, systemRandom.bytes);
  const kv = await openLevelKv(paths.store);
  try {
    const all = await kv.range({ from: '', to: '\x7f' });
    return all.map(([key, value]) => ({ key, text: textOf(seal.open(key, value)) }));
  } finally {
    await kv.close();
  }
}

/** With byte strings, such as statements, as the characters that they hold. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    part instanceof Uint8Array ? Buffer.from(part).toString('latin1') : part,
  );
}
