import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BundleReader, BundleWriter, type BundleContent, type BundleItem } from '../../protocol/bundle.ts';
import { encode } from '../../protocol/codec.ts';
import { FRAME_SIZE_BYTES_MAX } from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';
import { itemStarts } from './bundle-world.ts';
import { refusal } from './team.ts';

const signer = signerFromSeed(new Uint8Array(32).fill(1));
const stranger = signerFromSeed(new Uint8Array(32).fill(2));
const head = { ns: 'ab'.repeat(32), from: signer.peerId, made_at: 1_790_000_000_000 };
const MAGIC = Buffer.from('patchcord bundle v1\n');
const contents: BundleContent[] = [
  { t: 'statement', statement: new Uint8Array(300).fill(1) },
  { t: 'statement', statement: new Uint8Array(310).fill(2) },
  { t: 'prekey', prekey: new Uint8Array(1_300).fill(3) },
  { t: 'mail', envelope: new Uint8Array(3_000).fill(4), withdraw: new Uint8Array(32).fill(5) },
  { t: 'mail', envelope: new Uint8Array(4_000).fill(6), withdraw: new Uint8Array(32).fill(7) },
];

function written(list: readonly BundleContent[] = contents): Buffer {
  const writer = new BundleWriter();
  const parts = [writer.start(head), ...list.map((one) => writer.item(one)!)];
  return Buffer.concat([...parts, writer.end({ unsealed: 2, left_out: 0 }, signer)]);
}

function read(bytes: Uint8Array, pieceBytes = bytes.length, reader = new BundleReader()) {
  const list: BundleContent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    list.push(...reader.push(bytes.subarray(at, at + pieceBytes)));
  }
  return { list, ending: reader.finish(), damaged: reader.damaged, head: reader.head, end: reader.end };
}

/** How a reader ends that is given these pieces, or the name of what it throws. */
function endingOf(pieces: readonly Uint8Array[], begun: boolean): string {
  const reader = new BundleReader();
  try {
    if (begun) reader.push(byHand());
    for (const piece of pieces) reader.push(piece);
    return reader.finish();
  } catch (error) {
    return error instanceof Error ? error.name : 'no error';
  }
}

/** An item as the format says it, made by hand. */
function item(value: unknown): Buffer {
  const body = encode(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, createHash('sha256').update(body).digest().subarray(0, 8), body]);
}

function byHand(...items: readonly Buffer[]): Buffer {
  return Buffer.concat([MAGIC, item({ t: 'head', v: 1, ...head } satisfies BundleItem), ...items]);
}

describe('a bundle', () => {
  test('is read as it was written, in pieces of any size', () => {
    const bytes = written();
    for (const pieceBytes of [1, 2, 13, 700, 4_096, bytes.length]) {
      const { list, ...rest } = read(bytes, pieceBytes);
      expect(list).toEqual(contents);
      expect(rest).toMatchObject({ ending: 'whole', damaged: 0, head, end: { items: 6, unsealed: 2 } });
    }
  });

  test('is the magic line and items of length, check and body', () => {
    const one: BundleContent = { t: 'statement', statement: new Uint8Array([9]) };
    const start = byHand(item(one));
    expect(written([one]).subarray(0, start.length)).toEqual(start);
  });

  test('may be empty', () => {
    expect(read(written([]))).toMatchObject({ list: [], ending: 'whole', damaged: 0 });
  });

  test('that is full takes nothing more, and its end still fits', () => {
    const writer = new BundleWriter({ items: 4, sizeBytes: 1 << 20 });
    const parts = [writer.start(head)];
    const results = contents.map((one) => writer.item(one));
    expect(results.map((one) => one !== undefined)).toEqual([true, true, false, false, false]);
    parts.push(...results.flatMap((one) => one ?? []), writer.end({ unsealed: 0, left_out: 3 }, signer));
    const bytes = Buffer.concat(parts);
    const reader = new BundleReader({ items: 4, sizeBytes: bytes.length });
    expect(read(bytes, 100, reader)).toMatchObject({ ending: 'whole', end: { left_out: 3 } });
    expect(new BundleWriter({ items: 9, sizeBytes: 1_500 }).item(contents[2]!)).toBeUndefined();
  });

  test('takes no item that is longer than a frame', () => {
    const huge: BundleContent = { t: 'statement', statement: new Uint8Array(FRAME_SIZE_BYTES_MAX) };
    expect(() => new BundleWriter().item(huge)).toThrow(refusal('frame_too_long'));
  });
});

describe('a bundle that was cut', () => {
  test('gives what came before, and says so', () => {
    const bytes = written();
    const starts = itemStarts(bytes);
    for (let cutAt = starts[1]!; cutAt < bytes.length; cutAt += 37) {
      const { list, ending, damaged } = read(bytes.subarray(0, cutAt), 500);
      expect({ ending, damaged }).toEqual({ ending: 'cut', damaged: 0 });
      const complete = starts.filter((start) => start <= cutAt).length - 2;
      expect(list).toEqual(contents.slice(0, Math.min(complete, contents.length)));
    }
  });

  test('within its head is none', () => {
    const bytes = written();
    for (const cutAt of [0, 1, MAGIC.length, MAGIC.length + 5, itemStarts(bytes)[1]! - 1]) {
      expect(() => read(bytes.subarray(0, cutAt))).toThrow(refusal('invalid_input'));
    }
  });
});

