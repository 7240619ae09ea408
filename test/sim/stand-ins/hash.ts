import { hash } from 'node:crypto';

/** What is longer is hashed sooner by the system than here. */
const SHORT_SIZE_BYTES = 2_048;

const state = new Int32Array(4);

/**
 * 32 bytes that stand for a list of byte strings: two different ones do not meet by chance. Nobody in a simulation
 * looks for collisions, so multiplying and shifting is enough (as in xxHash, which the constants are from).
 */
export function hashOf(...parts: readonly Uint8Array[]): Uint8Array {
  state[0] = 0x24234428;
  state[1] = 0x85ebca77 | 0;
  state[2] = 0x165667b1;
  state[3] = 0x61c8864f;
  for (const part of parts) {
    if (part.length <= SHORT_SIZE_BYTES) absorb(part);
    else absorb(hash('sha256', part, 'buffer'));
  }
  return squeezed();
}

function absorb(bytes: Uint8Array): void {
  const { length } = bytes;
  let [a, b, c, d] = [state[0]! ^ length, state[1]!, state[2]!, state[3]!];
  const whole = length & ~15;
  for (let at = 0; at < whole; at += 16) {
    a = Math.imul(a ^ word(bytes, at), 0x9e3779b1);
    b = Math.imul(b ^ word(bytes, at + 4), 0x85ebca77);
    c = Math.imul(c ^ word(bytes, at + 8), 0xc2b2ae3d);
    d = Math.imul(d ^ word(bytes, at + 12), 0x27d4eb2f);
    a = (a ^ (a >>> 15)) + d;
    b = (b ^ (b >>> 13)) + a;
    c = (c ^ (c >>> 16)) + b;
    d = (d ^ (d >>> 14)) + c;
  }
  for (let at = whole; at < length; at++) {
    const mixed = Math.imul(a ^ bytes[at]!, 0x9e3779b1);
    a = b ^ (mixed >>> 15);
    b = c + mixed;
    c = d;
    d = mixed;
  }
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function squeezed(): Uint8Array {
  let [a, b, c, d] = [state[0]!, state[1]!, state[2]!, state[3]!];
  const out = new Uint8Array(32);
  for (let at = 0; at < 32; at += 4) {
    const mixed = Math.imul(a ^ (a >>> 15), 0x85ebca77) + b;
    a = b;
    b = c;
    c = d;
    d = mixed ^ (mixed >>> 13);
    out[at] = d;
    out[at + 1] = d >>> 8;
    out[at + 2] = d >>> 16;
    out[at + 3] = d >>> 24;
  }
  return out;
}
