import { describe, expect, test } from 'vitest';
import { chooseMailboxes, type Candidate } from '../../protocol/delivery/mailboxes.ts';
import { withdrawalHash } from '../../protocol/delivery/withdrawal.ts';
import { MAILBOX_UPTIME_LONG_MS } from '../../protocol/limits.ts';
import { signerFromSeed } from '../../protocol/signing.ts';

const machine = (number: number) => signerFromSeed(new Uint8Array(32).fill(number)).peerId;
const RECIPIENT = machine(200);
const one = (number: number, more: Partial<Candidate> = {}): Candidate => ({
  machine: machine(number),
  role: 'member',
  uptimeMs: 0,
  host: `host-${number}`,
  distance: 1,
  ...more,
});
const numbersOf = (chosen: readonly string[], among: readonly number[]) =>
  chosen.map((peer) => among.find((number) => machine(number) === peer));
const choose = (candidates: readonly Candidate[], count?: number, among = [1, 2, 3, 4, 5, 6]) =>
  numbersOf(chooseMailboxes(RECIPIENT, candidates, count), among);
const LONG = { uptimeMs: MAILBOX_UPTIME_LONG_MS };
const SHORT = { uptimeMs: MAILBOX_UPTIME_LONG_MS - 1 };
const KEEPER = { role: 'keeper' } as const;

describe('mailboxes', () => {
  // The choice is no part of the wire; these guard against a change that moves all mail by accident.
  test('are these for these', () => {
    const six = [1, 2, 3, 4, 5, 6].map((number) => one(number));
    expect(choose(six)).toEqual([1, 4, 6]);
    expect(choose(six, 6)).toEqual([1, 4, 6, 3, 5, 2]);
  });

  test('are none when nobody is linked, or only the recipient', () => {
    expect(chooseMailboxes(RECIPIENT, [])).toEqual([]);
    expect(chooseMailboxes(RECIPIENT, [one(200)])).toEqual([]);
    expect(chooseMailboxes(RECIPIENT, [one(1)], 0)).toEqual([]);
  });

  test('are all there are when there are few', () => {
    expect(new Set(choose([one(1), one(2)]))).toEqual(new Set([1, 2]));
  });

  test.for<[what: string, candidates: Candidate[], expected: number[]]>([
    ['keepers first', [one(1), one(2, LONG), one(3, KEEPER)], [3, 2, 1]],
    ['a keeper that just started first', [one(1, LONG), one(2, { ...KEEPER, uptimeMs: 0 })], [2, 1]],
    ['a day is long, a millisecond less is not', [one(1, SHORT), one(2, LONG)], [2, 1]],
    ['an admin is no better than a member', [one(1, { ...SHORT, role: 'admin' }), one(2, LONG)], [2, 1]],
    [
      'another host before a better machine of the same',
      [one(1, { ...KEEPER, host: 'a' }), one(2, { ...LONG, host: 'a' }), one(3, { host: 'b' })],
      [1, 3, 2],
    ],
    [
      'the best of each host',
      [
        one(1, { host: 'a' }),
        one(2, { ...KEEPER, host: 'a' }),
        one(3, { ...LONG, host: 'b' }),
        one(4, { host: 'b' }),
      ],
      [2, 3],
    ],
  ])('%s', ([, candidates, expected]) => {
    const chosen = choose(candidates);
    expect(chosen.slice(0, expected.length)).toEqual(expected);
    expect(choose(candidates.toReversed())).toEqual(chosen);
  });

  test('differ from recipient to recipient', () => {
    const six = [1, 2, 3, 4, 5, 6].map((number) => one(number));
    const firsts = [11, 12, 13, 14, 15, 16, 17, 18].map((number) => chooseMailboxes(machine(number), six)[0]);
    expect(new Set(firsts).size).toBeGreaterThan(3);
  });
});

describe('a withdrawal', () => {
  test('is known by SHA-256 of its bytes', () => {
    expect(Buffer.from(withdrawalHash(new Uint8Array(32))).toString('hex')).toBe(
      '66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925',
    );
  });

  test.for([0, 31, 33])('has 32 bytes, not %i', (sizeBytes) => {
    expect(() => withdrawalHash(new Uint8Array(sizeBytes))).toThrow(
      expect.objectContaining({ name: 'PatchcordError', code: 'invalid_input' }),
    );
  });
});
