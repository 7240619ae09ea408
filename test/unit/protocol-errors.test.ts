import { describe, expect, test } from 'vitest';
import { asPatchcordError, errorFromView, isErrorCode, PatchcordError } from '../../protocol/errors.ts';

/** The contract: scripts and peers hold on to these. */
const TABLE: [code: string, status: number, retryable: boolean][] = [
  ['invalid_input', 400, false],
  ['invalid_name', 400, false],
  ['invalid_id', 400, false],
  ['content_empty', 400, false],
  ['content_too_long', 413, false],
  ['unknown_recipient', 404, false],
  ['unknown_message', 404, false],
  ['unknown_agent', 404, false],
  ['unknown_namespace', 404, false],
  ['unknown_session', 404, true],
  ['not_found', 404, false],
  ['not_addressee', 403, false],
  ['not_sender', 403, false],
  ['name_taken', 409, false],
  ['namespace_exists', 409, false],
  ['agent_in_use', 409, true],
  ['not_available', 501, false],
  ['unauthorized', 401, false],
  ['forbidden', 403, false],
  ['not_member', 403, false],
  ['not_admin', 403, false],
  ['ticket_damaged', 400, false],
  ['ticket_version', 400, false],
  ['ticket_expired', 410, false],
  ['ticket_used', 410, false],
  ['ticket_refused', 403, false],
  ['frame_too_long', 413, false],
  ['frame_malformed', 400, false],
  ['frame_unknown', 400, false],
  ['protocol_version', 400, false],
  ['signature_invalid', 400, false],
  ['statement_invalid', 400, false],
  ['home_in_use', 409, true],
  ['home_not_writable', 500, false],
  ['port_in_use', 500, false],
  ['daemon_unreachable', 503, true],
  ['peer_unreachable', 503, true],
  ['timeout', 504, true],
  ['stopping', 503, true],
  ['outbox_full', 507, true],
  ['mailbox_full', 507, true],
  ['disk_full', 507, true],
  ['store_failed', 500, true],
  ['store_damaged', 500, false],
  ['store_newer', 500, false],
  ['too_many', 429, true],
  ['internal', 500, false],
];

describe('errors', () => {
  test.for(TABLE)('%s has status %i, retryable %s', ([code, status, retryable]) => {
    if (!isErrorCode(code)) throw new Error(`${code} is not in the table`);
    const plain = new PatchcordError(code, 'It broke.');
    expect([plain.status, plain.retryable]).toEqual([status, retryable]);
    expect(plain.view()).toEqual({ code, message: 'It broke.', retryable });
    expect(new PatchcordError(code, 'It broke.', 'Mend it.').view().message).toBe('It broke. Mend it.');
    expect(errorFromView(plain.view()).view()).toEqual(plain.view());
  });

  test.for<[value: unknown]>([
    ['no_such_code'],
    ['constructor'],
    ['__proto__'],
    ['hasOwnProperty'],
    [''],
    ['INTERNAL'],
    [undefined],
    [null],
    [42],
    [['internal']],
  ])('%j is no code; from a peer it becomes internal', ([value]) => {
    expect(isErrorCode(value)).toBe(false);
    const error = errorFromView({ code: value, message: 'said so' });
    expect(error.view()).toEqual({ code: 'internal', message: 'said so', retryable: false });
  });

  test('a view without a text tells its code', () => {
    expect(errorFromView({ code: 'disk_full', message: { a: 1 } }).message).toBe('disk_full');
  });

  test('whatever is thrown becomes a PatchcordError, with its cause', () => {
    const own = new PatchcordError('timeout', 'late');
    expect(asPatchcordError(own)).toBe(own);
    const foreign = new TypeError('x is not a function');
    expect(asPatchcordError(foreign)).toMatchObject({ code: 'internal', cause: foreign });
    expect(asPatchcordError(foreign).message).toContain('x is not a function');
    for (const thrown of ['text', undefined, null, 7, { code: 'disk_full' }])
      expect(asPatchcordError(thrown)).toMatchObject({ code: 'internal', cause: thrown });
  });
});
