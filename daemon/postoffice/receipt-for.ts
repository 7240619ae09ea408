import { PatchcordError } from '../../protocol/errors.ts';
import { isAddressed } from '../../protocol/letter.ts';
import { isHomeState, type Receipt } from '../../protocol/receipt.ts';
import type { OutboxEntry } from '../store/mail-store.ts';

/** A state is claimed only with the home machine's own receipt for that very message. Throws `signature_invalid`. */
export function assertReceiptFor(entry: OutboxEntry, machine: string, receipt: Receipt | undefined): void {
  const { letter, ns } = entry;
  if (!isAddressed(letter)) return;
  const matches =
    receipt !== undefined &&
    receipt.by === machine &&
    receipt.ns === ns &&
    receipt.id === letter.id &&
    receipt.sender === letter.from.id &&
    receipt.recipient === letter.to.id &&
    receipt.state !== 'refused' &&
    isHomeState(receipt.state);
  if (!matches)
    throw new PatchcordError('signature_invalid', 'An acknowledgement without the receipt for its message.');
}
