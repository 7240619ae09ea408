import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../daemon/clock.ts';
import { PRESENCE_BOX_SIZE_BYTES_MAX, PRESENCE_PEER_BURST, PRESENCE_TTL_MS } from '../../protocol/limits.ts';
import { BeatChain, packBeats, tagOf, type Beat } from '../../protocol/presence/beat.ts';
import {
  openPresence,
  presenceTopic,
  sealPresence,
  type PresenceMessage,
} from '../../protocol/presence/message.ts';
import { newPresence, stepPresence } from '../../protocol/presence/presence.ts';
import { isHere, type PresenceState } from '../../protocol/presence/state.ts';
import { readPresence, signPresence, type PresenceContent } from '../../protocol/presence/statement.ts';
import { signerFromSeed, type Signer } from '../../protocol/signing.ts';

/** What a hostile machine can tell of presence, and that it comes to nothing. */

const NS = 'cd'.repeat(32);
const START_MS = 1_000_000;
const signer = (seed: number) => signerFromSeed(new Uint8Array(32).fill(seed));
const [self, ann, bob, stranger] = [signer(1), signer(2), signer(3), signer(4)];

function content(more: Partial<PresenceContent> = {}): PresenceContent {
  return {
    boot: '019a5b00-1234-7abc-8def-0000000000a1',
    left: false,
    roster: { platform: 'test', agents: [] },
    prekey: { seq: 1, hash: new Uint8Array(32) },
    log: new Uint8Array(32),
    ...more,
  };
}

/** A machine whose members are ann and bob; both are linked. */
function watcher(): PresenceState {
  const state = newPresence({
    ns: NS,
    seq: 100,
    signer: self,
    randomBytes: systemRandom.bytes,
    read: readPresence,
  });
  const machines = [self, ann, bob].map(({ peerId }) => peerId);
  stepPresence(state, { type: 'members', machines }, START_MS);
  stepPresence(state, { type: 'content', content: content() }, START_MS);
  for (const machine of machines.slice(1)) stepPresence(state, { type: 'link-up', machine }, START_MS);
  return state;
}

function tells(
  state: PresenceState,
  from: Signer,
  message: PresenceMessage,
  nowMs = START_MS,
  via = 'gossip' as 'gossip' | 'link',
) {
  return stepPresence(state, { type: 'message', from: from.peerId, via, message }, nowMs);
}

/** A statement with its chain. */
function said(signer: Signer, seq: number, more: Partial<PresenceContent> = {}) {
  const chain = new BeatChain(systemRandom.bytes);
  const { bytes } = signPresence({ ...content(more), ns: NS, seq, anchor: chain.anchor }, signer);
  const beat = (number: number, link = chain.link(number)!): Uint8Array => {
    const one: Beat = { tag: tagOf(signer.peerId), seq, beat: number, link, ageSeconds: 0 };
    return packBeats([one]);
  };
  return { bytes, beat };
}

describe('a statement', () => {
  test('of a machine that is no member is not taken, whoever tells it', () => {
    const state = watcher();
    const { bytes } = said(stranger, 5);
    expect(tells(state, ann, { statements: [bytes] }).verdict).toBe('ignore');
    expect(tells(state, stranger, { statements: [said(ann, 5).bytes] }).verdict).toBe('ignore');
    expect(isHere(state, stranger.peerId)).toBeUndefined();
    expect(isHere(state, ann.peerId)).toBeUndefined();
  });

  test('that somebody else signed, or that was altered, is refused', () => {
    const state = watcher();
    const { bytes } = said(ann, 5);
    const altered = Uint8Array.from(bytes);
    // In the signature, which comes first.
    altered[20]! ^= 1;
    expect(tells(state, bob, { statements: [altered] }).verdict).toBe('reject');
    expect(isHere(state, ann.peerId)).toBeUndefined();
    expect(tells(state, bob, { statements: [bytes] }).verdict).toBe('accept');
    expect(isHere(state, ann.peerId)).toBe(true);
  });

  test('that is older than one that is known changes nothing', () => {
    const state = watcher();
    const old = said(ann, 5);
    tells(state, ann, { statements: [old.bytes] });
    tells(state, ann, { statements: [said(ann, 6, { left: true }).bytes] });
    expect(isHere(state, ann.peerId)).toBe(false);
    expect(tells(state, bob, { statements: [old.bytes], beats: old.beat(1) }).verdict).toBe('ignore');
    expect(isHere(state, ann.peerId)).toBe(false);
  });

  test('of another namespace is refused', () => {
    const state = watcher();
    const fields = { ...content(), ns: 'ef'.repeat(32), seq: 5, anchor: new Uint8Array(16) };
    expect(tells(state, ann, { statements: [signPresence(fields, ann).bytes] }).verdict).toBe('reject');
  });

  test('is taken so often of one machine and no more', () => {
    const state = watcher();
    const verdicts = Array.from(
      { length: 40 },
      (_none, index) => tells(state, ann, { statements: [said(ann, index + 1).bytes] }).verdict,
    );
    expect(verdicts.filter((verdict) => verdict === 'accept').length).toBeLessThan(15);
  });
});

