import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type {
  InboxResult,
  RecallResult,
  ReplyResult,
  SendResult,
  UnsendResult,
  WaitResult,
} from '../../protocol/views.ts';
import { BIN, type DaemonProcess } from './daemon-process.ts';

/** What each tool's structured content is. */
interface Results {
  inbox: InboxResult;
  send_message: SendResult;
  reply: ReplyResult;
  wait_for_message: WaitResult;
  recall: RecallResult;
  unsend: UnsendResult;
  attachment: never;
}

/** A tool's refusal. */
export class ToolError extends Error {
  readonly code: string;

  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

/** An agent: a real MCP client over stdio, its server a process of its own. */
export class McpAgent {
  readonly address: string;
  readonly client = new Client({ name: 'test-client', version: '1.0.0' });
  readonly #transport: StdioClientTransport;

  private constructor(machine: DaemonProcess, address: string) {
    this.address = address;
    this.#transport = new StdioClientTransport({
      command: process.execPath,
      args: [BIN, 'mcp', '--agent', address, '--home', machine.home],
      stderr: 'ignore',
    });
  }

  static async open(machine: DaemonProcess, address: string): Promise<McpAgent> {
    const agent = new McpAgent(machine, address);
    await agent.client.connect(agent.#transport);
    return agent;
  }

  /** The process that serves this client. */
  get pid(): number {
    return this.#transport.pid!;
  }

  /** Calls a tool; throws {@link ToolError} for a refusal. */
  async call<T extends keyof Results>(
    tool: T,
    args: Record<string, unknown> = {},
    signal?: AbortSignal,
  ): Promise<Results[T]> {
    const options = {
      timeout: 120_000,
      resetTimeoutOnProgress: true,
      onprogress() {},
      ...(signal ? { signal } : {}),
    };
    const result = await this.client.callTool({ name: tool, arguments: args }, undefined, options);
    const structured: unknown = result.structuredContent;
    if (result.isError) {
      const [content]: unknown[] = Array.isArray(result.content) ? result.content : [];
      const { error } = (structured ?? {}) as { error?: { code?: string } };
      throw new ToolError(error?.code ?? 'none', (content as { text?: string } | undefined)?.text ?? '');
    }
    return structured as Results[T];
  }

  /** Waits for one message, however long one call may wait. */
  async next(): Promise<NonNullable<WaitResult['message']>> {
    for (;;) {
      const { message } = await this.call('wait_for_message', { timeout_seconds: 40 });
      if (message) return message;
    }
  }

  /** Looks again until the inbox lists an agent with a session; a look is a call, so nothing is spun. */
  async sees(name: string): Promise<void> {
    const deadline = Date.now() + 15_000;
    while (Date.now() < deadline) {
      const { agents } = await this.call('inbox', { all_agents: true });
      if (agents.some(({ agent }) => agent.startsWith(`${name}@`))) return;
    }
    throw new Error(`${this.address} does not see ${name}`);
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}
