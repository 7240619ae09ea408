import { describe, expect, test } from 'vitest';
import { encode } from '../../protocol/codec.ts';
import { MEETINGS_MAX, MEETINGS_PER_MACHINE_MAX } from '../../protocol/limits.ts';
import {
  decodeMeetAnswer,
  decodePunchRequest,
  isTarget,
  meetObjection,
  nextTryMs,
  startDelayMs,
  START_MS,
  type MeetFacts,
  type TargetFacts,
} from '../../protocol/punching.ts';

describe('meetObjection', () => {
  const facts: MeetFacts = {
    relays: true,
    linked: true,
    seen: true,
    shared: true,
    otherLinked: true,
    allowed: true,
    meetings: { all: 0, own: 0 },
  };

  test.each<[string, Partial<MeetFacts>, string | undefined, string | undefined]>([
    ['two members', {}, undefined, undefined],
    ['where nobody relays', { relays: false }, 'no_relay', 'no_relay'],
    ['one without a link', { linked: false }, 'not_member', 'not_member'],
    ['one that comes through another relay, or a proxy', { seen: false }, 'not_seen', 'not_seen'],
    ['one that asks too often', { allowed: false }, 'busy', 'busy'],
    ['two that share no namespace', { shared: false }, 'not_member', undefined],
    [
      'a stranger, of whether it is linked nothing is told',
      { shared: false, otherLinked: false },
      'not_member',
      undefined,
    ],
    ['one with a member that is away', { otherLinked: false }, 'not_linked', undefined],
    ['when all is taken', { meetings: { all: MEETINGS_MAX, own: 0 } }, 'busy', undefined],
    ['when one has all it may', { meetings: { all: 8, own: MEETINGS_PER_MACHINE_MAX } }, 'busy', undefined],
    [
      'when one place is left',
      { meetings: { all: MEETINGS_MAX - 1, own: MEETINGS_PER_MACHINE_MAX - 1 } },
      undefined,
      undefined,
    ],
  ])('%s', (_, more, meeting, alone) => {
    expect(meetObjection(true, { ...facts, ...more })).toBe(meeting);
    expect(meetObjection(false, { ...facts, ...more })).toBe(alone);
  });
});

describe('isTarget', () => {
  const facts: TargetFacts = {
    port: 40_000,
    reach: 'public',
    unicast: true,
    own: false,
    sameFamily: true,
    relayReach: 'public',
  };

  test.each<[string, Partial<TargetFacts>, boolean]>([
    ['what a relay on the internet sees there', {}, true],
    ['a host in our network, by a relay on the internet', { reach: 'private' }, false],
    ['our loopback, by a relay on the internet', { reach: 'loopback' }, false],
    ['a host in our network, by a relay in it', { reach: 'private', relayReach: 'private' }, true],
    ['a host on the internet, by a relay in our network', { relayReach: 'private' }, true],
    ['our loopback, by a relay in our network', { reach: 'loopback', relayReach: 'private' }, false],
    ['this host itself', { own: true }, false],
    ['this host itself, by a relay on it', { own: true, reach: 'loopback', relayReach: 'loopback' }, false],
    ['the port of a service', { port: 25 }, false],
    ['the last port of a service', { port: 1_023 }, false],
    ['the first port of a user', { port: 1_024 }, true],
    ['many hosts', { unicast: false }, false],
    ['another family than ours', { sameFamily: false }, false],
  ])('%s', (_, more, expected) => {
    expect(isTarget({ ...facts, ...more })).toBe(expected);
  });
});

describe('timing', () => {
  test.each([0, 30, 250, 999, 1_000])('with a round trip of %i ms both start together', (roundTripMs) => {
    const goReadMs = roundTripMs / 2;
    expect(roundTripMs + startDelayMs(roundTripMs)).toBe(goReadMs + START_MS);
  });

  test('with a longer one the one that said go starts at once', () => {
    expect(startDelayMs(3_000)).toBe(0);
  });

  test('tries of both start close to each other, however soon each one failed', () => {
    for (let slot = 0; slot < 9; slot++) {
      const starts = [1, 50, 200, 399].map((failedMs) => {
        const elapsedMs = slot * 400 + failedMs;
        return elapsedMs + nextTryMs(1, elapsedMs, failedMs / 400)!;
      });
      for (const startMs of starts) {
        expect(startMs).toBeGreaterThanOrEqual((slot + 1) * 400);
        expect(startMs).toBeLessThan((slot + 1) * 400 + 20);
      }
    }
  });

  test('tries are few, and end', () => {
    expect(nextTryMs(9, 3_500, 0)).toBeDefined();
    expect(nextTryMs(10, 3_500, 0)).toBeUndefined();
    expect(nextTryMs(2, 4_799, 0)).toBe(1);
    expect(nextTryMs(2, 4_800, 0)).toBeUndefined();
  });
});

describe('hostile messages', () => {
  test.each([
    ['an address in it', { t: 'punch', ip: '203.0.113.9', port: 25 }],
    ['an address as candidates', { t: 'go', candidates: [{ ip: '203.0.113.9', port: 25 }] }],
    ['a delay of its own', { t: 'go', after_ms: 10 }],
    ['an answer as a request', { t: 'ready' }],
  ])('a peer cannot say where to connect, or when: %s', (_, message) => {
    expect(() => decodePunchRequest(encode(message))).toThrow('Not a message of hole punching.');
  });

  const you = { ip: '203.0.113.9', port: 40_000 };
  test.each([
    ['a name', { ip: 'localhost', port: 1 }],
    ['a number', { ip: '2130706433', port: 1 }],
    ['a short form', { ip: '127.1', port: 1 }],
    ['an octal form', { ip: '0177.0.0.1', port: 1 }],
    ['a zone', { ip: 'fe80::1%eth0', port: 1 }],
    ['a path within', { ip: '203.0.113.9/tcp/25', port: 1 }],
    ['port 0', { ip: '203.0.113.9', port: 0 }],
    ['port 65536', { ip: '203.0.113.9', port: 65_536 }],
    ['half a port', { ip: '203.0.113.9', port: 1.5 }],
    ['a peer id with it', { ip: '203.0.113.9', port: 1, peer: 'x' }],
    ['much', { ip: '1'.repeat(10_000), port: 1 }],
  ])('a relay cannot name what is no address: %s', (_, other) => {
    expect(() => decodeMeetAnswer(encode({ t: 'seen', you, other }))).toThrow('Not a message');
    expect(decodeMeetAnswer(encode({ t: 'seen', you, other: you }))).toEqual({ t: 'seen', you, other: you });
  });
});
