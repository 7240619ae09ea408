import { addStatements, type Added } from '../../protocol/membership/log.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Directory } from './directory.ts';
import { readStatements } from './pages.ts';

/** Takes into a namespace log what belongs there of what a machine told; the rest is refused and named in the log. */
export async function takeStatements(
  { directory, clock, log }: { directory: Directory; clock: Clock; log: Log },
  told: { ns: string; machine: string; list: readonly Uint8Array[] },
): Promise<Omit<Added, 'log'>> {
  const { ns, machine, list } = told;
  const read = await readStatements(list, clock, ({ code }) => {
    log.warn({ machine, ns, code }, 'refused a statement');
  });
  let taken: Omit<Added, 'log'> = { added: [], waiting: [], refused: [] };
  await directory.changeLog(ns, (now) => {
    if (!now) return undefined;
    const after = addStatements(now, read);
    taken = after;
    return after.added.length === 0 ? undefined : { log: after.log, added: after.added, from: machine };
  });
  for (const { hash, code, why } of taken.refused)
    log.warn({ machine, ns, hash, code, why }, 'refused a statement');
  return taken;
}
