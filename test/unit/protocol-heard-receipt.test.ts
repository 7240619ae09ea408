import { expect, test } from 'vitest';
import { decode, encode } from '../../protocol/codec.ts';
import { heardReceipt, signReceipt, verifyReceipt } from '../../protocol/receipt.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { refusal } from './team.ts';

/** Whose word a receipt is: by its signature, or by the link that it came over. */

const [home, other] = [
  signerFromSeed(new Uint8Array(32).fill(1)),
  signerFromSeed(new Uint8Array(32).fill(2)),
];
const id = (number: number) => `0190a5b0-0000-7000-8000-${String(number).padStart(12, '0')}`;
const signed = signReceipt(
  { ns: 'cd'.repeat(32), id: id(1), sender: id(2), recipient: id(3), state: 'delivered', at: 0 },
  home,
);
const forged = encode({ ...Object(decode(signed)), sig: new Uint8Array(64) });

test('what a machine says of itself is its word, what it says of another only with the signature of that', () => {
  expect(heardReceipt(forged, home.peerId)).toEqual(heardReceipt(signed, home.peerId));
  expect(heardReceipt(signed, other.peerId)).toEqual(verifyReceipt(signed));
  expect(() => heardReceipt(forged, other.peerId)).toThrow(refusal('signature_invalid'));
  expect(() => verifyReceipt(forged)).toThrow(refusal('signature_invalid'));
});

test('its form is checked, whoever says it', () => {
  expect(() => heardReceipt(encode({ body: signed, sig: new Uint8Array(64) }), home.peerId)).toThrow(
    refusal('frame_malformed'),
  );
});
