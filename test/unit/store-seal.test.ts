import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { createRecordSeal } from '../../daemon/store/record-seal.ts';

const seal = createRecordSeal(new Uint8Array(32).fill(7), systemRandom.bytes);
const KEY = 'history/019a5b00-1234-7abc-8def-0000000000a0/000000000001';
const VALUE = { content: 'the quick brown fox', list: [1, true, null], bytes: Uint8Array.of(0, 255) };
const damaged = expect.objectContaining({ name: 'PatchcordError', code: 'store_damaged' });

describe('the record seal', () => {
  test('opens what it sealed, each time under another nonce', () => {
    const [one, other] = [seal.seal(KEY, VALUE), seal.seal(KEY, VALUE)];
    expect(seal.open(KEY, one)).toEqual(VALUE);
    expect(seal.open(KEY, other)).toEqual(VALUE);
    expect(Buffer.compare(one, other)).not.toBe(0);
    expect(Buffer.from(one).includes('brown')).toBe(false);
  });

  test.for([null, true, 0, -1, '', [], {}, new Uint8Array(0), Number.MAX_SAFE_INTEGER, 'x'.repeat(100_000)])(
    'carries a value (%#)',
    (value) => {
      expect(seal.open(KEY, seal.seal(KEY, value))).toEqual(value);
    },
  );

  test('any flipped bit is noticed', () => {
    const sealed = seal.seal(KEY, VALUE);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const flipped = new Uint8Array(sealed);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => seal.open(KEY, flipped), `bit ${bit}`).toThrow(damaged);
    }
  });

  test('any length but its own is noticed', () => {
    const sealed = new Uint8Array(seal.seal(KEY, VALUE));
    for (let length = 0; length < sealed.length; length++) {
      expect(() => seal.open(KEY, sealed.subarray(0, length)), `cut to ${length}`).toThrow(damaged);
      const rest = sealed.subarray(length + 1);
      expect(() => seal.open(KEY, rest), `without its first ${length + 1}`).toThrow(damaged);
    }
    expect(() => seal.open(KEY, new Uint8Array([...sealed, 0]))).toThrow(damaged);
    expect(() => seal.open(KEY, new Uint8Array([...sealed, ...sealed]))).toThrow(damaged);
  });

  test.for([
    KEY.slice(0, -1),
    `${KEY}1`,
    KEY.replace('history', 'pending'),
    KEY.toUpperCase(),
    '',
    ` ${KEY}`,
  ])('a record moved to %j is noticed', (key) => {
    const sealed = seal.seal(KEY, VALUE);
    expect(() => seal.open(key, sealed)).toThrow(
      expect.objectContaining({ code: 'store_damaged', message: expect.stringContaining(key) }),
    );
  });

  test('a record of another store is noticed', () => {
    const other = createRecordSeal(new Uint8Array(32).fill(8), systemRandom.bytes);
    expect(() => other.open(KEY, seal.seal(KEY, VALUE))).toThrow(damaged);
  });
});
