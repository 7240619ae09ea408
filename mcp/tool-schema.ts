import { z } from 'zod';
import { zErrorView } from '../protocol/views.ts';

/** A JSON Schema of an object, in the subset that drafts 7 and 2020-12 share. */
const zObjectSchema = z
  .object({
    type: z.literal('object'),
    properties: z.record(z.string(), z.record(z.string(), z.json())),
    required: z.array(z.string()).exactOptional(),
  })
  .catchall(z.json());
export type ObjectSchema = z.infer<typeof zObjectSchema>;

function toObjectSchema(schema: z.ZodObject): ObjectSchema {
  const json = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      // zod bounds every integer by what a double holds exactly; true, and noise to a reader.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  // MCP takes a schema without a dialect for 2020-12, and older clients' validators know no other than draft 7.
  const { $schema: _dialect, ...rest } = json;
  return zObjectSchema.parse(rest);
}

/** The parameters as published: defaults and descriptions included, nothing else allowed. */
export function inputSchemaOf(schema: z.ZodObject): ObjectSchema {
  return toObjectSchema(schema.strict());
}

/**
 * The result as published: the tool's own fields, or an error. sdk 1.x clients hold a refusal's structured content
 * against this schema too, so it has to admit `{error}`; fields may be added, so others are allowed.
 */
export function outputSchemaOf(schema: z.ZodObject): ObjectSchema {
  const { required = [], properties, ...rest } = toObjectSchema(schema);
  return {
    ...rest,
    properties: { ...properties, error: toObjectSchema(zErrorView) },
    anyOf: [{ required }, { required: ['error'] }],
  };
}
