import type { ReceiptState } from '../protocol/receipt.ts';
import type { SendReceipt } from '../protocol/views.ts';
import { inline, oneLine } from './frame.ts';

/** Each rung in words that claim no more than the rung proves. */
const RUNG_TEXT: Record<ReceiptState, string> = {
  queued: 'queued on this machine, safe on disk, not delivered yet',
  held: "held by a mailbox until the recipient's machine fetches it",
  delivered: "delivered to the recipient's machine, not known to be read",
  read: 'read: it was shown to the recipient',
  deferred: 'read, and put off for later by the recipient',
  replied: 'answered by the recipient',
  unsent: 'taken back',
  expired: 'expired before it was read',
  refused: "refused by the recipient's machine",
};

/** Why a queued message waits, by the code that its recipient's machine answered with. */
const WAITING_TEXT: Record<string, string> = {
  mailbox_full: "the recipient's inbox is full, and it is tried again until something there is read",
  disk_full: "the disk of the recipient's machine is full, and it is tried again until there is room",
};

/** Says why a message waits, in words for any code. */
export function waitingText(code: string): string {
  const known = Object.hasOwn(WAITING_TEXT, code) ? WAITING_TEXT[code] : undefined;
  return known ?? `the recipient's machine cannot take it now (${inline(code)}), and it is tried again`;
}

export function rungText(state: ReceiptState): string {
  return RUNG_TEXT[state];
}

function doingText(state: SendReceipt['recipient_state']): string {
  return state === undefined || state === 'dnd' ? '' : ` and ${state}`;
}

/** Whether the recipient is here, where that matters: nobody needs it for what was read already. */
function presenceText(receipt: SendReceipt): string {
  const waiting = receipt.state === 'queued' || receipt.state === 'held' || receipt.state === 'delivered';
  if (!waiting || receipt.online === undefined) return '';
  if (receipt.online) return `; the recipient is online${doingText(receipt.recipient_state)}`;
  return receipt.last_seen
    ? `; the recipient is away since ${inline(receipt.last_seen)}`
    : '; the recipient is away and has not been seen from here yet';
}

/** One line of send_message's answer: what is known of one recipient's copy. */
export function receiptText(receipt: SendReceipt): string {
  const to = inline(receipt.to);
  const { error } = receipt;
  if (error && !receipt.state) return `- ${to}: NOT sent. ${oneLine(error.message)}`;
  const id = receipt.message_id ? ` (message_id ${inline(receipt.message_id)})` : '';
  const state = receipt.state ? `${rungText(receipt.state)}${presenceText(receipt)}` : 'no state known';
  const note = receipt.note === undefined ? '' : `; ${oneLine(receipt.note)}`;
  return `- ${to}: ${state}${error ? `; ${waitingText(error.code)}` : ''}${note}${id}`;
}
