import { codecDamages, shapeDamages } from './damages.ts';
import { AT, NS, hexOf, id, invalid, seedOf, sha256, valid } from './material.ts';
import { hex, item, join, map } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** Frames: four bytes of length and a body. */

const framed = (body: Uint8Array) => {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, body.length);
  return join(length, body);
};
const framedAny = (body: Uint8Array | [string, number][]): Uint8Array | [string, number][] => {
  if (body instanceof Uint8Array) return framed(body);
  const sizeBytes = body.reduce((sum, [part, times]) => sum + (part.length / 2) * times, 0);
  return [
    [
      hexOf(
        framed(new Uint8Array(0))
          .fill(0)
          .map((_zero, at) => (sizeBytes >>> (24 - 8 * at)) & 0xff),
      ),
      1,
    ],
    ...body,
  ];
};

const heads = { t: 'heads', ns: NS, hashes: [NS], ask: true };
const hashes = (count: number) => Array.from({ length: count }, (_none, index) => sha256(Uint8Array.of(index)));
const shared = { t: 'shared', ns: NS, epoch: 1, box: hex('a0') };
const FRAMES: [name: string, frame: Record<string, unknown>, optional?: string[]][] = [
  ['hello', { t: 'hello', v: 1, boot: id(1), window_frames: 512, window_bytes: 2_097_152 }],
  [
    'hello of a relay',
    { t: 'hello', v: 1, boot: id(1), window_frames: 512, window_bytes: 2_097_152, relay: true },
    ['relay'],
  ],
  [
    'hello that tells the time',
    { t: 'hello', v: 1, boot: id(1), window_frames: 512, window_bytes: 2_097_152, at: AT },
    ['at'],
  ],
  [
    'hello of an epoch',
    { t: 'hello', v: 1, boot: id(1), window_frames: 512, window_bytes: 2_097_152, epoch: 1 },
    ['epoch'],
  ],
  [
    'hello that gives back a milestone',
    { t: 'hello', v: 1, boot: id(1), window_frames: 512, window_bytes: 2_097_152, kept: new Uint8Array(256) },
    ['kept'],
  ],
  ['milestone', { t: 'milestone', mark: hex('a0') }],
  ['ping', { t: 'ping' }],
  ['pong', { t: 'pong' }],
  ['parcel', { t: 'parcel', n: 5, envelope: hex('a0') }],
  ['parcel with the highest number', { t: 'parcel', n: Number.MAX_SAFE_INTEGER, envelope: hex('00ff') }],
  ['parcel to be kept', { t: 'parcel', n: 6, envelope: hex('a0'), withdraw: seedOf(5) }, ['withdraw']],
  ['ack', { t: 'ack', n: 0 }],
  ['ack of a mailbox', { t: 'ack', n: 1, held: hex('010203') }, ['held']],
  ['offer', { t: 'offer', ns: NS, hashes: [seedOf(1), seedOf(2)] }],
  ['take', { t: 'take', ns: NS, want: [seedOf(1)], have: [seedOf(2)] }],
  ['take of nothing', { t: 'take', ns: NS, want: [], have: [] }],
  ['withdraw', { t: 'withdraw', secrets: [seedOf(3)] }],
  ['ack with a receipt', { t: 'ack', n: 23, receipt: hex('010203') }, ['receipt']],
  ['refuse', { t: 'refuse', n: 24, code: 'mailbox_full', retry: true }],
  ['heads', heads],
  ['heads with a key', { ...heads, key: seedOf(8), ask: false }, ['key']],
  ['log', { t: 'log', ns: NS, statements: [hex('01'), hex('02')], more: false }],
  ['log with more to come', { t: 'log', ns: NS, statements: [hex('')], more: true }],
  ['key', { t: 'key', ns: NS, key: seedOf(7) }],
  ['shared', shared],
  ['shared in a late epoch', { ...shared, epoch: 2 ** 32, box: hex('') }],
  ['prekey', { t: 'prekey', prekey: hex('a0') }],
  ['digest', { t: 'digest', prekey: 7, namespaces: [{ ns: NS, log: seedOf(9), roster: 65_536 }] }],
  ['digest of nothing', { t: 'digest', prekey: 0, namespaces: [] }],
  ['want', { t: 'want', ns: NS }],
  ['presence', { t: 'presence', ns: NS, epoch: 3, box: hex('a0') }],
];
const BAD_FRAMES: [name: string, frame: Record<string, unknown>, code: string][] = [
  ['a type nobody knows', { t: 'gossip', n: 1 }, 'frame_unknown'],
  ['a type called like an object method', { t: 'toString', n: 1 }, 'frame_unknown'],
  ['a ping with a number', { t: 'ping', n: 1 }, 'frame_malformed'],
  ['a type in upper case', { t: 'ACK', n: 1 }, 'frame_unknown'],
  ['an offer of nothing', { t: 'offer', ns: NS, hashes: [] }, 'frame_malformed'],
  [
    'an offer of 257 hashes',
    { t: 'offer', ns: NS, hashes: Array.from({ length: 257 }, () => seedOf(1)) },
    'frame_malformed',
  ],
  ['a withdrawal of 31 bytes', { t: 'withdraw', secrets: [hex('00'.repeat(31))] }, 'frame_malformed'],
  ['a parcel with a short withdrawal', { t: 'parcel', n: 6, envelope: hex('a0'), withdraw: hex('00') }, 'frame_malformed'],
  [
    'hello of version 0',
    { t: 'hello', v: 0, boot: id(1), window_frames: 1, window_bytes: 262_144 },
    'protocol_version',
  ],
  [
    'hello of version 2',
    { t: 'hello', v: 2, boot: id(1), window_frames: 1, window_bytes: 262_144 },
    'protocol_version',
  ],
  [
    'hello of version 2 that is otherwise like nothing known',
    { t: 'hello', v: 2, features: ['x'] },
    'protocol_version',
  ],
  [
    'hello of a relay that is none',
    { t: 'hello', v: 1, boot: id(1), window_frames: 512, window_bytes: 2_097_152, relay: false },
    'frame_malformed',
  ],
  [
    'hello with a window that takes no frame',
    { t: 'hello', v: 1, boot: id(1), window_frames: 0, window_bytes: 262_144 },
    'frame_malformed',
  ],
  [
    'hello with a window smaller than a frame',
    { t: 'hello', v: 1, boot: id(1), window_frames: 1, window_bytes: 262_143 },
    'frame_malformed',
  ],
  [
    'hello that gives back too much',
    { t: 'hello', v: 1, boot: id(1), window_frames: 512, window_bytes: 2_097_152, kept: new Uint8Array(257) },
    'frame_malformed',
  ],
  ['milestone that is too long', { t: 'milestone', mark: new Uint8Array(257) }, 'frame_malformed'],
  ['milestone that is a text', { t: 'milestone', mark: 'a0' }, 'frame_malformed'],
  [
    'hello of epoch 0',
    { t: 'hello', v: 1, boot: id(1), window_frames: 1, window_bytes: 262_144, epoch: 0 },
    'frame_malformed',
  ],
  [
    'hello with a boot that is no id',
    { t: 'hello', v: 1, boot: 'boot', window_frames: 1, window_bytes: 262_144 },
    'frame_malformed',
  ],
  [
    'refuse with a code that does not exist',
    { t: 'refuse', n: 1, code: 'no_such_code', retry: true },
    'frame_malformed',
  ],
  [
    'refuse with a code of Object.prototype',
    { t: 'refuse', n: 1, code: 'constructor', retry: true },
    'frame_malformed',
  ],
  ['log without statements', { t: 'log', ns: NS, statements: [], more: false }, 'frame_malformed'],
  [
    'log with 1,001 statements',
    { t: 'log', ns: NS, statements: Array.from({ length: 1_001 }, () => hex('00')), more: false },
    'frame_malformed',
  ],
  ['want of a namespace in upper case', { t: 'want', ns: NS.toUpperCase() }, 'frame_malformed'],
  ['want of a short namespace', { t: 'want', ns: NS.slice(1) }, 'frame_malformed'],
  ['heads of nothing', { ...heads, hashes: [] }, 'frame_malformed'],
  ['heads, 65 of them', { ...heads, hashes: hashes(65) }, 'frame_malformed'],
  ['heads with one that is no hash', { ...heads, hashes: ['genesis'] }, 'frame_malformed'],
  ['heads with the hash of a key, one byte short', { ...heads, key: seedOf(8).subarray(1) }, 'frame_malformed'],
  ['a key one byte short', { t: 'key', ns: NS, key: seedOf(7).subarray(1) }, 'frame_malformed'],
  ['a key one byte long', { t: 'key', ns: NS, key: join(seedOf(7), hex('00')) }, 'frame_malformed'],
  ['shared in epoch 0', { ...shared, epoch: 0 }, 'frame_malformed'],
  ['shared that says in the open what it is', { ...shared, k: 'roster' }, 'frame_malformed'],
  ['digest with a hash one byte short', { t: 'digest', prekey: 7, namespaces: [{ ns: NS, log: seedOf(9).subarray(1), roster: 1 }] }, 'frame_malformed'],
  ['a roster in the open', { t: 'roster', ns: NS, revision: 1, roster: { platform: '', agents: [] } }, 'frame_unknown'],
  ['addresses in the open', { t: 'addresses', ns: NS, machines: [] }, 'frame_unknown'],
];

