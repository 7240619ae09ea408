import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';
import { formatAddress, parseAddress, type Address } from '../../protocol/address.ts';
import { decode } from '../../protocol/codec.ts';
import { openEnvelope, sealEnvelope, type Opened } from '../../protocol/envelope.ts';
import { openAnnouncement, sealAnnouncement, tagOf } from '../../protocol/discovery/announcement.ts';
import { encodeAnswer, encodeQuestion, parseDatagram } from '../../protocol/discovery/datagram.ts';
import { openRecord, recordProtocol, sealRecord } from '../../protocol/discovery/record.ts';
import { readWhereabouts, signWhereabouts, type Whereabouts } from '../../protocol/discovery/whereabouts.ts';
import { asPatchcordError, PatchcordError } from '../../protocol/errors.ts';
import { encodeFrame, FrameReader, type Frame } from '../../protocol/frame.ts';
import { parseId } from '../../protocol/ids.ts';
import {
  decodeRelayAnswer,
  decodeRelayRequest,
  encodeRelay,
  type RelayAnswer,
  type RelayRequest,
} from '../../protocol/relaying.ts';
import { joinCheckCode, joinCommitment } from '../../protocol/join-check.ts';
import { encodeLetter, parseLetter, type Letter } from '../../protocol/letter.ts';
import { checkpointHolds } from '../../protocol/membership/checkpoint.ts';
import { addStatements, counts, heads, openLog, type NamespaceLog } from '../../protocol/membership/log.ts';
import { agreedOrder } from '../../protocol/membership/order.ts';
import { readStatement, signStatement, type Statement } from '../../protocol/membership/statement.ts';
import { readPrekey, signPrekey, supersedes, type Prekey } from '../../protocol/prekey.ts';
import {
  decodeMeetAnswer,
  decodeMeetRequest,
  decodePunchAnswer,
  decodePunchRequest,
  encodePunching,
  type MeetAnswer,
  type MeetRequest,
  type PunchAnswer,
  type PunchRequest,
} from '../../protocol/punching.ts';
import { signReceipt, verifyReceipt, type Receipt } from '../../protocol/receipt.ts';
import { openShared, sealShared, type Shared } from '../../protocol/shared.ts';
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
import { checkEnvelope } from '../vectors/check-envelope.ts';
import { seedOf } from '../vectors/material.ts';
import type { LogCase } from '../vectors/log-story.ts';
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
  shared: {
    decode: (bytes, vector) => openShared(bytes, placeOf(vector), keyOf(vector)),
    encode(shared: Shared, vector) {
      const salt = bytesOf(vector.bytes!).subarray(0, 32);
      return sealShared(shared, placeOf(vector), keyOf(vector), () => salt);
    },
  },
  whereabouts: {
    decode(bytes) {
      const { bytes: _bytes, ...said } = readWhereabouts(bytes, () => true)!;
      return said;
    },
    encode: ({ machine, at, addresses }: Whereabouts, _vector, signer) =>
      signWhereabouts(
        addresses.map((address) => address.slice(0, -`/p2p/${machine}`.length)),
        at,
        signer(),
      ).bytes,
  },
  datagram: {
    decode(bytes, vector) {
      const circle = { ns: vector.with!['ns']!, epoch: Number(vector.with!['epoch']), key: keyOf(vector) };
      const datagram = parseDatagram(bytes);
      const content = datagram?.k === 'answer' ? openAnnouncement(datagram.box, circle) : undefined;
      if (datagram?.tag === tagOf(circle) && datagram.k === 'question') return { k: 'question' };
      if (datagram?.tag === tagOf(circle) && content) return { k: 'answer', content };
      throw new PatchcordError('frame_malformed', 'Nothing for this circle.');
    },
    encode(said: { k: string; content?: Uint8Array }, vector) {
      const circle = { ns: vector.with!['ns']!, epoch: Number(vector.with!['epoch']), key: keyOf(vector) };
      if (!said.content) return encodeQuestion(tagOf(circle));
      const salt = seedOf(0x45);
      return encodeAnswer(
        tagOf(circle),
        sealAnnouncement(said.content, circle, () => salt),
      );
    },
  },
  record: {
    decode(value, vector) {
      const { ns, epoch, place, member } = vector.with!;
      const circle = { ns: ns!, epoch: Number(epoch), key: keyOf(vector) };
      const record = { key: new TextEncoder().encode(place), value };
      const { machine, at, addresses } = openRecord(record, circle, (one) => one === member);
      return { protocol: recordProtocol(circle), machine, at, addresses };
    },
    encode({ machine, at, addresses }: Whereabouts, vector, signer) {
      const circle = { ns: vector.with!['ns']!, epoch: Number(vector.with!['epoch']), key: keyOf(vector) };
      const bare = addresses.map((address) => address.slice(0, -`/p2p/${machine}`.length));
      return sealRecord(signWhereabouts(bare, at, signer()).bytes, circle, () => seedOf(0x45));
    },
  },
  ticket: { decode: parseTicket, encode: (ticket: Ticket) => formatTicket(ticket) },
  'join-request': { decode: decodeJoinRequest, encode: (join: JoinRequest) => encodeJoin(join) },
  'join-answer': { decode: decodeJoinAnswer, encode: (join: JoinAnswer) => encodeJoin(join) },
  'relay-request': {
    decode: decodeRelayRequest,
    encode: (request: RelayRequest) => encodeRelay(request),
  },
  'relay-answer': { decode: decodeRelayAnswer, encode: (answer: RelayAnswer) => encodeRelay(answer) },
  'meet-request': {
    decode: decodeMeetRequest,
    encode: (request: MeetRequest) => encodePunching(request),
  },
  'meet-answer': { decode: decodeMeetAnswer, encode: (answer: MeetAnswer) => encodePunching(answer) },
  'punch-request': {
    decode: decodePunchRequest,
    encode: (request: PunchRequest) => encodePunching(request),
  },
  'punch-answer': { decode: decodePunchAnswer, encode: (answer: PunchAnswer) => encodePunching(answer) },
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

