import type { MessageView } from '../../protocol/views.ts';

/** What a ledger comes to. `flagged`: shown with a gap before them, or after later ones, for which there is no cause. */
export interface Figures {
  acknowledged: number;
  unanswered: number;
  shown: number;
  shownAgain: number;
  lost: number;
  duplicated: number;
  reordered: number;
  flagged: number;
}

/** What the clients saw, as they saw it: it is their word that decides what is lost, not the system's. */
export class Ledger {
  /** Messages that the sender was told are accepted, by sender: the counters in their content. */
  readonly #acknowledged = new Map<string, number[]>();
  /** First showings, by sender, in the order in which they were shown. */
  readonly #shown = new Map<string, number[]>();
  readonly #seen = new Set<string>();
  #acknowledgedCount = 0;
  #unanswered = 0;
  #shownAgain = 0;
  #duplicated = 0;
  #flagged = 0;

  acknowledged(sender: string, counter: number): void {
    listOf(this.#acknowledged, sender).push(counter);
    this.#acknowledgedCount += 1;
  }

  /** The send failed in a way that leaves open whether it was accepted. */
  unanswered(): void {
    this.#unanswered += 1;
  }

  /** A message whose content is a sender and a counter was shown. */
  shown({ content, seen_before, late, missing_before: missing }: MessageView): void {
    if (late || missing) this.#flagged += 1;
    if (this.#seen.has(content)) {
      if (seen_before) this.#shownAgain += 1;
      else this.#duplicated += 1;
      return;
    }
    this.#seen.add(content);
    const [sender = '', counter = ''] = content.split(' ');
    listOf(this.#shown, sender).push(Number(counter));
  }

  /** Acknowledged messages that nobody was shown. */
  lost(): string[] {
    return [...this.#acknowledged].flatMap(([sender, counters]) =>
      counters.map((counter) => `${sender} ${counter}`).filter((content) => !this.#seen.has(content)),
    );
  }

  wasShown(content: string): boolean {
    return this.#seen.has(content);
  }

  get acknowledgedCount(): number {
    return this.#acknowledgedCount;
  }

  /** About how many messages of a sender are accepted and not yet shown. */
  ahead(sender: string): number {
    return listOf(this.#acknowledged, sender).length - listOf(this.#shown, sender).length;
  }

  figures(): Figures {
    const reordered = [...this.#shown.values()].flatMap((counters) =>
      counters.filter((counter, index) => index > 0 && counter <= counters[index - 1]!),
    );
    return {
      acknowledged: this.#acknowledgedCount,
      unanswered: this.#unanswered,
      shown: this.#seen.size,
      shownAgain: this.#shownAgain,
      lost: this.lost().length,
      duplicated: this.#duplicated,
      reordered: reordered.length,
      flagged: this.#flagged,
    };
  }
}

/** The rule of three: with no failure in n trials, its rate is below this with 95 % confidence. */
function boundText(trials: number): string {
  return `${((3 / trials) * 100).toPrecision(2)} %`;
}

/** What the clients' ledger says, and how sure that makes. */
export function reportOf(figures: Figures, faults: number): string {
  return (
    `${JSON.stringify(figures)}; with 95 % confidence fewer than ${boundText(figures.acknowledged)} of messages ` +
    `and ${boundText(faults)} of faults lose, double or reorder one`
  );
}

function listOf(map: Map<string, number[]>, key: string): number[] {
  const list = map.get(key) ?? [];
  map.set(key, list);
  return list;
}
