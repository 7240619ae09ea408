import { describe, expect, test } from 'vitest';
import { encode } from '../../protocol/codec.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { envelopeHash, signHeldReceipt, verifyHeldReceipt } from '../../protocol/held-receipt.ts';
import { signReceipt, verifyReceipt } from '../../protocol/receipt.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';
import { codecDamages, shapeDamages } from '../vectors/damages.ts';

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const keeper = signerFromSeed(new Uint8Array(32).fill(1));
const other = signerFromSeed(new Uint8Array(32).fill(2));
const NS = 'a'.repeat(64);
const CONTEXT = 'patchcord held receipt v1';
const envelope = envelopeHash(new Uint8Array([1, 2, 3]));
const body = { v: 1, ns: NS, envelope, by: keeper.peerId };
const good = signHeldReceipt({ ns: NS, envelope }, keeper);
const signed = (value: unknown, signer: Signer = keeper, context = CONTEXT): Uint8Array =>
  signedBytes(encode(value), signer, context);
const signedBytes = (bytes: Uint8Array, signer: Signer = keeper, context = CONTEXT): Uint8Array =>
  encode({ body: bytes, sig: signer.sign(context, bytes) });
const flipped = (bytes: Uint8Array, bit: number): Uint8Array =>
  bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));

describe('a held receipt', () => {
  test('is read as it was signed', () => {
    expect(verifyHeldReceipt(good)).toEqual(body);
    expect(good).toEqual(signed(body));
  });

  test('has these bytes', () => {
    expect(Buffer.from(envelope).toString('hex')).toBe(
      '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81',
    );
    expect(Buffer.from(envelopeHash(good)).toString('hex')).toBe(
      '0a53dcdbcc5a344d5bb5d185c2ee1543fb8ed9236eaa8cbbcbbac1913d4536c9',
    );
  });

  test('names neither sender nor message nor time', () => {
    expect(Object.keys(verifyHeldReceipt(good)).sort()).toEqual(['by', 'envelope', 'ns', 'v']);
  });

  test('does not hold with any bit of its signature flipped', () => {
    const bytes = encode(body);
    const sig = keeper.sign(CONTEXT, bytes);
    for (let bit = 0; bit < sig.length * 8; bit++) {
      const damaged = encode({ body: bytes, sig: flipped(sig, bit) });
      expect(() => verifyHeldReceipt(damaged)).toThrow(refusal('signature_invalid'));
    }
  });

  test('does not hold with any other bit flipped', () => {
    for (let bit = 0; bit < good.length * 8; bit++) {
      let thrown: unknown;
      try {
        verifyHeldReceipt(flipped(good, bit));
      } catch (error) {
        thrown = error;
      }
      expect(['frame_malformed', 'signature_invalid'], `bit ${bit}`).toContain(
        thrown instanceof PatchcordError && thrown.code,
      );
    }
  });

  test.for<[what: string, value: Record<string, unknown>]>([
    ['the namespace', { ...body, ns: 'b'.repeat(64) }],
    ['the envelope', { ...body, envelope: envelopeHash(new Uint8Array([1, 2, 4])) }],
    ['the machine', { ...body, by: other.peerId }],
  ])('does not hold for another value of %s', ([, value]) => {
    const sig = keeper.sign(CONTEXT, encode(body));
    expect(() => verifyHeldReceipt(encode({ body: encode(value), sig }))).toThrow(
      refusal('signature_invalid'),
    );
  });

  test.for<[what: string, bytes: Uint8Array]>([
    ['by another machine', signed(body, other)],
    ['of a receipt', signed(body, keeper, 'patchcord receipt v1')],
    ['of nothing', signed(body, keeper, '')],
    ['that is empty', encode({ body: encode(body), sig: new Uint8Array(0) })],
    ['that is too short', encode({ body: encode(body), sig: new Uint8Array(63) })],
    ['that is too long', encode({ body: encode(body), sig: new Uint8Array(65) })],
    ['of a machine whose id holds no key', signed({ ...body, by: `12D3KooW${'1'.repeat(44)}` })],
  ])('is refused with a signature %s', ([, bytes]) => {
    expect(() => verifyHeldReceipt(bytes)).toThrow(refusal('signature_invalid'));
  });

  test.for<[what: string, value: Record<string, unknown>]>([
    ...shapeDamages(body),
    ['another version', { ...body, v: 2 }],
    ['a namespace in upper case', { ...body, ns: 'A'.repeat(64) }],
    ['a namespace that is too long', { ...body, ns: `${NS}a` }],
    ['a hash that is too short', { ...body, envelope: envelope.subarray(1) }],
    ['a hash that is too long', { ...body, envelope: new Uint8Array(33) }],
    ['a machine that is none', { ...body, by: 'desk' }],
    ['a sender', { ...body, sender: other.peerId }],
    ['a time', { ...body, at: 1 }],
  ])('is refused, though signed, with %s', ([, value]) => {
    expect(() => verifyHeldReceipt(signed(value))).toThrow(refusal('frame_malformed'));
  });

  test.for(
    codecDamages(body).flatMap(([what, bytes]) =>
      bytes instanceof Uint8Array ? [[what, bytes] as const] : [],
    ),
  )('is refused when its body, or all of it, is %s', ([, bytes]) => {
    expect(() => verifyHeldReceipt(signedBytes(bytes))).toThrow(refusal('frame_malformed'));
    expect(() => verifyHeldReceipt(bytes)).toThrow(refusal('frame_malformed'));
  });

  test.for(shapeDamages({ body: encode(body), sig: keeper.sign(CONTEXT, encode(body)) }))(
    'is refused when what holds body and signature has %s',
    ([, value]) => {
      expect(() => verifyHeldReceipt(encode(value))).toThrow(refusal('frame_malformed'));
    },
  );

  test('is no receipt, and no receipt is one', () => {
    const id = '019a5b00-1234-7abc-8def-000000000001';
    const receipt = { ns: NS, id, sender: id, recipient: id, state: 'held', at: 1 } as const;
    expect(() => verifyHeldReceipt(signReceipt(receipt, keeper))).toThrow(refusal('frame_malformed'));
    expect(() => verifyReceipt(good)).toThrow(refusal('frame_malformed'));
  });
});