describe('a bundle with a flipped bit', () => {
  test('is never whole, and gives nothing that was not in it', () => {
    const bytes = written();
    const from = itemStarts(bytes)[1]!;
    const known = contents.map((one) => Buffer.from(encode(one)).toString('hex'));
    for (let at = from; at < bytes.length; at += 11) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      const { list, ending } = read(flipped, 900);
      expect(ending).not.toBe('whole');
      for (const one of list) expect(known).toContain(Buffer.from(encode(one)).toString('hex'));
    }
  });

  test('in the body of one item loses that item alone', () => {
    const bytes = written();
    bytes[itemStarts(bytes)[3]! + 100]! ^= 4;
    const { list, ending, damaged } = read(bytes);
    expect(list).toEqual(contents.filter((_one, index) => index !== 2));
    expect({ ending, damaged }).toEqual({ ending: 'altered', damaged: 1 });
  });

  test('in the magic line or the head is none', () => {
    const bytes = written();
    for (let at = 0; at < itemStarts(bytes)[1]!; at += 1) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << (at % 7);
      expect(() => read(flipped)).toThrow(expect.objectContaining({ name: 'PatchcordError' }));
    }
  });
});

describe('what a hostile hand made', () => {
  test('is refused when it is no bundle', () => {
    expect(() => read(new Uint8Array(0))).toThrow(refusal('invalid_input'));
    expect(() => read(Buffer.from('hello, this is a text file that somebody took for a bundle\n'))).toThrow(
      refusal('invalid_input'),
    );
    expect(() => read(Buffer.concat([MAGIC, item(contents[0])]))).toThrow(refusal('invalid_input'));
    expect(() => read(Buffer.concat([MAGIC, item({ t: 'head', v: 2, ...head })]))).toThrow(
      refusal('invalid_input'),
    );
    expect(() => read(Buffer.concat([MAGIC, item({ t: 'head', v: 1, ...head, more: 1 })]))).toThrow(
      refusal('invalid_input'),
    );
    expect(() => read(Buffer.from('patchcord bundle v2\nand whatever that may hold'))).toThrow(
      refusal('protocol_version'),
    );
  });

  test('with lengths that lie costs nothing', () => {
    const length = (bytes: number) => {
      const buffer = Buffer.alloc(12);
      buffer.writeUInt32BE(bytes);
      return buffer;
    };
    for (const lie of [0, FRAME_SIZE_BYTES_MAX + 1, 0xffffffff]) {
      const reader = new BundleReader();
      expect(reader.push(byHand(length(lie)))).toEqual([]);
      expect(reader.over).toBe(true);
      expect(reader.push(new Uint8Array(1 << 20))).toEqual([]);
      expect(reader.finish()).toBe('altered');
    }
    expect(read(byHand(length(FRAME_SIZE_BYTES_MAX)))).toMatchObject({ ending: 'cut' });
  });

  test('counts strange items as damaged and goes on', () => {
    const strange = [
      item({ t: 'key', key: new Uint8Array(32) }),
      item({ t: 'mail', envelope: new Uint8Array(3), withdraw: new Uint8Array(31) }),
      item({ t: 'statement', statement: 'text' }),
      item({ t: 'head', v: 1, ...head }),
      item([]),
    ];
    const { list, damaged, ending } = read(byHand(...strange, item(contents[0])));
    expect({ list, damaged, ending }).toEqual({ list: [contents[0]], damaged: 5, ending: 'cut' });
  });

  test('has no end but its maker’s own', () => {
    const writer = new BundleWriter();
    const parts = [writer.start(head), writer.item(contents[0]!)!];
    expect(read(Buffer.concat([...parts, writer.end({ unsealed: 0, left_out: 0 }, stranger)]))).toMatchObject(
      {
        ending: 'altered',
      },
    );
    // Something was taken out, or put behind the end.
    const bytes = written();
    const starts = itemStarts(bytes);
    const without = Buffer.concat([bytes.subarray(0, starts[4]), bytes.subarray(starts[5])]);
    expect(read(without)).toMatchObject({ ending: 'altered', damaged: 0 });
    for (const pieceBytes of [bytes.length, bytes.length + 1]) {
      expect(read(Buffer.concat([bytes, Buffer.from([0])]), pieceBytes)).toMatchObject({ ending: 'altered' });
    }
    const end = Buffer.from(bytes.subarray(starts.at(-2)));
    expect(read(Buffer.concat([bytes, end]))).toMatchObject({ ending: 'altered', list: contents });
  });

  test('is not looked at beyond the limits', () => {
    const bytes = written();
    const few = read(bytes, 64, new BundleReader({ items: 3, sizeBytes: 1 << 20 }));
    expect(few).toMatchObject({ ending: 'too_large', list: contents.slice(0, 2) });
    const short = read(bytes, 64, new BundleReader({ items: 100, sizeBytes: itemStarts(bytes)[4]! }));
    expect(short).toMatchObject({ ending: 'too_large', list: contents.slice(0, 3) });
  });

  test('never breaks the reader', () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 6 });
    fc.assert(
      fc.property(pieces, fc.boolean(), (list, begun) => {
        expect(['cut', 'altered', 'PatchcordError']).toContain(endingOf(list, begun));
      }),
      { numRuns: 300 },
    );
  });
});