/** Of which namespace and epoch a box is, and who says it. */
function placeOf({ with: given }: Vector) {
  return { ns: given!['ns']!, epoch: Number(given!['epoch']), from: given!['from']! };
}

function keyOf({ with: given }: Vector): Uint8Array {
  return bytesOf(given!['key']!);
}

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

function readVectors<F = VectorFile>(name: string): F {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion, typescript/no-unnecessary-type-parameters
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as F;
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

test.for(readVectors('join-check').cases)('vectors of join-check: $name', ({ bytes, with: given, value }) => {
  const joinerNonce = bytesOf(bytes!);
  const inviterNonce = bytesOf(given!['inviterNonce']!);
  const { ns, inviter, joiner } = given!;
  const code = joinCheckCode({ ns: ns!, inviter: inviter!, joiner: joiner!, inviterNonce, joinerNonce });
  expect(toJson({ commit: joinCommitment(joinerNonce), code })).toEqual(value);
});

describe('vectors of membership-log', () => {
  const { cases } = readVectors<{ cases: LogCase[] }>('membership-log');

  test.for(cases)('$name', (one) => {
    const all = one.statements.map((text) => readStatement(bytesOf(text)));
    const place = new Map(all.map(({ hash }, index) => [hash, index]));
    const { log, refused, waiting } = addStatements(openLog(all[0]!), all.slice(1));
    const placesOf = (list: readonly { hash: string }[]) =>
      list.map(({ hash }) => place.get(hash)!).sort(byNumber);
    expect(
      refused.map(({ hash, code }) => [place.get(hash), code]).sort(([a], [b]) => byNumber(a, b)),
    ).toEqual(one.refused ?? []);
    expect(placesOf(waiting)).toEqual(one.waiting ?? []);
    expect(factsOf(log, place)).toEqual(expectedOf(one));
    for (const [checkpoint, holds] of one.checkpoints ?? []) {
      expect(checkpointHolds(log, all[checkpoint]!.hash)).toBe(holds);
    }
  });

  test.for(cases)('$name, the last first', (one) => {
    const all = one.statements.map((text) => readStatement(bytesOf(text)));
    const place = new Map(all.map(({ hash }, index) => [hash, index]));
    let log = openLog(all[0]!);
    for (let round = 0; round < all.length; round++) {
      for (const signed of all.toReversed()) ({ log } = addStatements(log, [signed]));
    }
    expect(factsOf(log, place)).toEqual(expectedOf(one));
  });
});

const byNumber = (a: unknown, b: unknown) => Number(a) - Number(b);
const byText = ([a]: readonly unknown[], [b]: readonly unknown[]) => (String(a) < String(b) ? -1 : 1);

/** What a log says, statements by their place in the vector. */
function factsOf(log: NamespaceLog, place: ReadonlyMap<string, number>) {
  const { history } = log.inner;
  const hashes = [...agreedOrder(history)].map((position) => history.entries[position]!.signed.hash);
  const order = hashes.map((hash) => place.get(hash)!);
  const members = [...log.members.values()];
  return {
    order,
    void: hashes
      .filter((hash) => !counts(log, hash))
      .map((hash) => place.get(hash)!)
      .sort(byNumber),
    heads: heads(log)
      .map((hash) => place.get(hash)!)
      .sort(byNumber),
    namespace: log.name,
    members: members.map(({ peerId, role, label }) => [peerId, role, label]).sort(byText),
    removed: [...log.removed].map(([machine, { hash }]) => [machine, place.get(hash)]).sort(byText),
    claims: [...log.claims].map(([name, { agent, machine }]) => [name, agent, machine]).sort(byText),
    lost: log.lost.map(({ name, agent, machine, heldBy }) => [name, agent, machine, heldBy]).sort(byText),
    key: log.key ? { epoch: log.key.epoch, statement: place.get(log.key.hash) } : null,
    rekey_due: log.rekeyDue,
  };
}

function expectedOf(one: LogCase) {
  const { name: _name, statements: _, refused: __, waiting: ___, checkpoints: ____, ...facts } = one;
  return {
    ...facts,
    members: one.members.toSorted(byText),
    removed: one.removed.toSorted(byText),
    claims: one.claims.toSorted(byText),
    lost: one.lost.toSorted(byText),
  };
}

describe('test/vectors/check-envelope.ts', () => {
  const { cases, seeds } = readVectors('envelope');

  test.for(cases)('agrees on: $name', ({ bytes, with: given, error }) => {
    const kept = given!['kept']!.split(' ').map(Number);
    const seed = bytesOf(given!['seed']!);
    const self = machines[given!['self']!]!;
    const steps = checkEnvelope(bytesOf(bytes!), { self, seed, kept });
    expect(steps.every(({ ok }) => ok)).toBe(error === undefined);
    expect(Object.keys(seeds!)).toContain(given!['self']);
  });
});
