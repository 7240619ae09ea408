/**
 * How much is taken in from a LAN, where everybody can send as fast as the wire carries: so many a second of each
 * source and in all, a few more at once. Sources can be made up, so only so many are told apart; past that the oldest is
 * forgotten.
 */
export interface Bucket {
  left: number;
  atMs: number;
}

export interface Rate {
  perSecond: number;
  burst: number;
}

/** The bucket after one was taken out of it, or undefined when it is empty. */
function takeOne(bucket: Bucket | undefined, rate: Rate, nowMs: number): Bucket | undefined {
  const before = bucket ?? { left: rate.burst, atMs: nowMs };
  const gained = (Math.max(0, nowMs - before.atMs) / 1_000) * rate.perSecond;
  const left = Math.min(rate.burst, before.left + gained);
  return left < 1 ? undefined : { left: left - 1, atMs: nowMs };
}

const OF_EACH: Rate = { perSecond: 10, burst: 40 };
const OF_ALL: Rate = { perSecond: 200, burst: 400 };
const SOURCES_MAX = 256;

export class Allowance {
  readonly #sources = new Map<string, Bucket>();
  #all: Bucket | undefined;

  /** Whether one more of that source is looked at. */
  allows(source: string, nowMs: number): boolean {
    const own = takeOne(this.#sources.get(source), OF_EACH, nowMs);
    if (own === undefined) return false;
    const all = takeOne(this.#all, OF_ALL, nowMs);
    if (all === undefined) return false;
    this.#all = all;
    this.#sources.delete(source);
    this.#sources.set(source, own);
    if (this.#sources.size > SOURCES_MAX) this.#sources.delete(this.#sources.keys().next().value!);
    return true;
  }
}
