/** What a look at the whole store found. */
export interface Finding {
  /** What is gone, or put right from what is there; `lost` is gone unless others send it again. */
  kind: FindingKind;
  /** In one line, without anybody's text. */
  what: string;
  /** How many of them. */
  count: number;
}

export type FindingKind =
  /** Nothing can be read there any more. */
  | 'lost'
  /** Bytes that do not open; they are kept in quarantine. */
  | 'damaged'
  /** An index, a count or a copy did not agree with the records, and was made from them again. */
  | 'mended';

/** Findings that are told one by one; beyond them only their number is. */
const FINDINGS_MAX = 200;

/** Gathers findings, those of the same words as one. */
export class Findings {
  readonly #found = new Map<string, Finding>();
  #beyond = 0;
  /** Others should send again what was not read here. */
  wantsResend = false;

  add(kind: FindingKind, what: string, count = 1): void {
    const place = `${kind} ${what}`;
    const found = this.#found.get(place);
    if (found) found.count += count;
    else if (this.#found.size < FINDINGS_MAX) this.#found.set(place, { kind, what, count });
    else this.#beyond += count;
  }

  list(): Finding[] {
    const all = [...this.#found.values()];
    return this.#beyond === 0
      ? all
      : [...all, { kind: 'lost', what: 'more findings than are listed', count: this.#beyond }];
  }
}
