import type { WatchedState } from '../../protocol/watch.ts';
import type { Journal } from './journal.ts';
import { notifyOfPresence, type NewNotice } from './mail-notices.ts';
import { below } from './mail-records.ts';
import type { Released } from './mail-store.ts';

/** An agent of this machine wants to be told once when another is online, or idle. */
export interface Watch {
  /** A UUIDv7. */
  id: string;
  /** Who wants to be told: an agent id. */
  agent: string;
  ns: string;
  /** The other's name; whoever holds it is meant. */
  name: string;
  state: WatchedState;
  expiresAtMs: number;
}

/** Where subscriptions lie: `watch/AGENT/ID`. Each method that writes is one atomic, synced batch. */
export interface WatchStore {
  all(): Promise<Watch[]>;
  put(watch: Watch): Promise<void>;
  drop(watch: Watch): Promise<void>;
  /**
   * Ends a subscription and puts a notice that says why into its agent's inbox, both or neither; undefined when it had
   * ended already.
   */
  fire(
    watch: Watch,
    notice: { to: string; about: string; machine: string; text: string },
  ): Promise<Released | undefined>;
}

export function createKvWatchStore(journal: Journal, make: NewNotice): WatchStore {
  const keyOf = ({ agent, id }: Watch) => `watch/${agent}/${id}`;
  return {
    all: async () => (await journal.range<Watch>(below('watch/'))).map(([, watch]) => watch),
    put: (watch) => journal.transact(async (tx) => tx.put(keyOf(watch), watch)),
    drop: (watch) => journal.transact(async (tx) => tx.delete(keyOf(watch))),
    fire: (watch, { to, about, machine, text }) =>
      journal.transact(async (tx) => {
        if (!(await tx.get(keyOf(watch)))) return undefined;
        tx.delete(keyOf(watch));
        const { agent, ns } = watch;
        return notifyOfPresence(tx, { id: agent, name: to }, { ns, machine, about, text, make });
      }),
  };
}
