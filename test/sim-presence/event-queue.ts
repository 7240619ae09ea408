interface Event {
  atMs: number;
  /** Of two at one time the first to be added runs first. */
  order: number;
  run: () => void;
}

/** What is to happen, in the order of time: a binary heap. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #added = 0;

  add(atMs: number, run: () => void): void {
    const heap = this.#heap;
    heap.push({ atMs, order: (this.#added += 1), run });
    let at = heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(heap[at]!, heap[parent]!)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  /** The next that is due by then. */
  take(byMs: number): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (!first || first.atMs > byMs) return undefined;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      this.#sink();
    }
    return first;
  }

  #sink(): void {
    const heap = this.#heap;
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const least = right < heap.length && isBefore(heap[right]!, heap[left]!) ? right : left;
      if (!isBefore(heap[least]!, heap[at]!)) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const one = this.#heap[a]!;
    this.#heap[a] = this.#heap[b]!;
    this.#heap[b] = one;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
