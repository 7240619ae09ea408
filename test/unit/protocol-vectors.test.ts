import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { formatAddress, parseAddress, type Address } from '../../protocol/address.ts';
import { decode } from '../../protocol/codec.ts';
import { openEnvelope, sealEnvelope, type Opened } from '../../protocol/envelope.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { encodeFrame, FrameReader, type Frame } from '../../protocol/frame.ts';
import { parseId } from '../../protocol/ids.ts';
import { encodeLetter, parseLetter, type Letter } from '../../protocol/letter.ts';
import { readStatement, signStatement, type Statement } from '../../protocol/membership.ts';
import { readPrekey, signPrekey, supersedes, type Prekey } from '../../protocol/prekey.ts';
import { signReceipt, verifyReceipt, type Receipt } from '../../protocol/receipt.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import {
  decodeJoinAnswer,
  decodeJoinRequest,
  encodeJoin,
  formatTicket,
  parseTicket,
  type JoinAnswer,
  type JoinRequest,
  type Ticket,
} from '../../protocol/ticket.ts';
import { xwingKey } from '../../protocol/xwing.ts';
import { bytesOf, fromJson, toJson, type Vector, type VectorFile } from '../vectors/vector.ts';

interface Format {
  /** The decoded value; throws PatchcordError. */
  decode(input: Uint8Array & string, vector: Vector): unknown;
  /** The bytes or the text that the value encodes to. */
  encode(value: never, vector: Vector, signer: (name?: string) => Signer): Uint8Array | string;
  /** Every encoding is another: what it encodes to is decoded again instead of compared. */
  random?: true;
}

/** What each file is about. */
const FORMATS: Record<string, Format> = {
  frame: {
    decode(bytes) {
      const frames = new FrameReader().push(bytes);
      expect(frames).toHaveLength(1);
      return frames[0];
    },
    encode: (frame: Frame) => encodeFrame(frame),
  },
  letter: { decode: (bytes) => parseLetter(decode(bytes)), encode: (letter: Letter) => encodeLetter(letter) },
  envelope: {
    decode: (bytes, vector) => openEnvelope(bytes, machines[vector.with!['self']!]!, prekeysOf(vector)),
    encode({ ns, prekey, letter }: Opened, vector, signer) {
      const key = prekeysOf(vector)(prekey)!.publicKey;
      const to = signPrekey({ seq: prekey, key, made_at: 0, valid_until: 1 }, signer(vector.with!['self']));
      const bootSecret = systemRandom.bytes(32);
      return sealEnvelope(ns, to, letter, { signer: signer(), randomBytes: systemRandom.bytes, bootSecret });
    },
    random: true,
  },
  prekey: {
    decode(bytes, vector) {
      const { bytes: _bytes, ...prekey } = takePrekey(bytes, vector);
      return prekey;
    },
    encode: ({ seq, key, made_at, valid_until }: Prekey, _vector, signer) =>
      signPrekey({ seq, key, made_at, valid_until }, signer()).bytes,
  },
  receipt: {
    decode: verifyReceipt,
    encode: (receipt: Receipt, _vector, signer) => signReceipt(receipt, signer()),
  },
  statement: {
    decode(bytes) {
      const { hash, statement } = readStatement(bytes);
      return { hash, statement };
    },
    encode: ({ statement }: { statement: Statement }, _vector, signer) =>
      signStatement(statement, signer()).bytes,
  },
  ticket: { decode: parseTicket, encode: (ticket: Ticket) => formatTicket(ticket) },
  'join-request': { decode: decodeJoinRequest, encode: (join: JoinRequest) => encodeJoin(join) },
  'join-answer': { decode: decodeJoinAnswer, encode: (join: JoinAnswer) => encodeJoin(join) },
  'message-id': { decode: (text) => parseId(text), encode: (id: string) => parseId(id) },
  address: {
    decode: (text) => parseAddress(text),
    encode: (address: Address) => formatAddress(address),
  },
  'record-seal': {
    decode: (bytes, vector) => sealOf(vector).open(vector.with!['key']!, bytes),
    encode: (value: unknown, vector) => sealOf(vector).seal(vector.with!['key']!, value),
  },
};

const machines = Object.fromEntries(
  Object.entries(readVectors('envelope').seeds!).map(([name, seed]) => [
    name,
    signerFromSeed(new Uint8Array(Buffer.from(seed, 'hex'))).peerId,
  ]),
);

/** The private prekeys that the vector's recipient keeps: one seed, under each of its sequences. */
function prekeysOf(vector: Vector) {
  const { seed, kept } = vector.with!;
  const key = xwingKey(new Uint8Array(Buffer.from(seed!, 'hex')));
  return (seq: number) => (kept!.split(' ').includes(String(seq)) ? key : undefined);
}

/** Reads a prekey, and takes it only if it does not go back behind the one that is held. */
function takePrekey(bytes: Uint8Array, vector: Vector): Prekey {
  const prekey = readPrekey(bytes);
  const held = vector.with?.['held'];
  const before = held === undefined ? undefined : readPrekey(bytesOf(held));
  if (supersedes(before, prekey) === 'refused') throw new PatchcordError('prekey_refused', 'Older.');
  return prekey;
}

/** A seal that draws the nonce of the vector's own bytes. */
function sealOf(vector: Vector) {
  const nonce = bytesOf(vector.bytes!).subarray(1, 13);
  return createRecordSeal(new Uint8Array(Buffer.from(vector.with!['storeKey']!, 'hex')), () => nonce);
}

function readVectors(name: string): VectorFile {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as VectorFile;
}

function inputOf(vector: Vector): Uint8Array & string {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (vector.text ?? bytesOf(vector.bytes!)) as Uint8Array & string;
}

function codeOf(action: () => unknown): string {
  try {
    action();
    return 'accepted';
  } catch (error) {
    return asPatchcordError(error).code;
  }
}

const hex = (bytes: Uint8Array | string) =>
  typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('hex');

describe.for(Object.entries(FORMATS))('vectors of %s', ([name, format]) => {
  const file = readVectors(name);
  const accepted = file.cases.filter((vector) => vector.error === undefined);
  const refused = file.cases.filter((vector) => vector.error !== undefined);

  test('there are both kinds, each under a name of its own', () => {
    expect(accepted.length).toBeGreaterThan(0);
    expect(refused.length).toBeGreaterThan(0);
    expect(new Set(file.cases.map((vector) => vector.name)).size).toBe(file.cases.length);
  });

  test.for(accepted)('$name', (vector) => {
    const value = format.decode(inputOf(vector), vector);
    expect(toJson(value)).toEqual(vector.value);
    expect(Object.getPrototypeOf(value)).not.toBeNull();
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const again = format.encode(fromJson(vector.value) as never, vector, (signer) =>
      signerFromSeed(new Uint8Array(Buffer.from(file.seeds![signer ?? vector.with!['signer']!]!, 'hex'))),
    );
    const canonical = typeof vector.value === 'string' ? vector.value : (vector.text?.trim() ?? vector.bytes);
    const encoded = name === 'address' ? String(canonical).replace(/ /g, '').toLowerCase() : canonical;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const input = again as Uint8Array & string;
    expect(format.random ? toJson(format.decode(input, vector)) : hex(again)).toEqual(
      format.random ? vector.value : encoded,
    );
  });

  test.for(refused)('$name is refused', (vector) => {
    expect(codeOf(() => format.decode(inputOf(vector), vector))).toBe(vector.error);
  });
});
