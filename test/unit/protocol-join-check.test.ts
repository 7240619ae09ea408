import { hash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JOIN_NONCE_SIZE_BYTES, joinCheckCode, joinCommitment } from '../../protocol/join-check.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

const peer = (byte: number) => signerFromSeed(new Uint8Array(32).fill(byte)).peerId;
const [alice, bob, carol] = [peer(1), peer(2), peer(3)];
const nonce = fc.uint8Array({ minLength: JOIN_NONCE_SIZE_BYTES, maxLength: JOIN_NONCE_SIZE_BYTES });
const join = fc.record({
  ns: fc.constantFrom('a'.repeat(64), 'b'.repeat(64)),
  inviter: fc.constantFrom(alice, bob),
  joiner: fc.constantFrom(bob, carol),
  inviterNonce: nonce,
  joinerNonce: nonce,
});
type Join = Parameters<typeof joinCheckCode>[0];

const one: Join = {
  ns: 'a'.repeat(64),
  inviter: alice,
  joiner: bob,
  inviterNonce: new Uint8Array(32).fill(1),
  joinerNonce: new Uint8Array(32).fill(2),
};
const flippedAt = (bytes: Uint8Array, bit: number) =>
  Uint8Array.from(bytes, (byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
const numbered = (number: number) => {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
};

describe('the digits', () => {
  test('are six, and the same on both sides', () => {
    const property = fc.property(join, (given) => {
      expect(joinCheckCode(given)).toMatch(/^[0-9]{6}$/);
      expect(joinCheckCode({ ...given, joinerNonce: new Uint8Array(given.joinerNonce) })).toBe(
        joinCheckCode(given),
      );
    });
    fc.assert(property);
  });

  test.for<[string, Partial<Join>]>([
    ['namespace', { ns: 'b'.repeat(64) }],
    ['inviter', { inviter: carol }],
    ['joiner', { joiner: carol }],
    ['sides', { inviter: one.joiner, joiner: one.inviter }],
    ['nonces', { inviterNonce: one.joinerNonce, joinerNonce: one.inviterNonce }],
  ])('are others for another %s', ([, more]) => {
    expect(joinCheckCode({ ...one, ...more })).not.toBe(joinCheckCode(one));
  });

  test.for(['inviterNonce', 'joinerNonce'] as const)('depend on every bit of %s', (side) => {
    const codes = Array.from({ length: 256 }, (_none, bit) =>
      joinCheckCode({ ...one, [side]: flippedAt(one[side], bit) }),
    );
    // Fixed inputs: no two of these 257 happen to meet.
    expect(new Set([...codes, joinCheckCode(one)]).size).toBe(257);
  });

  test('are spread evenly', () => {
    const count = 50_000;
    const perPlace = Array.from({ length: 6 }, () => Array.from({ length: 10 }, () => 0));
    for (let index = 0; index < count; index++) {
      const code = joinCheckCode({ ...one, joinerNonce: numbered(index) });
      for (const [place, digits] of perPlace.entries()) digits[Number(code[place])]!++;
    }
    // 5,000 of each digit in each place, give or take five times the standard deviation of 67.
    for (const digits of perPlace)
      for (const found of digits) expect(Math.abs(found - count / 10)).toBeLessThan(336);
  });
});

describe('the commitment', () => {
  test('is 32 bytes, of the nonce alone, and no other nonce has it', () => {
    const property = fc.property(nonce, nonce, (a, b) => {
      expect(joinCommitment(a)).toHaveLength(32);
      expect(Buffer.compare(joinCommitment(a), joinCommitment(b)) === 0).toBe(Buffer.compare(a, b) === 0);
    });
    fc.assert(property);
    const codes = new Set(
      Array.from({ length: 256 }, (_none, bit) =>
        Buffer.from(joinCommitment(flippedAt(one.joinerNonce, bit))).toString('hex'),
      ),
    );
    expect(codes.size).toBe(256);
  });

  test('is not the nonce, nor a plain hash that another purpose could have', () => {
    const commitment = Buffer.from(joinCommitment(one.joinerNonce)).toString('hex');
    const plain = hash('sha256', one.joinerNonce, 'hex');
    expect([commitment === plain, commitment === Buffer.from(one.joinerNonce).toString('hex')]).toEqual([
      false,
      false,
    ]);
  });
});