describe('a beat', () => {
  test('that nobody but its machine can know is needed; one that is made up is refused', () => {
    const state = watcher();
    const known = said(ann, 5);
    tells(state, ann, { statements: [known.bytes] });
    expect(tells(state, bob, { beats: known.beat(1, 'x'.repeat(16)) }).verdict).toBe('reject');
    expect(tells(state, bob, { beats: known.beat(60_000, 'x'.repeat(16)) }).verdict).toBe('reject');
    expect(tells(state, bob, { beats: known.beat(3) }).verdict).toBe('accept');
    expect(tells(state, bob, { beats: known.beat(2) }).verdict).toBe('ignore');
  });

  test('that is repeated keeps no machine alive past the bound', () => {
    const state = watcher();
    const known = said(ann, 5);
    tells(state, ann, { statements: [known.bytes], beats: known.beat(1) });
    for (let nowMs = START_MS; nowMs <= START_MS + PRESENCE_TTL_MS; nowMs += 1_000) {
      tells(state, bob, { beats: known.beat(1) }, nowMs, 'link');
      stepPresence(state, { type: 'tick' }, nowMs);
    }
    expect(isHere(state, ann.peerId)).toBe(false);
    tells(state, bob, { statements: [known.bytes], beats: known.beat(1) }, START_MS + PRESENCE_TTL_MS);
    expect(isHere(state, ann.peerId)).toBe(false);
  });

  test('with a sequence that its machine never said is asked for, and shows nothing', () => {
    const state = watcher();
    tells(state, ann, { statements: [said(ann, 5).bytes] });
    const { effects } = tells(state, bob, { beats: said(ann, 900).beat(7) }, START_MS + 5_000, 'link');
    expect(effects).toMatchObject([
      { type: 'send', to: bob.peerId, message: { wants: expect.any(Uint8Array) } },
    ]);
    expect(state.entries.get(ann.peerId)).toMatchObject({ seq: 5, beat: 0 });
  });
});

test('what one peer tells in a second is bounded, and what others tell is not touched by it', () => {
  const state = watcher();
  const known = said(ann, 5);
  for (let count = 0; count <= PRESENCE_PEER_BURST; count++) tells(state, bob, { beats: known.beat(1) });
  expect(tells(state, bob, { statements: [known.bytes] }).verdict).toBe('ignore');
  expect(tells(state, ann, { statements: [known.bytes] }).verdict).toBe('accept');
});

test('a machine whose earlier life had a later clock goes beyond it', () => {
  const state = watcher();
  const { effects } = tells(state, ann, { statements: [said(self, 9_000).bytes] }, START_MS, 'link');
  expect(effects).toContainEqual(expect.objectContaining({ type: 'publish' }));
  expect(state.entries.get(self.peerId)!.seq).toBe(9_001);
});

describe('a box', () => {
  const key = new Uint8Array(32).fill(7);
  const place = { ns: NS, epoch: 2 };
  const refused = expect.objectContaining({ code: 'frame_malformed' });

  test.each([
    ['of another epoch', { ...place, epoch: 3 }, key],
    ['of another namespace', { ...place, ns: 'ef'.repeat(32) }, key],
    ['under another key', place, new Uint8Array(32).fill(8)],
  ])('%s is refused', (_name, other, otherKey) => {
    const box = sealPresence({ wants: new Uint8Array(8) }, place, key, systemRandom.bytes);
    expect(openPresence(box, place, key)).toEqual({ wants: new Uint8Array(8) });
    expect(() => openPresence(box, other, otherKey)).toThrow(refused);
  });

  test('that is too long, or holds half a beat, is refused', () => {
    expect(() => openPresence(new Uint8Array(PRESENCE_BOX_SIZE_BYTES_MAX + 1), place, key)).toThrow(refused);
    const box = sealPresence({ beats: new Uint8Array(34) }, place, key, systemRandom.bytes);
    expect(() => openPresence(box, place, key)).toThrow(refused);
  });

  test('has a topic that changes with the key and tells nothing', () => {
    const topic = presenceTopic(place, key);
    expect(topic).toMatch(/^[\w-]{22}$/);
    expect(presenceTopic({ ...place, epoch: 3 }, key)).not.toBe(topic);
    expect(presenceTopic(place, new Uint8Array(32).fill(8))).not.toBe(topic);
  });
});
