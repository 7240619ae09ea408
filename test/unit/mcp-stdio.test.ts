import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { CallToolResultSchema, type CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { afterEach, describe, expect, test } from 'vitest';
import { serveStdio } from '../../mcp/stdio.ts';
import { listTools } from '../../mcp/tools.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { ARGUMENTS, FakeMessenger, MESSAGE, METHODS } from './mcp-fake.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(endings.splice(0).map((end) => end()));
});

/** A server on a pair of streams; a real client of the SDK at their other ends. */
async function connect(messenger = new FakeMessenger(), name = 'claude-code') {
  const input = new PassThrough();
  const output = new PassThrough();
  const stop = new AbortController();
  const ended = serveStdio(messenger, { agent: 'frontend@proj', input, output, signal: stop.signal });
  const client = new Client({ name, version: '2.1.330' });
  // The transport is symmetric: lines in, lines out.
  await client.connect(new StdioServerTransport(output, input));
  endings.push(async () => {
    stop.abort();
    await ended;
  });
  const call = async (tool: string, args: Record<string, unknown> = {}, options = {}) =>
    CallToolResultSchema.parse(await client.callTool({ name: tool, arguments: args }, undefined, options));
  return { messenger, input, output, stop, ended, client, call };
}

const textOf = (result: CallToolResult) => {
  const [block] = result.content;
  return block?.type === 'text' ? block.text : '';
};

describe('a client over streams', () => {
  test('is told what patchcord is and gets the table as it stands', async () => {
    const { client } = await connect();
    expect(client.getInstructions()).toMatch(/^patchcord is a messenger/);
    expect(client.getServerVersion()).toMatchObject({ name: 'patchcord' });
    const { tools } = await client.listTools();
    expect(tools).toEqual(listTools().tools);
  });

  test('opens the session as the agent, under its own name', async () => {
    const { messenger, call } = await connect();
    await call('recall');
    await call('recall');
    expect(messenger.requests).toEqual([{ agent: 'frontend@proj', client: 'claude-code 2.1.330' }]);
  });

  test('every result passes the check of the client against outputSchema', async () => {
    const { messenger, client, call } = await connect();
    await client.listTools();
    const outcomes: unknown[] = [];
    for (const [name, args] of Object.entries(ARGUMENTS)) {
      const answered = call(name, args);
      if (name === 'wait_for_message') {
        (await messenger.sessions[0]!.waiting()).answer({ status: 'message', message: MESSAGE, more: 0 });
      }
      const result = await answered;
      outcomes.push([name, result.isError ?? false, result.structuredContent !== undefined]);
    }
    expect(outcomes).toEqual(Object.keys(ARGUMENTS).map((name) => [name, false, true]));
  });

  test('errors pass it too, and are errors of the tool', async () => {
    const { client, call } = await connect();
    await client.listTools();
    const result = await call('send_message', { to_agent: 'backend' });
    expect(result.isError).toBe(true);
    expect(textOf(result)).toContain('content is missing');
    expect(result.structuredContent).toMatchObject({ error: { code: 'invalid_input' } });
    await expect(call('nosuch')).rejects.toThrow(/Unknown tool: nosuch/);
  });

  test('offers the prompts', async () => {
    const { client } = await connect();
    const { prompts } = await client.listPrompts();
    expect(prompts.map((prompt) => prompt.name)).toEqual(['inbox', 'wait']);
    const prompt = await client.getPrompt({ name: 'wait' });
    expect(JSON.stringify(prompt.messages)).toContain('wait_for_message');
    await expect(client.getPrompt({ name: 'nosuch' })).rejects.toThrow(/Unknown prompt/);
  });
});

describe('waiting', () => {
  test('reports progress to a client that asks for it', async () => {
    const { messenger, call } = await connect();
    const reported = Promise.withResolvers<unknown>();
    const answered = call('wait_for_message', { timeout_seconds: 900 }, { onprogress: reported.resolve });
    expect(await reported.promise).toMatchObject({ progress: 0, total: 900 });
    const wait = await messenger.sessions[0]!.waiting();
    wait.answer({ status: 'message', message: MESSAGE, more: 0 });
    expect(textOf(await answered)).toContain(MESSAGE.content);
  });

  test('a cancelled call aborts the wait', async () => {
    const { messenger, call } = await connect();
    const cancel = new AbortController();
    const answered = call('wait_for_message', {}, { signal: cancel.signal });
    answered.catch(() => {});
    await call('recall');
    const [session] = messenger.sessions;
    await session!.waiting();
    const aborted = once(session!.events, 'aborted');
    cancel.abort();
    await aborted;
    await expect(answered).rejects.toThrow(/abort/i);
    expect(session!.closed).toBe(0);
  });
});

