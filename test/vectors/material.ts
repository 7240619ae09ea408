import { createHash } from 'node:crypto';
import { signerOf } from './keys-by-hand.ts';
import { hex, item } from './raw-cbor.ts';
import { type Vector, toJson } from './vector.ts';

/** What the vectors are made of: fixed machines, ids and times. */

export const seedOf = (byte: number) => new Uint8Array(32).fill(byte);
/** `recovery` is the genesis key of the namespace, no machine. */
const SEEDS = {
  alice: seedOf(1),
  bob: seedOf(2),
  carol: seedOf(3),
  dave: seedOf(4),
  eve: seedOf(5),
  recovery: seedOf(9),
};
export const alice = signerOf(SEEDS.alice);
export const bob = signerOf(SEEDS.bob);
export const carol = signerOf(SEEDS.carol);
export const dave = signerOf(SEEDS.dave);
export const eve = signerOf(SEEDS.eve);
export const recovery = signerOf(SEEDS.recovery);
export const seeds = Object.fromEntries(Object.entries(SEEDS).map(([name, seed]) => [name, hexOf(seed)]));

export const CONTEXT = {
  envelope: 'patchcord envelope v2',
  prekey: 'patchcord prekey v1',
  receipt: 'patchcord receipt v1',
  statement: 'patchcord namespace log v1',
  /** Of the first form of the log, which is no more. */
  firstStatement: 'patchcord namespace statement v1',
  shared: 'patchcord shared v1',
  whereabouts: 'patchcord whereabouts v1',
  lanTag: 'patchcord lan tag v1',
  lanBox: 'patchcord lan box v1',
  whereProtocol: 'patchcord where protocol v1',
  whereKey: 'patchcord where key v1',
  whereBox: 'patchcord where box v1',
  join: 'patchcord join v1',
  joinCommitment: 'patchcord join commitment v1',
  joinCheck: 'patchcord join check v1',
};
export const id = (last: number) => `019a5b00-1234-7abc-8def-${last.toString(16).padStart(12, '0')}`;
export const AT = 1_790_000_000_000;
export const ADDRESS = `/ip4/192.0.2.7/tcp/4001/p2p/${alice.peerId}`;

export const genesis = {
  v: 1,
  k: 'genesis',
  name: 'myproject',
  by: recovery.peerId,
  founder: { machine: alice.peerId, label: 'desk' },
  at: AT,
  nonce: hex('000102030405060708090a0b0c0d0e0f'),
};
export const NS = sha256(item(genesis));
export const OTHER_NS = sha256(item({ ...genesis, name: 'other' }));
export const admit = {
  v: 1,
  k: 'admit',
  ns: NS,
  prev: [NS],
  by: alice.peerId,
  machine: bob.peerId,
  label: 'laptop',
  role: 'member',
  at: AT + 1,
};

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export const valid = (
  name: string,
  bytes: Uint8Array,
  value: unknown,
  more: Partial<Vector> = {},
): Vector => ({
  name,
  ...more,
  bytes: hexOf(bytes),
  value: toJson(value),
});
export const invalid = (
  name: string,
  bytes: Uint8Array | [string, number][],
  error: string,
  more: Partial<Vector> = {},
): Vector => ({ name, ...more, bytes: bytes instanceof Uint8Array ? hexOf(bytes) : bytes, error });

export const flipped = (bytes: Uint8Array, at: number, bit = 1) =>
  bytes.map((byte, index) => (index === at ? byte ^ bit : byte));

export const typed = (name: string, text: string, error: string): Vector => ({ name, text, error });
