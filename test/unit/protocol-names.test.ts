import { describe, expect, test } from 'vitest';
import {
  formatAddress,
  nearestNames,
  parseAddress,
  parseName,
  parseRecipients,
  threadSlug,
} from '../../protocol/address.ts';
import { asPatchcordError } from '../../protocol/errors.ts';
import { isId, newId, parseId } from '../../protocol/ids.ts';
import { NAME_LENGTH_MAX, THREAD_LENGTH_MAX } from '../../protocol/limits.ts';

const refusal = (code: string) => expect.objectContaining({ name: 'PatchcordError', code });
/** What it gives, or the code of the error that it throws. */
function outcomeOf<T>(action: () => T): T | string {
  try {
    return action();
  } catch (error) {
    return asPatchcordError(error).code;
  }
}
const filled = (byte: number) => (length: number) => new Uint8Array(length).fill(byte);

describe('newId', () => {
  test.for<[nowMs: number, byte: number, id: string]>([
    [0, 0x00, '00000000-0000-7000-8000-000000000000'],
    [0, 0xff, '00000000-0000-7fff-bfff-ffffffffffff'],
    [1, 0x00, '00000000-0001-7000-8000-000000000000'],
    // RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
    [0x017f22e279b0, 0x00, '017f22e2-79b0-7000-8000-000000000000'],
    [2 ** 48 - 1, 0xff, 'ffffffff-ffff-7fff-bfff-ffffffffffff'],
    [1.9, 0x00, '00000000-0001-7000-8000-000000000000'],
    [-5, 0x00, '00000000-0000-7000-8000-000000000000'],
  ])('at %i with bytes %i is %s', ([nowMs, byte, id]) => {
    expect(newId(nowMs, filled(byte))).toBe(id);
    expect(isId(id)).toBe(true);
    expect(parseId(id)).toBe(id);
  });

  test('ids of later milliseconds sort later', () => {
    const ids = [1, 255, 256, 65_535, 65_536, 2 ** 32].map((nowMs, index) =>
      newId(nowMs, filled(255 - index)),
    );
    expect([...ids].sort()).toEqual(ids);
  });

  test('an id that is none is named in the refusal, but not at any length', () => {
    const short = /^message_id is not a message id: "x{1,100}/;
    expect(() => parseId('x'.repeat(5_000))).toThrow(refusal('invalid_id'));
    expect(() => parseId('x'.repeat(5_000))).toThrow(
      expect.objectContaining({ message: expect.stringMatching(short) }),
    );
    expect(() => parseId('x'.repeat(5_000))).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('x'.repeat(200)) }),
    );
  });
});

describe('names', () => {
  test.for<[text: string, name: string | undefined]>([
    ['backend', 'backend'],
    [' BackEnd\n', 'backend'],
    ['a', 'a'],
    ['..', '..'],
    ['-', '-'],
    ['a'.repeat(NAME_LENGTH_MAX), 'a'.repeat(NAME_LENGTH_MAX)],
    ['a'.repeat(NAME_LENGTH_MAX + 1), undefined],
    ['', undefined],
    ['   ', undefined],
    ['a b', undefined],
    ['a@b', undefined],
    ['a/b', undefined],
    ['a,b', undefined],
    ['na\u00efve', undefined],
    ['a\u200bb', undefined],
    ['a\u0000', undefined],
  ])('%j is the name %j', ([text, name]) => {
    expect(outcomeOf(() => parseName(text, 'agent name'))).toBe(name ?? 'invalid_name');
  });

  test.for<[text: string, namespace: string | undefined, address: string | undefined]>([
    ['backend@myproject', undefined, 'backend@myproject'],
    ['backend@myproject', 'other', 'backend@myproject'],
    ['backend', 'other', 'backend@other'],
    ['backend', undefined, undefined],
    ['backend@', 'other', undefined],
    ['@other', 'other', undefined],
    ['a@b@c', 'other', undefined],
  ])('%j with default %j is the address %j', ([text, namespace, address]) => {
    expect(outcomeOf(() => formatAddress(parseAddress(text, namespace)))).toBe(address ?? 'invalid_name');
  });

  test.for<[text: string, recipients: string[] | undefined]>([
    ['b', ['b@ns']],
    ['b, a', ['b@ns', 'a@ns']],
    ['b,a,b', ['b@ns', 'a@ns']],
    ['B,b@ns,b@NS', ['b@ns']],
    ['b,b@other', ['b@ns', 'b@other']],
    [' b ,, a ,', ['b@ns', 'a@ns']],
    ['b\n,\ta', ['b@ns', 'a@ns']],
    ['', undefined],
    [' , ,', undefined],
    ['b,a b', undefined],
    ['b,a@', undefined],
    ['b;a', undefined],
    ['*', undefined],
  ])('to %j are %j', ([text, recipients]) => {
    expect(outcomeOf(() => parseRecipients(text, 'ns').map(formatAddress))).toEqual(
      recipients ?? 'invalid_name',
    );
  });
});

describe('nearestNames', () => {
  const known = ['backend', 'frontend', 'ops', 'dba', 'back-end', 'backends'];
  test.for<[wanted: string, most: number, near: string[]]>([
    ['backend', 1, ['backend']],
    ['bakend', 1, ['backend']],
    ['bakend', 3, ['backend', 'back-end', 'backends']],
    ['ob', 3, ['dba', 'ops']],
    ['dab', 1, ['dba']],
    ['xxxxxxxxxxxxxxxxxxxxxxxx', 3, []],
    ['backend', 0, []],
  ])('of %j, at most %i, are %j', ([wanted, most, near]) => {
    expect(nearestNames(wanted, known, most)).toEqual(near);
  });

  test('does not depend on the order of what is known', () => {
    expect(nearestNames('bakend', [...known].reverse())).toEqual(nearestNames('bakend', known));
    expect(nearestNames('x', [])).toEqual([]);
  });
});

describe('threadSlug', () => {
  test.for<[text: string, slug: string]>([
    ['', ''],
    ['   ', ''],
    ['---', ''],
    ['auth-migration', 'auth-migration'],
    [' Auth  Migration ', 'auth-migration'],
    ['a/b\\c', 'a-b-c'],
    ['(urgent!) deploy?', 'urgent-deploy'],
    ['v1.2_rc', 'v1.2_rc'],
    ['\u00dcberweisung', '\u00fcberweisung'],
    ['\u5165\u91d1 1', '\u5165\u91d1-1'],
    ['\u{1F44B}', ''],
    ['a\u{1F44B}b', 'a-b'],
    ['a\ud83db', 'a-b'],
    ['a\nb', 'a-b'],
    ['x'.repeat(THREAD_LENGTH_MAX), 'x'.repeat(THREAD_LENGTH_MAX)],
    [`!${'x'.repeat(THREAD_LENGTH_MAX)}!`, 'x'.repeat(THREAD_LENGTH_MAX)],
  ])('of %j is %j, and stays it', ([text, slug]) => {
    expect(threadSlug(text)).toBe(slug);
    expect(threadSlug(slug)).toBe(slug);
  });

  test('one character too long is refused', () => {
    expect(() => threadSlug('x'.repeat(THREAD_LENGTH_MAX + 1))).toThrow(refusal('invalid_input'));
  });
});
