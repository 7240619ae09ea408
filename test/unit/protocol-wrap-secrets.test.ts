import { expect, test } from 'vitest';
import { z } from 'zod';
import { systemRandom } from '../../daemon/clock.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { hex } from '../../protocol/digest.ts';
import { openEnvelope, sealEnvelope } from '../../protocol/envelope.ts';
import type { Message } from '../../protocol/letter.ts';
import { signPrekey } from '../../protocol/prekey.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { WrapSecrets } from '../../protocol/wrap-secrets.ts';
import { xwingKey } from '../../protocol/xwing.ts';

/** One secret for some envelopes, and what must never come of it. */

const NS = 'cd'.repeat(32);
const [sender, owner] = [signerFromSeed(systemRandom.bytes(32)), signerFromSeed(systemRandom.bytes(32))];
const key = xwingKey(systemRandom.bytes(32));
const prekey = signPrekey({ seq: 1, key: key.publicKey, made_at: 0, valid_until: 1 }, owner);
const agent = (id: number, name: string) => ({
  id: `0190a5b0-0000-7000-8000-${String(id).padStart(12, '0')}`,
  name,
});

function message(seq: number, more: Partial<Message> = {}): Message {
  return {
    k: 'message',
    id: agent(seq, '').id,
    seq,
    from: agent(900, 'ada'),
    to: agent(901, 'bob'),
    content: 'hello',
    sent_at: 0,
    ...more,
  };
}

/** Seals the letters one after another, as for a link; answers their envelopes. */
function sealed(letters: Message[], wrapSecrets: WrapSecrets | undefined = new WrapSecrets()) {
  const bootSecret = systemRandom.bytes(32);
  const context = { signer: sender, randomBytes: systemRandom.bytes, bootSecret, wrapSecrets };
  return letters.map((letter) => sealEnvelope(NS, prekey, letter, context));
}

const zParts = z.record(z.string(), z.instanceof(Uint8Array));
const partsOf = (envelope: Uint8Array) => zParts.parse(decode(envelope));
const zWrap = z.looseObject({ kem: z.instanceof(Uint8Array) });
const secretsIn = (envelopes: Uint8Array[]) =>
  envelopes.map((envelope) => hex(zWrap.parse(decode(partsOf(envelope)['wrap']!)).kem));
const opened = (envelope: Uint8Array, own = key) => openEnvelope(envelope, owner.peerId, () => own).letter;

test('16 envelopes share one, the next has another; all open, in any order, also by a key that starts anew', () => {
  const letters = Array.from({ length: 20 }, (_none, at) => message(at + 1));
  const envelopes = sealed(letters);
  const secrets = secretsIn(envelopes);
  expect(new Set(secrets.slice(0, 16)).size).toBe(1);
  expect(new Set(secrets.slice(16)).size).toBe(1);
  expect(secrets[16]).not.toBe(secrets[0]);
  const order = envelopes.map((envelope, at) => ({ envelope, letter: letters[at]! })).reverse();
  for (const { envelope, letter } of order) expect(opened(envelope)).toEqual(letter);
});

test('what has the same head gets another: two plaintexts under one key would give both away', () => {
  const copy = { group: agent(800, '').id, content: 'to all' };
  const envelopes = sealed([message(1, copy), message(2, { ...copy, to: agent(902, 'cid') }), message(3)]);
  const secrets = secretsIn(envelopes);
  expect(secrets[1]).not.toBe(secrets[0]);
  expect(secrets[2]).toBe(secrets[1]);
  const [first, again] = secretsIn(sealed([message(1), message(1)]));
  expect(again).not.toBe(first);
});

test('an envelope that others carry shares none', () => {
  const bootSecret = systemRandom.bytes(32);
  const context = { signer: sender, randomBytes: systemRandom.bytes, bootSecret };
  const envelopes = [1, 2, 3].map((seq) => sealEnvelope(NS, prekey, message(seq), context));
  expect(new Set(secretsIn(envelopes)).size).toBe(3);
});

test('a wrap does not open another envelope under the same secret', () => {
  const [one, other] = sealed([message(1), message(2, { content: 'other' })]);
  const mixed = { ...partsOf(one!), wrap: partsOf(other!)['wrap'] };
  expect(() => opened(encode(mixed))).toThrow(expect.objectContaining({ code: 'envelope_invalid' }));
});
