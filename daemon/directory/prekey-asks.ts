import type { NamespaceLog } from '../../protocol/membership/log.ts';
import type { Random } from '../clock.ts';
import type { Directory } from './directory.ts';

/** Beats between two questions at most: a member that nobody has a prekey of may never have been there. */
const PAUSE_BEATS_MAX = 20;

/**
 * Whom to ask for prekeys of members that are not known. Where not all link with all, others pass them on, and what
 * came before its owner was known to be a member was refused: so who lacks one asks, one linked member a time, at the
 * next beat and then less and less often, until it learns one.
 */
export class PrekeyAsks {
  readonly #directory: Directory;
  readonly #random: Random;
  /** By namespace. */
  readonly #asks = new Map<string, { missing: number; pause: number; left: number }>();

  constructor(parts: { directory: Directory; random: Random }) {
    this.#directory = parts.directory;
    this.#random = parts.random;
  }

  /** Called at every beat: the linked member to ask in a namespace now, if any. */
  next(log: NamespaceLog): string | undefined {
    const { prekeys, self, linked } = this.#directory;
    const missing = log.places.filter((one) => one !== self.peerId && !prekeys.has(one)).length;
    if (missing === 0) {
      this.#asks.delete(log.id);
      return undefined;
    }
    let ask = this.#asks.get(log.id);
    if (ask?.missing !== missing) ask = { missing, pause: 1, left: 1 };
    this.#asks.set(log.id, ask);
    ask.left -= 1;
    if (ask.left > 0) return undefined;
    ask.pause = Math.min(PAUSE_BEATS_MAX, 2 * ask.pause);
    ask.left = ask.pause;
    const others = log.places.filter((machine) => linked.has(machine));
    return others[Math.floor(this.#random.fraction() * others.length)];
  }
}
