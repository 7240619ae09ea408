import { codecDamages, shapeDamages } from './damages.ts';
import { AT, id, invalid, valid } from './material.ts';
import { hex, item } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Letters, as envelopes carry them. */

export const frontend = { id: id(0xa0), name: 'frontend' };
export const backend = { id: id(0xa1), name: 'backend' };
export const message = {
  k: 'message',
  id: id(0x10),
  seq: 1,
  from: frontend,
  to: backend,
  content: 'Zahlen, слова, 言葉 \u{1F44B}',
  sent_at: AT,
};
export const fullMessage = {
  ...message,
  seq: 4_294_967_296,
  thread: { slug: 'auth-migration', root: id(0x0f) },
  reply_to: id(0x0e),
  resolve: true,
  group: id(0x0d),
};
export const voidLetter = { k: 'void', id: id(0x11), seq: 2, from: frontend, to: backend };
const unsend = { k: 'unsend', id: id(0x10), from: frontend, to: backend };
const doubts = { k: 'doubts', messages: [{ id: id(0x10), from: frontend.id, to: backend.id }] };
const told = { k: 'told', messages: [{ id: id(0x10), to: backend.id, state: 'read' }] };
export const LETTERS: [string, Record<string, unknown>, string[]?][] = [
  ['message', message],
  ['message with everything', fullMessage, ['thread', 'reply_to', 'resolve', 'group']],
  ['message without content', { ...message, content: '', resolve: true }, ['resolve']],
  ['void', voidLetter],
  ['unsend', unsend],
  ['receipts', { k: 'receipts', receipts: [hex('0102'), hex('')] }],
  ['message of an epoch', { ...message, epoch: AT, again: true }, ['epoch', 'again']],
  ['message marked info', { ...message, urgency: 'info' }, ['urgency']],
  ['message marked steer', { ...message, urgency: 'steer' }, ['urgency']],
  ['void of an epoch', { ...voidLetter, epoch: 1 }, ['epoch']],
  ['doubts', doubts],
  ['told', told],
];
const BAD_LETTERS: [string, Record<string, unknown>][] = [
  ['a kind nobody knows', { ...voidLetter, k: 'order' }],
  ['sequence number 0', { ...message, seq: 0 }],
  ['an id in upper case', { ...message, id: id(0x10).toUpperCase() }],
  ['an id of version 4', { ...message, id: '019a5b00-1234-4abc-8def-000000000010' }],
  ['an id without dashes', { ...message, id: id(0x10).replaceAll('-', '') }],
  ['a sender with an unknown key', { ...message, from: { ...frontend, admin: true } }],
  ['a sender without a name', { ...message, from: { id: frontend.id, name: '' } }],
  [
    'a sender with a name of 121 characters',
    { ...message, from: { id: frontend.id, name: 'a'.repeat(121) } },
  ],
  ['a sender with a line break in its name', { ...message, from: { id: frontend.id, name: 'a\n' } }],
  ['a thread without a slug', { ...fullMessage, thread: { slug: '', root: id(1) } }],
  ['a thread slug of 121 characters', { ...fullMessage, thread: { slug: 'a'.repeat(121), root: id(1) } }],
  ['a thread without a root', { ...fullMessage, thread: { slug: 'a' } }],
  ['resolve false', { ...fullMessage, resolve: false }],
  ['a time after the end of dates', { ...message, sent_at: 8_640_000_000_000_001 }],
  ['no receipts', { k: 'receipts', receipts: [] }],
  ['101 receipts', { k: 'receipts', receipts: Array.from({ length: 101 }, () => hex('00')) }],
  ['urgency normal, which is not said', { ...message, urgency: 'normal' }],
  ['an urgency that is none', { ...message, urgency: 'now' }],
  ['a void with an urgency', { ...voidLetter, urgency: 'steer' }],
  ['epoch 0', { ...message, epoch: 0 }],
  ['an epoch after the last', { ...voidLetter, epoch: 2 ** 48 + 1 }],
  ['no doubts', { ...doubts, messages: [] }],
  ['101 doubts', { ...doubts, messages: Array.from({ length: 101 }, () => doubts.messages[0]) }],
  ['a doubt without its sender', { ...doubts, messages: [{ id: id(0x10), to: backend.id }] }],
  ['told a state that is none', { ...told, messages: [{ ...told.messages[0], state: 'lost' }] }],
  ['told nothing', { ...told, messages: [] }],
  ['a void with content', { ...voidLetter, content: 'x' }],
  ['an unsend with a sequence number', { ...unsend, seq: 1 }],
];

export function letterVectors(): Vector[] {
  return [
    ...LETTERS.map(([name, letter]) => valid(name, item(letter), letter)),
    ...codecDamages(voidLetter).map(([name, bytes]) => invalid(name, bytes, 'frame_malformed')),
    ...LETTERS.slice(1).flatMap(([name, letter, optional]) =>
      shapeDamages(letter, optional).map(([what, damaged]) =>
        invalid(`${name}: ${what}`, item(damaged), 'frame_malformed'),
      ),
    ),
    ...BAD_LETTERS.map(([name, letter]) => invalid(name, item(letter), 'frame_malformed')),
  ];
}
