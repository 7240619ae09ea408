import { asPatchcordError, type ErrorCode } from '../../protocol/errors.ts';
import type { FrameOf } from '../../protocol/frame.ts';
import type { Letter } from '../../protocol/letter.ts';
import { readOwnReceipt, receiptOf, signReceipt, type Receipt } from '../../protocol/receipt.ts';
import type { Signer } from '../../protocol/signing.ts';
import type { Clock } from '../clock.ts';
import type { MailStore } from '../store/mail-store.ts';
import { outboxEntries } from './outbox-entries.ts';

/** A letter that was opened, and the machine that signed it. */
interface Opened {
  ns: string;
  from: string;
  letter: Letter;
}

type Receipts = Letter & { k: 'receipts' };
type Answered = Exclude<Letter, Receipts>;

/** What became of an envelope. */
export type CarriedOutcome =
  | { kind: 'letter'; outcome: 'taken' | 'known' }
  /** So many receipts were in it, and so many of them told something new. */
  | { kind: 'receipts'; count: number; fresh: number }
  | { kind: 'refused'; code: ErrorCode };

export interface CarriedParts {
  mail: MailStore;
  signer: Signer;
  clock: Clock;
  /** This start of the daemon. */
  boot: string;
  /** Throws for what is not for this machine, or of no namespace that it shares with the sender. */
  open: (envelope: Uint8Array) => Opened;
  takeReceipts: (ns: string, letter: Receipts) => Promise<number>;
  /** Checks and stores a letter; with `relayedIn`, its answer is queued in the same batch. */
  take: (
    opened: Opened & { letter: Answered },
    relayedIn: string | undefined,
  ) => Promise<FrameOf<'ack'> | FrameOf<'refuse'>>;
  /** The outbox for that machine has something new. */
  appended: (machine: string) => void;
}

/**
 * Takes envelopes that no link brought, such as those of one bundle. The sender's machine is answered by a letter in
 * the outbox. What comes again is answered again unless that very answer waits there still: it may have been given
 * on a link that broke, and a bundle that is imported twice must not make the outbox grow.
 */
export class CarriedMail {
  readonly #parts: CarriedParts;
  /** By machine, the answers that wait for it, found when the first is asked for. */
  readonly #waiting = new Map<string, Set<string>>();

  constructor(parts: CarriedParts) {
    this.#parts = parts;
  }

  /** Never rejects: whatever is wrong with one envelope is its own outcome. */
  async take(envelope: Uint8Array): Promise<CarriedOutcome> {
    try {
      const opened = this.#parts.open(envelope);
      const { ns, letter } = opened;
      if (letter.k !== 'receipts') return await this.#letter({ ...opened, letter });
      const fresh = await this.#parts.takeReceipts(ns, letter);
      return { kind: 'receipts', count: letter.receipts.length, fresh };
    } catch (error) {
      return { kind: 'refused', code: asPatchcordError(error).code };
    }
  }

  async #letter(opened: Opened & { letter: Answered }): Promise<CarriedOutcome> {
    const { mail, boot, take, appended } = this.#parts;
    const { letter, from } = opened;
    const known = await mail.knows(letter.to.id, letter.id);
    const answer = await take(opened, known ? undefined : boot);
    if (answer.t === 'refuse') {
      if (!answer.retry) await this.#tell(opened, this.#refusal(opened));
      return { kind: 'refused', code: answer.code };
    }
    if (known) {
      const told = await this.#tell(opened, answer.receipt!);
      // A message is known; what takes one back may tell something new of it.
      return { kind: 'letter', outcome: told && letter.k !== 'message' ? 'taken' : 'known' };
    }
    this.#waiting.get(from)?.add(nameOf(answer.receipt!));
    appended(from);
    return { kind: 'letter', outcome: 'taken' };
  }

  /** Queues an answer; false when the same waits already. */
  async #tell({ ns, from }: Opened, receipt: Uint8Array): Promise<boolean> {
    const waiting = this.#waiting.get(from) ?? (await this.#findWaiting(from));
    const name = nameOf(receipt);
    if (waiting.has(name)) return false;
    await this.#parts.mail.tell(from, ns, receipt, this.#parts.boot);
    waiting.add(name);
    this.#parts.appended(from);
    return true;
  }

  async #findWaiting(machine: string): Promise<Set<string>> {
    const waiting = new Set<string>();
    for await (const { letter } of outboxEntries(this.#parts.mail, machine)) {
      if (letter.k === 'receipts') for (const receipt of letter.receipts) waiting.add(nameOf(receipt));
    }
    this.#waiting.set(machine, waiting);
    return waiting;
  }

  #refusal({ ns, letter }: Opened & { letter: Answered }): Uint8Array {
    const { signer, clock } = this.#parts;
    return signReceipt(receiptOf(ns, letter, 'refused', clock.now()), signer);
  }
}

/** The same for two receipts that say the same, whenever they say it. */
function nameOf(receipt: Uint8Array): string {
  const { ns, id, sender, recipient, state }: Receipt = readOwnReceipt(receipt);
  return [ns, id, sender, recipient, state].join(' ');
}
