import { describe, expect, test } from 'vitest';
import { decode, encode, equalBytes } from '../../protocol/codec.ts';
import { encodeFrame, FrameReader, type Frame } from '../../protocol/frame.ts';
import { encodeLetter, parseLetter, type Message } from '../../protocol/letter.ts';
import { CONTENT_LENGTH_MAX, FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const ofHex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
const BOOT = '019a5b00-1234-7abc-8def-000000000001';

describe('codec', () => {
  // RFC 8949, appendix A, as far as this codec's values go.
  test.for<[value: unknown, bytes: string]>([
    [0, '00'],
    [10, '0a'],
    [23, '17'],
    [24, '1818'],
    [255, '18ff'],
    [256, '190100'],
    [65_535, '19ffff'],
    [65_536, '1a00010000'],
    [4_294_967_295, '1affffffff'],
    [4_294_967_296, '1b0000000100000000'],
    [Number.MAX_SAFE_INTEGER, '1b001fffffffffffff'],
    [-1, '20'],
    [-100, '3863'],
    [Number.MIN_SAFE_INTEGER, '3b001ffffffffffffe'],
    [1.5, 'f93e00'],
    [0.1, 'fb3fb999999999999a'],
    [true, 'f5'],
    [false, 'f4'],
    [null, 'f6'],
    ['', '60'],
    ['a', '6161'],
    ['\u00fc', '62c3bc'],
    ['\u6c34', '63e6b0b4'],
    ['\u{10151}', '64f0908591'],
    [[], '80'],
    [[1, [2, 3]], '8201820203'],
    [{}, 'a0'],
    [{ b: 1, a: 2 }, 'a2616102616201'],
    [{ bb: 1, a: 2, ccc: 3 }, 'a3616102626262016363636303'],
  ])('%j is %s and back', ([value, bytes]) => {
    expect(hex(encode(value))).toBe(bytes);
    expect(decode(ofHex(bytes))).toEqual(value);
  });

  test('leaves out what is undefined', () => {
    expect(hex(encode({ a: undefined, b: 1 }))).toBe('a1616201');
  });

  test.for<[what: string, of: (bytes: Uint8Array) => Uint8Array]>([
    ['a Uint8Array', (bytes) => new Uint8Array(bytes)],
    ['a Buffer', (bytes) => Buffer.from(bytes)],
  ])('bytes stay bytes, and are a copy of those in %s', ([, of]) => {
    const encoded = of(encode([Uint8Array.of(1, 2, 3)]));
    const decoded = decode(encoded);
    expect(decoded).toEqual([Uint8Array.of(1, 2, 3)]);
    encoded.fill(0);
    expect(decoded).toEqual([Uint8Array.of(1, 2, 3)]);
  });

  test('decodes a part of a larger buffer', () => {
    const pool = Buffer.from('ffff830102030000', 'hex');
    expect(decode(pool.subarray(2, 6))).toEqual([1, 2, 3]);
  });

  test('a key called __proto__ makes nothing else of an object', () => {
    const value = decode(ofHex('a1695f5f70726f746f5f5fa16161f5'));
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value ?? {})).toEqual(['__proto__']);
    expect('a' in {}).toBe(false);
  });

  test('equalBytes', () => {
    expect(equalBytes(Uint8Array.of(1, 2), Buffer.of(1, 2))).toBe(true);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0))).toBe(false);
    expect(equalBytes(new Uint8Array(0), new Uint8Array(0))).toBe(true);
  });
});

describe('letters of the greatest length', () => {
  const message = (content: string): Message => {
    const party = { id: BOOT, name: 'a' };
    return { k: 'message', id: BOOT, seq: 1, from: party, to: party, content, sent_at: 0 };
  };
  test.for<[what: string, content: string]>([
    ['one byte', 'x'.repeat(CONTENT_LENGTH_MAX)],
    ['three bytes', '\u6c34'.repeat(CONTENT_LENGTH_MAX)],
    ['surrogate pairs', '\u{1F44B}'.repeat(CONTENT_LENGTH_MAX / 2)],
  ])('in characters of %s fit a frame', ([, content]) => {
    const letter = message(content);
    expect(parseLetter(decode(encodeLetter(letter)))).toEqual(letter);
    // A header, a signature and the frame's own fields come on top; see protocol/envelope.ts.
    expect(encodeFrame({ t: 'parcel', n: 1, envelope: encodeLetter(letter) }).length).toBeLessThan(
      FRAME_SIZE_BYTES_MAX - 4_096,
    );
  });

  test('one character more is refused', () => {
    expect(() => parseLetter(message('x'.repeat(CONTENT_LENGTH_MAX + 1)))).toThrow(
      refusal('frame_malformed'),
    );
  });
});

describe('FrameReader', () => {
  const frames: Frame[] = [
    { t: 'hello', v: 1, boot: BOOT, window_frames: 512, window_bytes: 2_097_152 },
    { t: 'parcel', n: 1, envelope: new Uint8Array(300).fill(7) },
    { t: 'ack', n: 1 },
    { t: 'refuse', n: 2, code: 'mailbox_full', retry: true },
    { t: 'digest', prekey: 1, namespaces: [] },
  ];
  const stream = Buffer.concat(frames.map(encodeFrame));

  test('reads frames byte by byte, each as soon as it is whole', () => {
    const reader = new FrameReader();
    const read: [at: number, frame: Frame][] = [];
    for (const [at, byte] of stream.entries())
      for (const frame of reader.push(Uint8Array.of(byte))) read.push([at, frame]);
    let end = -1;
    expect(read).toEqual(frames.map((frame) => [(end += encodeFrame(frame).length), frame]));
  });

  test('reads the same frames, however the stream is cut in two or three', () => {
    for (let first = 0; first <= stream.length; first += 3) {
      for (const second of [first, first + 1, first + 5, stream.length]) {
        const reader = new FrameReader();
        const cuts = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
        expect(cuts.flatMap((cut) => reader.push(cut)).map(({ t }) => t)).toEqual(frames.map(({ t }) => t));
      }
    }
  });

  test('reads a frame of the greatest length, and refuses to write a longer one', () => {
    const room =
      FRAME_SIZE_BYTES_MAX -
      (encodeFrame({ t: 'parcel', n: 1, envelope: new Uint8Array(70_000) }).length - 4 - 70_000);
    const most: Frame = { t: 'parcel', n: 1, envelope: new Uint8Array(room) };
    expect(new FrameReader().push(encodeFrame(most))).toEqual([most]);
    expect(() => encodeFrame({ ...most, envelope: new Uint8Array(room + 1) })).toThrow(
      refusal('frame_too_long'),
    );
  });

  test('refuses a length over the limit before the body arrives, after good frames too', () => {
    expect(() => new FrameReader().push(ofHex('00040001'))).toThrow(refusal('frame_too_long'));
    const reader = new FrameReader();
    expect(reader.push(ofHex('000400'))).toEqual([]);
    expect(() => reader.push(ofHex('01'))).toThrow(refusal('frame_too_long'));
    expect(() => new FrameReader().push(Buffer.concat([stream, ofHex('ffffffff')]))).toThrow(
      refusal('frame_too_long'),
    );
  });

  test('an empty frame is not one', () => {
    expect(() => new FrameReader().push(ofHex('00000000'))).toThrow(refusal('frame_malformed'));
  });
});
