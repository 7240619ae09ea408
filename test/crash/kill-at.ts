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

type Write = (this: unknown, operations: readonly Written[], options: object) => Promise<void>;
// oxlint-disable-next-line typescript/no-unsafe-type-assertion, typescript/unbound-method -- as daemon/store/level-kv.ts calls it
const write = Level.prototype.batch as unknown as Write;
let seen = 0;

const killing: Write = async function killing(operations, options) {
  const due = step?.in(operations) && ++seen === nth;
  if (due && when === 'before') process.kill(process.pid, 'SIGKILL');
  await write.call(this, operations, options);
  if (due) process.kill(process.pid, 'SIGKILL');
};
Reflect.set(Level.prototype, 'batch', killing);
