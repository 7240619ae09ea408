import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import { namespaceKeyHash, openShared, sealShared, type Shared } from '../../protocol/shared.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

const peer = (byte: number) => signerFromSeed(new Uint8Array(32).fill(byte)).peerId;
const place = { ns: 'a'.repeat(64), epoch: 3, from: peer(1) };
const key = new Uint8Array(32).fill(7);
const id = (number: number) => `0190a5b0-0000-7000-8000-${String(number).padStart(12, '0')}`;

const roster: fc.Arbitrary<Shared> = fc.record({
  k: fc.constant('roster' as const),
  revision: fc.nat(),
  roster: fc.record({
    platform: fc.string({ maxLength: 60 }),
    agents: fc.array(
      fc.record({
        id: fc.nat(999).map(id),
        online: fc.boolean(),
        last_seen: fc.nat(),
        client: fc.string({ maxLength: 120 }),
      }),
      { maxLength: 100 },
    ),
  }),
});
const addresses: fc.Arbitrary<Shared> = fc.record({
  k: fc.constant('addresses' as const),
  machines: fc.array(fc.uint8Array({ maxLength: 1_000 }), { maxLength: 20 }),
});
const anything = fc.oneof(roster, addresses);

const seal = (shared: Shared) => sealShared(shared, place, key, systemRandom.bytes);

function codeOf(action: () => unknown): string {
  try {
    action();
    return 'opened';
  } catch (error) {
    return asPatchcordError(error).code;
  }
}

describe('a box', () => {
  test('opens to what was put in', () => {
    const property = fc.property(anything, (shared) => {
      expect(openShared(seal(shared), place, key)).toEqual(shared);
    });
    fc.assert(property);
  });

  test('does not open when any bit of it is another', () => {
    const box = seal({ k: 'roster', revision: 1, roster: { platform: 'linux x64', agents: [] } });
    const opened: number[] = [];
    for (let bit = 0; bit < 8 * box.length; bit++) {
      const altered = Uint8Array.from(box, (byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      if (codeOf(() => openShared(altered, place, key)) !== 'frame_malformed') opened.push(bit);
    }
    expect(opened).toEqual([]);
  });

  test('does not open when it is cut anywhere', () => {
    const box = seal({ k: 'addresses', machines: [] });
    const codes = Array.from({ length: box.length }, (_none, length) =>
      codeOf(() => openShared(box.subarray(0, length), place, key)),
    );
    expect(new Set(codes)).toEqual(new Set(['frame_malformed']));
  });

  test.for<[string, Partial<typeof place>, Uint8Array?]>([
    ['in another namespace', { ns: 'b'.repeat(64) }],
    ['in the epoch before', { epoch: 2 }],
    ['in the epoch after', { epoch: 4 }],
    ['as said by another machine', { from: peer(2) }],
    ['under another key', {}, new Uint8Array(32).fill(8)],
  ])('does not open %s', ([, moved, otherKey = key]) => {
    const property = fc.property(anything, (shared) => {
      const box = seal(shared);
      expect(codeOf(() => openShared(box, { ...place, ...moved }, otherKey))).toBe('frame_malformed');
    });
    fc.assert(property, { numRuns: 20 });
  });

  test('is never the same twice, nor are its parts', () => {
    const boxes = Array.from({ length: 500 }, () => seal({ k: 'addresses', machines: [] }));
    const parts = (from: number, to?: number) =>
      new Set(boxes.map((box) => Buffer.from(box.subarray(from, to)).toString('hex'))).size;
    expect([parts(0), parts(0, 32), parts(32, 64), parts(-16)]).toEqual([500, 500, 500, 500]);
  });

  test('tells a size class and no more: one agent or four, idle or busy', () => {
    const sizes = [1, 2, 3, 4].map((count) => {
      const agents = Array.from({ length: count }, (_none, index) => ({
        id: id(index),
        online: index % 2 === 0,
        last_seen: index * 1e12,
        client: '',
      }));
      return seal({ k: 'roster', revision: 0, roster: { platform: '', agents } }).length;
    });
    expect(new Set(sizes)).toEqual(new Set([32 + 512 + 16]));
  });
});

test('the hash of a namespace key is SHA-256', () => {
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  expect(Buffer.from(namespaceKeyHash(new Uint8Array(0))).toString('hex')).toBe(empty);
});
