import { asPatchcordError, type ErrorCode } from '../../protocol/errors.ts';
import { isAddressed, type Addressed, type Letter } from '../../protocol/letter.ts';
import type { MailStore } from '../store/mail-store.ts';
import type { Opened, Relayed } from './arrivals.ts';

type Receipts = Letter & { k: 'receipts' };

/** What became of an envelope. */
export type CarriedOutcome =
  | { kind: 'letter'; outcome: 'taken' | 'known' }
  /** So many receipts were in it, and so many of them told something new. */
  | { kind: 'receipts'; count: number; fresh: number }
  | { kind: 'refused'; code: ErrorCode };

export interface CarriedParts {
  mail: MailStore;
  /** Throws for what is not for this machine, or of no namespace that it shares with the sender. */
  open: (envelope: Uint8Array) => Opened;
  takeReceipts: (opened: Opened, letter: Receipts) => Promise<number>;
  /** Checks and stores a letter, and queues its answer for the sender's machine. */
  takeRelayed: (opened: Opened) => Promise<Relayed>;
}

/**
 * Takes envelopes that no link brought, such as those of one bundle, as if a mailbox had passed them on. What comes
 * again is answered again unless that very answer waits still: it may have been given on a link that broke.
 */
export class CarriedMail {
  readonly #parts: CarriedParts;

  constructor(parts: CarriedParts) {
    this.#parts = parts;
  }

  /** Never rejects: whatever is wrong with one envelope is its own outcome. */
  async take(envelope: Uint8Array): Promise<CarriedOutcome> {
    try {
      const opened = this.#parts.open(envelope);
      const { letter } = opened;
      if (isAddressed(letter)) return await this.#letter(opened, letter);
      if (letter.k !== 'receipts') {
        const { answer } = await this.#parts.takeRelayed(opened);
        if (answer.t === 'refuse') return { kind: 'refused', code: answer.code };
        return { kind: 'receipts', count: 0, fresh: 0 };
      }
      const fresh = await this.#parts.takeReceipts(opened, letter);
      return { kind: 'receipts', count: letter.receipts.length, fresh };
    } catch (error) {
      return { kind: 'refused', code: asPatchcordError(error).code };
    }
  }

  async #letter(opened: Opened, { k, id, to }: Addressed): Promise<CarriedOutcome> {
    const known = await this.#parts.mail.knows(to.id, id);
    const { answer, told } = await this.#parts.takeRelayed(opened);
    if (answer.t === 'refuse') return { kind: 'refused', code: answer.code };
    // A message is known; what takes one back may tell something new of it.
    const isNew = !known || (told && k !== 'message');
    return { kind: 'letter', outcome: isNew ? 'taken' : 'known' };
  }
}
