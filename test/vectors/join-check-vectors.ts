import { createHash } from 'node:crypto';
import { CONTEXT, NS, OTHER_NS, alice, bob, carol, flipped, hexOf, seedOf, valid } from './material.ts';
import { item } from './raw-cbor.ts';
import type { Vector } from './vector.ts';

/** The digits that both sides of a join show; `bytes` is the joiner's nonce. */

interface Join {
  ns: string;
  inviter: string;
  joiner: string;
  inviterNonce: Uint8Array;
  joinerNonce: Uint8Array;
}

const JOIN: Join = {
  ns: NS,
  inviter: alice.peerId,
  joiner: bob.peerId,
  inviterNonce: seedOf(0x23),
  joinerNonce: seedOf(0x22),
};

export function joinCheckVectors(): Vector[] {
  const one = (name: string, more: Partial<Join> = {}): Vector => {
    const { inviterNonce, joinerNonce, ...join } = { ...JOIN, ...more };
    const value = { commit: hash([CONTEXT.joinCommitment, joinerNonce]), code: codeOf({ ...JOIN, ...more }) };
    return valid(name, joinerNonce, value, { with: { ...join, inviterNonce: hexOf(inviterNonce) } });
  };
  return [
    one('a join'),
    one('in another namespace', { ns: OTHER_NS }),
    one('another inviter', { inviter: carol.peerId }),
    one('another joiner', { joiner: carol.peerId }),
    one('the two exchanged', { inviter: bob.peerId, joiner: alice.peerId }),
    one('the nonces exchanged', { inviterNonce: JOIN.joinerNonce, joinerNonce: JOIN.inviterNonce }),
    one('one bit of the inviter\u2019s nonce flipped', { inviterNonce: flipped(JOIN.inviterNonce, 31) }),
    one('one bit of the joiner\u2019s nonce flipped', { joinerNonce: flipped(JOIN.joinerNonce, 0) }),
    one('a code that starts with a zero', { inviterNonce: leadingZero() }),
  ];
}

/** The first of the nonces of one byte whose digits start with a zero. */
function leadingZero(): Uint8Array {
  for (let byte = 0; ; byte++) {
    if (codeOf({ ...JOIN, inviterNonce: seedOf(byte) }).startsWith('0')) return seedOf(byte);
  }
}

/** The first 8 bytes of the hash as a number, big-endian, its last six decimal digits. */
function codeOf({ ns, inviter, joiner, inviterNonce, joinerNonce }: Join): string {
  const digest = hash([CONTEXT.joinCheck, ns, inviter, joiner, inviterNonce, joinerNonce]);
  return (BigInt(`0x${hexOf(digest.subarray(0, 8))}`) % 1_000_000n).toString().padStart(6, '0');
}

function hash(fields: unknown[]): Uint8Array {
  return new Uint8Array(createHash('sha256').update(item(fields)).digest());
}
