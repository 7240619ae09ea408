import { DATAGRAM_SIZE_BYTES_MAX } from '../limits.ts';
import { TAG_LENGTH } from './announcement.ts';

/**
 * Multicast DNS (RFC 6762) as far as it is spoken here: a question for the TXT record `_TAG._udp.local`, or an answer
 * that is one such record. Everything that another program on the port says is read no further than the first byte
 * that differs. Names are never compressed, so there is nothing to follow.
 */
export type Datagram = { k: 'question'; tag: string } | { k: 'answer'; tag: string; box: Uint8Array };

const QUESTION_HEAD = Buffer.from('000000000001000000000000', 'hex');
/** A response, authoritative, with one answer (RFC 6762 section 18). */
const ANSWER_HEAD = Buffer.from('000084000000000100000000', 'hex');
const NAME_END = Buffer.from('\x04_udp\x05local\x00', 'latin1');
/** TXT, class IN. Others answer for the same name, so no record flushes what is cached (RFC 6762 section 10.2). */
const TXT_IN = Buffer.from('00100001', 'hex');
/** Seconds that others may keep it; nobody here does. */
const TTL = Buffer.from('00000078', 'hex');
/** A string in a TXT record (RFC 1035 section 3.3.14). */
const STRING_SIZE_BYTES_MAX = 255;

const NAME_AT = QUESTION_HEAD.length;
const TYPE_AT = NAME_AT + 2 + TAG_LENGTH + NAME_END.length;
const DATA_AT = TYPE_AT + TXT_IN.length + TTL.length + 2;

export function encodeQuestion(tag: string): Uint8Array {
  return Buffer.concat([QUESTION_HEAD, nameOf(tag), TXT_IN]);
}

/** Whether it fits is the caller's to see to: a box of at most 1,100 bytes does. */
export function encodeAnswer(tag: string, box: Uint8Array): Uint8Array {
  const strings: Uint8Array[] = [];
  for (let at = 0; at < box.length; at += STRING_SIZE_BYTES_MAX) {
    const string = box.subarray(at, at + STRING_SIZE_BYTES_MAX);
    strings.push(Uint8Array.of(string.length), string);
  }
  const data = Buffer.concat(strings);
  const size = Buffer.alloc(2);
  size.writeUInt16BE(data.length);
  return Buffer.concat([ANSWER_HEAD, nameOf(tag), TXT_IN, TTL, size, data]);
}

/** Undefined for everything that is not exactly what the two functions above write. */
export function parseDatagram(bytes: Uint8Array): Datagram | undefined {
  if (bytes.length > DATAGRAM_SIZE_BYTES_MAX || bytes.length < TYPE_AT + TXT_IN.length) return undefined;
  const isAnswer = holds(bytes, 0, ANSWER_HEAD);
  if (!isAnswer && !holds(bytes, 0, QUESTION_HEAD)) return undefined;
  const tag = tagIn(bytes);
  if (tag === undefined || !holds(bytes, TYPE_AT, TXT_IN)) return undefined;
  if (!isAnswer) return bytes.length === TYPE_AT + TXT_IN.length ? { k: 'question', tag } : undefined;
  const box = boxIn(bytes);
  return box && { k: 'answer', tag, box };
}

function nameOf(tag: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(1 + TAG_LENGTH), Buffer.from(`_${tag}`, 'latin1'), NAME_END]);
}

function tagIn(bytes: Uint8Array): string | undefined {
  if (bytes[NAME_AT] !== 1 + TAG_LENGTH || bytes[NAME_AT + 1] !== 0x5f) return undefined;
  const start = NAME_AT + 2;
  if (!holds(bytes, start + TAG_LENGTH, NAME_END)) return undefined;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, TAG_LENGTH).toString('latin1');
}

/** The strings of the record, joined: all are full but the last. */
function boxIn(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < DATA_AT || !holds(bytes, TYPE_AT + TXT_IN.length, TTL)) return undefined;
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint16(DATA_AT - 2);
  if (size === 0 || bytes.length !== DATA_AT + size) return undefined;
  const strings: Uint8Array[] = [];
  for (let at = DATA_AT; at < bytes.length;) {
    const length = bytes[at]!;
    const end = at + 1 + length;
    const isLast = end === bytes.length;
    if (length === 0 || (!isLast && (length !== STRING_SIZE_BYTES_MAX || end > bytes.length))) {
      return undefined;
    }
    strings.push(bytes.subarray(at + 1, end));
    at = end;
  }
  return Buffer.concat(strings);
}

function holds(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  if (bytes.length < at + part.length) return false;
  for (let index = 0; index < part.length; index++) if (bytes[at + index] !== part[index]) return false;
  return true;
}