export function frameVectors(): Vector[] {
  const ack = { t: 'ack', n: 5 };
  const tooLong = 256 * 1024 + 1;
  return [
    ...FRAMES.map(([name, frame]) => valid(name, framed(item(frame)), frame)),
    valid('heads, 64 of them', framed(item({ ...heads, hashes: hashes(64) })), { ...heads, hashes: hashes(64) }),
    ...codecDamages(ack).map(([name, body]) => invalid(name, framedAny(body), 'frame_malformed')),
    invalid(
      'an integer longer than it need be',
      framed(
        map([
          ['n', hex('1805')],
          ['t', item('ack')],
        ]),
      ),
      'frame_malformed',
    ),
    invalid(
      'a negative number',
      framed(
        map([
          ['n', hex('20')],
          ['t', item('ack')],
        ]),
      ),
      'frame_malformed',
    ),
    ...FRAMES.flatMap(([name, frame, optional]) =>
      shapeDamages(frame, optional)
        .filter(([what]) => what !== 't of another type' && what !== 't null')
        .map(([what, damaged]) => invalid(`${name}: ${what}`, framed(item(damaged)), 'frame_malformed')),
    ),
    ...BAD_FRAMES.map(([name, frame, code]) => invalid(name, framed(item(frame)), code)),
    invalid('a type that is a number', framed(item({ t: 1 })), 'frame_malformed'),
    invalid('no type', framed(item({ n: 1 })), 'frame_malformed'),
    invalid('a length over the limit, before any body', hexToLength(tooLong), 'frame_too_long'),
    invalid('a length of 2^32 - 1', hex('ffffffff'), 'frame_too_long'),
    invalid(
      'a body over the limit',
      [
        [hexOf(hexToLength(tooLong)), 1],
        ['00', tooLong],
      ],
      'frame_too_long',
    ),
    invalid(
      'a body of the longest length that says nothing',
      [
        [hexOf(hexToLength(tooLong - 1)), 1],
        ['00', tooLong - 1],
      ],
      'frame_malformed',
    ),
  ];
}

function hexToLength(length: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
}
