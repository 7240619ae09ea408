import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clientLabel } from '../../mcp/clients.ts';
import { waitForMessage, waitSeconds, type CallContext } from '../../mcp/waiting.ts';
import { PatchcordError } from '../../protocol/errors.ts';
import { PROGRESS_INTERVAL_MS } from '../../protocol/limits.ts';
import { FakeSession, MESSAGE } from './mcp-fake.ts';

describe('how long a client is let wait', () => {
  test.each<[string, boolean, number, number]>([
    ['unknown', false, 300, 45],
    ['unknown', true, 3_600, 45],
    ['claude-ai 0.1.0', true, 300, 45],
    ['openai-mcp 1.0', true, 300, 45],
    ['Claude Desktop 1.2', true, 3_600, 200],
    ['claude-desktop 1.2', false, 300, 200],
    ['codex-mcp-client 0.169.0', true, 3_600, 280],
    ['codex-mcp-client 0.169.0', false, 100, 100],
    ['claude-code 2.1.330', true, 3_600, 3_600],
    ['claude-code 2.1.330', true, 90_000, 3_600],
    ['claude-code 2.1.330', false, 3_600, 280],
    ['opencode 1.18', true, 3_600, 3_600],
    ['opencode 1.18', false, 3_600, 45],
    ['claude-code 2.1.330', true, 0, 1],
    ['claude-code 2.1.330', true, -5, 1],
  ])('%s, progress %s, asked for %d s: %d s', (client, progress, asked, expected) => {
    expect(waitSeconds(asked, client, progress)).toBe(expected);
  });

  test('a label is one line of name and version', () => {
    expect(clientLabel({ name: 'claude-code', version: '2.1.330' })).toBe('claude-code 2.1.330');
    expect(clientLabel({ name: 'a\nb', version: '' })).toBe('a b');
    expect(clientLabel(undefined)).toBe('unknown');
    expect(clientLabel({ name: 'x'.repeat(500) })).toHaveLength(120);
  });
});

describe('waiting', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const contextOf = (changes: Partial<CallContext> = {}): CallContext => ({
    client: 'claude-code 2.1.330',
    startedMs: performance.now(),
    signal: new AbortController().signal,
    ...changes,
  });

  test('reports progress at least every 15 s, and none after the answer', async () => {
    const session = new FakeSession();
    const reported: number[] = [];
    const atMs: number[] = [];
    const report = async (elapsed: number, total: number) => {
      expect(total).toBe(3_600);
      reported.push(elapsed);
      atMs.push(performance.now());
    };
    const answered = waitForMessage(session, { timeout_seconds: 3_600 }, contextOf({ report }));
    const wait = await session.waiting();
    expect(reported).toEqual([0]);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(reported.length).toBeGreaterThanOrEqual(120_000 / PROGRESS_INTERVAL_MS);
    expect(reported).toEqual([...new Set(reported)].sort((a, b) => a - b));
    for (const [index, at] of atMs.slice(1).entries()) {
      expect(at - atMs[index]!).toBeLessThanOrEqual(PROGRESS_INTERVAL_MS);
    }
    wait.answer({ status: 'message', message: MESSAGE, more: 0 });
    expect(await answered).toMatchObject({ status: 'message' });
    const count = reported.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(reported).toHaveLength(count);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a client that takes no progress any more does not end the wait', async () => {
    const session = new FakeSession();
    const report = () => Promise.reject(new Error('gone'));
    const answered = waitForMessage(session, { timeout_seconds: 60 }, contextOf({ report }));
    const wait = await session.waiting();
    await vi.advanceTimersByTimeAsync(30_000);
    wait.answer({ status: 'timeout', more: 0 });
    expect(await answered).toEqual({ status: 'timeout', more: 0 });
  });

  test('asks the messenger for what is left of the time', async () => {
    const session = new FakeSession();
    const startedMs = performance.now() - 30_000;
    const answered = waitForMessage(session, { timeout_seconds: 300 }, contextOf({ client: '?', startedMs }));
    const wait = await session.waiting();
    expect(wait.call.timeout_seconds).toBeCloseTo(15, 3);
    wait.answer({ status: 'timeout', more: 0 });
    await answered;
  });

  test('a cancelled wait aborts the signal and takes nothing', async () => {
    const session = new FakeSession();
    const client = new AbortController();
    const answered = waitForMessage(session, { timeout_seconds: 60 }, contextOf({ signal: client.signal }));
    await session.waiting();
    const aborted = once(session.events, 'aborted');
    client.abort();
    await aborted;
    await expect(answered).rejects.toMatchObject({ code: 'timeout' });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a daemon that does not answer in time is not waited for', async () => {
    const session = new FakeSession();
    const answered = waitForMessage(session, { timeout_seconds: 10 }, contextOf());
    await session.waiting();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(await answered).toEqual({ status: 'timeout', more: 0 });
    expect(session.waits).toEqual([]);
  });

  test('what the messenger refuses is passed on', async () => {
    const session = new FakeSession();
    session.errors.wait = [new PatchcordError('agent_in_use', 'Another session waits.')];
    await expect(waitForMessage(session, { timeout_seconds: 10 }, contextOf())).rejects.toMatchObject({
      code: 'agent_in_use',
    });
  });
});
