import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decode, encode } from '../../protocol/codec.ts';
import * as standIn from '../sim/stand-ins/codec.ts';

const leaf = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer(),
  fc.string({ unit: 'binary' }),
  fc.string(),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array(),
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

/** What a decoder says of bytes; floats are nothing that is ever encoded here. */
function said(decoder: typeof decode, bytes: Uint8Array): unknown {
  try {
    return { value: decoder(bytes) };
  } catch {
    return 'malformed';
  }
}

test('the codec of simulations writes what the real one writes, and reads it', () => {
  fc.assert(
    fc.property(value, (one) => {
      const bytes = encode(one);
      expect(Buffer.compare(standIn.encode(one), bytes)).toBe(0);
      expect(standIn.decode(bytes)).toEqual(decode(bytes));
    }),
    { numRuns: 500 },
  );
});

test('and refuses what the real one refuses', () => {
  fc.assert(
    fc.property(value, fc.nat(), fc.nat(255), (one, place, byte) => {
      const bytes = encode(one).slice();
      bytes[place % bytes.length] = byte;
      const real = said(decode, bytes);
      fc.pre(!holdsFraction(real));
      expect(said(standIn.decode, bytes)).toEqual(real);
    }),
    { numRuns: 1_000 },
  );
});

function holdsFraction(one: unknown): boolean {
  if (typeof one === 'number') return !Number.isSafeInteger(one) || Object.is(one, -0);
  if (typeof one !== 'object' || one === null || one instanceof Uint8Array) return false;
  return Object.values(one).some(holdsFraction);
}
