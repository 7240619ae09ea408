import { sha256 } from '../digest.ts';
import type { RandomBytes } from '../ids.ts';
import { BEATS_PER_STATEMENT_MAX } from '../limits.ts';

/**
 * A beat says that a machine is alive, in 33 bytes and without a signature: it reveals the next link of a hash chain
 * (Lamport 1981) whose end the machine has signed in its statement. Nobody can make a beat that its machine has not
 * said, and whoever knows an earlier one can check a later one.
 *
 *     beat      machine's tag, 8 bytes; position, 8; link, 16; age, 1
 *     position  sequence of the statement, 6 bytes; number of the beat under it, 2; both big-endian
 *     tag       the first 8 bytes of SHA-256(peer id)
 *     link      link(n) is the first 16 bytes of SHA-256(link(n + 1)); link(0) is the statement's anchor
 *     age       seconds since the teller heard it, so that passing it on makes nothing younger; 255 when that is too long
 */
export interface Beat extends Position {
  tag: string;
  /** Its bytes, one a character: a string is a fifth of what an array takes, and there are many. */
  link: string;
  ageSeconds: number;
}

/** How new a word of a machine is: by its statement, then by the beats under it. */
export interface Position {
  seq: number;
  beat: number;
}

export const BEAT_LINK_SIZE_BYTES = 16;
const TAG_SIZE_BYTES = 8;
export const POSITION_SIZE_BYTES = 16;
export const BEAT_SIZE_BYTES = 33;
export const TAGS_SIZE_BYTES = TAG_SIZE_BYTES;
/** Not alive any more, as far as the teller knows: only a mark under which nothing is believed. */
export const AGE_GONE = 255;

/** A machine's tag, as a string that is cheap to look up. */
export function tagOf(machine: string): string {
  return latin1(sha256(Buffer.from(machine, 'utf8')).subarray(0, TAG_SIZE_BYTES));
}

export function isNewer(a: Position, b: Position): boolean {
  return a.seq > b.seq || (a.seq === b.seq && a.beat > b.beat);
}

export function isSame(a: Position, b: Position): boolean {
  return a.seq === b.seq && a.beat === b.beat;
}

/** The chain of one statement, from a secret of 16 random bytes. */
export class BeatChain {
  readonly #links: string[];

  constructor(randomBytes: RandomBytes) {
    let link = latin1(randomBytes(BEAT_LINK_SIZE_BYTES));
    const links = [link];
    for (let count = 0; count < BEATS_PER_STATEMENT_MAX; count++) links.push((link = before(link)));
    this.#links = links.reverse();
  }

  get anchor(): Uint8Array {
    return Buffer.from(this.#links[0]!, 'latin1');
  }

  /** Undefined past the last. */
  link(beat: number): string | undefined {
    return this.#links[beat];
  }
}

/** Whether `link` is the link of a later beat than the one that is held. Costs one hash for each beat between. */
export function follows(held: { beat: number; link: string }, beat: number, link: string): boolean {
  const steps = beat - held.beat;
  if (steps <= 0 || beat > BEATS_PER_STATEMENT_MAX) return false;
  let at = link;
  for (let step = 0; step < steps; step++) at = before(at);
  return at === held.link;
}

function before(link: string): string {
  return latin1(sha256(Buffer.from(link, 'latin1')).subarray(0, BEAT_LINK_SIZE_BYTES));
}

export function packBeats(beats: readonly Beat[]): Uint8Array {
  const bytes = Buffer.allocUnsafe(beats.length * BEAT_SIZE_BYTES);
  for (const [index, beat] of beats.entries()) {
    const at = index * BEAT_SIZE_BYTES;
    putPosition(bytes, at, beat);
    bytes.write(beat.link, at + POSITION_SIZE_BYTES, 'latin1');
    bytes[at + BEAT_SIZE_BYTES - 1] = Math.min(AGE_GONE, Math.max(0, beat.ageSeconds));
  }
  return bytes;
}

/** Of bytes whose length is a multiple of a beat's. */
export function unpackBeats(bytes: Uint8Array): Beat[] {
  const buffer = bufferOf(bytes);
  const beats: Beat[] = [];
  for (let at = 0; at < buffer.length; at += BEAT_SIZE_BYTES) {
    const linkAt = at + POSITION_SIZE_BYTES;
    beats.push({
      ...positionAt(buffer, at),
      link: buffer.toString('latin1', linkAt, linkAt + BEAT_LINK_SIZE_BYTES),
      ageSeconds: buffer[at + BEAT_SIZE_BYTES - 1]!,
    });
  }
  return beats;
}

/** A machine, and the newest that is known of it. */
export type Known = Position & { tag: string };

export function packKnown(list: readonly Known[]): Uint8Array {
  const bytes = Buffer.allocUnsafe(list.length * POSITION_SIZE_BYTES);
  for (const [index, known] of list.entries()) putPosition(bytes, index * POSITION_SIZE_BYTES, known);
  return bytes;
}

export function unpackKnown(bytes: Uint8Array): Known[] {
  const buffer = bufferOf(bytes);
  return Array.from({ length: buffer.length / POSITION_SIZE_BYTES }, (_none, index) =>
    positionAt(buffer, index * POSITION_SIZE_BYTES),
  );
}

export function packTags(tags: readonly string[]): Uint8Array {
  return Buffer.from(tags.join(''), 'latin1');
}

export function unpackTags(bytes: Uint8Array): string[] {
  const text = latin1(bytes);
  return Array.from({ length: text.length / TAG_SIZE_BYTES }, (_none, index) =>
    text.slice(index * TAG_SIZE_BYTES, (index + 1) * TAG_SIZE_BYTES),
  );
}

function putPosition(bytes: Buffer, at: number, { tag, seq, beat }: Known): void {
  bytes.write(tag, at, 'latin1');
  bytes.writeUIntBE(seq, at + 8, 6);
  bytes.writeUInt16BE(beat, at + 14);
}

function positionAt(bytes: Buffer, at: number): Known {
  return {
    tag: bytes.toString('latin1', at, at + TAG_SIZE_BYTES),
    seq: bytes.readUIntBE(at + 8, 6),
    beat: bytes.readUInt16BE(at + 14),
  };
}

/** Bytes as a string of as many characters. */
export function latin1(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('latin1');
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
