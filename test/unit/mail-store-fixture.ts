import { expect } from 'vitest';
import type { Arrived, MailStore, Outgoing, Received } from '../../daemon/store/mail-store.ts';
import type { Message, Party, Unsend, Void } from '../../protocol/letter.ts';
import { verifyReceipt, type Receipt, type ReceiptState } from '../../protocol/receipt.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

/** The mail of machine {@link HERE}. */
export interface MailStoreWorld {
  store: MailStore;
  /** Closes the store and opens it over the same data. */
  reopen(): Promise<MailStore>;
  /** After so many more writes the disk takes none; `Infinity` mends it. */
  allowWrites(count: number): void;
  /** Empties the disk under the store, and mends it. */
  clear(): Promise<void>;
  /** Makes the outbox for a machine, or an agent's inbox, look full. */
  pretendFull(what: { outbox: string } | { inbox: string }): Promise<void>;
  teardown(): Promise<void>;
}

export const HERE = signerFromSeed(new Uint8Array(32).fill(1));
export const THERE = signerFromSeed(new Uint8Array(32).fill(2)).peerId;
export const ELSEWHERE = signerFromSeed(new Uint8Array(32).fill(3)).peerId;
export const NS = 'a'.repeat(64);
export const OTHER_NS = 'b'.repeat(64);
export const BOOT = id(0xb0);
export const NEXT_BOOT = id(0xb1);

/** Lives here. */
export const ada: Party = { id: id(0xa0), name: 'ada' };
/** Lives there. */
export const bob: Party = { id: id(0xa1), name: 'bob' };
/** Lives elsewhere. */
export const cyd: Party = { id: id(0xa2), name: 'cyd' };

export function id(number: number): string {
  return `019a5b00-1234-7abc-8def-${number.toString(16).padStart(12, '0')}`;
}

export const NOBODY: ReadonlySet<number> = new Set();
export const NOW = 1_790_000_000_000;
export const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
export const numbersTo = (most: number, from = 1) =>
  Array.from({ length: most - from + 1 }, (_none, index) => from + index);

/** A message of ada to bob, unless told otherwise. */
export const outgoing = (message: number, more: Partial<Outgoing> = {}): Outgoing => ({
  ns: NS,
  from: ada,
  copies: [{ id: id(message), to: bob, machine: THERE }],
  content: `content ${message}`,
  boot: BOOT,
  nowMs: NOW,
  ...more,
});

/** A message of bob to ada, unless told otherwise. */
export const incoming = (
  message: number,
  seq: number,
  more: Partial<Message> = {},
  around: { nowMs?: number; machine?: string; ns?: string } = {},
): Arrived<Message> => ({
  ns: NS,
  machine: THERE,
  nowMs: NOW,
  ...around,
  letter: {
    k: 'message',
    id: id(message),
    seq,
    from: bob,
    to: ada,
    content: `content ${message}`,
    sent_at: NOW,
    ...more,
  },
});
export const voided = (message: number, seq: number, more: Partial<Void> = {}): Arrived<Void> => ({
  ns: NS,
  machine: THERE,
  nowMs: NOW,
  letter: { k: 'void', id: id(message), seq, from: bob, to: ada, ...more },
});
export const unsending = (message: number, more: Partial<Unsend> = {}): Arrived<Unsend> => ({
  ns: NS,
  machine: THERE,
  nowMs: NOW,
  letter: { k: 'unsend', id: id(message), from: bob, to: ada, ...more },
});
/** What bob's machine says of a message of ada. */
export const receipt = (message: number, state: ReceiptState, more: Partial<Receipt> = {}): Receipt => ({
  v: 1,
  ns: NS,
  id: id(message),
  sender: ada.id,
  recipient: bob.id,
  state,
  at: NOW,
  by: THERE,
  ...more,
});

export interface At {
  world: () => MailStoreWorld;
  store: () => MailStore;
}

/** What the notice about a message says, who is told, and who hears of it at once. */
export async function noticesOf(store: MailStore, agent = ada) {
  const records = (await store.history(agent.id, 1_000)).toReversed();
  return records.flatMap(({ notice, status }) =>
    notice ? [{ kind: notice.kind, about: notice.about, status }] : [],
  );
}
/** The notices that exist about a message, as a settlement or receipt that brought them tells them. */
export async function releasedOf(store: MailStore, message: number, agent = ada) {
  const records = (await store.history(agent.id, 1_000)).toReversed();
  return records
    .filter(({ notice }) => notice?.about === id(message))
    .map(({ message: { id: messageId } }) => ({ agent: agent.id, messageId }));
}
/** States told by the receipts that wait for a machine, letter by letter, after their signatures were checked. */
export async function receiptsFor(store: MailStore, machine = THERE) {
  return (await outboxOf(store, machine)).flatMap(({ letter }) =>
    letter.k === 'receipts' ? [letter.receipts.map((bytes) => verifyReceipt(bytes))] : [],
  );
}
export const statusOf = async (store: MailStore, message: number, agent = ada) =>
  (await store.find(agent.id, id(message)))?.status;
export const pendingOf = async (store: MailStore, agent = ada) =>
  (await store.pending(agent.id, 1_000)).map(({ message }) => message.content);
export const outboxOf = (store: MailStore, machine = THERE) =>
  store.outboxPage(machine, 0, 1_000, 1_000_000_000);
/** The state that the receipt for an arrival tells, after its signature and its names were checked. */
export function stateOf(
  received: Received | { state: ReceiptState; receipt: Uint8Array },
  arrival: Arrived<Message | Void | Unsend>,
): ReceiptState {
  if (!('receipt' in received)) throw new Error(`not taken: ${received.code}`);
  const said = verifyReceipt(received.receipt);
  const { letter, ns, nowMs } = arrival;
  expect(said).toEqual({
    v: 1,
    by: HERE.peerId,
    ns,
    id: letter.id,
    sender: letter.from.id,
    recipient: letter.to.id,
    state: said.state,
    ...('epoch' in letter && { line: letter.epoch }),
    at: nowMs,
    ...(said.epoch === undefined ? {} : { epoch: said.epoch }),
  });
  return said.state;
}
export const receive = async (store: MailStore, arrival: Arrived<Message | Void>) => {
  const received = await store.receive(arrival);
  if (!received.taken) return received.code;
  return { state: stateOf(received, arrival), released: received.released.map(({ messageId }) => messageId) };
};
