/**
 * Every error a user, a client or a peer can meet, in one table.
 *
 * `status` is the HTTP status (RFC 9110) of the problem document, `retryable` tells a caller whether the
 * same call can succeed later without anything being changed.
 */
const ERRORS = {
  // What was said is wrong.
  invalid_input: { status: 400, retryable: false },
  invalid_name: { status: 400, retryable: false },
  invalid_id: { status: 400, retryable: false },
  content_empty: { status: 400, retryable: false },
  content_too_long: { status: 413, retryable: false },
  unknown_recipient: { status: 404, retryable: false },
  unknown_message: { status: 404, retryable: false },
  unknown_agent: { status: 404, retryable: false },
  unknown_namespace: { status: 404, retryable: false },
  unknown_session: { status: 404, retryable: true },
  not_found: { status: 404, retryable: false },
  not_addressee: { status: 403, retryable: false },
  not_sender: { status: 403, retryable: false },
  name_taken: { status: 409, retryable: false },
  namespace_exists: { status: 409, retryable: false },
  agent_in_use: { status: 409, retryable: true },
  loop_guard: { status: 409, retryable: false },
  not_available: { status: 501, retryable: false },
  // Who may do what.
  unauthorized: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  not_member: { status: 403, retryable: false },
  not_admin: { status: 403, retryable: false },
  ticket_damaged: { status: 400, retryable: false },
  ticket_version: { status: 400, retryable: false },
  ticket_expired: { status: 410, retryable: false },
  ticket_used: { status: 410, retryable: false },
  ticket_refused: { status: 403, retryable: false },
  join_rejected: { status: 403, retryable: false },
  // What peers send.
  frame_too_long: { status: 413, retryable: false },
  frame_malformed: { status: 400, retryable: false },
  frame_unknown: { status: 400, retryable: false },
  protocol_version: { status: 400, retryable: false },
  signature_invalid: { status: 400, retryable: false },
  statement_invalid: { status: 400, retryable: false },
  envelope_invalid: { status: 400, retryable: false },
  prekey_refused: { status: 409, retryable: false },
  prekey_unknown: { status: 409, retryable: true },
  // What the machine meets.
  home_in_use: { status: 409, retryable: true },
  home_not_writable: { status: 500, retryable: false },
  port_in_use: { status: 500, retryable: false },
  daemon_unreachable: { status: 503, retryable: true },
  peer_unreachable: { status: 503, retryable: true },
  timeout: { status: 504, retryable: true },
  stopping: { status: 503, retryable: true },
  outbox_full: { status: 507, retryable: true },
  mailbox_full: { status: 507, retryable: true },
  disk_full: { status: 507, retryable: true },
  store_failed: { status: 500, retryable: true },
  store_damaged: { status: 500, retryable: false },
  store_newer: { status: 500, retryable: false },
  too_many: { status: 429, retryable: true },
  internal: { status: 500, retryable: false },
} as const satisfies Record<string, { status: number; retryable: boolean }>;

export type ErrorCode = keyof typeof ERRORS;

/** What crosses a process boundary of an error: no stack, no cause. */
export interface ErrorView {
  code: ErrorCode;
  message: string;
  retryable: boolean;
}

/**
 * The one error type of patchcord. `message` says what was wrong in one line, `remedy` what to do about it.
 */
export class PatchcordError extends Error {
  override readonly name = 'PatchcordError';
  readonly code: ErrorCode;
  readonly remedy: string;

  constructor(code: ErrorCode, message: string, remedy = '', options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.remedy = remedy;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  view(): ErrorView {
    const message = this.remedy ? `${this.message} ${this.remedy}` : this.message;
    return { code: this.code, message, retryable: this.retryable };
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value);
}

/** Any thrown thing as a PatchcordError; what is not ours becomes `internal`, its text kept as the cause. */
export function asPatchcordError(error: unknown): PatchcordError {
  if (error instanceof PatchcordError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new PatchcordError('internal', `Unexpected failure: ${text}`, 'See `patchcord logs`.', {
    cause: error,
  });
}

/** The error a peer process described; an unknown code becomes `internal`. */
export function errorFromView(view: { code: unknown; message: unknown }): PatchcordError {
  const code = isErrorCode(view.code) ? view.code : 'internal';
  return new PatchcordError(code, typeof view.message === 'string' ? view.message : code);
}
