import { UNSEND_ANSWER_MS } from '../../protocol/limits.ts';
import { isHomeState, type ReceiptState } from '../../protocol/receipt.ts';
import type { MailRecord, MailStore, OutboxEntry } from '../store/mail-store.ts';
import type { Settlements } from './settlements.ts';

export interface TakingBackParts {
  mail: MailStore;
  settlements: Settlements;
  /** This start of the daemon. */
  boot: string;
  /** Whether it is certain that no other machine has seen an entry. */
  neverLeft: (machine: string, entry: OutboxEntry) => boolean;
  /** Keeps an entry of the outbox from the wire while it is decided whether it goes at all. */
  withhold: <T>(machine: string, number: number, decide: () => Promise<T>) => Promise<T>;
  /** Takes back the copies that mailboxes hold of a message. */
  withdraw: (record: MailRecord) => void;
  /** An entry has left the outbox. */
  onSettled: (machine: string, number: number) => void;
  /** The outbox for that machine has something new. */
  appended: (machine: string) => void;
  isUp: (machine: string) => boolean;
}

/** Takes a message back, waiting a few seconds for the recipient's machine to say whether it was in time. */
export async function takeBack(
  parts: TakingBackParts,
  agent: string,
  record: MailRecord,
): Promise<'unsent' | 'already_read' | 'requested'> {
  const { mail, settlements, boot, neverLeft } = parts;
  const { message, machine, outbox } = record;
  const decide = () => mail.takeBack({ agent, messageId: message.id, neverLeft, boot });
  // A letter of its home machine may say what it came to before the answer does.
  const answer = settlements.next(
    agent,
    message.id,
    UNSEND_ANSWER_MS,
    ({ kind, state }) => kind !== 'message' || (isHomeState(state) && state !== 'delivered'),
  );
  const outcome = outbox === undefined ? await decide() : await parts.withhold(machine, outbox, decide);
  if (outcome.status !== 'asked') {
    answer.forget();
    return outcome.status === 'unknown' ? 'requested' : outcome.status;
  }
  if (outcome.replaced !== undefined) parts.onSettled(machine, outcome.replaced);
  if (record.held) parts.withdraw(record);
  parts.appended(machine);
  const settled = parts.isUp(machine) ? await answer.promise : undefined;
  if (!settled) {
    answer.forget();
    const state = await mail.unsendAsked(agent, message.id);
    return state === undefined ? 'requested' : outcomeOf(state);
  }
  return outcomeOf(settled.state);
}

/** What its machine said, or 'requested' when it was given up before that. */
function outcomeOf(state: ReceiptState): 'unsent' | 'already_read' | 'requested' {
  if (state === 'refused' || state === 'expired') return 'requested';
  return state === 'unsent' ? 'unsent' : 'already_read';
}
