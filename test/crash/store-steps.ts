/** What a batch of the store does with one record. */
export interface Written {
  type: 'put' | 'del';
  key: string;
}

interface StoreStep {
  name: string;
  /** Where it is done: messages go from the sender to the recipient, and wait at the mailbox while that is away. */
  at: 'sender' | 'recipient' | 'mailbox taking' | 'mailbox giving';
  /** Whether a batch has this step among what it writes. */
  in(batch: readonly Written[]): boolean;
}

/** The steps of the store that a message goes through, by what they write. */
export const STORE_STEPS: readonly StoreStep[] = [
  { name: 'accept', at: 'sender', in: (batch) => puts(batch, 'line-out/') && puts(batch, 'outbox/') },
  { name: 'settle', at: 'sender', in: (batch) => deletes(batch, 'outbox/') },
  { name: 'receive', at: 'recipient', in: (batch) => puts(batch, 'line-in/') && puts(batch, 'pending/') },
  {
    name: 'show',
    at: 'recipient',
    in: (batch) => puts(batch, 'history/') && !puts(batch, 'known/') && !deletes(batch, 'pending/'),
  },
  { name: 'confirm', at: 'recipient', in: (batch) => deletes(batch, 'pending/') },
  { name: 'hold', at: 'mailbox taking', in: (batch) => puts(batch, 'mailbox-offer/') },
  { name: 'drop', at: 'mailbox giving', in: (batch) => deletes(batch, 'mailbox-offer/') },
];

function puts(batch: readonly Written[], prefix: string): boolean {
  return batch.some(({ type, key }) => type === 'put' && key.startsWith(prefix));
}

function deletes(batch: readonly Written[], prefix: string): boolean {
  return batch.some(({ type, key }) => type === 'del' && key.startsWith(prefix));
}
