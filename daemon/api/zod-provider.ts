import type { FastifySchemaCompiler, FastifyTypeProvider } from 'fastify';
import type { FastifySerializerCompiler } from 'fastify/types/schema.js';
import type { z } from 'zod';
import { PatchcordError } from '../../protocol/errors.ts';

/** Tells fastify's types what a zod schema lets in and out. */
export interface ZodProvider extends FastifyTypeProvider {
  readonly validator: this['schema'] extends z.ZodType ? z.output<this['schema']> : unknown;
  readonly serializer: this['schema'] extends z.ZodType ? z.input<this['schema']> : unknown;
}

export const validateByZod: FastifySchemaCompiler<z.ZodType> =
  ({ schema }) =>
  (data: unknown) => {
    // Fastify says null for a part that did not come.
    const result = schema.safeParse(data ?? undefined);
    return result.success ? { value: result.data } : { error: invalidInput(result.error) };
  };

/** Answers are parsed too, so that nothing leaves that the schema does not name. */
export const serializeByZod: FastifySerializerCompiler<z.ZodType> =
  ({ schema }) =>
  (data: unknown) =>
    answerText(schema, data);

/** For routes whose schema is a type parameter, where fastify's types give up. Throws `invalid_input`. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, data: unknown): z.output<Schema> {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  throw invalidInput(result.error);
}

function answerText(schema: z.ZodType, data: unknown): string {
  return JSON.stringify(schema.parse(data));
}

/** Names the first field that is wrong; zod's text never repeats what was sent. */
function invalidInput(error: z.ZodError): PatchcordError {
  const issue = error.issues[0];
  const field = issue?.path.map(String).join('.') || 'body';
  return new PatchcordError('invalid_input', `${field}: ${issue?.message ?? 'not valid'}.`, '', {
    cause: error,
  });
}
