import process from 'node:process';
import { Level } from 'level';
import { STORE_STEPS, type Written } from './store-steps.ts';

/**
 * Loaded into a daemon by NODE_OPTIONS=--import: kills it right before or right after a step of the store is
 * written. PATCHCORD_TEST_KILL names it, such as `before accept`.
 */
const [when, name] = (process.env['PATCHCORD_TEST_KILL'] ?? '').split(' ');
const step = STORE_STEPS.find((one) => one.name === name);

// At the third such step; what a mailbox has given may go in a single one.
const nth = step?.at === 'mailbox giving' ? 1 : 3;

/** What daemon/store/level-kv.ts uses of a chained batch. */
interface Batch {
  put(key: string, value: Uint8Array): void;
  del(key: string): void;
  write(options: object): Promise<void>;
}
type Begin = (this: unknown) => Batch;
// oxlint-disable-next-line typescript/no-unsafe-type-assertion, typescript/unbound-method -- as daemon/store/level-kv.ts calls it
const begin = Level.prototype.batch as unknown as Begin;
let seen = 0;

const killing: Begin = function killing() {
  const batch = begin.call(this);
  const operations: Written[] = [];
  return {
    put(key, value) {
      operations.push({ type: 'put', key });
      batch.put(key, value);
    },
    del(key) {
      operations.push({ type: 'del', key });
      batch.del(key);
    },
    async write(options) {
      const due = step?.in(operations) && ++seen === nth;
      if (due && when === 'before') process.kill(process.pid, 'SIGKILL');
      await batch.write(options);
      if (due) process.kill(process.pid, 'SIGKILL');
    },
  };
};
Reflect.set(Level.prototype, 'batch', killing);