describe('the end', () => {
  test('of stdin closes the session', async () => {
    const { messenger, call, input, ended } = await connect();
    await call('recall');
    input.end();
    await ended;
    expect(messenger.sessions.map((session) => session.closed)).toEqual([1]);
  });

  test('of stdin ends a wait', async () => {
    const { messenger, call, input, ended } = await connect();
    call('wait_for_message').catch(() => {});
    await call('recall');
    await messenger.sessions[0]!.waiting();
    input.end();
    await ended;
    expect(messenger.sessions[0]!.waits).toEqual([]);
    expect(messenger.sessions[0]!.closed).toBe(1);
  });

  test('of stdin lets what was asked be answered', async () => {
    const input = new PassThrough();
    const output = new PassThrough();
    const ended = serveStdio(new FakeMessenger(), { agent: 'frontend@proj', input, output });
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 's', version: '1' },
    };
    const lines = [
      { jsonrpc: '2.0', id: 1, method: 'initialize', params },
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'inbox', arguments: {} } },
    ];
    input.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await ended;
    const answers = String(output.read()).trim().split('\n');
    expect(answers).toEqual([expect.stringContaining('"id":1'), expect.stringContaining('"id":2')]);
    expect(answers[1]).toContain(MESSAGE.content);
  });

  test('by the signal closes the session', async () => {
    const { messenger, call, stop, ended } = await connect();
    await call('recall');
    stop.abort();
    await ended;
    expect(messenger.sessions[0]!.closed).toBe(1);
  });

  test('by a broken pipe closes the session', async () => {
    const { messenger, call, output, ended } = await connect();
    await call('recall');
    output.destroy(new Error('EPIPE'));
    await ended;
    expect(messenger.sessions[0]!.closed).toBe(1);
  });

  test('before the start is no start', async () => {
    const messenger = new FakeMessenger();
    const options = { agent: 'a@n', input: new PassThrough(), output: new PassThrough() };
    await serveStdio(messenger, { ...options, signal: AbortSignal.abort() });
    expect(messenger.requests).toEqual([]);
  });
});

describe('a daemon that fails', () => {
  test('to open the session is an error of each call until it works', async () => {
    const messenger = new FakeMessenger();
    const down = () => new PatchcordError('daemon_unreachable', 'No daemon.', 'Run `patchcord up`.');
    messenger.errors.push(down(), down());
    const { call } = await connect(messenger);
    const result = await call('inbox');
    expect(result.structuredContent).toMatchObject({
      error: { code: 'daemon_unreachable', retryable: true },
    });
    expect(textOf(result)).toContain('patchcord up');
    expect((await call('inbox')).isError).toBeUndefined();
  });

  test.each(Object.keys(ARGUMENTS).filter((name) => name !== 'wait_for_message'))(
    'by forgetting the session gets %s again on a new one',
    async (name) => {
      const { messenger, call } = await connect();
      await call('recall');
      messenger.sessions[0]!.errors[METHODS[name]!] = [new PatchcordError('unknown_session', 'Who?')];
      expect((await call(name, ARGUMENTS[name])).isError).toBeUndefined();
      expect(messenger.sessions).toHaveLength(2);
      expect(messenger.sessions[0]!.closed).toBe(1);
    },
  );

  const gone = () => [new PatchcordError('daemon_unreachable', 'Gone.')];

  test.each(['recall', 'inbox', 'unsend', 'attachment'])('in the middle of %s: runs again', async (name) => {
    const { messenger, call } = await connect();
    await call('inbox');
    messenger.sessions[0]!.errors[METHODS[name]!] = gone();
    expect((await call(name, ARGUMENTS[name])).isError).toBeUndefined();
    expect(messenger.sessions).toHaveLength(2);
  });

  test.each(['send_message', 'reply'])('in the middle of %s: is told, not repeated', async (name) => {
    const { messenger, call } = await connect();
    await call('inbox');
    messenger.sessions[0]!.errors[METHODS[name]!] = gone();
    const result = await call(name, ARGUMENTS[name]);
    expect(result.structuredContent).toMatchObject({ error: { code: 'daemon_unreachable' } });
    expect(textOf(result)).toContain('recall()');
    expect(messenger.sessions).toHaveLength(1);
    expect((await call(name, ARGUMENTS[name])).isError).toBeUndefined();
    expect(messenger.sessions).toHaveLength(2);
  });

  test('for good is tried once, not for ever', async () => {
    const messenger = new FakeMessenger();
    messenger.prepare = (session) => {
      session.errors.recall = [new PatchcordError('unknown_session', 'Who?')];
    };
    const { call } = await connect(messenger);
    expect((await call('recall')).structuredContent).toMatchObject({ error: { code: 'unknown_session' } });
    expect(messenger.sessions).toHaveLength(2);
  });
});
