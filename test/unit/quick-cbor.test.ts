import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode, decodeByLibrary, encode, encodeByLibrary } from '../../protocol/codec.ts';
import { quickDecode, quickEncode } from '../../protocol/quick-cbor.ts';

const leaf = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer(),
  fc.constantFrom(0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, -(2 ** 32), -24, -25),
  fc.string({ unit: 'binary' }),
  fc.string({ maxLength: 100 }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 300 }),
);
const name = fc.string({ unit: 'grapheme-ascii' }).filter((text) => text !== '__proto__');
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value')),
    fc.dictionary(name, tie('value'), { noNullPrototype: true }),
  ),
}));

/** What the library reads, if these are just the bytes that it writes for that. */
function libraryReads(bytes: Uint8Array): unknown {
  try {
    return decodeByLibrary(bytes);
  } catch {
    return 'malformed';
  }
}

describe('usual CBOR', () => {
  test('is written as the library writes it, and read back', () => {
    fc.assert(
      fc.property(value, (one) => {
        const bytes = quickEncode(one)!;
        expect(Buffer.compare(bytes, encodeByLibrary(one))).toBe(0);
        expect(quickDecode(bytes) ?? libraryReads(bytes)).toEqual(one);
      }),
      { numRuns: 2_000 },
    );
  });

  test('with one byte changed or cut off is read as the library reads it, or left to it', () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.nat(255), fc.boolean(), (one, place, byte, isCut) => {
        const whole = encode(one).slice();
        const at = place % whole.length;
        whole[at] = byte;
        const bytes = isCut ? whole.subarray(0, at) : whole;
        const said = libraryReads(bytes);
        expect(quickDecode(bytes) ?? said).toEqual(said);
      }),
      { numRuns: 5_000 },
    );
  });

  test('of any bytes at all is read as the library reads it, or left to it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 12 }), (bytes) => {
        const said = libraryReads(bytes);
        expect(quickDecode(bytes) ?? said).toEqual(said);
      }),
      { numRuns: 20_000 },
    );
  });
});

test.for<[what: string, value: unknown]>([
  ['fractions', 1.5],
  ['numbers that are not exact', 2 ** 60],
  ['names that are not ASCII', { ü: 1 }],
  ['objects of a class', new Date(0)],
  ['a list with a hole', [undefined]],
  ['nothing', undefined],
  ['nesting of 40', Array.from({ length: 40 }).reduce<unknown>((inner) => [inner], 0)],
])('%s are left to the library', ([, one]) => {
  expect(quickEncode(one)).toBeUndefined();
});

test.for<[what: string, hex: string]>([
  ['a long head', '1800'],
  ['a longer one', '1b00000000ffffffff'],
  ['an indefinite length', '9f01ff'],
  ['a tag', 'c100'],
  ['undefined', 'f7'],
  ['names in another order', 'a2616201616102'],
  ['a name twice', 'a2616101616102'],
  ['a name that is no text', 'a10101'],
  ['__proto__', 'a1695f5f70726f746f5f5ff5'],
  ['text that is no UTF-8', '62c328'],
  ['half of a surrogate pair', '63eda080'],
  ['what ends too early', '8201'],
  ['a list longer than memory', '9b001fffffffffffff'],
  ['bytes longer than memory', '5b001fffffffffffff'],
  ['more than one value', '0000'],
  ['nothing', ''],
])('%s is not read', ([, hex]) => {
  expect(quickDecode(Buffer.from(hex, 'hex'))).toBeUndefined();
});

test('what was written stays when something else is written, also what is longer than usual', () => {
  const first = encode({ a: 'x'.repeat(200_000) });
  const copy = first.slice();
  encode({ b: 'y'.repeat(300_000) });
  encode([1, 2, 3]);
  expect(Buffer.compare(first, copy)).toBe(0);
  expect(decode(first)).toEqual({ a: 'x'.repeat(200_000) });
});
