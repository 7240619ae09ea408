import type { z } from 'zod';
import { nearestNames } from '../protocol/address.ts';
import { PatchcordError } from '../protocol/errors.ts';
import { inline } from './frame.ts';

type Issue = z.core.$ZodIssue;

/** Models fill optional parameters with null; it means the same as leaving them out. */
function withoutNulls(args: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(args).filter(([, value]) => value !== null && value !== undefined),
  );
}

function unknownText(name: string, known: readonly string[]): string {
  const [nearest] = nearestNames(name, known, 1);
  return `unknown parameter "${inline(name, 100)}"${nearest ? ` (did you mean ${nearest}?)` : ''}`;
}

function issueText(issue: Issue, args: Readonly<Record<string, unknown>>): string {
  const name = String(issue.path[0] ?? 'arguments');
  if (!Object.hasOwn(args, name)) return `${name} is missing`;
  return `${name}: ${issue.message.replace(/^Invalid input: /u, '')}`;
}

function signature(schema: z.ZodObject): string {
  return Object.entries(schema.shape)
    .map(([name, field]) => (field.safeParse(undefined).success ? `${name}?` : name))
    .join(', ');
}

/**
 * The arguments of a tool call with defaults filled in. Throws `invalid_input`, naming each parameter that is
 * wrong and the call as it should be. Unknown parameters are refused: a misspelt filter that is silently dropped
 * answers another question than the one that was asked.
 */
export function parseArguments<Schema extends z.ZodObject>(
  tool: string,
  schema: Schema,
  args: Readonly<Record<string, unknown>>,
): z.output<Schema> {
  const given = withoutNulls(args);
  const known = Object.keys(schema.shape);
  const problems = Object.keys(given)
    .filter((name) => !known.includes(name))
    .map((name) => unknownText(name, known));
  const parsed = schema.safeParse(given);
  if (parsed.success && problems.length === 0) return parsed.data;
  if (!parsed.success) problems.push(...parsed.error.issues.map((issue) => issueText(issue, given)));
  throw new PatchcordError(
    'invalid_input',
    `${tool}: ${problems.join('; ')}.`,
    `Call it as ${tool}(${signature(schema)}); parameters with ? may be left out.`,
    { cause: parsed.error },
  );
}
