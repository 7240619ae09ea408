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

/** A bucket for each of many; past `countMax` of them that of whoever has asked least lately is forgotten. */
export class Buckets {
  readonly #make: () => Bucket;
  readonly #countMax: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(burst: number, perSecond: number, countMax: number) {
    this.#make = () => new Bucket(burst, perSecond);
    this.#countMax = countMax;
  }

  /** False when there is no room for one more of `who` now. */
  take(who: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(who) ?? this.#make();
    this.#buckets.delete(who);
    this.#buckets.set(who, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > this.#countMax && oldest !== undefined) this.#buckets.delete(oldest);
    return bucket.take(1, nowMs);
  }
}
