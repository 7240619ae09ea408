import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { asPatchcordError, errorFromView, isErrorCode, PatchcordError } from '../../protocol/errors.ts';

/**
 * What a refused request answers: RFC 9457 (problem details), with the code, text and retryable flag of the one
 * error table. `detail` says why, `remedy` what to do about it, `message` both in one.
 */
export const zProblem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  remedy: z.string().optional(),
});
export type Problem = z.infer<typeof zProblem>;

export const PROBLEM_TYPE = 'application/problem+json';

export function problemOf(error: PatchcordError): Problem {
  return {
    type: `urn:patchcord:error:${error.code}`,
    title: titleOf(error.code),
    status: error.status,
    detail: error.message,
    ...error.view(),
    ...(error.remedy && { remedy: error.remedy }),
  };
}

/** The error that a problem document tells of, as it was thrown on the other side. */
export function errorOfProblem(problem: Problem): PatchcordError {
  if (!isErrorCode(problem.code)) return errorFromView(problem);
  return new PatchcordError(problem.code, problem.detail, problem.remedy);
}

/** What fastify itself refuses (a body too long, no JSON, a broken URL) in our words; the rest as it is. */
export function errorOfRequest(error: unknown): PatchcordError {
  if (error instanceof PatchcordError || !(error instanceof Error)) return asPatchcordError(error);
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500;
  if (status === 413) {
    return new PatchcordError('content_too_long', 'The request body is too long.', 'Send less at once.', {
      cause: error,
    });
  }
  if (status >= 400 && status < 500) {
    return new PatchcordError('invalid_input', `Not a valid request: ${error.message}`, '', { cause: error });
  }
  return asPatchcordError(error);
}

/** Writes a problem where no framework does it any more; does nothing useful once an answer has begun. */
export function writeProblem(response: ServerResponse, error: PatchcordError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(error.status, { 'content-type': PROBLEM_TYPE });
  response.end(JSON.stringify(problemOf(error)));
}

function titleOf(code: string): string {
  const words = code.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
