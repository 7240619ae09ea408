import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { describe, expect, test } from 'vitest';
import { callTool, type SessionSource } from '../../mcp/call-tool.ts';
import { PROMPTS } from '../../mcp/prompts.ts';
import { SERVER_INFO, SERVER_INSTRUCTIONS } from '../../mcp/server-instructions.ts';
import { findTool, listTools, TOOLS } from '../../mcp/tools.ts';
import type { CallContext } from '../../mcp/waiting.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { ARGUMENTS, FakeSession, MESSAGE } from './mcp-fake.ts';

const context = (): CallContext => ({
  client: 'test',
  startedMs: performance.now(),
  signal: new AbortController().signal,
});

const source = (session: FakeSession): SessionSource => ({
  use: (_call, run) => run(session),
});

const call = (name: string, args: Record<string, unknown>, session = new FakeSession()) =>
  callTool(findTool(name)!, args, source(session), context());

describe('the table', () => {
  test.each([
    ['inbox', ['all_agents']],
    ['send_message', ['to_agent', 'content', 'thread', 'reply_by', 'urgency']],
    ['reply', ['message_id', 'content', 'defer', 'resolve', 'urgency']],
    ['wait_for_message', ['timeout_seconds', 'until_agent', 'until_state']],
    ['attachment', ['path_or_url', 'upload', 'filename', 'file_data', 'relay', 'mime_type']],
    ['recall', ['limit', 'from_agent', 'thread_id']],
    ['unsend', ['message_id']],
  ])('%s takes the parameters of the contract', (name, parameters) => {
    expect(Object.keys(findTool(name)!.inputSchema.properties)).toEqual(parameters);
  });

  test('has a stable order', () => {
    expect(TOOLS.map((tool) => tool.name)).toEqual(Object.keys(ARGUMENTS));
  });

  test('has the annotations of the contract', () => {
    const hinted = (hint: 'readOnlyHint' | 'destructiveHint' | 'openWorldHint') =>
      TOOLS.filter((tool) => tool.annotations[hint]).map((tool) => tool.name);
    expect(hinted('readOnlyHint')).toEqual(['inbox', 'wait_for_message', 'recall']);
    expect(hinted('destructiveHint')).toEqual(['unsend']);
    expect(hinted('openWorldHint')).toEqual(['send_message', 'reply', 'attachment']);
  });

  test('fits what clients show', () => {
    for (const tool of TOOLS) expect(Buffer.byteLength(tool.description)).toBeLessThan(2_048);
    expect(Buffer.byteLength(SERVER_INSTRUCTIONS)).toBeLessThan(2_048);
    expect(PROMPTS.map((prompt) => prompt.name)).toEqual(['inbox', 'wait']);
  });

  test('publishes defaults and descriptions', () => {
    const wait = findTool('wait_for_message')!.inputSchema.properties['timeout_seconds'];
    expect(wait).toMatchObject({ type: 'number', default: 300 });
    for (const { inputSchema } of listTools().tools) {
      for (const property of Object.values(inputSchema.properties)) {
        expect(property['description']).toBeTypeOf('string');
      }
      expect(inputSchema['additionalProperties']).toBe(false);
    }
  });

  test('the server gives the version of the package', () => {
    expect(SERVER_INFO.version).toBe(packageJson.version);
  });
});

describe('results', () => {
  const validator = new AjvJsonSchemaValidator();

  test.each(TOOLS.filter((tool) => tool.name !== 'wait_for_message'))(
    '$name answers what it publishes',
    async (tool) => {
      const answer = await call(tool.name, ARGUMENTS[tool.name]!);
      expect(answer.isError).toBeUndefined();
      expect(answer.content[0]!.text).not.toBe('');
      const validate = validator.getValidator(tool.outputSchema);
      expect(validate(answer.structuredContent)).toMatchObject({ valid: true });
      expect(validate({ error: { code: 'internal', message: 'x', retryable: false } }).valid).toBe(true);
      expect(validate({}).valid).toBe(false);
    },
  );

  test('wait_for_message answers what it publishes', async () => {
    const session = new FakeSession();
    const answered = call('wait_for_message', {}, session);
    (await session.waiting()).answer({ status: 'message', message: MESSAGE, more: 2 });
    const answer = await answered;
    const validate = validator.getValidator(findTool('wait_for_message')!.outputSchema);
    expect(validate(answer.structuredContent)).toMatchObject({ valid: true });
    expect(answer.content[0]!.text).toContain('2 more pending');
  });

  test('defaults reach the session', async () => {
    const session = new FakeSession();
    await call('reply', { message_id: 'm1' }, session);
    expect(session.calls).toEqual([
      { method: 'reply', call: { message_id: 'm1', content: '', defer: false, resolve: false } },
    ]);
  });

  test('a refusal is a tool error with its code and its remedy', async () => {
    const session = new FakeSession();
    session.errors.send = [new PatchcordError('unknown_recipient', 'No agent bakend.', 'Nearest: backend.')];
    const answer = await call('send_message', { to_agent: 'bakend', content: 'x' }, session);
    expect(answer.isError).toBe(true);
    expect(answer.content[0]!.text).toBe('Refused (unknown_recipient): No agent bakend. Nearest: backend.');
    expect(answer.structuredContent).toEqual({
      error: { code: 'unknown_recipient', message: 'No agent bakend. Nearest: backend.', retryable: false },
    });
  });
});

describe('invalid arguments', () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['send_message', { to_agent: 'a' }, /content is missing/],
    ['send_message', {}, /to_agent is missing; content is missing/],
    ['send_message', { to: 'a', content: 'x' }, /unknown parameter "to".*to_agent is missing/],
    ['recall', { agent: 'backend' }, /unknown parameter "agent" \(did you mean from_agent\?\)/],
    ['recall', { limit: 1.5 }, /limit: /],
    ['wait_for_message', { timeout_seconds: 'long' }, /timeout_seconds: expected number/],
    ['reply', { message_id: 'm', defer: 'yes' }, /defer: expected boolean/],
  ])('%s %j is refused by name', async (name, args, expected) => {
    const session = new FakeSession();
    const answer = await call(name, args, session);
    expect(answer.isError).toBe(true);
    expect(answer.structuredContent).toMatchObject({ error: { code: 'invalid_input', retryable: false } });
    expect(answer.content[0]!.text).toMatch(expected);
    expect(answer.content[0]!.text).toContain(`Call it as ${name}(`);
    expect(session.calls).toEqual([]);
  });

  test('null means left out', async () => {
    const answer = await call('send_message', { to_agent: 'a', content: 'x', thread: null });
    expect(answer.isError).toBeUndefined();
  });
});

test('a client that left while a message was leased to it gives it back', async () => {
  const session = new FakeSession();
  const client = new AbortController();
  const answered = callTool(findTool('inbox')!, {}, source(session), { ...context(), signal: client.signal });
  client.abort();
  await answered;
  expect(session.released).toBe(1);
});
