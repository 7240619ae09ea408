/** A bound on how often something may happen: so many at once, and so many more with each second. */
export class Bucket {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #atMs = -Infinity;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** False when there is no room for `count` now; then nothing is taken. */
  take(count: number, nowMs: number): boolean {
    const passedMs = this.#atMs === -Infinity ? 0 : Math.max(0, nowMs - this.#atMs);
    this.#left = Math.min(this.#burst, this.#left + (passedMs / 1_000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#left < count) return false;
    this.#left -= count;
    return true;
  }
}
