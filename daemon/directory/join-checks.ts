import { joinCheckCode, joinCommitment, JOIN_NONCE_SIZE_BYTES } from '../../protocol/join-check.ts';
import { equalBytes } from '../../protocol/codec.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import type { Clock, Random } from '../clock.ts';

/** A question for the decision is answered after this long at the latest. */
const DECISION_WAIT_MS = 10_000;
/** Checks that one invite allows: a thief of the ticket gets no more tries at matching digits. */
const CHECKS_PER_INVITE_MAX = 8;

/** A join that waits until people have compared its digits. */
export interface JoinCheck {
  invite: string;
  ns: string;
  joiner: string;
  label: string;
  sinceMs: number;
  /** Set when the joiner has opened its commitment. */
  code?: string;
}

interface Entry extends JoinCheck {
  commit: Uint8Array;
  nonce: Uint8Array;
  decided: PromiseWithResolvers<boolean>;
  verdict?: boolean;
}

/** The inviter's side of the check of six digits; see protocol/join-check.ts. It forgets with the process, and then a join starts again. */
export class JoinChecks {
  readonly #self: string;
  readonly #clock: Clock;
  readonly #random: Random;
  /** By `NS/JOINER`. */
  readonly #entries = new Map<string, Entry>();
  /** How many were begun, by invite. */
  readonly #begun = new Map<string, number>();

  constructor(self: string, clock: Clock, random: Random) {
    this.#self = self;
    this.#clock = clock;
    this.#random = random;
  }

  /** Takes a commitment and answers with the nonce of this side; undefined when the invite allows no more checks. */
  begin(join: {
    invite: string;
    ns: string;
    joiner: string;
    label: string;
    commit: Uint8Array;
  }): Uint8Array | undefined {
    const begun = this.#begun.get(join.invite) ?? 0;
    if (begun >= CHECKS_PER_INVITE_MAX) return undefined;
    this.#begun.set(join.invite, begun + 1);
    const nonce = this.#random.bytes(JOIN_NONCE_SIZE_BYTES);
    const entry = { ...join, nonce, sinceMs: this.#clock.now(), decided: Promise.withResolvers<boolean>() };
    this.#entries.set(`${join.ns}/${join.joiner}`, entry);
    return nonce;
  }

  /**
   * Opens a commitment and waits for the decision: true, false, `pending` when there is none yet. Undefined for a
   * nonce that was not committed to, which ends the check.
   */
  async reveal(
    ns: string,
    joiner: string,
    nonce: Uint8Array,
  ): Promise<{ invite: string; label: string; verdict: boolean | 'pending' } | undefined> {
    const place = `${ns}/${joiner}`;
    const entry = this.#entries.get(place);
    if (!entry) return undefined;
    if (!equalBytes(joinCommitment(nonce), entry.commit)) {
      this.#entries.delete(place);
      return undefined;
    }
    const { invite, label } = entry;
    entry.code ??= joinCheckCode({
      ns,
      inviter: this.#self,
      joiner,
      inviterNonce: entry.nonce,
      joinerNonce: nonce,
    });
    const tooLong = Promise.withResolvers<'pending'>();
    const timer = this.#clock.after(DECISION_WAIT_MS, () => tooLong.resolve('pending'));
    const verdict = entry.verdict ?? (await Promise.race([entry.decided.promise, tooLong.promise]));
    timer.cancel();
    if (verdict === false) this.#entries.delete(place);
    return { invite, label, verdict };
  }

  /** Those of a namespace that show their digits, and whose invite is in `open`. */
  waiting(ns: string, open: ReadonlySet<string>): (JoinCheck & { code: string })[] {
    return [...this.#entries.values()].filter(
      (entry): entry is Entry & { code: string } =>
        entry.ns === ns && entry.code !== undefined && entry.verdict === undefined && open.has(entry.invite),
    );
  }

  /** Throws `not_found` when no join shows these digits. */
  decide(ns: string, open: ReadonlySet<string>, code: string, accept: boolean): JoinCheck & { code: string } {
    const shown = this.waiting(ns, open).filter((check) => check.code === code.replaceAll(/\s/g, ''));
    // Two with the same digits: one of them is not whom it seems to be.
    if (shown.length !== 1) {
      throw new PatchcordError(
        'not_found',
        'No join that waits shows these digits.',
        'List those that wait: patchcord namespace confirm NS',
      );
    }
    const [check] = shown;
    const entry = this.#entries.get(`${ns}/${check!.joiner}`)!;
    entry.verdict = accept;
    entry.decided.resolve(accept);
    return check!;
  }

  /** The join is over, or its invite is. */
  end(ns: string, joiner: string): void {
    this.#entries.delete(`${ns}/${joiner}`);
  }

  /** Forgets the checks of invites that are gone. */
  sweep(open: ReadonlySet<string>): void {
    for (const [place, { invite }] of this.#entries) if (!open.has(invite)) this.#entries.delete(place);
    for (const invite of this.#begun.keys()) if (!open.has(invite)) this.#begun.delete(invite);
  }
}
